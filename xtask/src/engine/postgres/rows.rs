//! The rows of one table in the order of a key, through a cursor: a few at a time.

use std::collections::VecDeque;
use std::vec::IntoIter;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::Postgres;
use super::connect::{self, literal, quoted};
use super::fingerprint::{ROW, SETTINGS};
use super::inspect::begin_in;
use crate::engine::Readable;
use crate::runtime::Runtime;
use crate::values::rows::{Order, Rows, Shape, Value};

/// So many rows are in memory at once.
const ROWS_A_FETCH: usize = 200;

#[derive(Clone, Copy)]
enum Kind {
    Integer,
    Bytes,
    Plain,
    Text,
}

pub struct PostgresRows {
    runtime: Runtime,
    session: PgConnection,
    kinds: Vec<Kind>,
    fetched: VecDeque<Vec<Option<String>>>,
    is_done: bool,
}

/// `database`: another one on the same server than the URL's.
pub fn shape(
    postgres: &Postgres,
    database: Option<&str>,
    table: &(String, String),
) -> Result<Shape> {
    postgres.runtime.block_on(async {
        let mut connected = connect::connect_to(&postgres.url, database).await?;
        let columns = columns(&mut connected.session, table).await?;
        let key: Vec<String> = sqlx::query_scalar(
            "SELECT a.attname::text FROM pg_catalog.pg_index i \
             JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, \
             unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place), pg_catalog.pg_attribute a \
             WHERE n.nspname = $1 AND c.relname = $2 AND i.indisprimary \
               AND k.place <= i.indnkeyatts AND a.attrelid = c.oid AND a.attnum = k.number \
             ORDER BY k.place",
        )
        .bind(&table.0)
        .bind(&table.1)
        .fetch_all(&mut connected.session)
        .await
        .context("cannot ask for the primary key")?;
        let order = |kind| match kind {
            Kind::Integer => Order::Number,
            Kind::Bytes | Kind::Plain | Kind::Text => Order::Bytes,
        };
        let columns = columns.into_iter().map(|(name, kind)| (name, order(kind)));
        Ok(Shape {
            columns: columns.collect(),
            key,
        })
    })
}

async fn columns(
    session: &mut PgConnection,
    table: &(String, String),
) -> Result<Vec<(String, Kind)>> {
    let rows: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT a.attname::text, t.oid::bigint, t.typcategory::text \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY a.attnum",
    )
    .bind(&table.0)
    .bind(&table.1)
    .fetch_all(session)
    .await
    .context("cannot list the columns")?;
    let kind = |(name, oid, category): (String, i64, String)| {
        let kind = match (oid, category.as_str()) {
            (20 | 21 | 23, _) => Kind::Integer,
            (17, _) => Kind::Bytes,
            (_, "N" | "B") => Kind::Plain,
            _ => Kind::Text,
        };
        (name, kind)
    };
    Ok(rows.into_iter().map(kind).collect())
}

/// A transaction of its own: all rows are of one moment.
pub fn rows(
    postgres: &Postgres,
    database: Option<&str>,
    table: &(String, String),
    names: &[String],
    keys: usize,
) -> Result<PostgresRows> {
    let runtime = Runtime::new(postgres.interrupt().clone())?;
    let (session, kinds) = runtime.block_on(async {
        let mut session = connect::connect_to(&postgres.url, database).await?.session;
        let known = columns(&mut session, table).await?;
        let kind = |name: &String| {
            let found = known.iter().find(|(n, _)| n == name).map(|(_, kind)| *kind);
            found.with_context(|| format!("there is no column `{name}` any more"))
        };
        let kinds = names.iter().map(kind).collect::<Result<Vec<Kind>>>()?;
        let begin = begin_in(None) + "; SET LOCAL row_security = off; " + SETTINGS;
        session.execute(AssertSqlSafe(begin)).await?;
        let is_partitioned: bool = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = {}::regclass",
            literal(&full_name(table))
        )))
        .fetch_one(&mut session)
        .await?;
        let only = if is_partitioned { "" } else { "ONLY " };
        let question = question(&format!("{only}{}", full_name(table)), names, &kinds, keys);
        session.execute(AssertSqlSafe(question)).await?;
        anyhow::Ok((session, kinds))
    })?;
    Ok(PostgresRows {
        runtime,
        session,
        kinds,
        fetched: VecDeque::new(),
        is_done: false,
    })
}

fn full_name((schema, name): &(String, String)) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// In an order that does not depend on collations, nor on the encoding of the database.
fn question(from: &str, names: &[String], kinds: &[Kind], keys: usize) -> String {
    let column = |name: &String| format!("{ROW}.{}", quoted(name));
    let texts: Vec<String> = names
        .iter()
        .map(|n| format!("{}::text", column(n)))
        .collect();
    let order = |(name, kind): (&String, &Kind)| match kind {
        Kind::Integer => format!("{} NULLS FIRST", column(name)),
        _ => format!(
            "pg_catalog.convert_to({}::text, 'UTF8') NULLS FIRST",
            column(name)
        ),
    };
    let order: Vec<String> = names.iter().zip(kinds).take(keys).map(order).collect();
    let order = match order.is_empty() {
        true => String::new(),
        false => format!(" ORDER BY {}", order.join(", ")),
    };
    format!(
        "DECLARE xtask_rows NO SCROLL CURSOR FOR SELECT ARRAY[{}]::text[] FROM {from} AS {ROW}{order}",
        texts.join(", ")
    )
}

impl Rows for PostgresRows {
    fn next(&mut self) -> Result<Option<Vec<Value>>> {
        if self.fetched.is_empty() && !self.is_done {
            let session = &mut self.session;
            let fetch = format!("FETCH FORWARD {ROWS_A_FETCH} FROM xtask_rows");
            let rows: Vec<Vec<Option<String>>> = self.runtime.block_on(async {
                let fetched = sqlx::query_scalar(AssertSqlSafe(fetch))
                    .persistent(false)
                    .fetch_all(session)
                    .await;
                fetched.context("cannot read the rows")
            })?;
            self.is_done = rows.len() < ROWS_A_FETCH;
            self.fetched.extend(rows);
        }
        let Some(row) = self.fetched.pop_front() else {
            return Ok(None);
        };
        let values: IntoIter<Option<String>> = row.into_iter();
        let values = values
            .zip(&self.kinds)
            .map(|(text, kind)| value(text, *kind));
        values.collect::<Result<_>>().map(Some)
    }
}

fn value(text: Option<String>, kind: Kind) -> Result<Value> {
    let Some(text) = text else {
        return Ok(Value::Null);
    };
    Ok(match kind {
        Kind::Integer => Value::Integer(text.parse().context("an integer is none")?),
        Kind::Plain => Value::Plain(text),
        Kind::Text => Value::Text(text),
        Kind::Bytes => {
            let digits = text.strip_prefix("\\x").context("bytes are not in hex")?;
            let pairs = digits.as_bytes().chunks(2);
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
            Value::Blob(bytes.context("bytes are not in hex")?)
        }
    })
}

impl Readable for Postgres {
    fn shape(&mut self, table: &(String, String)) -> Result<Shape> {
        shape(self, None, table)
    }

    fn rows(
        &mut self,
        table: &(String, String),
        columns: &[String],
        keys: usize,
    ) -> Result<Box<dyn Rows>> {
        Ok(Box::new(rows(self, None, table, columns, keys)?))
    }
}
