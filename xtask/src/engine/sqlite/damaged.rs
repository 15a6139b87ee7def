//! A file that SQLite finds damaged: why, how to mend it, and how none of it is lost.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::Utc;
use rusqlite::{Connection, ErrorCode};

use super::hold::Hold;
use super::inspect::{self, BUSY_WAIT};
use super::{Sqlite, copy, dump};
use crate::durable;
use crate::engine::Kept;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::words::shell_quoted;

/// Why the live file cannot take a restore, if it can't.
pub fn damage(sqlite: &Sqlite) -> Option<String> {
    let looked = inspect::open_to_read(&sqlite.path, Ok(())).and_then(|connection| {
        if let Some(connection) = connection {
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        }
        Ok(())
    });
    looked
        .err()
        .filter(inspect::is_damaged)
        .map(|error| error.root_cause().to_string())
}

/// Of what `integrity_check` says: a way on that loses nothing.
pub fn way_to_mend(path: &Path, problems: &[String]) -> String {
    let is_of_index = |line: &String| {
        line.contains(" missing from index ")
            || line.starts_with("wrong # of entries in index ")
            || line.starts_with("non-unique entry in index ")
    };
    match problems.iter().all(is_of_index) {
        true => format!(
            "an index does not fit its table, whose rows can all be read; to build it anew: sqlite3 {} REINDEX",
            shell_quoted(&path.display().to_string())
        ),
        false => way_to_save(path),
    }
}

fn way_to_save(path: &Path) -> String {
    let file = path.display();
    let [from, to] = [format!("{file}"), format!("{file}.saved")].map(|file| shell_quoted(&file));
    format!(
        "to write what can still be read of it into a new file: sqlite3 {from} .recover | sqlite3 {to}\n\
         to go back to a backup: cargo xtask db restore latest"
    )
}

/// Nothing of a file that is no database can be read; a restore keeps it beside.
pub fn hinted(path: &Path, mut error: anyhow::Error) -> anyhow::Error {
    let code = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code());
    if code != Some(ErrorCode::DatabaseCorrupt) {
        return error;
    }
    let hint = way_to_save(path);
    if let Some(failure) = error.downcast_mut::<Failure>() {
        failure.hint = Some(hint);
        return error;
    }
    error.context(Failure::unexpected("SQLite cannot read the database file").hint(hint))
}

/// A file that no safety backup could be taken of, page by page as it is, log and all. Whoever has it
/// open goes on with the live one.
pub fn copy_aside(sqlite: &Sqlite, progress: &dyn Progress) -> Result<Kept> {
    let kept = beside(&sqlite.path, &stamp(), "");
    let copied = copy_into(sqlite, &kept, progress);
    if copied.is_err() {
        // It was made here, and what it is of is there.
        let _ = std::fs::remove_file(&kept);
    }
    copied.with_context(|| {
        let sides = ["", "-wal", "-journal"].map(|suffix| with(&sqlite.path, suffix));
        let there = sides.iter().filter(|side| side.exists());
        let there = there.map(|side| shell_quoted(&side.display().to_string()));
        let there: Vec<String> = there.collect();
        Failure::refused(
            "the database can neither be backed up nor copied beside itself; nothing was changed",
        )
        .hint(format!(
            "stop the program that uses it, and move it away: mv {} /elsewhere/\nthen run the command again",
            there.join(" ")
        ))
    })?;
    Ok(of(&kept))
}

fn copy_into(sqlite: &Sqlite, kept: &Path, progress: &dyn Progress) -> Result<()> {
    durable::create_private_file(kept)
        .with_context(|| format!("cannot create `{}`", kept.display()))?;
    let mut to = Connection::open(kept).context("cannot open the copy")?;
    let interrupt = sqlite.interrupt();
    match &sqlite.held {
        Some(Hold::Exclusive(holder)) => {
            copy::copy(holder, &mut to, BUSY_WAIT, progress, interrupt)?;
        }
        _ => copy::copy(
            &dump::begun(sqlite)?,
            &mut to,
            BUSY_WAIT,
            progress,
            interrupt,
        )?,
    }
    to.close()
        .map_err(|(_, error)| error)
        .context("cannot close the copy")?;
    let folder = kept.parent().unwrap_or(Path::new("."));
    durable::flush_folder(folder).with_context(|| format!("cannot flush `{}`", folder.display()))
}

/// A file that SQLite cannot read is kept beside, with its journal, and never overwritten.
pub fn move_aside(path: &Path) -> Result<Kept> {
    let stamp = stamp();
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let from = with(path, suffix);
        if suffix.is_empty() || from.exists() {
            durable::rename_without_overwriting(&from, &beside(path, &stamp, suffix))
                .with_context(|| format!("cannot move `{}` aside", from.display()))?;
        }
    }
    Ok(of(&beside(path, &stamp, "")))
}

fn stamp() -> String {
    Utc::now().format("%Y-%m-%d_%H%M%S").to_string()
}

fn beside(path: &Path, stamp: &str, suffix: &str) -> PathBuf {
    with(path, &format!(".damaged_{stamp}{suffix}"))
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn of(kept: &Path) -> Kept {
    let name = kept.display().to_string();
    Kept {
        remove_command: format!("rm {}", shell_quoted(&name)),
        name,
    }
}
