//! What a restore goes into: the database, a session beside it, and what the role may do.

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::connect::{self, Connected};
use super::{inspect, properties};
use crate::values::database::{DatabaseFacts, DatabaseProperties};
use crate::values::database_url::PostgresUrl;

/// Databases that exist everywhere and are not the one to be replaced.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// Whether this role may end session `a`.
pub const MAY_END: &str = "(pg_has_role(current_user, a.usesysid, 'USAGE') \
    OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \
    OR (pg_has_role(current_user, 'pg_signal_backend', 'USAGE') \
      AND NOT (SELECT rolsuper FROM pg_roles r WHERE r.oid = a.usesysid)))";

/// What a restore goes into.
pub struct Target {
    pub maintenance: Connected,
    pub database: String,
    /// `None` when the database does not exist.
    pub now: Option<DatabaseProperties>,
    /// May create, own and rename databases, this one included.
    pub can_create: bool,
    pub is_superuser: bool,
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
    let (is_superuser, may_create): (bool, bool) = sqlx::query_as(
        "SELECT r.rolsuper, r.rolsuper OR (r.rolcreatedb AND NOT EXISTS ( \
           SELECT FROM pg_database d WHERE d.datname = $1 \
             AND NOT pg_has_role(current_user, d.datdba, 'USAGE'))) \
         FROM pg_roles r WHERE r.rolname = current_user",
    )
    .bind(&database)
    .fetch_one(&mut maintenance.session)
    .await
    .context("cannot ask what the role may do")?;
    // A database cannot be renamed by a session in it.
    let can_create = may_create && maintenance.database != database;
    Ok(Target {
        maintenance,
        database,
        now,
        can_create,
        is_superuser,
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

/// Other people's sessions, one line each.
pub async fn sessions(session: &mut PgConnection, database: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT format('pid %s, user %s, application %s, from %s, %s', pid, \
           coalesce(usename::text, 'none'), coalesce(nullif(application_name, ''), 'unknown'), \
           coalesce(host(client_addr), 'local'), coalesce(state, 'unknown')) \
         FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' \
           AND pid <> pg_backend_pid() AND application_name <> $2 ORDER BY pid",
    )
    .bind(database)
    .bind(connect::session_name())
    .fetch_all(session)
    .await
    .context("cannot ask for the other sessions")
}

/// Logical replication slots belong to the database that will be kept aside.
pub async fn slots(session: &mut PgConnection, database: &str) -> Result<Vec<String>> {
    let slots: Vec<String> = sqlx::query_scalar(
        "SELECT slot_name::text FROM pg_replication_slots WHERE database = $1 ORDER BY 1",
    )
    .bind(database)
    .fetch_all(session)
    .await
    .context("cannot ask for replication slots")?;
    let line = |slot: String| {
        format!(
            "the replication slot `{slot}` stays with the kept database and holds back WAL: drop it and make it anew"
        )
    };
    Ok(slots.into_iter().map(line).collect())
}

/// Subscriptions hold a database back: it cannot be dropped while it has one.
pub async fn subscriptions(session: &mut PgConnection, database: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid \
         WHERE d.datname = $1 ORDER BY 1",
    )
    .bind(database)
    .fetch_all(session)
    .await
    .context("cannot ask for subscriptions")
}
