//! What a PostgreSQL database is and holds. Reads only.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgConnection};

use super::connect::{Connected, literal, quoted};
use super::properties;
use crate::values::database::{AppliedMigration, Contents, DatabaseFacts, EngineKind, TableRows};

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
    let socket = connected
        .options
        .get_socket()
        .map(|path| path.display().to_string());
    Ok(DatabaseFacts {
        engine: EngineKind::Postgresql,
        name: database.to_owned(),
        host: Some(socket.unwrap_or_else(|| connected.options.get_host().to_owned())),
        port: Some(connected.options.get_port()),
        user: Some(connected.user.clone()),
        path: None,
        server_version: connected.server_version.clone(),
        system_identifier: system_identifier(&mut connected.session).await,
        properties,
        other: Default::default(),
    })
}

/// A managed server may keep it to itself; then host and port must do.
async fn system_identifier(session: &mut PgConnection) -> Option<String> {
    sqlx::query_scalar("SELECT system_identifier::text FROM pg_control_system()")
        .fetch_one(session)
        .await
        .ok()
}

pub async fn size_bytes(session: &mut PgConnection) -> Result<u64> {
    let size: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
        .fetch_one(session)
        .await
        .context("cannot ask for the size of the database")?;
    Ok(size.unsigned_abs())
}

pub struct Table {
    pub schema: String,
    pub name: String,
    /// Its rows are those of its partitions.
    partitioned: bool,
}

/// Root tables of all user schemas: rows may move between partitions when a
/// dump is restored, and an extension brings its own tables along. Foreign
/// tables hold no rows here, materialized views are computed anew.
pub async fn root_tables(session: &mut PgConnection) -> Result<Vec<Table>> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, c.relkind = 'p' \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition \
           AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
               AND d.deptype = 'e') \
         ORDER BY 1, 2",
    )
    .fetch_all(session)
    .await
    .context("cannot list the tables")?;
    Ok(rows
        .into_iter()
        .map(|(schema, name, partitioned)| Table {
            schema,
            name,
            partitioned,
        })
        .collect())
}

/// Exact rows, a bounded number of tables at a time. `snapshot` makes all the
/// questions see one moment, each in a transaction of its own, so that locks
/// do not add up.
pub async fn count_rows(
    session: &mut PgConnection,
    tables: &[Table],
    snapshot: Option<&str>,
) -> Result<Vec<TableRows>> {
    use sqlx::Executor;
    let mut counted = Vec::with_capacity(tables.len());
    for some in tables.chunks(TABLES_A_QUESTION) {
        let question = some
            .iter()
            .map(count_question)
            .collect::<Vec<_>>()
            .join(" UNION ALL ");
        let mut begin = String::from("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; ");
        if let Some(snapshot) = snapshot {
            begin += &format!("SET TRANSACTION SNAPSHOT {}; ", literal(snapshot));
        }
        // As pg_dump does: fail rather than count only the rows that a policy lets us see.
        begin += "SET LOCAL row_security = off";
        session
            .execute(AssertSqlSafe(begin))
            .await
            .context("cannot begin to count rows")?;
        let rows: Vec<(String, String, i64)> = sqlx::query_as(AssertSqlSafe(question))
            .persistent(false)
            .fetch_all(&mut *session)
            .await
            .context("cannot count rows")?;
        session
            .execute("COMMIT")
            .await
            .context("cannot end counting rows")?;
        counted.extend(rows.into_iter().map(|(schema, name, rows)| TableRows {
            schema,
            name,
            rows: rows.unsigned_abs(),
        }));
    }
    counted.sort();
    Ok(counted)
}

fn count_question(table: &Table) -> String {
    let only = if table.partitioned { "" } else { "ONLY " };
    format!(
        "SELECT {}::text, {}::text, count(*) FROM {only}{}.{}",
        literal(&table.schema),
        literal(&table.name),
        quoted(&table.schema),
        quoted(&table.name)
    )
}

pub async fn large_objects(session: &mut PgConnection) -> Result<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_catalog.pg_largeobject_metadata")
        .fetch_one(session)
        .await
        .context("cannot count the large objects")?;
    Ok(count.unsigned_abs())
}

pub async fn contents(session: &mut PgConnection, bookkeeping: &str) -> Result<Contents> {
    let tables = root_tables(session).await?;
    let history_table = find_history(session, bookkeeping).await?;
    Ok(Contents {
        tables: count_rows(session, &tables, None).await?,
        large_objects: Some(large_objects(session).await?),
        applied: read_history(session, history_table.as_deref()).await?,
        history_table,
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
