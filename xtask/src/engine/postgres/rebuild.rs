//! Restore by building a new database, comparing it, and swapping names.

use std::path::Path;

use anyhow::{Context, Result};
use futures_util::future::join;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::connect::{self, Connected, literal, quoted};
use super::fill::{self, Filling, Order};
use super::folder::Input;
use super::target::Target;
use super::{Postgres, fingerprint, inspect, left_beside, lock, properties, swap};
use crate::engine::{Kept, Restored};
use crate::values::database::DatabaseProperties;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

pub fn restore(
    postgres: &mut Postgres,
    mut target: Target,
    input: &Input,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let properties = properties_of(input.dump)?;
    let dropped = postgres
        .runtime
        .block_on(left_beside::drop_abandoned(postgres, &mut target))?;
    let beside = postgres
        .runtime
        .block_on(left_beside::free_name(&mut target, left_beside::RESTORE))?;
    let built = build(
        postgres,
        &mut target,
        input,
        &beside,
        &properties,
        staging,
        progress,
    );
    let swapped = built.and_then(|(guard, mut warnings)| {
        lock::require(&postgres.runtime, lock::session(&mut postgres.lock))?;
        // Our own session in the database is one that a rename would wait for.
        if let Some(lock) = postgres.lock.take() {
            postgres
                .runtime
                .block_on(async { Ok(lock.session.close().await?) })?;
        }
        let swap = swap_in(postgres, &mut target, &beside, guard, &properties);
        // Bounded, and half of it must not be left to a signal.
        let kept = postgres.runtime.block_on_to_the_end(swap)?;
        warnings.extend(
            dropped
                .iter()
                .map(|name| format!("removed `{name}`, which a run that was cut short had left")),
        );
        Ok(Restored { kept, warnings })
    });
    if swapped.is_err() {
        let dropped = left_beside::drop_database(postgres, &mut target.maintenance, &beside);
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
pub fn build(
    postgres: &Postgres,
    target: &mut Target,
    input: &Input,
    beside: &str,
    properties: &DatabaseProperties,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<(PgConnection, Vec<String>)> {
    let runtime = &postgres.runtime;
    let filling = Filling {
        postgres,
        input,
        beside,
        staging,
        progress,
    };
    let maintenance = &mut target.maintenance;
    let schemas = &input.dump.manifest().kind.schemas_needed;
    let new = Newborn {
        name: beside,
        properties,
        schemas,
    };
    let mut guard = runtime.block_on(create(postgres, maintenance, &new))?;
    filling.lay_ground(maintenance)?;
    let mut filled = filling
        .as_dumped(maintenance, Order::Any)
        .map(|()| Vec::new());
    // What failed leaves a database that is filled in part: each try begins with a new one.
    if matches!(&filled, Err(error) if fill::may_depend_on_order(error)) {
        guard = runtime.block_on(anew(postgres, maintenance, &new, guard))?;
        filling.lay_ground(maintenance)?;
        let again = filling.as_dumped(maintenance, Order::OfTheDump);
        filled = again.map(|()| Vec::new());
    }
    let mut warnings = match filled {
        Err(error) if fill::may_lack_names(&error) => {
            guard = runtime.block_on(anew(postgres, maintenance, &new, guard))?;
            filling.lay_ground(maintenance)?;
            filling.with_names_in_reach(maintenance, error)?
        }
        filled => filled?,
    };
    input.make_room()?;
    progress.begin("compare", None);
    let session = &mut maintenance.session;
    let finished = runtime.block_on(finish(postgres, input.dump, session, beside, properties));
    progress.end();
    warnings.extend(finished?);
    Ok((guard, warnings))
}

/// Compares, and gathers statistics meanwhile: that changes no row. Returns
/// what could not be done; a difference is an error before all else.
async fn finish(
    postgres: &Postgres,
    dump: &VerifiedDump,
    session: &mut PgConnection,
    beside: &str,
    properties: &DatabaseProperties,
) -> Result<Vec<String>> {
    // Entered before the database gets its settings, which are not meant for counting;
    // the statistics are to be gathered with them.
    let counting = connect::connect_to(&postgres.url, Some(beside)).await?;
    let applied = properties::apply(session, beside, properties).await;
    // Both to their end: a database with a session at work in it cannot be dropped everywhere.
    let (compared, analyzed) = join(
        compare(postgres, dump, counting.session),
        analyze(postgres, beside),
    )
    .await;
    compared?;
    let mut warnings = applied?;
    warnings.extend(analyzed);
    Ok(warnings)
}

async fn swap_in(
    postgres: &Postgres,
    target: &mut Target,
    beside: &str,
    guard: PgConnection,
    properties: &DatabaseProperties,
) -> Result<Option<Kept>> {
    let kept = match target.now {
        Some(_) => Some(left_beside::free_name(target, left_beside::BEFORE).await?),
        None => None,
    };
    let newcomer = swap::Newcomer {
        name: beside,
        comment: properties.comment.as_deref(),
        guard: Some(guard),
        was_kept: false,
    };
    swap::swap(&postgres.url, target, newcomer, kept.as_deref()).await
}

pub fn properties_of(dump: &VerifiedDump) -> Result<DatabaseProperties> {
    let properties = dump.manifest().database.properties.clone();
    properties.ok_or_else(|| {
        Failure::untrusted("the manifest does not say how to create the database").into()
    })
}

/// A database that is to be made.
struct Newborn<'a> {
    name: &'a str,
    properties: &'a DatabaseProperties,
    /// That what comes into it is in, and does not make itself.
    schemas: &'a [String],
}

async fn anew(
    postgres: &Postgres,
    maintenance: &mut Connected,
    new: &Newborn<'_>,
    guard: PgConnection,
) -> Result<PgConnection> {
    guard.close().await?;
    left_beside::drop_database(postgres, maintenance, new.name).await?;
    create(postgres, maintenance, new).await
}

/// Created, entered, then marked: a database that carries the mark and that
/// nobody is in was abandoned.
async fn create(
    postgres: &Postgres,
    maintenance: &mut Connected,
    new: &Newborn<'_>,
) -> Result<PgConnection> {
    let Newborn {
        name, properties, ..
    } = *new;
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
    let mut guard = connect::connect_to(&postgres.url, Some(name))
        .await?
        .session;
    let mark = format!(
        "COMMENT ON DATABASE {} IS {}",
        quoted(name),
        literal(left_beside::BEING_BUILT)
    );
    session
        .execute(AssertSqlSafe(mark))
        .await
        .with_context(|| format!("cannot mark the database `{name}`"))?;
    if !new.schemas.is_empty() {
        // As above.
        guard
            .execute("SET default_transaction_read_only = off")
            .await?;
    }
    for schema in new.schemas {
        let sql = format!("CREATE SCHEMA {}", quoted(schema));
        guard
            .execute(AssertSqlSafe(sql))
            .await
            .with_context(|| format!("cannot create the schema `{schema}`"))?;
    }
    Ok(guard)
}

/// What was built against what the manifest says was dumped.
async fn compare(
    postgres: &Postgres,
    dump: &VerifiedDump,
    mut session: PgConnection,
) -> Result<()> {
    let mut expected = dump.manifest().contents();
    if let Some(platform) = &dump.manifest().platform {
        // Its tables have no rows here.
        platform
            .foreign_keys
            .iter()
            .for_each(|key| expected.lacks(key));
    }
    let table = &postgres.bookkeeping.table;
    let left_out = dump.manifest().platform_schemas();
    let fingerprints = expected.has_fingerprints();
    let mut found = inspect::contents(&mut session, table, fingerprints, left_out).await?;
    if let Some(table) = &expected.history_table {
        // By its full name: the new database has no search path of its own yet.
        found.applied = inspect::read_history(&mut session, Some(table)).await?;
    }
    let differences = expected.differences(&found);
    if !differences.is_empty() {
        let mut failure = Failure::untrusted(format!(
            "the restored database is not what the manifest says: {}",
            differences.join("; ")
        ));
        if expected.has_fingerprints() {
            let major = inspect::major(&mut session).await?;
            let then = &dump.manifest().database.server_version;
            failure.hint = fingerprint::across_versions(then, major);
        }
        return Err(failure.into());
    }
    let closed = session.close().await;
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
