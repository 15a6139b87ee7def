//! Runs migrations on SQLite, as `sqlx migrate run` would.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::{Sqlite, copy, inspect};
use crate::values::failure::Failure;
use crate::values::plan::{Migration, MigrationRan};

/// How long a statement that a signal interrupted may take to end.
const LAST_STATEMENT: Duration = Duration::from_secs(3);

pub fn migrate(
    sqlite: &Sqlite,
    pending: &[Migration],
    ran: &mut dyn FnMut(MigrationRan),
) -> Result<()> {
    let mut connection = sqlite.runtime.block_on(open(sqlite))?;
    let work = crate::engine::migrate::run(&mut connection, &sqlite.bookkeeping, pending, ran);
    let done = sqlite.runtime.block_on(work);
    // sqlx's thread goes on with what it was given, a COMMIT perhaps: what the
    // history says afterwards is the truth only when it has ended. The
    // migrations are committed or rolled back; a close that fails, or that
    // takes too long, changes neither.
    sqlite.runtime.block_on_to_the_end(async {
        let _ = tokio::time::timeout(LAST_STATEMENT, connection.close()).await;
    });
    done.map_err(unless_locked)
}

async fn open(sqlite: &Sqlite) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(&sqlite.path);
    let mut connection = options
        .connect()
        .await
        .with_context(|| format!("cannot open the database `{}`", sqlite.path.display()))?;
    // Who holds the write lock now would make the first migration fail, and a
    // failed migration looks worse than a refusal.
    sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK")
        .execute(&mut connection)
        .await
        .context("cannot begin to write to the database")
        .map_err(unless_locked)?;
    Ok(connection)
}

/// Another process held the write lock before anything of ours was written.
fn unless_locked(error: anyhow::Error) -> anyhow::Error {
    const SQLITE_BUSY: i32 = 5;
    let is_busy = error
        .chain()
        .filter_map(|cause| {
            cause
                .downcast_ref::<sqlx::Error>()?
                .as_database_error()?
                .code()
        })
        .any(|code| {
            code.parse()
                .is_ok_and(|code: i32| code & 0xff == SQLITE_BUSY)
        });
    if is_busy && error.downcast_ref::<Failure>().is_none() {
        copy::locked(inspect::BUSY_WAIT)
    } else {
        error
    }
}
