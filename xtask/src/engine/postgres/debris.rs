//! What a migration that failed without a transaction may have left.

use anyhow::{Context, Result};
use sqlx::Connection;

use super::connect;
use crate::engine::Debris;
use crate::values::database_url::PostgresUrl;
use crate::values::schema::display_name;

/// A `CREATE INDEX CONCURRENTLY` that fails leaves an index that is kept up to date and
/// never used. One that somebody is building looks the same, and is none.
pub async fn invalid_indexes(url: &PostgresUrl, left_out: &[String]) -> Result<Vec<Debris>> {
    let mut connected = connect::connect(url).await?;
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, \
           format('DROP INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname) \
         FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT x.indisvalid AND c.relkind = 'i' AND n.nspname !~ '^pg_' \
           AND n.nspname::text <> ALL($1) \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p \
             WHERE p.datname = current_database() AND p.index_relid = c.oid) \
         ORDER BY 1, 2",
    )
    .bind(left_out)
    .fetch_all(&mut connected.session)
    .await
    .context("cannot ask for invalid indexes")?;
    connected.session.close().await?;
    let debris = |(schema, name, clean_up): (String, String, String)| Debris {
        what: format!(
            "the index `{}`, which is not valid",
            display_name(&schema, &name)
        ),
        clean_up,
    };
    Ok(rows.into_iter().map(debris).collect())
}
