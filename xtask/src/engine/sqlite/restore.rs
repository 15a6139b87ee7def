//! A SQLite restore: unpacked beside, checked, compared, then copied into the
//! live file in one transaction that every open connection sees.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

use super::damaged::{copy_aside, damage, move_aside};
use super::dump::check;
use super::hold::{self, Hold};
use super::inspect::{self, BUSY_SLICE, BUSY_WAIT, Look};
use super::spill::spill_into;
use super::{Sqlite, copy, load};
use crate::durable;
use crate::engine::pump::{pump, refuse_unreadable};
use crate::engine::{RestoreWay, Restored};
use crate::interrupt::Interrupted;
use crate::values::database::Contents;
use crate::values::failure::Failure;
use crate::values::manifest::DumpFormat;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// How long a restore waits for other processes to let go.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn prepare(sqlite: &Sqlite, dump: &VerifiedDump) -> Result<RestoreWay> {
    let mut way = RestoreWay {
        description: "copied into the live file in one transaction; open connections see it".into(),
        sessions: Vec::new(),
        warnings: Vec::new(),
        obstacles: Vec::new(),
        loses_late_rows: false,
        keeps_unreadable: false,
    };
    if !sqlite.path.exists() {
        way.description = "the file is missing and will be created".into();
    } else if let Some(why) = damage(sqlite) {
        way.warnings.push(format!(
            "the live file cannot be read ({why}) and will be moved aside"
        ));
        way.keeps_unreadable = true;
    }
    if dump.is_encrypted() {
        way.warnings.push(
            "it lies unencrypted in a private folder of the vault until it is restored".into(),
        );
    }
    Ok(way)
}

pub fn restore(
    sqlite: &mut Sqlite,
    dump: &VerifiedDump,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let beside = staging.join("restored.db");
    unpack_and_compare(sqlite, dump, &beside, progress)?;
    let damage = damage(sqlite);
    let kept = match &damage {
        Some(_) => Some(move_aside(&sqlite.path)?),
        None if sqlite.keeps_replaced && sqlite.path.exists() => {
            Some(copy_aside(sqlite, progress)?)
        }
        None => None,
    };
    let copied = copy_into_live(sqlite, dump, &beside, progress);
    match (copied, &kept) {
        (Ok(()), _) => {}
        (Err(error), Some(kept)) if damage.is_some() => {
            return Err(Failure::after_change(format!(
                "the damaged file was moved to `{}`, and the backup did not take its place: {error:#}",
                kept.name
            ))
            .hint("free what stood in the way, then run the command again")
            .into());
        }
        (Err(error), kept) => {
            // The live file is as it was: nobody needs a copy of it.
            kept.iter()
                .for_each(|kept| drop(std::fs::remove_file(&kept.name)));
            return Err(error);
        }
    }
    Ok(Restored {
        kept,
        warnings: Vec::new(),
    })
}

/// A file that holds what the manifest says, and that SQLite finds nothing wrong with.
pub fn unpack_and_compare(
    sqlite: &Sqlite,
    dump: &VerifiedDump,
    beside: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    unpack(sqlite, dump, beside, progress)?;
    compare(sqlite, dump, |look| check(beside, sqlite, look))?;
    Ok(())
}

/// The same of a dump of this very run: SQLite looked at the same bytes for damage
/// when it was taken. What was found is what the manifest says.
pub fn unpack_fresh(
    sqlite: &Sqlite,
    dump: &VerifiedDump,
    beside: &Path,
    progress: &dyn Progress,
) -> Result<Contents> {
    unpack(sqlite, dump, beside, progress)?;
    compare(sqlite, dump, |look| {
        let connection = inspect::open_unchanging(beside)?;
        inspect::interruptibly(&connection, sqlite.interrupt(), |connection| {
            inspect::contents(connection, look)
        })
    })
}

fn copy_into_live(
    sqlite: &mut Sqlite,
    dump: &VerifiedDump,
    beside: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let source = inspect::open_unchanging(beside)?;
    if sqlite.held.is_none() {
        sqlite.held = Some(hold_new(sqlite)?);
    }
    let (mut live, watch) = match sqlite.held.take() {
        Some(Hold::Exclusive(holder)) => (holder, None),
        Some(Hold::Wal {
            holder,
            watch,
            version,
        }) => {
            let live = open_live(sqlite)?;
            // From here to the first step of the copy others could write; the watch tells.
            drop(holder);
            (live, Some((watch, version)))
        }
        None => anyhow::bail!("the file is not held"),
    };
    let watch = match watch {
        // Leaving WAL mode needs the file for one connection alone.
        Some((watch, version)) if page_size(&source)? != page_size(&live)? => {
            hold::require_unchanged(&watch, version)?;
            None
        }
        watch => watch,
    };
    inspect::patiently(sqlite.interrupt(), || adopt_page_size(&source, &live))?;
    let is_right = || match &watch {
        Some((watch, version)) => hold::require_unchanged(watch, *version),
        None => Ok(()),
    };
    progress.begin("restore", Some(dump.manifest().dump.raw_size_bytes));
    let interrupt = sqlite.interrupt();
    let copied = copy::copy_if(&source, &mut live, PATIENCE, progress, interrupt, &is_right);
    progress.end();
    copied?;
    // The restored pages may still be in the WAL. They are committed; this only saves space.
    let _ = live.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(())
}

/// Of a file that was missing, or was moved aside: an application may have made it since.
fn hold_new(sqlite: &Sqlite) -> Result<Hold> {
    drop(open_live(sqlite)?);
    let held = hold::hold(sqlite, None)?;
    let (Hold::Exclusive(holder) | Hold::Wal { holder, .. }) = &held;
    let objects: i64 = holder
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .context("cannot look whether it is empty")?;
    if objects == 0 {
        return Ok(held);
    }
    Err(
        Failure::refused("the database was missing, and somebody has made it meanwhile")
            .hint("run the command again: what is there now is then backed up first")
            .into(),
    )
}

fn unpack(
    sqlite: &Sqlite,
    dump: &VerifiedDump,
    beside: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let needed = dump.manifest().dump.raw_size_bytes;
    let folder = beside.parent().unwrap_or(Path::new("."));
    let free = durable::free_bytes(folder).context("cannot ask for free space")?;
    if free < needed {
        return Err(Failure::refused(format!(
            "`{}` has {} MiB free, and unpacking the dump needs {} MiB",
            folder.display(),
            free >> 20,
            (needed >> 20) + 1
        ))
        .hint("free some space, then run the command again")
        .into());
    }
    if dump.is_encrypted() {
        spill_into(folder)?;
    }
    if dump.manifest().dump.format == DumpFormat::Plain {
        return load::load(sqlite, dump, beside, progress);
    }
    let mut file: File = durable::create_private_file(beside)
        .with_context(|| format!("cannot create `{}`", beside.display()))?;
    let mut unpacked = dump.unpack().context("cannot read the dump")?;
    progress.begin("unpack", Some(needed));
    let pumped = pump(&mut unpacked, &mut file, progress, sqlite.interrupt());
    progress.end();
    refuse_unreadable(pumped)?.context("cannot unpack the dump")?;
    unpacked
        .finish()
        .map_err(|error| Failure::untrusted(error.to_string()))?;
    Ok(())
}

/// Refuses when what was unpacked is not what the manifest describes.
fn compare(
    sqlite: &Sqlite,
    dump: &VerifiedDump,
    look_at: impl FnOnce(&Look) -> Result<Contents>,
) -> Result<Contents> {
    let mut expected = dump.manifest().contents();
    let then = dump.manifest().migrations.table.as_deref();
    let look = Look {
        history: then.unwrap_or(&sqlite.bookkeeping.table),
        fingerprints: expected.has_fingerprints(),
    };
    let found = look_at(&look).map_err(|error| {
        if error.is::<Interrupted>() {
            return error;
        }
        Failure::untrusted(format!(
            "the dump cannot be read by SQLite: {}",
            error.root_cause()
        ))
        .into()
    })?;
    expected.large_objects = None;
    let differences = expected.differences(&found);
    if differences.is_empty() {
        return Ok(found);
    }
    Err(Failure::untrusted(format!(
        "the dump does not hold what its manifest says: {}",
        differences.join("; ")
    ))
    .into())
}

fn open_live(sqlite: &Sqlite) -> Result<Connection> {
    inspect::refuse_folder(&sqlite.path)?;
    if let Some(parent) = sqlite.path.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create the folder `{}`", parent.display()))?;
    }
    let live = Connection::open_with_flags(
        &sqlite.path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .context("cannot open it")?;
    live.busy_timeout(BUSY_SLICE)?;
    Ok(live)
}

fn page_size(connection: &Connection) -> Result<i64> {
    connection
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .context("cannot read the page size")
}

/// A page size cannot change in WAL mode. Leaving that mode changes no data,
/// and the copy brings the mode of the backup with it.
fn adopt_page_size(source: &Connection, live: &Connection) -> Result<()> {
    let mode: String = live
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .context("cannot read the journal mode")?;
    if mode != "wal" || page_size(source)? == page_size(live)? {
        return Ok(());
    }
    let mode: String = live
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .context("cannot leave WAL mode to change the page size")?;
    if mode == "delete" {
        Ok(())
    } else {
        Err(copy::locked(BUSY_WAIT))
    }
}
