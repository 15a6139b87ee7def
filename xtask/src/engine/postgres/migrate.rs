//! Runs migrations on PostgreSQL, as `sqlx migrate run` would.

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};

use super::{Postgres, connect};
use crate::interrupt::Interrupted;
use crate::values::failure::Failure;
use crate::values::plan::{Migration, MigrationRan};

pub fn migrate(
    postgres: &mut Postgres,
    pending: &[Migration],
    ran: &mut dyn FnMut(MigrationRan),
) -> Result<()> {
    require_lock(postgres)?;
    let postgres = &*postgres;
    // A session as the application gets it: its limits and settings apply to migrations.
    let (mut session, pid) = postgres.runtime.block_on(open(postgres))?;
    let work = crate::engine::migrate::run(&mut session, &postgres.bookkeeping, pending, ran);
    let done = postgres.runtime.block_on(work);
    if postgres.interrupt().is_raised() {
        // The server goes on with a statement whose client went away; a
        // `-- no-transaction` one would even be committed after we have reported.
        postgres
            .runtime
            .block_on_to_the_end(end_session(postgres, pid));
    } else {
        // The migrations are committed or rolled back; a close that fails changes neither.
        let _ = postgres
            .runtime
            .block_on(async { Ok(session.close().await?) });
    }
    done
}

/// A dump takes its time, and a session that says nothing may be cut by what
/// lies between here and the server; then its lock is somebody else's to take.
fn require_lock(postgres: &mut Postgres) -> Result<()> {
    let Some(lock) = postgres.lock.as_mut() else {
        return Ok(());
    };
    let asked = async { Ok(sqlx::query("SELECT 1").execute(lock).await?) };
    postgres.runtime.block_on(asked).map_err(|error| {
        if error.is::<Interrupted>() {
            return error;
        }
        error.context(
            Failure::refused("sqlx's advisory lock was lost while the backup was taken")
                .hint("run the command again"),
        )
    })?;
    Ok(())
}

async fn open(postgres: &Postgres) -> Result<(PgConnection, i32)> {
    let mut connected = connect::connect(&postgres.url).await?;
    let session = &mut connected.session;
    sqlx::query("RESET ALL")
        .execute(&mut *session)
        .await
        .context("cannot reset the session")?;
    let pid = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(session)
        .await
        .context("cannot ask for the session's pid")?;
    Ok((connected.session, pid))
}

/// Ends the interrupted session and waits until it is gone. When even that
/// cannot be done, the history that is read afterwards still tells the truth
/// of that moment, so there is nothing better to do with an error.
async fn end_session(postgres: &Postgres, pid: i32) {
    let Ok(mut other) = connect::connect(&postgres.url).await else {
        return;
    };
    for _ in 0..100 {
        let ended = sqlx::query_scalar::<_, bool>(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1",
        )
        .bind(pid)
        .fetch_optional(&mut other.session)
        .await;
        if !matches!(ended, Ok(Some(_))) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
