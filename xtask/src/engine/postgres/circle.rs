//! Foreign keys that lead in a circle: rows alone are in no order in which each finds the one that it
//! refers to. `pg_dump` says so on stderr only.

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::select::Held;
use crate::values::kind::Kind;

/// What a person must know of a dump of this kind.
pub async fn warning(
    session: &mut PgConnection,
    held: &Held,
    kind: &Kind,
) -> Result<Option<String>> {
    if kind.has_definitions() {
        return Ok(None);
    }
    let names: Vec<String> = sqlx::query_scalar(TABLES)
        .bind(held.rows())
        .fetch_all(session)
        .await
        .context("cannot ask for foreign keys that lead in a circle")?;
    if names.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "the foreign keys of `{}` lead in a circle: into tables that are there these rows go only where no key is \
         checked meanwhile, as a superuser with {}",
        names.join("`, `"),
        Kind::without_keys(kind.plain)
    )))
}

/// A key of a table to itself is checked when all of its rows are there.
const TABLES: &str = "\
WITH RECURSIVE keys AS ( \
  SELECT DISTINCT conrelid, confrelid FROM pg_catalog.pg_constraint \
  WHERE contype = 'f' AND conrelid <> confrelid \
    AND conrelid::bigint = ANY($1) AND confrelid::bigint = ANY($1)), \
reached AS ( \
  SELECT conrelid AS start, confrelid AS at FROM keys \
  UNION SELECT r.start, k.confrelid FROM reached r JOIN keys k ON k.conrelid = r.at) \
SELECT n.nspname || '.' || c.relname FROM reached r \
JOIN pg_catalog.pg_class c ON c.oid = r.start \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
WHERE r.start = r.at ORDER BY 1";
