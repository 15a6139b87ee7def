//! Restore by building a new database, comparing it, and swapping names.

use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::connect::{self, Connected, literal, quoted};
use super::fill::{self, Filling};
use super::target::{self, Target};
use super::{Postgres, inspect, properties, swap};
use crate::engine::{Kept, Restored};
use crate::values::database::DatabaseProperties;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// PostgreSQL cuts longer names without a word.
const MAX_NAME_BYTES: usize = 63;

/// From this version on, `DROP DATABASE` can end the sessions that are in it.
const HAS_FORCE: u32 = 13;

/// The comment of a database that is being built. It is how the next run knows
/// that a database was made by this tool and abandoned by a crash.
const BEING_BUILT: &str = "xtask-db: being restored; may be dropped when no session uses it";

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
        let dropped = drop_database(postgres, &mut target.maintenance, &beside);
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
    let filling = Filling {
        postgres,
        dump,
        beside,
        staging,
        progress,
    };
    let maintenance = &mut target.maintenance;
    let mut guard = runtime.block_on(create(postgres, maintenance, beside, properties))?;
    let mut warnings = match filling.as_dumped(maintenance) {
        Ok(()) => Vec::new(),
        Err(error) if fill::may_lack_names(&error) => {
            runtime.block_on(async {
                guard.close().await?;
                drop_database(postgres, maintenance, beside).await
            })?;
            guard = runtime.block_on(create(postgres, maintenance, beside, properties))?;
            filling.with_names_in_reach(maintenance, error)?
        }
        Err(error) => return Err(error),
    };
    progress.begin("compare", None);
    let compared = runtime.block_on(compare(postgres, dump, beside));
    progress.end();
    compared?;
    let session = &mut maintenance.session;
    warnings.extend(runtime.block_on(properties::apply(session, beside, properties))?);
    warnings.extend(runtime.block_on(async { Ok(analyze(postgres, beside).await) })?);
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
        .map_err(|error| fill::missing(error.into()))
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

async fn drop_database(postgres: &Postgres, maintenance: &mut Connected, name: &str) -> Result<()> {
    let subscriptions = target::subscriptions(&mut maintenance.session, name).await?;
    if !subscriptions.is_empty() {
        drop_subscriptions(postgres, name, &subscriptions).await?;
    }
    let force = if maintenance.server_major >= HAS_FORCE {
        " WITH (FORCE)"
    } else {
        ""
    };
    let sql = format!("DROP DATABASE IF EXISTS {}{force}", quoted(name));
    maintenance.session.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

/// They came with the dump, disabled and connected to nothing. The slot is the live database's.
async fn drop_subscriptions(postgres: &Postgres, database: &str, names: &[String]) -> Result<()> {
    let mut connected = connect::connect_to(&postgres.url, Some(database)).await?;
    for name in names {
        let name = quoted(name);
        for what in [
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {name}"),
        ] {
            connected.session.execute(AssertSqlSafe(what)).await?;
        }
    }
    connected.session.close().await?;
    Ok(())
}

/// Drops what a crash left: databases that carry our mark and that no run of
/// this tool is in (a `pg_restore` that outlived its run may be), and those
/// that were created and not yet marked, which are still empty.
async fn drop_abandoned(postgres: &Postgres, target: &mut Target) -> Result<()> {
    let found: Vec<(String, bool)> = sqlx::query_as(
        "SELECT d.datname::text, c.comment IS NOT NULL \
         FROM pg_database d, \
           LATERAL (SELECT shobj_description(d.oid, 'pg_database') AS comment) c \
         WHERE d.datname ~ '_restore_[0-9]{14}$' \
           AND (c.comment = $1 OR (c.comment IS NULL \
             AND starts_with($2, regexp_replace(d.datname, '_restore_[0-9]{14}$', '')))) \
           AND pg_has_role(current_user, d.datdba, 'USAGE') \
           AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid \
             AND (c.comment IS NULL OR NOT $3 OR a.application_name LIKE 'xtask-db %'))",
    )
    .bind(BEING_BUILT)
    .bind(&target.database)
    .bind(target.maintenance.server_major >= HAS_FORCE)
    .fetch_all(&mut target.maintenance.session)
    .await
    .context("cannot look for half-restored databases")?;
    for (name, is_marked) in found {
        if !is_marked && !is_empty(postgres, &name).await? {
            continue;
        }
        drop_database(postgres, &mut target.maintenance, &name)
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

/// What was built against what the manifest says was dumped.
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
    let closed = connected.session.close().await;
    closed.context("cannot end the comparison")
}

/// Statistics, so that the first queries are planned as before. Without them
/// the database is slower and as right: an index whose function does not find
/// its names, or a limit of connections, is no reason to refuse it.
async fn analyze(postgres: &Postgres, beside: &str) -> Option<String> {
    let analyze = async {
        let mut connected = connect::connect_to(&postgres.url, Some(beside)).await?;
        let session = &mut connected.session;
        session
            .execute("SET default_transaction_read_only = off")
            .await?;
        session.execute("ANALYZE").await?;
        anyhow::Ok(connected.session.close().await?)
    };
    let error = analyze.await.err()?;
    Some(format!(
        "no statistics were gathered ({error:#}); run ANALYZE"
    ))
}
