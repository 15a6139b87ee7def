//! Tables that are there go, if they are still what the backup that was just taken of them holds.

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::{measured, run};
use crate::engine::postgres::connect::quoted;
use crate::engine::postgres::fingerprint;
use crate::values::database::TableRows;
use crate::values::failure::Failure;

/// Drops these and no others, all at once because one may refer to another. What somebody wrote
/// into them since they were backed up would be nowhere.
pub async fn drop_all(session: &mut PgConnection, tables: &[TableRows]) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tables.iter().map(in_sql).collect();
    let names = names.join(", ");
    let lock = "SET LOCAL row_security = off; LOCK TABLE";
    let locked = run(session, format!("{lock} {names} IN ACCESS EXCLUSIVE MODE"));
    locked
        .await
        .context("cannot hold the tables that are there")?;
    let columns = fingerprint::columns(session).await?;
    for table in tables {
        let key = (table.schema.clone(), table.name.clone());
        let columns = columns.get(&key).map_or(&[][..], Vec::as_slice);
        let place = only(session, table).await? + &in_sql(table);
        let now = measured(session, &place, columns, table).await?;
        if now != *table {
            return Err(Failure::refused(format!(
                "somebody has written to `{table}` since it was backed up"
            ))
            .hint("stop the programs that use that database, then run the command again")
            .into());
        }
    }
    run(session, format!("DROP TABLE {names}")).await
}

fn in_sql(table: &TableRows) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// The rows of a partitioned table are those of its partitions.
async fn only(session: &mut PgConnection, table: &TableRows) -> Result<String> {
    let is_partitioned: bool = sqlx::query_scalar(
        "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = $1::regclass",
    )
    .bind(in_sql(table))
    .fetch_one(session)
    .await
    .with_context(|| format!("cannot look at the table `{table}`"))?;
    Ok(if is_partitioned { "" } else { "ONLY " }.to_owned())
}
