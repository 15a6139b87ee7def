//! A SQLite dump: the file of one moment, or an exact copy, packed and checked.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::Utc;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::hold::{self, Hold};
use super::inspect::{self, BUSY_WAIT, Look};
use super::live_file::{self, LiveFile};
use super::{Sqlite, copy, damaged, text};
use crate::engine::pump::pump;
use crate::engine::{Dumped, Engine};
use crate::interrupt::Interrupt;
use crate::values::database::Contents;
use crate::values::failure::Failure;
use crate::values::kind::Kind;
use crate::values::manifest::DumpFormat;
use crate::values::progress::Progress;

pub fn dump(
    sqlite: &mut Sqlite,
    sink: &mut (dyn Write + Send),
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Dumped> {
    if !sqlite.selection.kind.is_full() {
        return text::dump(sqlite, sink, staging, progress);
    }
    let estimate = sqlite.prepare_dump()?.raw_size_bytes;
    let copied = Copied {
        path: staging.join("copy.db"),
        estimate,
    };
    let mut warnings = Vec::new();
    let (taken_at, contents) = match &sqlite.held {
        Some(Hold::Exclusive(holder)) => {
            inspect::patiently(sqlite.interrupt(), || begin_to_read(holder))?;
            let taken_at = Utc::now();
            let contents = match sqlite.stays_off_the_disk {
                true => alone(sqlite, holder, &copied, sink, progress)?,
                false => by_way_of_a_copy(sqlite, holder, &copied, sink, progress)?,
            };
            (taken_at, contents)
        }
        _ => {
            let source = begun_settled(sqlite)?;
            let taken_at = Utc::now();
            let contents = match live_beside(sqlite, &source)? {
                Some(live) => as_it_stands(sqlite, &source, live, sink, progress)?,
                None if sqlite.stays_off_the_disk && !live_file::is_wal(&source)? => {
                    alone(sqlite, &source, &copied, sink, progress)?
                }
                None => {
                    warnings.extend(sqlite.stays_off_the_disk.then(lay_on_the_disk));
                    by_way_of_a_copy(sqlite, source, &copied, sink, progress)?
                }
            };
            (taken_at, contents)
        }
    };
    Ok(Dumped {
        taken_at,
        facts: sqlite.facts()?,
        contents,
        dump_tool: format!("SQLite {}", rusqlite::version()),
        format: DumpFormat::Stream,
        kind: Kind::default(),
        has_history: true,
        globals: None,
        platform: None,
        wal: None,
        warnings,
    })
}

fn lay_on_the_disk() -> String {
    "the write-ahead log of the database could not be emptied, so a copy of it lay unencrypted in the \
     vault, in a private folder, while it was packed; it is removed"
        .into()
}

/// How often the log is emptied, where others fill it at the same time.
const SETTLINGS: u32 = 5;

/// Where no copy may lie on the disk, with a log that has been emptied, if others let us.
fn begun_settled(sqlite: &Sqlite) -> Result<Connection> {
    // A checkpoint looks to a watch like somebody else's commit; it has had its own before.
    let may_settle = sqlite.stays_off_the_disk && sqlite.watch.is_none() && sqlite.held.is_none();
    for _ in 0..SETTLINGS {
        let source = begun(sqlite)?;
        if !may_settle || !live_file::is_wal(&source)? || live_file::has_empty_log(&source)? {
            return Ok(source);
        }
        drop(source);
        empty_log(sqlite);
    }
    begun(sqlite)
}

/// Moves what is in the log into the file, where others let us: the file alone is then the
/// database, and needs no copy to be read.
pub(super) fn empty_log(sqlite: &Sqlite) {
    if !sqlite.stays_off_the_disk || sqlite.read_only || !sqlite.path.exists() {
        return;
    }
    // Where it cannot be done, there is a copy, and that is said.
    if let Ok(connection) = open_source(sqlite) {
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

/// Where the copy will lie, and about how large it will be.
struct Copied {
    path: PathBuf,
    estimate: u64,
}

/// A read transaction pins one moment for all steps. A writer in WAL mode goes
/// on meanwhile; in the other modes it waits.
pub(super) fn begun(sqlite: &Sqlite) -> Result<Connection> {
    let source = inspect::patiently(sqlite.interrupt(), || open_source(sqlite))?;
    inspect::patiently(sqlite.interrupt(), || begin_to_read(&source))?;
    Ok(source)
}

/// The live file, read beside `source` in the same moment. `None` where somebody
/// would have to wait for its reader, or where the log is a part of the moment.
fn live_beside(sqlite: &Sqlite, source: &Connection) -> Result<Option<LiveFile>> {
    if !live_file::is_wal(source)? {
        return Ok(None);
    }
    let reader = begun(sqlite)?;
    // Looked at when both have begun, it is true of both: they see the file, and only the file.
    if !live_file::has_empty_log(source)? || !live_file::has_empty_log(&reader)? {
        return Ok(None);
    }
    LiveFile::new(reader)
}

/// Nobody waits for a reader, and the file stays as it is: no copy is needed.
fn as_it_stands(
    sqlite: &Sqlite,
    source: &Connection,
    mut live: LiveFile,
    sink: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Contents> {
    let (interrupt, size_bytes) = (sqlite.interrupt(), live.size_bytes());
    let packing = move || {
        pack(&mut live, size_bytes, sink, progress, interrupt)?;
        live.require_unchanged()
    };
    let checking = || check_connection(source, sqlite, &sqlite.look());
    at_once(packing, checking)
}

/// With a rollback journal: whoever writes waits until all is packed and checked, one after the
/// other, because a second connection would wait for a writer that waits for the first.
fn alone(
    sqlite: &Sqlite,
    source: &Connection,
    copied: &Copied,
    sink: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Contents> {
    let Some(mut live) = LiveFile::new(source)? else {
        // It has no pages yet, and so nothing that a copy could show.
        return by_way_of_a_copy(sqlite, source, copied, sink, progress);
    };
    let (interrupt, size_bytes) = (sqlite.interrupt(), live.size_bytes());
    let done = pack(&mut live, size_bytes, sink, progress, interrupt)
        .and_then(|()| live.require_unchanged())
        .and_then(|()| check_connection(source, sqlite, &sqlite.look()));
    // Also when that failed: a restore may go on without a backup, and copies into this connection.
    let ended = source.execute_batch("COMMIT");
    let contents = done?;
    ended.context("cannot end reading")?;
    Ok(contents)
}

/// The moment ends with the copy, and whoever waits for it can go on.
fn by_way_of_a_copy<C: Borrow<Connection>>(
    sqlite: &Sqlite,
    source: C,
    copied: &Copied,
    sink: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Contents> {
    let interrupt = sqlite.interrupt();
    let Copied {
        path: copied,
        estimate,
    } = copied;
    progress.begin("copy", Some(*estimate));
    let done = copy_to_new_file(source.borrow(), copied, progress, interrupt);
    progress.end();
    let ended = source.borrow().execute_batch("COMMIT");
    ended.context("cannot end reading")?;
    drop(source);
    done?;

    let packing = || {
        let mut file = File::open(copied).context("cannot open the staged copy")?;
        let size_bytes = file.metadata().context("cannot see the staged copy")?.len();
        pack(&mut file, size_bytes, sink, progress, interrupt)
    };
    let checking = || check(copied, sqlite, &sqlite.look());
    let contents = at_once(packing, checking)?;
    std::fs::remove_file(copied).context("cannot remove the staged copy")?;
    Ok(contents)
}

/// Packing and checking read the same file at once; both are the time of a backup.
fn at_once(
    packing: impl FnOnce() -> Result<()> + Send,
    checking: impl FnOnce() -> Result<Contents>,
) -> Result<Contents> {
    let (checked, packed) = std::thread::scope(|scope| {
        let packing = scope.spawn(packing);
        let checked = checking();
        (checked, packing.join())
    });
    packed.map_err(|_| Failure::unexpected("the packing thread panicked"))??;
    checked
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
    inspect::refuse_folder(&sqlite.path)?;
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

pub(super) fn copy_to_new_file(
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
    from: &mut dyn Read,
    size_bytes: u64,
    sink: &mut (dyn Write + Send),
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    progress.begin("pack", Some(size_bytes));
    let done = pump(from, sink, progress, interrupt);
    progress.end();
    done
}

/// What the copy holds.
pub(super) fn check(copied: &Path, sqlite: &Sqlite, look: &Look) -> Result<Contents> {
    let connection = inspect::open_unchanging(copied)?;
    check_connection(&connection, sqlite, look)
}

/// What the database holds; refuses one that SQLite itself finds damaged,
/// because nobody would want to restore it.
fn check_connection(connection: &Connection, sqlite: &Sqlite, look: &Look) -> Result<Contents> {
    inspect::interruptibly(connection, sqlite.interrupt(), |connection| {
        let problems = inspect::integrity_problems(connection).context("cannot check it")?;
        if problems.is_empty() {
            return inspect::contents(connection, look);
        }
        let what = format!("SQLite finds the database damaged: {}", problems.join("; "));
        let hint = damaged::way_to_mend(&sqlite.path, &problems);
        Err(Failure::untrusted(what).hint(hint).into())
    })
}
