//! What a SQLite file holds. Connections that may only ask; nothing is created.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{copy, describe, fingerprint};
use crate::interrupt::Interrupt;
use crate::values::database::{AppliedMigration, Contents, TableRows};
use crate::values::failure::Failure;
use crate::values::schema::RelationKind;
use crate::values::words::shell_quoted;

/// How long SQLite waits by itself, inside of one call.
pub const BUSY_SLICE: Duration = Duration::from_millis(100);

/// How long a reader or writer waits for another process.
pub const BUSY_WAIT: Duration = Duration::from_secs(5);

/// `None` when the file is missing and that is no error (`required` is what to say otherwise).
pub fn open_to_read(path: &Path, required: Result<()>) -> Result<Option<Connection>> {
    if !path.exists() {
        return required.map(|()| None);
    }
    refuse_folder(path)?;
    let connection = Connection::open_with_flags(path, flags_to_read(path))
        .with_context(|| format!("cannot open the database `{}`", path.display()))?;
    connection.busy_timeout(BUSY_SLICE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(Some(connection))
}

/// SQLite only says that it cannot open it.
pub fn refuse_folder(path: &Path) -> Result<(), Failure> {
    if !path.is_dir() {
        return Ok(());
    }
    let path = path.to_string_lossy();
    let (from, to) = (shell_quoted(&path), shell_quoted(&format!("{path}.folder")));
    Err(Failure::refused(format!(
        "`{path}` is a folder, and a SQLite database is a file"
    ))
    .hint(format!(
        "move it away, then run the command again: mv {from} {to}"
    )))
}

/// Read-only, but where that would not do: a journal that a crashed program
/// left is rolled back by whoever comes next, and a reader that may not write
/// cannot; and a WAL database that nobody has open gets a `-wal` file that such
/// a reader cannot take away again. A `-wal` with content is left to its owner:
/// the last one to close moves it into the database if it may write.
fn flags_to_read(path: &Path) -> OpenFlags {
    let side = |suffix: &str| {
        let mut side = path.as_os_str().to_owned();
        side.push(suffix);
        std::fs::metadata(side).map_or(0, |metadata| metadata.len())
    };
    let writable = path
        .metadata()
        .is_ok_and(|metadata| !metadata.permissions().readonly());
    let access = if writable && (side("-journal") > 0 || side("-wal") == 0) {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// A file that nobody else has open and that will not change: no lock, no `-wal`.
pub fn open_unchanging(path: &Path) -> Result<Connection> {
    Connection::open_with_flags(
        uri_of_unchanging(path),
        OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI,
    )
    .with_context(|| format!("cannot open `{}`", path.display()))
}

pub fn uri_of_unchanging(path: &Path) -> String {
    let encoded = percent_encoding::percent_encode(
        path.as_os_str().as_encoded_bytes(),
        percent_encoding::NON_ALPHANUMERIC,
    );
    format!("file:{encoded}?immutable=1")
}

/// What to look for in a file.
pub struct Look<'a> {
    /// sqlx's table.
    pub history: &'a str,
    pub fingerprints: bool,
}

/// Rows of all tables and the history, in one read transaction: its own, or the
/// one that has begun.
pub fn contents(connection: &Connection, look: &Look) -> Result<Contents> {
    // Not even a count begins without the collation of the key that it walks along. No order
    // is asked for, so any collation will do; and what is checked was checked before.
    connection
        .collation_needed(|connection, name| connection.create_collation(name, str::cmp))
        .context("cannot stand in for the application's collations")?;
    let transaction = connection
        .is_autocommit()
        .then(|| connection.unchecked_transaction())
        .transpose()
        .context("cannot begin to read")?;
    let mut tables = Vec::new();
    for (name, kind) in tables_of(connection).context("cannot read the schema")? {
        let is_wanted = look.fingerprints && kind != "virtual";
        let fingerprint = is_wanted.then(|| fingerprint::of_table(connection, &name));
        let fingerprint = fingerprint
            .transpose()
            .with_context(|| format!("cannot read the rows of table `{name}`"))?;
        match count(connection, &name) {
            Ok(rows) => tables.push(TableRows {
                schema: "main".into(),
                kind: RelationKind::Table,
                name,
                rows,
                fingerprint,
            }),
            // A virtual table may refuse to be read as a whole (contentless FTS5), or
            // need a module that only the application has. Its shadow tables are copied.
            Err(_) if kind == "virtual" => {}
            Err(error) => {
                return Err(error).context(format!("cannot count the rows of table `{name}`"));
            }
        }
    }
    tables.sort();
    let applied = history(connection, look.history)?;
    let relations = describe::relations(connection)?;
    drop(transaction);
    Ok(Contents {
        tables,
        large_objects: None,
        applied,
        history_table: Some(look.history.to_owned()),
        relations,
    })
}

fn tables_of(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    // `pragma_table_list` opens every view as well, and fails with a broken one.
    let virtual_or_not = "CASE WHEN sql LIKE 'create virtual%' THEN 'virtual' ELSE 'table' END";
    let sql = format!(
        "SELECT name, {virtual_or_not} FROM sqlite_schema \
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

pub fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM main.{}", quoted(table));
    connection
        .query_row(&sql, [], |row| row.get::<_, i64>(0))
        .map(|rows| rows.unsigned_abs())
}

/// A table's name as the schema has it, of one as it stands in SQL, with its schema or without.
pub fn bare_name(name: &str) -> String {
    let mut part = String::new();
    let mut letters = name.trim().chars().peekable();
    while let Some(letter) = letters.next() {
        let close = match letter {
            '.' => {
                part.clear();
                continue;
            }
            '[' => ']',
            '"' | '`' => letter,
            _ => {
                part.push(letter);
                continue;
            }
        };
        while let Some(inside) = letters.next() {
            if inside == close && (close == ']' || letters.next_if_eq(&close).is_none()) {
                break;
            }
            part.push(inside);
        }
    }
    part
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// sqlx's table; empty when there is none.
pub fn history(connection: &Connection, bookkeeping: &str) -> Result<Vec<AppliedMigration>> {
    let context = || format!("cannot read the migration history in `{bookkeeping}`");
    let sql = format!(
        "SELECT version, description, lower(hex(checksum)), success \
         FROM {bookkeeping} ORDER BY version"
    );
    let mut statement = match connection.prepare(&sql) {
        Err(error) if is_missing_table(&error) => return Ok(Vec::new()),
        prepared => prepared.with_context(context)?,
    };
    let rows = statement.query_map([], |row| {
        Ok(AppliedMigration {
            version: row.get(0)?,
            description: row.get(1)?,
            checksum: row.get(2)?,
            success: row.get(3)?,
        })
    });
    rows.and_then(Iterator::collect).with_context(context)
}

fn is_missing_table(error: &rusqlite::Error) -> bool {
    error.to_string().contains("no such table")
}

/// Up to this size indexes are compared with their tables, row by row. On a
/// large file that takes longer than all the rest of a backup, and a copy has
/// the indexes of its original, right or wrong: there only pages and records
/// are read, all of them.
const COMPARE_INDEXES_BYTES: i64 = 64 << 20;

/// Everything that SQLite finds wrong with the file, the first few lines of it.
/// The same for a backup and for its restore: what one lets pass the other takes.
///
/// An index over a collation or function that only the application knows cannot
/// be checked here. That is no finding: the copy is exact, page by page.
pub fn integrity_problems(connection: &Connection) -> Result<Vec<String>> {
    match check(connection) {
        Err(error) if is_of_the_application(&error) => Ok(Vec::new()),
        lines => Ok(lines?.into_iter().filter(|line| line != "ok").collect()),
    }
}

fn check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let size: i64 = connection.query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get(0),
    )?;
    let mut statement = connection.prepare(if size <= COMPARE_INDEXES_BYTES {
        "PRAGMA main.integrity_check(10)"
    } else {
        "PRAGMA main.quick_check(10)"
    })?;
    let lines = statement.query_map([], |row| row.get(0))?;
    lines.collect()
}

pub fn is_of_the_application(error: &rusqlite::Error) -> bool {
    let words = error.to_string();
    [
        "no such collation sequence",
        "unknown function",
        "no such function",
    ]
    .iter()
    .any(|known| words.contains(known))
}

/// Does `work` again while another process holds a lock, for a bounded time;
/// between the tries a signal is seen.
pub fn patiently<T>(interrupt: &Interrupt, mut work: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + BUSY_WAIT;
    loop {
        match work() {
            Err(error) if is_busy(&error) => interrupt.check()?,
            Err(error) if is_damaged(&error) => {
                let failure = Failure::unexpected("SQLite cannot read the database file");
                return Err(error.context(failure.hint("cargo xtask db restore latest")));
            }
            done => return done,
        }
        if Instant::now() >= deadline {
            return Err(copy::locked(BUSY_WAIT));
        }
    }
}

/// Stops a long statement when a signal comes.
pub fn interruptibly<T>(
    connection: &Connection,
    interrupt: &Interrupt,
    work: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let handle = connection.get_interrupt_handle();
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Ends when `done` is dropped.
            while is_done.recv_timeout(BUSY_SLICE) == Err(RecvTimeoutError::Timeout) {
                if interrupt.is_raised() {
                    handle.interrupt();
                }
            }
        });
        let worked = work(connection);
        drop(done);
        interrupt.check()?;
        worked
    })
}

fn is_busy(error: &anyhow::Error) -> bool {
    let code = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code());
    matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Whether the file is one that SQLite cannot make sense of.
pub fn is_damaged(error: &anyhow::Error) -> bool {
    let code = error.chain().find_map(|cause| match cause.downcast_ref()? {
        rusqlite::Error::SqliteFailure(failure, _) => Some(failure.code),
        _ => None,
    });
    matches!(
        code,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
    )
}
