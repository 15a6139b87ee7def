//! sqlx's own migrator, one migration at a time, so that each one is reported.

use anyhow::{Context, Result};
use sqlx::migrate::Migrate;
use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use crate::values::failure::Failure;
use crate::values::plan::{Bookkeeping, Migration, MigrationRan, describe};

/// Does what `Migrator::run` does after it has looked at the history; that
/// was done when the plan was made, and again after the backup.
pub async fn run<C: Migrate>(
    connection: &mut C,
    bookkeeping: &Bookkeeping,
    pending: &[Migration],
    ran: &mut dyn FnMut(MigrationRan),
) -> Result<()> {
    for schema in &bookkeeping.create_schemas {
        connection
            .create_schema_if_not_exists(schema)
            .await
            .with_context(|| format!("cannot create the schema `{schema}`"))?;
    }
    connection
        .ensure_migrations_table(&bookkeeping.table)
        .await
        .with_context(|| format!("cannot create sqlx's table `{}`", bookkeeping.table))?;
    for migration in pending {
        let description = describe(&migration.description).into_owned();
        let took = connection
            .apply(&bookkeeping.table, migration)
            .await
            .map_err(|error| lost_history(bookkeeping, failed(migration, cause(error))))?;
        ran(MigrationRan {
            version: migration.version,
            description,
            duration_ms: took.as_millis() as u64,
        });
    }
    Ok(())
}

/// What is said of a migration that the database does not take.
pub fn failed(migration: &Migration, error: sqlx::Error) -> anyhow::Error {
    let at = line_of(&error, migration.sql.as_str())
        .map_or_else(String::new, |line| format!(" in line {line}"));
    let (version, description) = (migration.version, describe(&migration.description));
    let failure = Failure::after_change(format!("migration {version} ({description}) failed{at}"));
    anyhow::Error::new(error).context(failure)
}

/// A migration that leaves the session without its search path hides sqlx's table from sqlx, which
/// then writes there, in the same transaction: `sqlx migrate run` fails on it as well.
fn lost_history(bookkeeping: &Bookkeeping, error: anyhow::Error) -> anyhow::Error {
    let table = &bookkeeping.table;
    let is_lost = error.chain().any(|cause| {
        let error = cause.downcast_ref::<sqlx::Error>();
        let error = error.and_then(|error| error.as_database_error());
        error.is_some_and(|error| {
            error.code().as_deref() == Some("42P01") && error.message().contains(table.as_str())
        })
    });
    if !is_lost {
        return error;
    }
    let what = format!(
        "the migration leaves the session without the `search_path` in which sqlx finds its table `{table}`"
    );
    error.context(Failure::after_change(what).hint(
        "end the migration with `RESET search_path;` (`pg_dump` writes a `set_config` that empties it)",
    ))
}

/// The line of the file that PostgreSQL stumbled over, counted from 1.
fn line_of(error: &sqlx::Error, sql: &str) -> Option<usize> {
    let error = error
        .as_database_error()?
        .try_downcast_ref::<PgDatabaseError>()?;
    match error.position()? {
        PgErrorPosition::Original(position) => {
            let before = sql.chars().take(position.saturating_sub(1));
            Some(before.filter(|c| *c == '\n').count() + 1)
        }
        PgErrorPosition::Internal { .. } => None,
    }
}

/// The database's own error: sqlx's sentence around it says what our line already says.
fn cause(error: sqlx::migrate::MigrateError) -> sqlx::Error {
    match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}
