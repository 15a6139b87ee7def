//! Materialized views of what an import has changed: they hold what the tables held before.

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::import::in_sql;
use crate::values::portable::fit::Landing;
use crate::values::schema::display_name;

/// One line for each, also for those that ask other views.
pub async fn stale(session: &mut PgConnection, landing: &Landing) -> Result<Vec<String>> {
    let tables: Vec<String> = landing.wanted().map(in_sql).collect();
    let views: Vec<(String, String)> = sqlx::query_as(
        "WITH RECURSIVE of AS ( \
           SELECT to_regclass(name)::oid AS oid FROM unnest($1::text[]) AS name \
           UNION SELECT r.ev_class FROM of \
             JOIN pg_catalog.pg_depend d ON d.refobjid = of.oid \
               AND d.refclassid = 'pg_catalog.pg_class'::regclass \
               AND d.classid = 'pg_catalog.pg_rewrite'::regclass \
             JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid) \
         SELECT n.nspname::text, c.relname::text FROM of \
         JOIN pg_catalog.pg_class c ON c.oid = of.oid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'm' AND c.relispopulated ORDER BY 1, 2",
    )
    .bind(tables)
    .fetch_all(session)
    .await
    .context("cannot look for materialized views")?;
    let line = |(schema, name): &(String, String)| {
        let title = display_name(schema, name);
        format!(
            "the materialized view `{title}` still shows what was there before: REFRESH MATERIALIZED VIEW"
        )
    };
    Ok(views.iter().map(line).collect())
}
