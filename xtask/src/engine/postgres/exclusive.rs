//! Nobody else writes: new sessions are read-only by a setting of the database,
//! and those that were there are ended.
//!
//! A session keeps the setting that it began with. So those that began
//! meanwhile are ended once more when it is over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::connect::{self, literal, quoted};
use super::target::MAY_END;
use crate::values::database::DatabaseFacts;
use crate::values::database_url::PostgresUrl;
use crate::values::exclusive::Before;
use crate::values::failure::Failure;

pub const SETTING: &str = "default_transaction_read_only";

/// How long sessions may take to end.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Of a session of another role many a role sees no more than that it is there.
const OTHERS: &str = "FROM pg_stat_activity a WHERE a.datname = current_database() \
    AND a.usesysid IS NOT NULL AND coalesce(a.backend_type, 'client backend') = 'client backend' \
    AND a.pid <> pg_backend_pid() AND a.pid <> $1";

/// A session reads its settings before it can be seen. From before that until it can be, it holds
/// this lock on its database.
const STARTING: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l \
    JOIN pg_catalog.pg_database d ON d.oid = l.objid \
    WHERE l.locktype = 'object' AND l.classid = 'pg_catalog.pg_database'::regclass \
      AND l.mode = 'RowExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid() \
      AND d.datname = current_database())";

/// Refuses where others could still write; `lock` is the pid of our own other session.
pub async fn prepare(url: &PostgresUrl, lock: i32) -> Result<Before> {
    let session = &mut connect::connect(url).await?.session;
    let context = "cannot ask what the role may do";
    let (oid, may): (i64, bool) = sqlx::query_as(
        "SELECT d.oid::bigint, r.rolsuper OR pg_has_role(current_user, d.datdba, 'USAGE') \
         FROM pg_database d, pg_roles r \
         WHERE d.datname = current_database() AND r.rolname = current_user",
    )
    .fetch_one(&mut *session)
    .await
    .context(context)?;
    if !may {
        return Err(Failure::refused(
            "this role may not shut others out: the database is another role's",
        )
        .hint("run it as the owner of the database; or without `--exclusive`")
        .into());
    }
    let writers: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT format('pid %s, user %s, application %s, which this role may not end', a.pid, \
           a.usename, coalesce(nullif(a.application_name, ''), 'unknown')) \
         {OTHERS} AND NOT {MAY_END} \
         UNION ALL SELECT format('the prepared transaction %s', gid) FROM pg_prepared_xacts \
         WHERE database = current_database() \
         UNION ALL SELECT format('the subscription %s', s.subname) FROM pg_subscription s \
         JOIN pg_database d ON d.oid = s.subdbid \
         WHERE d.datname = current_database() AND s.subenabled \
         UNION ALL SELECT format('the role %s, which has a setting of its own', s.setrole::regrole) \
         FROM pg_db_role_setting s JOIN pg_database d ON d.datname = current_database(), \
           unnest(s.setconfig) AS c(setting) \
         WHERE s.setrole <> 0 AND s.setdatabase IN (0, d.oid) \
           AND c.setting ~* '^{SETTING}=(of|off|f|fa|fal|fals|false|n|no|0)$'"
    )))
    .bind(lock)
    .fetch_all(&mut *session)
    .await
    .context("cannot ask who else may write")?;
    if !writers.is_empty() {
        return Err(Failure::refused(format!(
            "others cannot be shut out of the database: {}",
            writers.join("; ")
        ))
        .hint("stop them, then run the command again; or without `--exclusive`")
        .into());
    }
    let value = value_of(session, oid).await?;
    Ok(Before { oid, value })
}

/// What the database itself says, not its roles.
async fn value_of(session: &mut PgConnection, oid: i64) -> Result<Option<String>> {
    sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT substr(c.setting, strpos(c.setting, '=') + 1) \
         FROM pg_db_role_setting s, unnest(s.setconfig) AS c(setting) \
         WHERE s.setdatabase::bigint = $1 AND s.setrole = 0 AND c.setting LIKE '{SETTING}=%'"
    )))
    .bind(oid)
    .fetch_optional(session)
    .await
    .with_context(|| format!("cannot ask for the setting `{SETTING}`"))
}

pub async fn begin(url: &PostgresUrl, lock: i32) -> Result<()> {
    let mut connected = connect::connect(url).await?;
    let session = &mut connected.session;
    let database: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut *session)
        .await?;
    set(session, &database, Some("on")).await?;
    end_others(session, lock, Whose::Anybodys).await?;
    Ok(connected.session.close().await?)
}

#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Anybodys,
    /// Of roles whose sessions this one may end.
    Ours,
}

/// Those that began before now, but the session that holds our lock.
async fn end_others(session: &mut PgConnection, lock: i32, whose: Whose) -> Result<()> {
    let context = "cannot end the other sessions";
    // To the microsecond, as text: no type of ours is needed for it.
    let now: String = sqlx::query_scalar("SELECT clock_timestamp()::text")
        .fetch_one(&mut *session)
        .await
        .context(context)?;
    let deadline = Instant::now() + PATIENCE;
    let these = match whose {
        Whose::Anybodys => "true",
        Whose::Ours => MAY_END,
    };
    loop {
        // Asked first: what no longer starts can be seen.
        let starting: bool = sqlx::query_scalar(STARTING)
            .fetch_one(&mut *session)
            .await
            .context(context)?;
        let mut left: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT format('pid %s, user %s, %s', a.pid, a.usename, CASE WHEN NOT {MAY_END} \
               THEN 'not ours to end' WHEN pg_terminate_backend(a.pid) THEN 'ending' ELSE 'gone' END) \
             {OTHERS} AND {these} AND coalesce(a.backend_start <= $2::timestamptz, true)"
        )))
        .bind(lock)
        .bind(&now)
        .fetch_all(&mut *session)
        .await
        .context(context)?;
        if left.is_empty() && !starting {
            return Ok(());
        }
        left.extend(starting.then(|| "one that is only starting".to_owned()));
        if Instant::now() >= deadline {
            return Err(Failure::refused(format!(
                "others could not be shut out of the database: {}",
                left.join("; ")
            ))
            .hint("stop the programs that use the database, then run the command again")
            .into());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// As it was before, whatever the database is called now. Nothing is done when
/// that is so already, or when somebody has set it otherwise since.
pub async fn end(url: &PostgresUrl, before: &Before, lock: i32) -> Result<()> {
    let mut connected = connect::connect_patiently(url, None).await?;
    let session = &mut connected.session;
    let name: Option<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE oid::bigint = $1")
            .bind(before.oid)
            .fetch_optional(&mut *session)
            .await
            .context("cannot look for the database")?;
    let Some(name) = name else { return Ok(()) };
    let now = value_of(session, before.oid).await?;
    if now.as_deref() == Some("on") && now != before.value {
        set(session, &name, before.value.as_deref()).await?;
        if name == connected.database {
            // Those of other roles that came meanwhile may read, and go when they like.
            end_others(session, lock, Whose::Ours).await?;
        }
    }
    connected.session.close().await?;
    Ok(())
}

/// Whether nobody has changed the setting since [`begin`].
pub async fn is_intact(url: &PostgresUrl, before: &Before) -> Result<bool> {
    let session = &mut connect::connect(url).await?.session;
    Ok(value_of(session, before.oid).await?.as_deref() == Some("on"))
}

async fn set(session: &mut PgConnection, database: &str, value: Option<&str>) -> Result<()> {
    let database = quoted(database);
    let sql = match value {
        Some(value) => format!(
            "ALTER DATABASE {database} SET {SETTING} = {}",
            literal(value)
        ),
        None => format!("ALTER DATABASE {database} RESET {SETTING}"),
    };
    // This session may have begun with it.
    session
        .execute(AssertSqlSafe(format!("SET {SETTING} = off")))
        .await?;
    session
        .execute(AssertSqlSafe(sql))
        .await
        .with_context(|| format!("cannot set `{SETTING}` of the database"))?;
    Ok(())
}

/// As the server reads it: a word in any case, or the beginning of one.
fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str| !value.is_empty() && word.starts_with(&value);
    value == "on" || value == "1" || begins("true") || begins("yes")
}

/// A session of ours in the database, which writes as it would have before.
pub async fn exempt(session: &mut PgConnection, before: &Before) -> Result<()> {
    let is_off = !before.value.as_deref().is_some_and(is_on);
    let sql = format!(
        "SELECT set_config(name, 'off', false) FROM pg_settings \
         WHERE name = '{SETTING}' AND source = 'database' AND {is_off}"
    );
    session
        .execute(AssertSqlSafe(sql))
        .await
        .context("cannot let the migrations write")?;
    Ok(())
}

/// What a backup is to remember is not our own setting.
pub fn hide(facts: &mut DatabaseFacts, before: &Before) {
    let Some(properties) = &mut facts.properties else {
        return;
    };
    let is_it = |name: &str, role: &Option<String>| role.is_none() && name == SETTING;
    match &before.value {
        None => properties.settings.retain(|s| !is_it(&s.name, &s.role)),
        Some(value) => {
            let settings = properties.settings.iter_mut();
            for setting in settings.filter(|s| is_it(&s.name, &s.role)) {
                setting.value.clone_from(value);
            }
        }
    }
}
