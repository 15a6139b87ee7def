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
use super::{describe, folder, inspect, programs, target};
use crate::engine::Dumped;
use crate::engine::pump::pump;
use crate::tool::{self, Pipes, Program, Running};
use crate::values::database::{Contents, DatabaseFacts};
use crate::values::failure::Failure;
use crate::values::manifest::DumpFormat;
use crate::values::progress::Progress;

/// How long `pg_dump` waits for a table that a schema change has locked.
const LOCK_WAIT: &str = "60s";

struct Snapshot {
    /// Keeps the snapshot alive until the dump is done.
    _session: PgConnection,
    name: String,
    facts: DatabaseFacts,
    taken_at: chrono::DateTime<Utc>,
    estimate: u64,
    warnings: Vec<String>,
    libpq: Libpq,
    pg_dump: Program,
    pg_restore: Program,
}

pub fn dump(
    postgres: &Postgres,
    sink: &mut (dyn Write + Send),
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Dumped> {
    let snapshot = postgres
        .runtime
        .block_on(take_snapshot(postgres, staging))?;
    let (contents, format) = match postgres.dump_jobs() {
        1 => {
            let contents = in_one_stream(postgres, &snapshot, sink, progress)?;
            (contents, DumpFormat::Stream)
        }
        jobs => {
            let folder = staging.join("dump");
            let contents = into_folder(postgres, &snapshot, jobs, &folder, progress)?;
            pack_and_check(postgres, &snapshot, &folder, sink, progress)?;
            (contents, DumpFormat::Directory)
        }
    };
    Ok(Dumped {
        taken_at: snapshot.taken_at,
        facts: snapshot.facts,
        contents,
        dump_tool: snapshot.pg_dump.version,
        format,
        warnings: snapshot.warnings,
    })
}

fn in_one_stream(
    postgres: &Postgres,
    snapshot: &Snapshot,
    sink: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Contents> {
    let mut dumping = start_dump(postgres, snapshot)?;
    let mut checking = start_check(postgres, snapshot, None)?;
    let mut stdout = dumping.take_stdout()?;
    let mut tee = Tee {
        sink,
        check: Some(checking.take_stdin()?),
    };

    progress.begin("dump", Some(snapshot.estimate));
    let (pumped, counted) = std::thread::scope(|scope| {
        // Dropping its end of the pipe when it fails also ends pg_dump.
        let pumping =
            scope.spawn(move || pump(&mut stdout, &mut tee, progress, postgres.interrupt()));
        let counted = postgres.runtime.block_on(count(postgres, &snapshot.name));
        if counted.is_err() {
            dumping.kill();
        }
        (pumping.join(), counted)
    });
    progress.end();
    let pumped = pumped.map_err(|_| Failure::unexpected("the dumping thread panicked"))?;
    postgres.interrupt().check()?;
    pumped.context("cannot store what `pg_dump` wrote")?;
    // When pg_dump was ended because of the counting, the counting says why.
    let contents = counted?;
    dumping.wait()?;
    checking
        .wait()
        .context("what `pg_dump` wrote cannot be read by `pg_restore`")?;
    Ok(contents)
}

fn into_folder(
    postgres: &Postgres,
    snapshot: &Snapshot,
    jobs: u8,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Contents> {
    let dumping = start_folder_dump(postgres, snapshot, jobs, folder)?;
    progress.begin("dump", None);
    let counted = postgres.runtime.block_on(count(postgres, &snapshot.name));
    if counted.is_err() {
        // Killed, it would leave its workers to write into a folder that is removed.
        dumping.ask_to_end();
    }
    let dumped = dumping.wait();
    progress.end();
    postgres.interrupt().check()?;
    // When pg_dump was ended because of the counting, the counting says why.
    let contents = counted?;
    dumped?;
    Ok(contents)
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
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --format=custom --compress=0 --no-password --snapshot={name}
            --lock-wait-timeout={LOCK_WAIT} --dbname={dbname}"
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
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --format=directory --jobs={jobs} --compress=0 --no-sync --no-password
            --snapshot={name} --lock-wait-timeout={LOCK_WAIT} --dbname={dbname} --file={folder}"
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
}

impl Write for Tee<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(buffer)?;
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
    Ok(Snapshot {
        _session: session,
        name,
        facts,
        taken_at,
        estimate,
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

async fn count(postgres: &Postgres, snapshot: &str) -> Result<Contents> {
    let mut session = connect::connect(&postgres.url).await?.session;
    session
        .execute(sqlx::AssertSqlSafe(inspect::begin_in(Some(snapshot))))
        .await
        .context("cannot use the snapshot")?;
    let tables = inspect::tables(&mut session).await?;
    let large_objects = Some(inspect::large_objects(&mut session).await?);
    let history_table = inspect::find_history(&mut session, &postgres.bookkeeping.table).await?;
    let applied = inspect::read_history(&mut session, history_table.as_deref()).await?;
    session
        .execute("COMMIT")
        .await
        .context("cannot end reading")?;
    let relations = describe::relations(&mut session, Some(snapshot)).await?;
    let tables = inspect::count_rows(
        &mut session,
        &tables,
        postgres.takes_fingerprints,
        Some(snapshot),
    )
    .await?;
    Ok(Contents {
        tables,
        large_objects,
        applied,
        history_table,
        relations,
    })
}
