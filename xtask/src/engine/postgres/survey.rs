//! A scratch database before and after migrations: rows, values, locks, files.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::describe;
use super::fingerprint::Columns;
use super::inspect::{self, Values};
use crate::values::database::{Contents, TableRows};
use crate::values::schema::{RelationKind, display_name};
use crate::values::survey::Survey;

pub async fn survey(
    session: &mut PgConnection,
    bookkeeping: &str,
    left_out: &[String],
) -> Result<Survey> {
    let relations = describe::relations(session, None, left_out).await?;
    let counted = |kind| matches!(kind, RelationKind::Table | RelationKind::Partition);
    let with_values = relations.iter().filter(|relation| counted(relation.kind));
    let columns = with_values.map(|relation| {
        let nullable = relation.columns.iter().filter(|column| !column.not_null);
        let names = nullable.map(|column| column.name.clone());
        (relation.full_name(), names.collect())
    });
    let columns: Columns = columns.collect();
    let tables = inspect::tables(session, left_out).await?;
    let counting = inspect::Counting {
        values: columns,
        ..inspect::Counting::default()
    };
    let (rows, mut values) = inspect::count(session, &tables, &counting, None).await?;
    add_up(&tables, &rows, &counting.values, &mut values);
    let history_table = inspect::find_history(session, bookkeeping).await?;
    let contents = Contents {
        tables: rows,
        large_objects: Some(inspect::large_objects(session).await?),
        applied: inspect::read_history(session, history_table.as_deref()).await?,
        history_table,
        relations,
    };
    let rows: Vec<(String, String, i64, String, i16)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, c.oid::bigint, a.attname::text, a.attnum \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
         WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped \
           AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'",
    )
    .fetch_all(session)
    .await
    .context("cannot list the columns")?;
    let mut survey = Survey {
        contents,
        values,
        ..Survey::default()
    };
    for (schema, name, oid, column, number) in rows {
        let key = (schema, name);
        survey.marks.insert(key.clone(), oid);
        let columns = survey.column_marks.entry(key).or_default();
        columns.insert(column, i64::from(number));
    }
    Ok(survey)
}

/// The values of a partitioned table are those of its partitions. A column that takes no NULL in
/// one of them was not counted there, and has a value in each row.
fn add_up(tables: &[inspect::Table], rows: &[TableRows], nullable: &Columns, values: &mut Values) {
    let rows: BTreeMap<_, u64> = rows.iter().map(|table| (table.key(), table.rows)).collect();
    let owned = |(schema, name): (&str, &str)| (schema.to_owned(), name.to_owned());
    let parts = |table: &&inspect::Table| table.counts_for() != table.name();
    for table in tables.iter().filter(|t| t.is_partitioned() || parts(t)) {
        let whole = owned(table.counts_for());
        let own = values.get(&owned(table.name())).cloned();
        for column in nullable.get(&whole).into_iter().flatten() {
            let counted = own.as_ref().and_then(|own| own.get(column));
            let more = counted.or(rows.get(&table.name())).copied();
            let sums = values.entry(whole.clone()).or_default();
            // What is partitioned itself has none of its own.
            *sums.entry(column.clone()).or_default() +=
                more.filter(|_| table.is_stored()).unwrap_or(0);
        }
    }
}

/// Tables and where their rows are on disk: a table that is written anew gets new files.
pub struct Files(BTreeMap<i64, (String, Option<i64>)>);

pub async fn files(session: &mut PgConnection) -> Result<Files> {
    let rows: Vec<(i64, String, String, Option<i64>)> = sqlx::query_as(
        "SELECT c.oid::bigint, n.nspname::text, c.relname::text, \
           pg_catalog.pg_relation_filenode(c.oid)::bigint \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' \
           AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'",
    )
    .fetch_all(session)
    .await
    .context("cannot list the tables' files")?;
    let table = |(oid, schema, name, file): (_, String, String, _)| {
        (oid, (display_name(&schema, &name), file))
    };
    Ok(Files(rows.into_iter().map(table).collect()))
}

impl Files {
    /// Tables that were there before and have other files now.
    pub fn rewritten(&self, now: &Files) -> Vec<String> {
        let is_new =
            |oid: &i64, file: &Option<i64>| now.0.get(oid).is_some_and(|(_, found)| found != file);
        let tables = self.0.iter().filter(|(oid, (_, file))| is_new(oid, file));
        tables.map(|(_, (name, _))| name.clone()).collect()
    }
}

/// What this transaction holds of tables that were there before, when others
/// could not write to them or not even read them; the strongest of each.
pub async fn locks(session: &mut PgConnection, before: &Files) -> Result<Vec<String>> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT l.relation::bigint, l.mode FROM pg_catalog.pg_locks l \
         WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted",
    )
    .fetch_all(session)
    .await
    .context("cannot ask for the locks")?;
    let mut strongest: BTreeMap<&str, usize> = BTreeMap::new();
    for (oid, mode) in rows {
        let strength = LOCKS.iter().position(|(name, _)| *name == mode);
        if let (Some((table, _)), Some(strength)) = (before.0.get(&oid), strength) {
            let held = strongest.entry(table).or_default();
            *held = strength.max(*held);
        }
    }
    let line = |(table, strength): (&str, usize)| {
        let (mode, meaning) = LOCKS[strength];
        format!("{table}: {mode}, {meaning}")
    };
    Ok(strongest.into_iter().map(line).collect())
}

/// The modes that stop writers, weakest first.
const LOCKS: [(&str, &str); 4] = [
    ("ShareLock", "others cannot write"),
    ("ShareRowExclusiveLock", "others cannot write"),
    ("ExclusiveLock", "others cannot write"),
    ("AccessExclusiveLock", "others can neither read nor write"),
];
