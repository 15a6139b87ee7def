//! Whether two URLs lead to one database, and whether there is anything in it.

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::{connect, target};
use crate::values::database_url::PostgresUrl;

/// The server by the moment in which it was started, which every role may ask
/// for and no two servers share.
pub async fn place(url: &PostgresUrl) -> Result<String> {
    let mut target = target::target(url).await?;
    let started = started(&mut target.maintenance.session).await?;
    Ok(format!("{started} {}", target.database))
}

pub async fn started(session: &mut PgConnection) -> Result<String> {
    sqlx::query_scalar(
        "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text",
    )
    .fetch_one(session)
    .await
    .context("cannot ask for the server's identity")
}

/// Whatever somebody made there, of which an extension is a part as well; not in the schemas that are
/// left out.
pub async fn holds(url: &PostgresUrl, left_out: &[String]) -> Result<Option<String>> {
    let mut connected = connect::connect(url).await?;
    sqlx::query_scalar(
        "WITH schemas AS (SELECT oid, nspname FROM pg_catalog.pg_namespace \
           WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' \
           AND nspname::text <> ALL($1)) \
         SELECT format('%I.%I', nspname, relname) \
           FROM pg_catalog.pg_class c JOIN schemas s ON s.oid = c.relnamespace \
         UNION ALL SELECT format('%I.%I', nspname, proname) \
           FROM pg_catalog.pg_proc p JOIN schemas s ON s.oid = p.pronamespace \
         UNION ALL SELECT format('%I.%I', nspname, typname) \
           FROM pg_catalog.pg_type t JOIN schemas s ON s.oid = t.typnamespace \
         UNION ALL SELECT format('%I', nspname) FROM schemas WHERE nspname <> 'public' \
         UNION ALL SELECT 'extension ' || extname FROM pg_catalog.pg_extension e \
           JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
           WHERE extname <> 'plpgsql' AND n.nspname::text <> ALL($1) \
         UNION ALL SELECT 'large object ' || oid FROM pg_catalog.pg_largeobject_metadata LIMIT 1",
    )
    .bind(left_out)
    .fetch_optional(&mut connected.session)
    .await
    .context("cannot look whether the database is empty")
}
