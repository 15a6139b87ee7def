//! Runs migrations on SQLite, as `sqlx migrate run` would.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::watch::Watch;
use super::{Sqlite, copy, inspect};
use crate::interrupt::Interrupted;
use crate::values::failure::{Failure, RolledBack};
use crate::values::plan::{Migration, MigrationRan};

/// How long a statement that a signal interrupted may take to end.
const LAST_STATEMENT: Duration = Duration::from_secs(3);

pub fn migrate(
    sqlite: &mut Sqlite,
    pending: &[Migration],
    ran: &mut dyn FnMut(MigrationRan),
) -> Result<()> {
    let mut watch = match sqlite.watch.take() {
        Some(watch) => watch,
        None => Watch::begin(sqlite)?,
    };
    if watch.shuts_out() {
        return migrate_at_once(sqlite, watch, pending, ran);
    }
    let connection = watch.connection();
    let done = sqlite.runtime.block_on(async {
        require_free(connection).await?;
        crate::engine::migrate::run(connection, &sqlite.bookkeeping, pending, ran).await
    });
    // sqlx's thread goes on with what it was given, a COMMIT perhaps: what the
    // history says afterwards is the truth only when it has ended. One that
    // still answers has.
    let has_failed = matches!(&done, Err(error) if !error.is::<Interrupted>());
    if has_failed && watch.others(sqlite).is_ok() {
        sqlite.watch = Some(watch);
        return done.map_err(unless_locked);
    }
    close(sqlite, watch);
    done.map_err(unless_locked)
}

/// In the one transaction that shuts others out.
fn migrate_at_once(
    sqlite: &Sqlite,
    mut watch: Watch,
    pending: &[Migration],
    ran: &mut dyn FnMut(MigrationRan),
) -> Result<()> {
    let mut all = Vec::new();
    let mut hear = |migration| all.push(migration);
    let connection = watch.connection();
    let books = &sqlite.bookkeeping;
    let work = crate::engine::migrate::run(connection, books, pending, &mut hear);
    let done = sqlite.runtime.block_on(work);
    let done = done.and_then(|()| {
        // Unless it is rolled back below, the history has to say.
        let unclear = || Failure::after_change("the migrations could not be committed");
        watch.commit(sqlite).with_context(unclear)
    });
    let is_undone = done.is_err() && watch.roll_back(sqlite).is_ok();
    close(sqlite, watch);
    match done {
        Ok(()) => {
            all.into_iter().for_each(ran);
            Ok(())
        }
        Err(error) if is_undone && !error.is::<Interrupted>() => Err(error.context(RolledBack)),
        Err(error) => Err(error),
    }
}

/// The migrations are committed or rolled back; a close that fails, or that
/// takes too long, changes neither.
pub fn close(sqlite: &Sqlite, watch: Watch) {
    sqlite.runtime.block_on_to_the_end(async {
        let _ = tokio::time::timeout(LAST_STATEMENT, watch.close()).await;
    });
}

pub async fn connect(path: &Path, create: bool) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create);
    let connection = options.connect().await;
    connection.with_context(|| format!("cannot open the database `{}`", path.display()))
}

/// Who holds the write lock now would make the first migration fail, and a
/// failed migration looks worse than a refusal.
async fn require_free(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK")
        .execute(connection)
        .await
        .context("cannot begin to write to the database")
        .map_err(unless_locked)?;
    Ok(())
}

/// Another process held the write lock before anything of ours was written.
pub fn unless_locked(error: anyhow::Error) -> anyhow::Error {
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
