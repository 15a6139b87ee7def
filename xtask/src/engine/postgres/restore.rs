//! Two ways to restore. Both build first and change the name's meaning last;
//! neither merges.

use std::path::Path;

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::connect::{self, Connected};
use super::{Postgres, in_place, inspect, programs, properties, rebuild};
use crate::engine::{RestoreWay, Restored};
use crate::tool;
use crate::values::database::{DatabaseFacts, DatabaseProperties};
use crate::values::database_url::PostgresUrl;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// Databases that exist everywhere and are not the one to be replaced.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// What a restore goes into.
pub struct Target {
    pub maintenance: Connected,
    pub database: String,
    /// `None` when the database does not exist.
    pub now: Option<DatabaseProperties>,
    /// May create, own and rename databases, this one included.
    can_rebuild: bool,
}

pub fn prepare(postgres: &Postgres, dump: &VerifiedDump) -> Result<RestoreWay> {
    postgres.runtime.block_on(async {
        let mut target = target(&postgres.url).await?;
        let major = target.maintenance.server_major;
        find_pg_restore(dump, major)?;
        if !target.can_rebuild {
            programs::find("psql", major, 0)?;
        }
        refuse_prepared_transactions(&mut target).await?;
        let sessions = sessions(&mut target.maintenance.session, &target.database).await?;
        let database = &target.database;
        let description = match (&target.now, target.can_rebuild) {
            (None, true) => format!("built beside, compared, then named `{database}`"),
            (Some(_), true) => format!(
                "built beside, compared, then swapped in by name; the present `{database}` is kept"
            ),
            (Some(_), false) => "in one transaction that first drops what you own there: \
                                 the role may not create databases"
                .into(),
            (None, false) => {
                return Err(Failure::refused(format!(
                    "the database `{database}` does not exist, and the role may not create it"
                ))
                .hint(format!(
                    "create it as an administrator: `createdb {database}`"
                ))
                .into());
            }
        };
        let mut warnings = Vec::new();
        let then = &dump.manifest().database.server_version;
        if tool::major_of(then) != Some(major) {
            let now = &target.maintenance.server_version;
            warnings.push(format!(
                "the backup was taken on PostgreSQL {then}, this is {now}"
            ));
        }
        Ok(RestoreWay {
            description,
            sessions,
            warnings,
        })
    })
}

pub fn restore(
    postgres: &mut Postgres,
    dump: &VerifiedDump,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let target = postgres.runtime.block_on(target(&postgres.url))?;
    if target.can_rebuild {
        rebuild::restore(postgres, target, dump, staging, progress)
    } else {
        in_place::restore(postgres, target, dump, staging, progress)
    }
}

/// The `pg_restore` that reads this dump and that this server understands.
pub fn find_pg_restore(dump: &VerifiedDump, server_major: u32) -> Result<tool::Program> {
    let written_by = tool::major_of(&dump.manifest().dump_tool).unwrap_or(0);
    programs::find("pg_restore", server_major, written_by)
}

pub async fn target(url: &PostgresUrl) -> Result<Target> {
    let (database, mut maintenance) = match connect::connect(url).await {
        Ok(live) => {
            let database = live.database.clone();
            (
                database.clone(),
                maintenance(url, &database, Some(live)).await?,
            )
        }
        Err(error) if connect::is_missing_database(&error) => {
            let database = missing_database_name(url)?;
            (database.clone(), maintenance(url, &database, None).await?)
        }
        Err(error) => return Err(error),
    };
    let now = properties::read(&mut maintenance, &database).await?;
    let can_rebuild = sqlx::query_scalar(
        "SELECT r.rolsuper OR (r.rolcreatedb AND NOT EXISTS ( \
           SELECT FROM pg_database d WHERE d.datname = $1 \
             AND NOT pg_has_role(current_user, d.datdba, 'USAGE'))) \
         FROM pg_roles r WHERE r.rolname = current_user",
    )
    .bind(&database)
    .fetch_one(&mut maintenance.session)
    .await
    .context("cannot ask what the role may do")?;
    Ok(Target {
        maintenance,
        database,
        now,
        can_rebuild,
    })
}

/// What the URL leads to, also when it leads to nothing yet.
pub async fn facts_of_target(url: &PostgresUrl) -> Result<DatabaseFacts> {
    match connect::connect(url).await {
        Ok(mut live) => inspect::facts(&mut live).await,
        Err(error) if connect::is_missing_database(&error) => {
            let database = missing_database_name(url)?;
            let mut maintenance = maintenance(url, &database, None).await?;
            inspect::facts_of(&mut maintenance, &database).await
        }
        Err(error) => Err(error),
    }
}

fn missing_database_name(url: &PostgresUrl) -> Result<String> {
    let no_host = Default::default();
    let options = connect::options(url, url.hosts.first().unwrap_or(&no_host))?;
    Ok(options
        .get_database()
        .unwrap_or(options.get_username())
        .to_owned())
}

/// A session in some other database: the one that is being renamed must be
/// nobody's. A role that may enter no other can still restore in place.
async fn maintenance(
    url: &PostgresUrl,
    database: &str,
    live: Option<Connected>,
) -> Result<Connected> {
    let mut last = None;
    for name in MAINTENANCE.into_iter().filter(|name| *name != database) {
        match connect::connect_to(url, Some(name)).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = Some(error),
        }
    }
    match (live, last) {
        (Some(live), _) => Ok(live),
        (None, Some(error)) => Err(error),
        (None, None) => anyhow::bail!("there is no database to connect to"),
    }
}

async fn refuse_prepared_transactions(target: &mut Target) -> Result<()> {
    let prepared: Vec<String> =
        sqlx::query_scalar("SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY 1")
            .bind(&target.database)
            .fetch_all(&mut target.maintenance.session)
            .await
            .context("cannot ask for prepared transactions")?;
    if prepared.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "database `{}` has prepared transactions, which no restore can end: {}",
        target.database,
        prepared.join(", ")
    ))
    .hint("COMMIT PREPARED or ROLLBACK PREPARED each of them, then run the command again")
    .into())
}

/// Other people's sessions, one line each.
pub async fn sessions(session: &mut PgConnection, database: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT format('pid %s, user %s, application %s, from %s, %s', pid, \
           coalesce(usename::text, 'none'), coalesce(nullif(application_name, ''), 'unknown'), \
           coalesce(host(client_addr), 'local'), coalesce(state, 'unknown')) \
         FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' \
           AND pid <> pg_backend_pid() AND application_name <> 'xtask-db' ORDER BY pid",
    )
    .bind(database)
    .fetch_all(session)
    .await
    .context("cannot ask for the other sessions")
}
