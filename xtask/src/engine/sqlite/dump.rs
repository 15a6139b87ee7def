//! A SQLite dump: a page-by-page copy of one moment, checked, then streamed.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::hold::{self, Hold};
use super::inspect::{self, BUSY_WAIT};
use super::{Sqlite, copy};
use crate::engine::pump::pump;
use crate::engine::{Dumped, Engine};
use crate::interrupt::Interrupt;
use crate::values::database::Contents;
use crate::values::failure::Failure;
use crate::values::manifest::DumpFormat;
use crate::values::progress::Progress;

pub fn dump(
    sqlite: &mut Sqlite,
    sink: &mut (dyn Write + Send),
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Dumped> {
    let copied = staging.join("copy.db");
    let estimate = sqlite.prepare_dump()?.raw_size_bytes;
    let taken_at = copy_of_one_moment(sqlite, &copied, estimate, progress)?;

    // Packing and checking read the same file at once; both are the time of a backup.
    let interrupt = sqlite.interrupt();
    let (checked, packed) = std::thread::scope(|scope| {
        let packing = scope.spawn(|| pack(&copied, sink, progress, interrupt));
        let checked = check(&copied, &sqlite.bookkeeping.table, interrupt);
        (checked, packing.join())
    });
    packed.map_err(|_| Failure::unexpected("the packing thread panicked"))??;
    let contents = checked?;
    std::fs::remove_file(&copied).context("cannot remove the staged copy")?;
    Ok(Dumped {
        taken_at,
        facts: sqlite.facts()?,
        contents,
        dump_tool: format!("SQLite {}", rusqlite::version()),
        format: DumpFormat::Stream,
        warnings: Vec::new(),
    })
}

/// A read transaction pins one moment for all steps of the copy. A writer in
/// WAL mode goes on meanwhile; in the other modes it waits.
fn copy_of_one_moment(
    sqlite: &Sqlite,
    copied: &Path,
    estimate: u64,
    progress: &dyn Progress,
) -> Result<DateTime<Utc>> {
    let opened;
    let source = match &sqlite.held {
        Some(Hold::Exclusive(holder)) => holder,
        _ => {
            opened = inspect::patiently(sqlite.interrupt(), || open_source(sqlite))?;
            &opened
        }
    };
    inspect::patiently(sqlite.interrupt(), || begin_to_read(source))?;
    let taken_at = Utc::now();
    progress.begin("copy", Some(estimate));
    let done = copy_to_new_file(source, copied, progress, sqlite.interrupt());
    progress.end();
    source
        .execute_batch("COMMIT")
        .context("cannot end reading")?;
    done.map(|()| taken_at)
}

fn begin_to_read(source: &Connection) -> Result<()> {
    if source.is_autocommit() {
        source
            .execute_batch("BEGIN")
            .context("cannot begin to read")?;
    }
    source
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .context("cannot begin to read")
}

/// Writable when it may be: a journal that a crash left must be played back before reading.
fn open_source(sqlite: &Sqlite) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags |= match (sqlite.read_only, sqlite.create) {
        (true, _) => OpenFlags::SQLITE_OPEN_READ_ONLY,
        (false, false) => OpenFlags::SQLITE_OPEN_READ_WRITE,
        (false, true) => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    if sqlite.create
        && let Some(parent) = sqlite.path.parent()
    {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create the folder `{}`", parent.display()))?;
    }
    let source = Connection::open_with_flags(&sqlite.path, flags).context("cannot open it")?;
    source.busy_handler(Some(hold::ask_often))?;
    // A backup reads; when to move the WAL into the file is the application's business.
    source.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(source)
}

fn copy_to_new_file(
    source: &Connection,
    to: &Path,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut copied = Connection::open(to).context("cannot create the staged copy")?;
    // Nobody reads this file before it is whole, and a crash throws it away.
    copied.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    copy::copy(source, &mut copied, BUSY_WAIT, progress, interrupt)?;
    copied
        .close()
        .map_err(|(_, error)| error)
        .context("cannot close the staged copy")
}

fn pack(
    copied: &Path,
    sink: &mut (dyn Write + Send),
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut file = File::open(copied).context("cannot open the staged copy")?;
    progress.begin("pack", file.metadata().ok().map(|metadata| metadata.len()));
    let done = pump(&mut file, sink, progress, interrupt);
    progress.end();
    done
}

/// What the copy holds; refuses a copy that SQLite itself finds damaged,
/// because nobody would want to restore it.
pub(super) fn check(copied: &Path, bookkeeping: &str, interrupt: &Interrupt) -> Result<Contents> {
    let connection = inspect::open_unchanging(copied)?;
    inspect::interruptibly(&connection, interrupt, |connection| {
        let problems = inspect::integrity_problems(connection).context("cannot check the copy")?;
        if problems.is_empty() {
            return inspect::contents(connection, bookkeeping);
        }
        let problems = problems.join("; ");
        Err(
            Failure::untrusted(format!("SQLite finds the database damaged: {problems}"))
                .hint("cargo xtask db restore latest --force")
                .into(),
        )
    })
}
