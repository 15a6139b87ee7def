//! sqlx's own migrator, one migration at a time, so that each one is reported.

use anyhow::{Context, Result};
use sqlx::migrate::Migrate;

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
            .map_err(|error| {
                let failure = Failure::after_change(format!(
                    "migration {} ({description}) failed",
                    migration.version
                ));
                anyhow::Error::new(cause(error)).context(failure)
            })?;
        ran(MigrationRan {
            version: migration.version,
            description,
            duration_ms: took.as_millis() as u64,
        });
    }
    Ok(())
}

/// The database's own error: sqlx's sentence around it says what our line already says.
fn cause(error: sqlx::migrate::MigrateError) -> sqlx::Error {
    match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}
