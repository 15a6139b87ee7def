//! sqlx's advisory lock: whoever migrates with sqlx waits for us, and we see them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::{Connection as _, PgConnection};

use super::connect::{self, Connected};
use crate::interrupt::Interrupted;
use crate::runtime::Runtime;
use crate::values::database_url::PostgresUrl;
use crate::values::failure::Failure;

/// Long enough for another tool's glance at the history, short enough for a person.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// The key that `sqlx::migrate::Migrate::lock` computes for a database's name.
pub fn key(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes()))
}

/// Takes the lock by asking again and again: a session that waits inside
/// `pg_advisory_lock` would block `CREATE INDEX CONCURRENTLY` of the holder.
pub async fn lock(url: &PostgresUrl) -> Result<Connected> {
    let mut connected = connect::connect(url).await?;
    let key = key(&connected.database);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(key)
            .fetch_one(&mut connected.session)
            .await
            .context("cannot take sqlx's advisory lock")?;
        if locked {
            return Ok(connected);
        }
        if Instant::now() >= deadline {
            let holder = holder(&mut connected.session, key).await?;
            let database = &connected.database;
            return Err(Failure::refused(format!(
                "another migration of database `{database}` is running: \
                 sqlx's advisory lock is held by {holder}"
            ))
            .hint("wait until it has ended, then run the command again")
            .into());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn holder(session: &mut PgConnection, key: i64) -> Result<String> {
    let found: Option<String> = sqlx::query_scalar(
        "SELECT format('pid %s (user %s, application %s, since %s)', a.pid, a.usename, \
           coalesce(nullif(a.application_name, ''), 'unknown'), \
           to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) \
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           AND ((l.classid::bigint << 32) | l.objid::bigint) = $1 LIMIT 1",
    )
    .bind(key)
    .fetch_optional(session)
    .await
    .context("cannot ask who holds sqlx's advisory lock")?;
    Ok(found.unwrap_or_else(|| "a session that has just ended".into()))
}

/// The session that holds the lock, for small questions: a new one costs the
/// server a process, and both sides thousands of rounds of SHA-256. When it is
/// gone, that is told where it matters, before anything is changed.
pub async fn answering(held: &mut Option<Connected>) -> Option<&mut Connected> {
    let held = held.as_mut()?;
    held.session.ping().await.is_ok().then_some(held)
}

/// The session that holds it.
pub fn session(lock: &mut Option<Connected>) -> Option<&mut PgConnection> {
    lock.as_mut().map(|held| &mut held.session)
}

/// A dump or a restore takes its time, and a session that says nothing may be
/// cut by what lies between here and the server; then its lock is somebody
/// else's to take.
pub fn require(runtime: &Runtime, lock: Option<&mut PgConnection>) -> Result<()> {
    let Some(lock) = lock else {
        return Ok(());
    };
    let asked = async { Ok(sqlx::query("SELECT 1").execute(lock).await?) };
    runtime.block_on(asked).map_err(|error| {
        if error.is::<Interrupted>() {
            return error;
        }
        error.context(
            Failure::refused("sqlx's advisory lock was lost in the middle of the work")
                .hint("run the command again"),
        )
    })?;
    Ok(())
}

/// Each table that is dumped or replaced in one transaction takes a lock in
/// the server's memory, whose size is a setting.
pub fn explain_shortage(error: anyhow::Error) -> anyhow::Error {
    let is_shortage = |cause: &(dyn std::error::Error + 'static)| {
        let said = cause.to_string();
        said.contains("53200") || said.contains("out of shared memory")
    };
    if !error.chain().any(is_shortage) {
        return error;
    }
    error.context(
        Failure::refused("the server has not locks enough for all tables in one transaction").hint(
            "raise `max_locks_per_transaction` and restart the server; a restore by a role with \
             CREATEDB needs few",
        ),
    )
}
