//! Which tables of a PostgreSQL database rows can be taken from and put into.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgConnection};

use super::super::connect::quoted;
use super::super::inspect;
use super::numbers;
use crate::values::database::EngineKind;
use crate::values::portable::cell::Kind;
use crate::values::portable::head::SequenceHead;
use crate::values::portable::outline::{ColumnOutline, Outline, TableOutline};
use crate::values::schema::display_name;

type Name = (String, String);

/// In the transaction that has begun: exact rows of that moment. `history`: sqlx's table, with its
/// schema; `platform`: the schemas that somebody else owns.
pub async fn read(
    session: &mut PgConnection,
    history: Option<&str>,
    platform: &[String],
) -> Result<Outline> {
    let mut columns = columns(session).await?;
    let mut parents = parents(session).await?;
    let mut sequences = sequences(session).await?;
    let mut tables = Vec::new();
    for found in inspect::tables(session, platform).await? {
        let (schema, name) = found.name();
        let name = (schema.to_owned(), name.to_owned());
        // The rows of a partition are those of its table.
        if found.counts_for() != found.name() || found.is_computed() {
            continue;
        }
        let is_history = history == Some(&in_sql(session, &name).await?);
        tables.push(TableOutline {
            rows: count(session, &name).await?,
            columns: columns.remove(&name).unwrap_or_default(),
            parents: parents.remove(&name).unwrap_or_default(),
            sequences: sequences.remove(&name).unwrap_or_default(),
            is_history,
            key_fault: None,
            schema: name.0,
            name: name.1,
        });
    }
    Ok(Outline {
        engine: EngineKind::Postgresql,
        tables,
        left_out: left_out(session, platform).await?,
    })
}

/// As the server itself would write the name.
async fn in_sql(session: &mut PgConnection, (schema, name): &Name) -> Result<String> {
    sqlx::query_scalar("SELECT pg_catalog.quote_ident($1) || '.' || pg_catalog.quote_ident($2)")
        .bind(schema)
        .bind(name)
        .fetch_one(session)
        .await
        .context("cannot write a name")
}

/// `ONLY `, but for a table whose rows are those of its partitions.
pub async fn only(
    session: &mut PgConnection,
    (schema, name): (&str, &str),
) -> Result<&'static str> {
    let is_partitioned: bool = sqlx::query_scalar(
        "SELECT c.relkind = 'p' FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(schema)
    .bind(name)
    .fetch_one(session)
    .await
    .with_context(|| format!("cannot look for the table `{name}`"))?;
    Ok(if is_partitioned { "" } else { "ONLY " })
}

pub async fn count(session: &mut PgConnection, name: &Name) -> Result<u64> {
    let only = only(session, (&name.0, &name.1)).await?;
    let question = format!(
        "SELECT count(*) FROM {only}{}.{}",
        quoted(&name.0),
        quoted(&name.1)
    );
    let rows: i64 = sqlx::query_scalar(AssertSqlSafe(question))
        .persistent(false)
        .fetch_one(session)
        .await
        .with_context(|| format!("cannot count the rows of table `{}`", name.1))?;
    Ok(rows.unsigned_abs())
}

/// With the type that is under a domain, and under that one's.
async fn columns(session: &mut PgConnection) -> Result<BTreeMap<Name, Vec<ColumnOutline>>> {
    let rows: Vec<(String, String, String, String, bool, i64)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, a.attname::text, \
           pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', \
           (WITH RECURSIVE under AS ( \
              SELECT t.oid, t.typbasetype, t.typtype FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid \
              UNION ALL SELECT t.oid, t.typbasetype, t.typtype FROM under \
                JOIN pg_catalog.pg_type t ON t.oid = under.typbasetype WHERE under.typtype = 'd') \
            SELECT oid::bigint FROM under WHERE typtype <> 'd') \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped \
           AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
         ORDER BY c.oid, a.attnum",
    )
    .fetch_all(session)
    .await
    .context("cannot list the columns")?;
    let mut columns = BTreeMap::<Name, Vec<ColumnOutline>>::new();
    for (schema, table, name, data_type, is_generated, base) in rows {
        columns
            .entry((schema, table))
            .or_default()
            .push(ColumnOutline {
                name,
                data_type,
                kind: kind(base),
                is_generated,
            });
    }
    Ok(columns)
}

/// By the oid of a built-in type.
fn kind(oid: i64) -> Kind {
    match oid {
        16 => Kind::Boolean,
        17 => Kind::Bytes,
        20 | 21 | 23 | 26 => Kind::Integer,
        700 | 701 => Kind::Real,
        1700 => Kind::Decimal,
        114 | 3802 => Kind::Json,
        _ => Kind::Text,
    }
}

/// Foreign keys: where each stands, and, of its two ends, the tables whose rows they are about. The
/// rows of a partition are those of its table, whichever of the two declares the key.
pub const KEYS: &str = "\
SELECT n.nspname::text AS own_schema, o.relname::text AS own, k.conname::text AS key, \
  cn.nspname::text AS child_schema, c.relname::text AS child, \
  pn.nspname::text AS parent_schema, p.relname::text AS parent, k.condeferrable AS deferrable \
FROM pg_catalog.pg_constraint k \
JOIN pg_catalog.pg_class o ON o.oid = k.conrelid \
JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace \
JOIN pg_catalog.pg_class c \
  ON c.oid = COALESCE(pg_catalog.pg_partition_root(k.conrelid)::oid, k.conrelid) \
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
JOIN pg_catalog.pg_class p \
  ON p.oid = COALESCE(pg_catalog.pg_partition_root(k.confrelid)::oid, k.confrelid) \
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
WHERE k.contype = 'f' AND k.conparentid = 0";

async fn parents(session: &mut PgConnection) -> Result<BTreeMap<Name, Vec<Name>>> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT DISTINCT child_schema, child, parent_schema, parent FROM ({KEYS}) AS k \
         ORDER BY 1, 2, 3, 4"
    )))
    .fetch_all(session)
    .await
    .context("cannot list the foreign keys")?;
    let mut parents = BTreeMap::<Name, Vec<Name>>::new();
    for (schema, table, parent_schema, parent) in rows {
        parents
            .entry((schema, table))
            .or_default()
            .push((parent_schema, parent));
    }
    Ok(parents)
}

/// Of `serial`, identity and any other column whose default takes a number from a sequence: the
/// column, and the sequence as it stands in SQL.
pub const SEQUENCES: &str = "\
SELECT n.nspname::text AS schema, c.relname::text AS name, a.attname::text AS column_name, \
  s.oid AS sequence FROM ( \
    SELECT d.refobjid AS tab, d.refobjsubid AS col, d.objid AS seq FROM pg_catalog.pg_depend d \
    WHERE d.classid = 'pg_catalog.pg_class'::regclass \
      AND d.refclassid = 'pg_catalog.pg_class'::regclass \
      AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') \
    UNION SELECT f.adrelid, f.adnum, d.refobjid FROM pg_catalog.pg_depend d \
    JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid \
    WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass \
      AND d.refclassid = 'pg_catalog.pg_class'::regclass) AS used \
JOIN pg_catalog.pg_class s ON s.oid = used.seq AND s.relkind = 'S' \
JOIN pg_catalog.pg_class c ON c.oid = used.tab AND c.relkind IN ('r', 'p') \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = used.col";

async fn sequences(session: &mut PgConnection) -> Result<BTreeMap<Name, Vec<SequenceHead>>> {
    let mut sequences = BTreeMap::<Name, Vec<SequenceHead>>::new();
    for sequence in numbers::read(session).await? {
        for (schema, table, column) in &sequence.users {
            let column = column.clone();
            if let Some(last) = sequence.last() {
                let of_table = sequences.entry((schema.clone(), table.clone()));
                of_table.or_default().push(SequenceHead { column, last });
            }
        }
    }
    Ok(sequences)
}

/// What is no table with rows of its own, and yet holds something.
async fn left_out(session: &mut PgConnection, platform: &[String]) -> Result<Vec<String>> {
    let is_theirs = |(schema, _): &Name| platform.contains(schema);
    let foreign: Vec<Name> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' \
           AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1, 2",
    )
    .fetch_all(&mut *session)
    .await
    .context("cannot list the foreign tables")?;
    let line = |(schema, name): &Name| {
        let title = display_name(schema, name);
        format!("the foreign table `{title}`: its rows are on another server")
    };
    let mut lines: Vec<String> = foreign.iter().filter(|n| !is_theirs(n)).map(line).collect();
    let unreadable = numbers::unreadable(session).await?;
    for (schema, name) in unreadable.into_iter().filter(|n| !is_theirs(n)) {
        let title = display_name(&schema, &name);
        lines.push(format!(
            "the position of the sequence `{title}`: this role may not read it"
        ));
    }
    let objects = inspect::large_objects(session).await?;
    if objects > 0 {
        lines.push(format!("{objects} large objects: only a backup holds them"));
    }
    Ok(lines)
}
