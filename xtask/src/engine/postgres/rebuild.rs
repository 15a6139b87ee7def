//! Restore by building a new database, comparing it, and swapping names.

use std::path::Path;
use std::process::ChildStdin;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use xshell::cmd;

use super::connect::{self, Connected, Libpq, literal, quoted};
use super::target::Target;
use super::{Postgres, inspect, programs, properties, swap};
use crate::engine::pump::{pump, refuse_unreadable};
use crate::engine::{Kept, Restored};
use crate::tool::{self, Pipes, Running};
use crate::values::database::DatabaseProperties;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// PostgreSQL cuts longer names without a word.
const MAX_NAME_BYTES: usize = 63;

/// The comment of a database that is being built. It is how the next run knows
/// that a database was made by this tool and abandoned by a crash.
const BEING_BUILT: &str = "xtask-db: being restored; may be dropped when no session uses it";

/// Nothing here waits for the disk: the swap's own commit flushes all before it.
const SETTINGS: [&str; 3] = [
    "default_transaction_read_only=off",
    "synchronous_commit=off",
    "statement_timeout=0",
];

pub fn restore(
    postgres: &mut Postgres,
    mut target: Target,
    dump: &VerifiedDump,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let properties = properties_of(dump)?;
    postgres
        .runtime
        .block_on(drop_abandoned(postgres, &mut target))?;
    let beside = postgres
        .runtime
        .block_on(free_name(&mut target, "restore"))?;
    let built = build(
        postgres,
        &mut target,
        dump,
        &beside,
        &properties,
        staging,
        progress,
    );
    let swapped = built.and_then(|(guard, warnings)| {
        // Our own session in the database is one that a rename would wait for.
        if let Some(lock) = postgres.lock.take() {
            postgres
                .runtime
                .block_on(async { Ok(lock.close().await?) })?;
        }
        let swap = swap_in(postgres, &mut target, &beside, guard, &properties);
        // Bounded, and half of it must not be left to a signal.
        let kept = postgres.runtime.block_on_to_the_end(swap)?;
        Ok(Restored { kept, warnings })
    });
    if swapped.is_err() {
        let dropped = drop_database(&mut target.maintenance, &beside);
        if let Err(error) = postgres.runtime.block_on_to_the_end(dropped) {
            return swapped.context(format!(
                "the half-restored database `{beside}` could not be dropped ({error}); \
                 the next restore drops it"
            ));
        }
    }
    swapped
}

/// A database that is whole and compared, still under its own name and mark.
/// The session that comes with it keeps other runs from taking it for abandoned.
fn build(
    postgres: &Postgres,
    target: &mut Target,
    dump: &VerifiedDump,
    beside: &str,
    properties: &DatabaseProperties,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<(PgConnection, Vec<String>)> {
    let runtime = &postgres.runtime;
    let guard = runtime.block_on(create(
        postgres,
        &mut target.maintenance,
        beside,
        properties,
    ))?;
    fill_and_compare(postgres, target, dump, beside, staging, progress)?;
    let session = &mut target.maintenance.session;
    let warnings = runtime.block_on(properties::apply(session, beside, properties))?;
    Ok((guard, warnings))
}

async fn swap_in(
    postgres: &Postgres,
    target: &mut Target,
    beside: &str,
    guard: PgConnection,
    properties: &DatabaseProperties,
) -> Result<Option<Kept>> {
    let kept = match target.now {
        Some(_) => Some(free_name(target, "before").await?),
        None => None,
    };
    let comment = properties::comment_statement(beside, properties);
    swap::swap(
        &postgres.url,
        target,
        beside,
        kept.as_deref(),
        &comment,
        guard,
    )
    .await
}

fn properties_of(dump: &VerifiedDump) -> Result<DatabaseProperties> {
    let properties = dump.manifest().database.properties.clone();
    properties.ok_or_else(|| {
        Failure::untrusted("the manifest does not say how to create the database").into()
    })
}

/// A name such as `shop_restore_20260123143052` that no database has, cut so
/// that its ending is whole. Two restores in one second get two names.
async fn free_name(target: &mut Target, purpose: &str) -> Result<String> {
    let taken: Vec<String> = sqlx::query_scalar("SELECT datname::text FROM pg_database")
        .fetch_all(&mut target.maintenance.session)
        .await
        .context("cannot list the databases")?;
    let mut at = Utc::now();
    loop {
        let name = name_beside(&target.database, purpose, at);
        if !taken.contains(&name) {
            return Ok(name);
        }
        at += TimeDelta::seconds(1);
    }
}

fn name_beside(database: &str, purpose: &str, at: DateTime<Utc>) -> String {
    let ending = format!("_{purpose}_{}", at.format("%Y%m%d%H%M%S"));
    let mut end = database.len().min(MAX_NAME_BYTES - ending.len());
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &database[..end])
}

/// Created, entered, then marked: a database that carries the mark and that
/// nobody is in was abandoned.
async fn create(
    postgres: &Postgres,
    maintenance: &mut Connected,
    name: &str,
    properties: &DatabaseProperties,
) -> Result<PgConnection> {
    let session = &mut maintenance.session;
    let sql = properties::create_statement(name, properties, maintenance.server_major);
    // The role or the server may be read-only by default.
    session
        .execute("SET default_transaction_read_only = off")
        .await?;
    session
        .execute(AssertSqlSafe(sql))
        .await
        .map_err(|error| missing(error.into()))
        .with_context(|| format!("cannot create the database `{name}` to restore into"))?;
    let guard = connect::connect_to(&postgres.url, Some(name))
        .await?
        .session;
    let mark = format!(
        "COMMENT ON DATABASE {} IS {}",
        quoted(name),
        literal(BEING_BUILT)
    );
    session
        .execute(AssertSqlSafe(mark))
        .await
        .with_context(|| format!("cannot mark the database `{name}`"))?;
    Ok(guard)
}

async fn drop_database(maintenance: &mut Connected, name: &str) -> Result<()> {
    let force = if maintenance.server_major >= 13 {
        " WITH (FORCE)"
    } else {
        ""
    };
    let sql = format!("DROP DATABASE IF EXISTS {}{force}", quoted(name));
    maintenance.session.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

/// Drops what a crash left: databases that carry our mark and that nobody is
/// in, and those that were created and not yet marked, which are still empty.
async fn drop_abandoned(postgres: &Postgres, target: &mut Target) -> Result<()> {
    let found: Vec<(String, bool)> = sqlx::query_as(
        "SELECT d.datname::text, c.comment IS NOT NULL \
         FROM pg_database d, \
           LATERAL (SELECT shobj_description(d.oid, 'pg_database') AS comment) c \
         WHERE d.datname ~ '_restore_[0-9]{14}$' \
           AND (c.comment = $1 OR (c.comment IS NULL \
             AND starts_with($2, regexp_replace(d.datname, '_restore_[0-9]{14}$', '')))) \
           AND pg_has_role(current_user, d.datdba, 'USAGE') \
           AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)",
    )
    .bind(BEING_BUILT)
    .bind(&target.database)
    .fetch_all(&mut target.maintenance.session)
    .await
    .context("cannot look for half-restored databases")?;
    for (name, is_marked) in found {
        if !is_marked && !is_empty(postgres, &name).await? {
            continue;
        }
        drop_database(&mut target.maintenance, &name)
            .await
            .with_context(|| format!("cannot drop the half-restored database `{name}`"))?;
    }
    Ok(())
}

async fn is_empty(postgres: &Postgres, database: &str) -> Result<bool> {
    let mut connected = connect::connect_to(&postgres.url, Some(database)).await?;
    let objects: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE oid >= 16384")
        .fetch_one(&mut connected.session)
        .await
        .with_context(|| format!("cannot look into the database `{database}`"))?;
    let closed = connected.session.close().await;
    closed.with_context(|| format!("cannot leave the database `{database}`"))?;
    Ok(objects == 0)
}

fn fill_and_compare(
    postgres: &Postgres,
    target: &Target,
    dump: &VerifiedDump,
    beside: &str,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let program = programs::find_pg_restore(dump, target.maintenance.server_major)?;
    let options = &target.maintenance.options;
    let libpq = Libpq::new(&postgres.url, options, beside, &SETTINGS, staging)?;
    let shell = tool::shell()?;
    let (path, dbname) = (&program.path, &libpq.dbname);
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --exit-on-error --no-password --dbname={dbname}"
    ));
    let mut running = Running::start(command, Pipes::Stdin, postgres.interrupt())?;
    let stdin = running.take_stdin()?;
    progress.begin("restore", Some(dump.manifest().dump.raw_size_bytes));
    let fed = feed(postgres, dump, stdin, progress);
    progress.end();
    postgres.interrupt().check()?;
    let fed = refuse_unreadable(fed)?;
    // pg_restore says why it stopped reading; that we could not write any more says nothing.
    running.wait().map_err(explain)?;
    fed?;
    progress.begin("compare", None);
    let compared = postgres.runtime.block_on(compare(postgres, dump, beside));
    progress.end();
    compared
}

/// A role or tablespace is the server's and not the backup's: it must be there before.
fn missing(error: anyhow::Error) -> anyhow::Error {
    let said = error.root_cause().to_string();
    let is_missing = ["role \"", "tablespace \""]
        .iter()
        .any(|what| said.contains(what))
        && said.contains("does not exist");
    if !is_missing {
        return error;
    }
    let failure = Failure::refused("the server lacks a role or tablespace that the backup needs");
    error.context(failure.hint("create it first, a role with: createuser --no-login NAME"))
}

/// pg_restore speaks of its input file when the dump itself is at fault.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let step = "cannot restore the dump into a new database";
    let error = missing(error);
    if error.root_cause().to_string().contains("input file") {
        error.context(Failure::untrusted(step))
    } else {
        error.context(step)
    }
}

fn feed(
    postgres: &Postgres,
    dump: &VerifiedDump,
    mut stdin: ChildStdin,
    progress: &dyn Progress,
) -> Result<()> {
    let mut unpacked = dump.unpack().context("cannot read the dump")?;
    pump(&mut unpacked, &mut stdin, progress, postgres.interrupt())?;
    drop(stdin);
    unpacked
        .finish()
        .map_err(|error| Failure::untrusted(error.to_string()).into())
}

/// What was built against what the manifest says was dumped; then statistics,
/// so that the first queries are planned as before.
async fn compare(postgres: &Postgres, dump: &VerifiedDump, beside: &str) -> Result<()> {
    let mut connected = connect::connect_to(&postgres.url, Some(beside)).await?;
    let session = &mut connected.session;
    let expected = dump.manifest().contents();
    let mut found = inspect::contents(session, &postgres.bookkeeping.table).await?;
    if let Some(table) = &expected.history_table {
        // By its full name: the new database has no search path of its own yet.
        found.applied = inspect::read_history(session, Some(table)).await?;
    }
    let differences = expected.differences(&found);
    if !differences.is_empty() {
        return Err(Failure::untrusted(format!(
            "the restored database is not what the manifest says: {}",
            differences.join("; ")
        ))
        .into());
    }
    session
        .execute("SET default_transaction_read_only = off")
        .await?;
    session
        .execute("ANALYZE")
        .await
        .context("cannot gather statistics")?;
    connected
        .session
        .close()
        .await
        .context("cannot end the comparison")
}
