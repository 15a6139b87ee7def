//! A number that the values of a table's rows make together, in any order.
//!
//! The server hashes each row as text and adds up; where the same rows were dumped and restored
//! they have the same text, so these settings and the order of the columns are fixed. Generated
//! columns are left out: they are in no dump. Rows of partitions add up to those of their table,
//! whatever the order of columns is in each, and whichever of them a row is in after a restore.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::connect::quoted;
use crate::tool;

/// What a fingerprint begins with. Another way to make it is another method.
pub const METHOD: &str = "postgresql-row-text-1";

/// What a row is called in the questions, so that no column is meant.
pub const ROW: &str = "xtask_row";

/// All that decides how values and names become text, for one transaction.
pub const SETTINGS: &str = "\
SET LOCAL search_path = ''; SET LOCAL \"TimeZone\" = 'UTC'; SET LOCAL \"DateStyle\" = 'ISO, YMD'; \
SET LOCAL \"IntervalStyle\" = 'postgres'; SET LOCAL extra_float_digits = 3; \
SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'; SET LOCAL quote_all_identifiers = off";

/// Of tables, by schema and name, columns.
pub type Columns = BTreeMap<(String, String), Vec<String>>;

/// Those that are fingerprinted, of all tables, sorted by their names.
pub async fn columns(session: &mut PgConnection) -> Result<Columns> {
    let rows: Vec<(String, String, Vec<String>)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, ARRAY(SELECT a.attname::text \
           FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
             AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attname::text COLLATE \"C\") \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p')",
    )
    .fetch_all(session)
    .await
    .context("cannot list the columns to fingerprint")?;
    let table = |(schema, name, columns)| ((schema, name), columns);
    Ok(rows.into_iter().map(table).collect())
}

/// The sum over all rows that the question has, as SQL. The hash is the one that hash partitions
/// are made by, which servers keep from version to version.
pub fn sum(columns: &[String]) -> String {
    let columns: Vec<String> = columns
        .iter()
        .map(|column| format!("{ROW}.{}", quoted(column)))
        .collect();
    sum_of(&columns.join(", "))
}

/// The same; `columns` as they stand in SQL.
pub fn sum_of(columns: &str) -> String {
    format!(
        "coalesce(sum(pg_catalog.hashtextextended(\
         ROW({columns})::text COLLATE pg_catalog.\"C\", 0)), 0)::text"
    )
}

pub fn text(sum: i128) -> String {
    format!("{METHOD}:{sum}")
}

/// What [`text`] was made of.
pub fn sum_in(fingerprint: &str) -> Option<&str> {
    fingerprint.strip_prefix(METHOD)?.strip_prefix(':')
}

/// What to say of values that are others on a server of another major version, where a type may
/// write the same value otherwise.
pub fn across_versions(then: &str, server_major: u32) -> Option<String> {
    let major = tool::major_of(then).filter(|major| *major != server_major)?;
    Some(format!(
        "the backup was taken on PostgreSQL {major} and this is {server_major}: where only values \
         differ, a type may be written otherwise here; a drill on a server of version {major} \
         (`SCRATCH_DATABASE_URL`) can tell"
    ))
}
