//! `pg_dump` on an exported snapshot; rows are counted in that same snapshot
//! while the dump streams.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::Utc;
use sqlx::{Executor, PgConnection};
use xshell::cmd;

use super::Postgres;
use super::connect::{self, Libpq};
use super::{inspect, programs};
use crate::engine::Dumped;
use crate::engine::pump::pump;
use crate::tool::{self, Pipes, Running};
use crate::values::database::{Contents, DatabaseFacts};
use crate::values::failure::Failure;
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
    libpq: Libpq,
    program: tool::Program,
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
    let shell = tool::shell()?;
    let Snapshot {
        name,
        libpq,
        program,
        ..
    } = &snapshot;
    let (path, dbname) = (&program.path, &libpq.dbname);
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --format=custom --compress=0 --no-password --snapshot={name}
            --lock-wait-timeout={LOCK_WAIT} --dbname={dbname}"
    ));
    let mut running = Running::start(command, Pipes::Stdout, postgres.interrupt())?;
    let mut stdout = running.take_stdout()?;

    progress.begin("dump", Some(snapshot.estimate));
    let (pumped, counted) = std::thread::scope(|scope| {
        // Dropping its end of the pipe when it fails also ends pg_dump.
        let pumping = scope.spawn(move || pump(&mut stdout, sink, progress, postgres.interrupt()));
        let counted = postgres.runtime.block_on(count(postgres, name));
        if counted.is_err() {
            running.kill();
        }
        (pumping.join(), counted)
    });
    progress.end();
    let pumped = pumped.map_err(|_| Failure::unexpected("the dumping thread panicked"))?;
    postgres.interrupt().check()?;
    pumped.context("cannot store what `pg_dump` wrote")?;
    let contents = match (counted, running.wait()) {
        (Ok(contents), Ok(())) => contents,
        // When pg_dump was ended because of the counting, the counting says why.
        (Err(error), _) => return Err(error),
        (_, Err(error)) => return Err(error),
    };
    Ok(Dumped {
        taken_at: snapshot.taken_at,
        facts: snapshot.facts,
        contents,
        dump_tool: snapshot.program.version.clone(),
    })
}

async fn take_snapshot(postgres: &Postgres, staging: &Path) -> Result<Snapshot> {
    let mut connected = connect::connect(&postgres.url).await?;
    let program = programs::find("pg_dump", connected.server_major, 0)?;
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
        libpq,
        program,
    })
}

async fn count(postgres: &Postgres, snapshot: &str) -> Result<Contents> {
    let mut session = connect::connect(&postgres.url).await?.session;
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT {}",
        connect::literal(snapshot)
    );
    session
        .execute(sqlx::AssertSqlSafe(begin))
        .await
        .context("cannot use the snapshot")?;
    let tables = inspect::root_tables(&mut session).await?;
    let large_objects = Some(inspect::large_objects(&mut session).await?);
    let applied = inspect::history(&mut session, &postgres.bookkeeping.table).await?;
    session
        .execute("COMMIT")
        .await
        .context("cannot end reading")?;
    let tables = inspect::count_rows(&mut session, &tables, Some(snapshot)).await?;
    Ok(Contents {
        tables,
        large_objects,
        applied,
    })
}
