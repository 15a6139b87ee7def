//! Keeps other writers out from the safety backup to the restore, so that no
//! row that somebody was told is written is in neither of the two.

use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

use super::Sqlite;
use super::inspect;
use crate::values::failure::Failure;

/// The live file, held against writers. Dropping it lets them go on.
pub enum Hold {
    /// WAL mode: a write transaction that others can read beside. It must end
    /// before the copy can begin; `watch` tells whether somebody slipped in.
    Wal {
        holder: Connection,
        watch: Connection,
        version: i64,
    },
    /// The other modes: a lock of this connection that outlives transactions.
    /// It reads for the safety backup and takes the copy itself.
    Exclusive(Connection),
}

/// `is_right`, if any, has its say before the lock is taken, and then what
/// others write between the two refuses it.
pub fn hold(sqlite: &Sqlite, mut is_right: Option<&mut dyn FnMut() -> Result<()>>) -> Result<Hold> {
    inspect::patiently(sqlite.interrupt(), || {
        let holder = open(sqlite)?;
        let mut then = None;
        if let Some(is_right) = &mut is_right {
            then = Some(version(&holder)?);
            is_right()?;
        }
        let mode: String = holder
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .context("cannot read the journal mode")?;
        if mode != "wal" {
            holder
                .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")
                .context("cannot keep other writers out")?;
            then.map_or(Ok(()), |then| require_unchanged(&holder, then))?;
            return Ok(Hold::Exclusive(holder));
        }
        holder
            .execute_batch("BEGIN IMMEDIATE")
            .context("cannot keep other writers out")?;
        then.map_or(Ok(()), |then| require_unchanged(&holder, then))?;
        let watch = open(sqlite)?;
        let version = version(&watch)?;
        Ok(Hold::Wal {
            holder,
            watch,
            version,
        })
    })
}

/// Refuses when somebody has written since the hold began.
pub fn require_unchanged(watch: &Connection, then: i64) -> Result<()> {
    if version(watch)? == then {
        return Ok(());
    }
    Err(
        Failure::refused("somebody wrote to the database just before it was to be replaced")
            .hint("stop the program that uses the database, then run the command again")
            .into(),
    )
}

fn version(connection: &Connection) -> Result<i64> {
    connection
        .query_row("PRAGMA data_version", [], |row| row.get(0))
        .context("cannot ask whether the database was written to")
}

fn open(sqlite: &Sqlite) -> Result<Connection> {
    inspect::refuse_folder(&sqlite.path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&sqlite.path, flags).context("cannot open it")?;
    connection.busy_handler(Some(ask_often))?;
    Ok(connection)
}

/// A writer that never rests leaves the lock free for microseconds only, and
/// SQLite's own waiting sleeps past them.
pub fn ask_often(times: i32) -> bool {
    std::thread::sleep(Duration::from_micros(200));
    times < 500
}
