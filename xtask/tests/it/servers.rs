//! Where the programs of PostgreSQL servers are on this machine.

use std::fs;
use std::path::PathBuf;

/// More servers than the distribution's: folders of programs, separated as in `PATH`.
const MORE: &str = "XTASK_DB_POSTGRES_BINS";

/// Of the shared server: `PG_BIN`, the distribution's newest, `PATH`.
pub fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    let versioned = versioned().into_iter().map(|(_, folder)| folder);
    named
        .into_iter()
        .chain(versioned)
        .chain(listed("PATH"))
        .find(|folder| folder.join("initdb").is_file())
}

pub fn programs_of(major: u32) -> Option<PathBuf> {
    let mut versioned = versioned().into_iter();
    let found = versioned.find(|(version, _)| *version == major);
    found
        .map(|(_, folder)| folder)
        .into_iter()
        .chain(listed(MORE))
        .filter(|folder| folder.join("initdb").is_file())
        .find(|folder| version_of(folder) == Some(major))
}

fn version_of(folder: &std::path::Path) -> Option<u32> {
    let mut command = std::process::Command::new(folder.join("postgres"));
    let said = String::from_utf8(command.arg("--version").output().ok()?.stdout).ok()?;
    let number = said.split_whitespace().nth(2)?;
    number.split('.').next()?.parse().ok()
}

fn listed(variable: &str) -> Vec<PathBuf> {
    let folders = std::env::var_os(variable).unwrap_or_default();
    std::env::split_paths(&folders).collect()
}

/// `/usr/lib/postgresql/N/bin`, the highest version first.
fn versioned() -> Vec<(u32, PathBuf)> {
    let mut versions: Vec<u32> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions
        .iter()
        .map(|version| {
            (
                *version,
                format!("/usr/lib/postgresql/{version}/bin").into(),
            )
        })
        .collect()
}
