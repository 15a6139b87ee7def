//! `pg_dump` on an exported snapshot; rows are counted in that same snapshot
//! while it dumps: one session into a stream, or several into a folder.

use std::io::{self, Write};
use std::path::Path;
use std::process::ChildStdin;

use anyhow::{Context, Result};
use chrono::Utc;
use sqlx::{Executor, PgConnection};
use xshell::cmd;

use super::Postgres;
use super::connect::{self, Connected, Libpq};
use super::plain::End;
use super::select::{self, Held};
use super::{folder, globals, inspect, platform, policies, programs, target, wal};
use crate::engine::Dumped;
use crate::engine::pump::pump;
use crate::tool::{self, Pipes, Program, Running};
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::manifest::{DumpFormat, Wal};
use crate::values::progress::Progress;
use count::Counted;

mod count;
pub mod members;

/// How long `pg_dump` waits for a table that a schema change has locked.
pub const LOCK_WAIT: &str = "60s";

pub struct Snapshot {
    /// Keeps the snapshot alive until the dump is done.
    _session: PgConnection,
    pub name: String,
    pub facts: DatabaseFacts,
    taken_at: chrono::DateTime<Utc>,
    estimate: u64,
    wal: Option<Wal>,
    /// Schemas that the dump does without.
    pub platform: Vec<String>,
    /// sqlx's table, which rows alone do without unless it is named: what they go into has its own.
    pub history_left_out: Option<String>,
    warnings: Vec<String>,
    pub libpq: Libpq,
    pub pg_dump: Program,
    pub pg_restore: Program,
}

pub fn dump(
    postgres: &Postgres,
    sink: &mut (dyn Write + Send),
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Dumped> {
    dump_all(postgres, sink, staging, progress).map_err(policies::explain)
}

fn dump_all(
    postgres: &Postgres,
    sink: &mut (dyn Write + Send),
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Dumped> {
    let snapshot = postgres
        .runtime
        .block_on(take_snapshot(postgres, staging))?;
    let selection = &postgres.selection;
    let held = match selection.kind.is_full() && snapshot.platform.is_empty() {
        true => None,
        false => Some(select::held(postgres, &snapshot)?),
    };
    let globals = match selection.globals {
        true => Some(globals::read(postgres, &snapshot)?),
        false => None,
    };
    let held = held.as_ref();
    let (counted, format) = match postgres.dump_jobs() {
        1 => {
            let counted = in_one_stream(postgres, &snapshot, held, sink, progress)?;
            let format = match selection.kind.plain {
                true => DumpFormat::Plain,
                false => DumpFormat::Stream,
            };
            (counted, format)
        }
        jobs => {
            let folder = staging.join("dump");
            let counted = into_folder(postgres, &snapshot, held, jobs, &folder, progress)?;
            pack_and_check(postgres, &snapshot, &folder, sink, progress)?;
            (counted, DumpFormat::Directory)
        }
    };
    let mut warnings = snapshot.warnings;
    warnings.extend(counted.warnings);
    Ok(Dumped {
        taken_at: snapshot.taken_at,
        facts: snapshot.facts,
        contents: counted.contents,
        kind: counted.kind,
        platform: counted.platform,
        has_history: counted.has_history,
        globals,
        wal: snapshot.wal,
        dump_tool: snapshot.pg_dump.version,
        format,
        warnings,
    })
}

fn in_one_stream(
    postgres: &Postgres,
    snapshot: &Snapshot,
    held: Option<&Held>,
    sink: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Counted> {
    let mut dumping = start_dump(postgres, snapshot)?;
    let mut checking = match postgres.selection.kind.plain {
        true => None,
        false => Some(start_check(postgres, snapshot, None)?),
    };
    let mut stdout = dumping.take_stdout()?;
    let mut tee = Tee {
        sink,
        check: checking.as_mut().map(Running::take_stdin).transpose()?,
        end: End::default(),
    };

    progress.begin("dump", Some(snapshot.estimate));
    let (pumped, counted) = std::thread::scope(|scope| {
        // Dropping its end of the pipe when it fails also ends pg_dump.
        let pumping = scope.spawn(move || {
            let pumped = pump(&mut stdout, &mut tee, progress, postgres.interrupt());
            pumped.map(|()| tee.end)
        });
        let counted = postgres
            .runtime
            .block_on(count::count(postgres, snapshot, held));
        if counted.is_err() {
            dumping.kill();
        }
        (pumping.join(), counted)
    });
    progress.end();
    let pumped = pumped.map_err(|_| Failure::unexpected("the dumping thread panicked"))?;
    postgres.interrupt().check()?;
    let end = pumped.context("cannot store what `pg_dump` wrote")?;
    // When pg_dump was ended because of the counting, the counting says why.
    let counted = counted?;
    dumping.wait()?;
    match checking {
        Some(checking) => checking
            .wait()
            .context("what `pg_dump` wrote cannot be read by `pg_restore`")?,
        None => end.require_complete()?,
    }
    Ok(counted)
}

fn into_folder(
    postgres: &Postgres,
    snapshot: &Snapshot,
    held: Option<&Held>,
    jobs: u8,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Counted> {
    let dumping = start_folder_dump(postgres, snapshot, jobs, folder)?;
    progress.begin("dump", None);
    let counted = postgres
        .runtime
        .block_on(count::count(postgres, snapshot, held));
    if counted.is_err() {
        // Killed, it would leave its workers to write into a folder that is removed.
        dumping.ask_to_end();
    }
    let dumped = dumping.wait();
    progress.end();
    postgres.interrupt().check()?;
    // When pg_dump was ended because of the counting, the counting says why.
    let counted = counted?;
    dumped?;
    Ok(counted)
}

/// Both read the same files at once.
fn pack_and_check(
    postgres: &Postgres,
    snapshot: &Snapshot,
    folder: &Path,
    sink: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    let checking = start_check(postgres, snapshot, Some(folder))?;
    let interrupt = postgres.interrupt();
    let packed = folder::pack(folder, snapshot.taken_at, sink, progress, interrupt);
    interrupt.check()?;
    packed.context("cannot store what `pg_dump` wrote")?;
    checking
        .wait()
        .context("what `pg_dump` wrote cannot be read by `pg_restore`")?;
    std::fs::remove_dir_all(folder).context("cannot remove the folder of `pg_dump`")
}

fn start_dump(postgres: &Postgres, snapshot: &Snapshot) -> Result<Running> {
    let shell = tool::shell()?;
    let Snapshot { name, libpq, .. } = snapshot;
    let (path, dbname) = (&snapshot.pg_dump.path, &libpq.dbname);
    let kind = &postgres.selection.kind;
    let mut more = select::arguments(kind, snapshot);
    let format = match kind.plain {
        true => {
            more.extend(select::plain_arguments(kind));
            "plain"
        }
        false => "custom",
    };
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --format={format} --compress=0 --no-password --snapshot={name}
            --lock-wait-timeout={LOCK_WAIT} --dbname={dbname} {more...}"
    ));
    Running::start(command, Pipes::Stdout, postgres.interrupt())
}

/// The folder is thrown away when it is packed: nothing of it need be flushed.
fn start_folder_dump(
    postgres: &Postgres,
    snapshot: &Snapshot,
    jobs: u8,
    folder: &Path,
) -> Result<Running> {
    let shell = tool::shell()?;
    let Snapshot { name, libpq, .. } = snapshot;
    let (path, dbname) = (&snapshot.pg_dump.path, &libpq.dbname);
    let jobs = jobs.to_string();
    let more = select::arguments(&postgres.selection.kind, snapshot);
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --format=directory --jobs={jobs} --compress=0 --no-sync --no-password
            --snapshot={name} --lock-wait-timeout={LOCK_WAIT} --dbname={dbname} --file={folder}
            {more...}"
    ));
    Running::start(command, Pipes::None, postgres.interrupt())
}

/// Reads the dump as a restore would: one that ends early is no dump, whatever
/// the exit code of `pg_dump` says. A stream is read while it is written.
fn start_check(postgres: &Postgres, snapshot: &Snapshot, folder: Option<&Path>) -> Result<Running> {
    let shell = tool::shell()?;
    let path = &snapshot.pg_restore.path;
    let command = cmd!(shell, "{path} --file=/dev/null {folder...}");
    let command = command.quiet().env("LC_ALL", "C");
    let pipes = folder.map_or(Pipes::Stdin, |_| Pipes::None);
    Running::start(command, pipes, postgres.interrupt())
}

/// Writes to the sink and to the check.
struct Tee<'a> {
    sink: &'a mut (dyn Write + Send),
    check: Option<ChildStdin>,
    end: End,
}

impl Write for Tee<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(buffer)?;
        self.end.see(&buffer[..written]);
        if let Some(check) = &mut self.check
            && check.write_all(&buffer[..written]).is_err()
        {
            // It has read enough, or found a fault: its exit code says which.
            self.check = None;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

async fn take_snapshot(postgres: &Postgres, staging: &Path) -> Result<Snapshot> {
    let mut connected = connect::connect(&postgres.url).await?;
    let (pg_dump, pg_restore) = programs::find_both(connected.server_major)?;
    let facts = inspect::facts(&mut connected).await?;
    let estimate = inspect::size_bytes(&mut connected.session).await?;
    let libpq = Libpq::new(
        &postgres.url,
        &connected.options,
        &connected.database,
        &[
            "statement_timeout=0",
            "idle_in_transaction_session_timeout=0",
        ],
        staging,
    )?;
    let warnings = left_out(&mut connected).await?;
    let mut session = connected.session;
    session
        .execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .await
        .context("cannot begin to read")?;
    let name: String = sqlx::query_scalar("SELECT pg_export_snapshot()")
        .fetch_one(&mut session)
        .await
        .context("cannot export a snapshot")?;
    let taken_at = Utc::now();
    let platform = platform::schemas(&mut session, postgres).await?;
    let kind = &postgres.selection.kind;
    let history_left_out = match kind.has_definitions() || !kind.tables.is_empty() {
        true => None,
        false => inspect::find_history(&mut session, &postgres.bookkeeping.table).await?,
    };
    let mut wal = wal::position(&mut session).await?;
    if let (Some(wal), Some(name)) = (&mut wal, &postgres.moment) {
        wal.restore_point = wal::mark(&postgres.url, name).await;
    }
    Ok(Snapshot {
        _session: session,
        name,
        facts,
        taken_at,
        estimate,
        wal,
        platform,
        history_left_out,
        warnings,
        libpq,
        pg_dump,
        pg_restore,
    })
}

/// What `pg_dump` leaves out and only mentions on stderr.
async fn left_out(connected: &mut Connected) -> Result<Vec<String>> {
    let is_superuser: bool =
        sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            .fetch_one(&mut connected.session)
            .await
            .context("cannot ask what the role may do")?;
    if is_superuser {
        return Ok(Vec::new());
    }
    let names = target::subscriptions(&mut connected.session, &connected.database).await?;
    let line = |name| {
        format!("the subscription `{name}` is not in the dump: only a superuser's backup has those")
    };
    Ok(names.into_iter().map(line).collect())
}
