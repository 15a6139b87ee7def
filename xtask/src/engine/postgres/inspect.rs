//! What a PostgreSQL database is and holds. Reads only.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::connect::{Connected, literal, quoted};
use super::fingerprint::{self, Columns, ROW};
use super::{describe, properties};
use crate::values::database::{AppliedMigration, Contents, DatabaseFacts, EngineKind, TableRows};
use crate::values::schema::RelationKind;

/// Tables counted in one question: few round trips, and few locks at a time.
const TABLES_A_QUESTION: usize = 100;

pub async fn facts(connected: &mut Connected) -> Result<DatabaseFacts> {
    let database = connected.database.clone();
    let mut facts = facts_of(connected, &database).await?;
    if let Some(properties) = &mut facts.properties {
        properties.search_path =
            sqlx::query_scalar("SELECT pg_catalog.current_schemas(false)::text[]")
                .fetch_one(&mut connected.session)
                .await
                .context("cannot ask for the search path")?;
    }
    Ok(facts)
}

/// Of a database that may be another one than the session's.
pub async fn facts_of(connected: &mut Connected, database: &str) -> Result<DatabaseFacts> {
    let properties = properties::read(connected, database).await?;
    Ok(DatabaseFacts {
        engine: EngineKind::Postgresql,
        name: database.to_owned(),
        host: Some(host_of(&connected.options)),
        port: Some(connected.options.get_port()),
        user: Some(connected.user.clone()),
        path: None,
        server_version: connected.server_version.clone(),
        system_identifier: system_identifier(&mut connected.session).await,
        properties,
        other: Default::default(),
    })
}

/// Name, address or socket folder.
pub fn host_of(options: &PgConnectOptions) -> String {
    let socket = options.get_socket();
    let socket = socket.map(|path| path.display().to_string());
    socket.unwrap_or_else(|| options.get_host().to_owned())
}

/// A managed server may keep it to itself; then host and port must do.
pub async fn system_identifier(session: &mut PgConnection) -> Option<String> {
    sqlx::query_scalar("SELECT system_identifier::text FROM pg_control_system()")
        .fetch_one(session)
        .await
        .ok()
}

pub async fn major(session: &mut PgConnection) -> Result<u32> {
    let number: i32 =
        sqlx::query_scalar("SELECT current_setting('server_version_num')::int / 10000")
            .fetch_one(session)
            .await
            .context("cannot ask for the server's version")?;
    Ok(number.unsigned_abs())
}

pub async fn size_bytes(session: &mut PgConnection) -> Result<u64> {
    let size: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
        .fetch_one(session)
        .await
        .context("cannot ask for the size of the database")?;
    Ok(size.unsigned_abs())
}

/// A table with rows of its own, or a partitioned one.
pub struct Table {
    pub oid: i64,
    schema: String,
    name: String,
    kind: RelationKind,
    /// Of a partition: the table at the top, whose rows are those of its partitions.
    root: Option<(String, String)>,
    has_rows: bool,
}

/// Tables and their partitions, and materialized views that are filled, of all
/// user schemas but those that are left out. An extension brings its own tables along, and foreign
/// tables hold no rows here.
pub async fn tables(session: &mut PgConnection, left_out: &[String]) -> Result<Vec<Table>> {
    type Row = (String, String, String, Option<String>, Option<String>, i64);
    let rows: Vec<Row> = sqlx::query_as(
        "WITH RECURSIVE up AS ( \
           SELECT i.inhrelid AS part, i.inhparent AS above FROM pg_catalog.pg_inherits i \
             JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid AND p.relispartition \
           UNION ALL SELECT up.part, i.inhparent FROM up \
             JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.above) \
         SELECT n.nspname::text, c.relname::text, c.relkind::text, \
           rn.nspname::text, r.relname::text, c.oid::bigint \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN (up JOIN pg_catalog.pg_class r ON r.oid = up.above AND NOT r.relispartition \
             JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace) ON up.part = c.oid \
         WHERE (c.relkind IN ('r', 'p') OR (c.relkind = 'm' AND c.relispopulated \
             AND has_table_privilege(c.oid, 'SELECT'))) \
           AND c.relpersistence <> 't' \
           AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
           AND n.nspname::text <> ALL($1) \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
               AND d.deptype = 'e') \
         ORDER BY 1, 2",
    )
    .bind(left_out)
    .fetch_all(session)
    .await
    .context("cannot list the tables")?;
    let table = |(schema, name, kind, root_schema, root, oid): Row| Table {
        oid,
        schema,
        name,
        kind: match (kind.as_str(), &root) {
            ("m", _) => RelationKind::MaterializedView,
            (_, Some(_)) => RelationKind::Partition,
            _ => RelationKind::Table,
        },
        root: root_schema.zip(root),
        has_rows: kind != "p",
    };
    Ok(rows.into_iter().map(table).collect())
}

/// How a transaction begins that only reads; `snapshot` makes it see that moment.
pub fn begin_in(snapshot: Option<&str>) -> String {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    match snapshot {
        Some(snapshot) => format!("{begin}; SET TRANSACTION SNAPSHOT {}", literal(snapshot)),
        None => begin.to_owned(),
    }
}

/// What is asked of tables besides the number of their rows.
#[derive(Default)]
pub struct Counting {
    /// The columns whose values other than NULL are counted.
    pub values: Columns,
    /// The columns of the tables that are fingerprinted.
    pub fingerprints: Columns,
}

/// How many values each column has.
pub type Values = BTreeMap<(String, String), BTreeMap<String, u64>>;

/// Exact rows. `snapshot` makes all the questions see one moment.
pub async fn count_rows(
    session: &mut PgConnection,
    tables: &[Table],
    fingerprints: bool,
    snapshot: Option<&str>,
) -> Result<Vec<TableRows>> {
    let mut counting = Counting::default();
    if fingerprints {
        counting.fingerprints = fingerprint::columns(session).await?;
    }
    let (rows, _) = count(session, tables, &counting, snapshot).await?;
    Ok(rows)
}

/// Exact rows and values, a bounded number of tables at a time, each time in a
/// transaction of its own, so that locks do not add up.
pub async fn count(
    session: &mut PgConnection,
    tables: &[Table],
    counting: &Counting,
    snapshot: Option<&str>,
) -> Result<(Vec<TableRows>, Values)> {
    // The rows of a partitioned table are added up below.
    let mut sums: BTreeMap<(String, String), (u64, i128)> = BTreeMap::new();
    let mut counted: Vec<TableRows> = Vec::with_capacity(tables.len());
    let mut values = Values::new();
    let with_rows: Vec<&Table> = tables.iter().filter(|table| table.has_rows).collect();
    for some in with_rows.chunks(TABLES_A_QUESTION) {
        let question = question_for(some, counting);
        for (i, rows, of_columns, sum) in ask(session, question, counting, snapshot).await? {
            let (table, rows) = (some[i.unsigned_abs() as usize], rows.unsigned_abs());
            let sum = sum.map(|sum| sum.parse::<i128>()).transpose();
            let sum = sum.context("a fingerprint is no number")?;
            if let Some(root) = &table.root {
                let (all_rows, all_sums) = sums.entry(root.clone()).or_default();
                *all_rows += rows;
                *all_sums += sum.unwrap_or(0);
            }
            if let Some(names) = counting.values.get(&table.full_name()) {
                let counts = of_columns.into_iter().map(i64::unsigned_abs);
                let pairs = names.iter().cloned().zip(counts);
                values.insert(table.full_name(), pairs.collect());
            }
            counted.push(table.with_rows(rows, sum));
        }
    }
    let partitioned = tables.iter().filter(|t| !t.has_rows && t.root.is_none());
    counted.extend(partitioned.map(|table| {
        let of_parts = sums.get(&table.full_name()).copied();
        let (rows, sum) = of_parts.unwrap_or_default();
        let is_wanted = counting.fingerprints.contains_key(&table.full_name());
        table.with_rows(rows, is_wanted.then_some(sum))
    }));
    counted.sort();
    Ok((counted, values))
}

fn question_for(some: &[&Table], counting: &Counting) -> String {
    let one = |(i, table): (usize, &&Table)| {
        let name = table.full_name();
        let names = counting.values.get(&name).into_iter().flatten();
        let counts: Vec<String> = names
            .map(|name| format!("count({})", quoted(name)))
            .collect();
        let columns = counting.fingerprints.get(&name);
        let sum = columns.map_or("NULL::text".into(), |columns| fingerprint::sum(columns));
        format!(
            "SELECT {i}, count(*), ARRAY[{}]::bigint[], {sum} FROM ONLY {}.{} AS {ROW}",
            counts.join(", "),
            quoted(&table.schema),
            quoted(&table.name)
        )
    };
    let questions: Vec<String> = some.iter().enumerate().map(one).collect();
    questions.join(" UNION ALL ")
}

async fn ask(
    session: &mut PgConnection,
    question: String,
    counting: &Counting,
    snapshot: Option<&str>,
) -> Result<Vec<(i32, i64, Vec<i64>, Option<String>)>> {
    // As pg_dump does: fail rather than count only the rows that a policy lets us see.
    let mut begin = begin_in(snapshot) + "; SET LOCAL row_security = off; ";
    if !counting.fingerprints.is_empty() {
        begin += fingerprint::SETTINGS;
    }
    session
        .execute(AssertSqlSafe(begin))
        .await
        .context("cannot begin to count rows")?;
    let rows = sqlx::query_as(AssertSqlSafe(question))
        .persistent(false)
        .fetch_all(&mut *session)
        .await
        .context("cannot count rows")?;
    session
        .execute("COMMIT")
        .await
        .context("cannot end counting rows")?;
    Ok(rows)
}

impl Table {
    /// Schema and name of the table whose rows these are: of a partition, that at the top.
    pub fn counts_for(&self) -> (&str, &str) {
        match &self.root {
            Some((schema, name)) => (schema, name),
            None => (&self.schema, &self.name),
        }
    }

    pub fn name(&self) -> (&str, &str) {
        (&self.schema, &self.name)
    }

    pub fn in_sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// Whether its rows are those of its partitions.
    pub fn is_partitioned(&self) -> bool {
        !self.has_rows && self.root.is_none()
    }

    /// As it is where its rows were left out.
    pub fn without_rows(&self, fingerprints: bool) -> TableRows {
        self.with_rows(0, fingerprints.then_some(0))
    }

    pub fn is_computed(&self) -> bool {
        self.kind == RelationKind::MaterializedView
    }

    /// Whether its rows are its own, and not computed.
    pub fn is_stored(&self) -> bool {
        self.has_rows && self.kind != RelationKind::MaterializedView
    }

    fn full_name(&self) -> (String, String) {
        (self.schema.clone(), self.name.clone())
    }

    fn with_rows(&self, rows: u64, sum: Option<i128>) -> TableRows {
        TableRows {
            schema: self.schema.clone(),
            name: self.name.clone(),
            rows,
            kind: self.kind,
            fingerprint: sum.map(fingerprint::text),
        }
    }
}

pub async fn large_objects(session: &mut PgConnection) -> Result<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_catalog.pg_largeobject_metadata")
        .fetch_one(session)
        .await
        .context("cannot count the large objects")?;
    Ok(count.unsigned_abs())
}

pub async fn contents(
    session: &mut PgConnection,
    bookkeeping: &str,
    fingerprints: bool,
    left_out: &[String],
) -> Result<Contents> {
    let tables = tables(session, left_out).await?;
    let history_table = find_history(session, bookkeeping).await?;
    Ok(Contents {
        tables: count_rows(session, &tables, fingerprints, None).await?,
        large_objects: Some(large_objects(session).await?),
        applied: read_history(session, history_table.as_deref()).await?,
        history_table,
        relations: describe::relations(session, None, left_out).await?,
    })
}

/// sqlx's table; empty when there is none.
pub async fn history(
    session: &mut PgConnection,
    bookkeeping: &str,
) -> Result<Vec<AppliedMigration>> {
    let table = find_history(session, bookkeeping).await?;
    read_history(session, table.as_deref()).await
}

/// Where sqlx would find its table, with its schema.
pub async fn find_history(session: &mut PgConnection, bookkeeping: &str) -> Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = to_regclass($1)",
    )
    .bind(bookkeeping)
    .fetch_optional(session)
    .await
    .with_context(|| format!("cannot look for the migration history `{bookkeeping}`"))
}

/// Of a table by its name in SQL.
pub async fn oid_of(session: &mut PgConnection, table: Option<&str>) -> Result<Option<i64>> {
    let Some(table) = table else {
        return Ok(None);
    };
    sqlx::query_scalar("SELECT to_regclass($1)::oid::bigint")
        .bind(table)
        .fetch_one(session)
        .await
        .with_context(|| format!("cannot look for the migration history `{table}`"))
}

pub async fn read_history(
    session: &mut PgConnection,
    table: Option<&str>,
) -> Result<Vec<AppliedMigration>> {
    let Some(table) = table else {
        return Ok(Vec::new());
    };
    let rows: Vec<(i64, String, String, bool)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT version, description, encode(checksum, 'hex'), success \
         FROM {table} ORDER BY version"
    )))
    .persistent(false)
    .fetch_all(session)
    .await
    .with_context(|| format!("cannot read the migration history `{table}`"))?;
    Ok(rows
        .into_iter()
        .map(
            |(version, description, checksum, success)| AppliedMigration {
                version,
                description,
                checksum,
                success,
            },
        )
        .collect())
}
