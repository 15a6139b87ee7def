//! The `pg_dump`, `pg_restore` and `psql` that fit a server.

use std::path::PathBuf;

use anyhow::Result;

use crate::tool::{self, Program};
use crate::values::failure::Failure;
use crate::values::verified_dump::VerifiedDump;

/// Where distributions put several versions side by side: folder, prefix of its
/// entries, and the way from there to the programs.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The program whose major version is the server's or, failing that, the
/// nearest newer one. `at_least` is the version that wrote a dump to be read.
pub fn find(name: &str, server_major: u32, at_least: u32) -> Result<Program> {
    let needed = server_major.max(at_least);
    let found = tool::find(name, &folders(), needed)?;
    let best = found
        .iter()
        .filter(|program| program.major >= needed)
        .min_by_key(|p| p.major);
    if let Some(best) = best {
        return Ok(best.clone());
    }
    let install = format!(
        "install the client programs: `sudo apt-get install postgresql-client-{needed}` or \
         `brew install postgresql@{needed}`, or name their folder with `PG_BIN`"
    );
    Err(match found.iter().max_by_key(|program| program.major) {
        None => Failure::refused(format!("`{name}` was not found")).hint(install),
        Some(newest) => Failure::refused(format!(
            "`{}` is version {}, which does not fit: the server is {server_major}, and version \
             {needed} is needed",
            newest.path.display(),
            newest.major
        ))
        .hint(install),
    }
    .into())
}

/// For a backup: the `pg_dump` of the server, and a `pg_restore` that reads what it writes.
pub fn find_both(server_major: u32) -> Result<(Program, Program)> {
    let pg_dump = find("pg_dump", server_major, 0)?;
    let pg_restore = find("pg_restore", server_major, pg_dump.major)?;
    Ok((pg_dump, pg_restore))
}

/// The `pg_restore` that reads this dump and that this server understands.
pub fn find_pg_restore(dump: &VerifiedDump, server_major: u32) -> Result<Program> {
    let written_by = tool::major_of(&dump.manifest().dump_tool).unwrap_or(0);
    find("pg_restore", server_major, written_by)
}

/// `PG_BIN` alone when it is set; else versioned folders, then `PATH`.
fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("PG_BIN").filter(|folder| !folder.is_empty()) {
        return vec![folder.into()];
    }
    let mut folders = Vec::new();
    for (parent, prefix, bin) in VERSIONED {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                folders.push(entry.path().join(bin));
            }
        }
    }
    folders.sort();
    folders.extend(tool::path_folders());
    folders
}
