//! Reads SQL as text into a new file, as [`super::text`] wrote it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::Sqlite;
use super::text::LINES;
use crate::durable;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::{VerifiedDump, is_unreadable};

/// SQLite takes no statement that is longer.
const MAX_STATEMENT_BYTES: u64 = 1_000_000_000;

pub fn load(
    sqlite: &Sqlite,
    dump: &VerifiedDump,
    beside: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    durable::create_private_file(beside)
        .with_context(|| format!("cannot create `{}`", beside.display()))?;
    let connection = Connection::open(beside).context("cannot open the new file")?;
    // Nobody reads this file before it is whole, and a crash throws it away.
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    let unpacked = dump.unpack().context("cannot read the dump")?;
    let mut from = BufReader::with_capacity(1 << 20, unpacked);
    progress.begin("restore", Some(dump.manifest().dump.raw_size_bytes));
    let ran = run_all(sqlite, &connection, &mut from, progress);
    progress.end();
    ran.map_err(|error| match is_unreadable(&error) {
        true => Failure::untrusted(error.root_cause().to_string()).into(),
        false => error,
    })?;
    let closed = connection.close().map_err(|(_, error)| error);
    closed.context("cannot close the new file")?;
    from.into_inner()
        .finish()
        .map_err(|error| Failure::untrusted(error.to_string()).into())
}

fn run_all(
    sqlite: &Sqlite,
    connection: &Connection,
    from: &mut impl BufRead,
    progress: &dyn Progress,
) -> Result<()> {
    let mut at = 0;
    loop {
        sqlite.interrupt().check()?;
        let mut statement = String::new();
        if !read_line(from, &mut statement)? {
            return Ok(());
        }
        at += 1;
        if let Some(lines) = statement.strip_prefix(LINES) {
            let lines: u64 = lines.trim_end().parse().unwrap_or(0);
            statement.clear();
            for _ in 0..lines {
                if !read_line(from, &mut statement)? {
                    break;
                }
                at += 1;
            }
        }
        let ran = connection.execute_batch(&statement);
        ran.with_context(|| Failure::untrusted(format!("SQLite does not take its line {at}")))?;
        progress.advance(statement.len() as u64);
    }
}

/// Whether there was one.
fn read_line(from: &mut impl BufRead, to: &mut String) -> Result<bool> {
    let room = MAX_STATEMENT_BYTES.saturating_sub(to.len() as u64);
    let read = from
        .take(room)
        .read_line(to)
        .context("cannot read the dump")?;
    Ok(read > 0)
}
