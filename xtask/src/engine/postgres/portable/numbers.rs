//! Sequences after rows came that they have not numbered: the next number must be a new one.
//! `ALTER SEQUENCE … RESTART` belongs to the transaction, as `setval` does not.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::super::connect::quoted;
use super::import::in_sql;
use super::outline::SEQUENCES;
use crate::values::portable::cell::Kind;
use crate::values::portable::fit::{Landed, Landing};
use crate::values::words::on_one_line;

struct Sequence {
    schema: String,
    name: String,
    column_name: String,
    sequence_schema: String,
    sequence: String,
    increment_by: i64,
    min_value: i64,
    max_value: i64,
    last_value: Option<i64>,
}

type Row = (
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    i64,
    Option<i64>,
);

impl Sequence {
    fn of(row: Row) -> Sequence {
        let (
            schema,
            name,
            column_name,
            sequence_schema,
            sequence,
            increment_by,
            min_value,
            max_value,
            last_value,
        ) = row;
        Sequence {
            schema,
            name,
            column_name,
            sequence_schema,
            sequence,
            increment_by,
            min_value,
            max_value,
            last_value,
        }
    }
}

/// Never back. One line for each that cannot be advanced.
pub async fn advance(session: &mut PgConnection, landing: &Landing) -> Result<Vec<String>> {
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT u.schema, u.name, u.column_name, n.nspname::text AS sequence_schema, \
           s.relname::text AS sequence, v.increment_by, v.min_value, v.max_value, v.last_value \
         FROM ({SEQUENCES}) AS u JOIN pg_catalog.pg_class s ON s.oid = u.sequence \
         JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
         JOIN pg_catalog.pg_sequences v ON v.schemaname = n.nspname AND v.sequencename = s.relname"
    )))
    .fetch_all(&mut *session)
    .await
    .context("cannot ask for the sequences")?;
    let mut warnings = Vec::new();
    for row in rows {
        let sequence = Sequence::of(row);
        let mut tables = landing.wanted();
        let table = tables.find(|t| t.schema == sequence.schema && t.name == sequence.name);
        let column = table.and_then(|table| {
            table
                .columns
                .iter()
                .find(|c| c.name == sequence.column_name && c.kind == Kind::Integer)
        });
        if let (Some(table), Some(_)) = (table, column) {
            warnings.extend(advance_one(session, table, &sequence).await?);
        }
    }
    Ok(warnings)
}

async fn advance_one(
    session: &mut PgConnection,
    table: &Landed,
    sequence: &Sequence,
) -> Result<Option<String>> {
    let is_up = sequence.increment_by > 0;
    let furthest = if is_up { "max" } else { "min" };
    let question = format!(
        "SELECT {furthest}({})::bigint FROM {}",
        quoted(&sequence.column_name),
        in_sql(table)
    );
    let in_rows: Option<i64> = sqlx::query_scalar(AssertSqlSafe(question))
        .persistent(false)
        .fetch_one(&mut *session)
        .await
        .context("cannot ask for the highest number")?;
    let of_file = table
        .sequences
        .iter()
        .find(|s| s.column == sequence.column_name);
    let numbers = [in_rows, of_file.map(|s| s.last), sequence.last_value];
    let numbers = numbers.into_iter().flatten();
    let last = if is_up { numbers.max() } else { numbers.min() };
    let Some(last) = last.filter(|last| Some(*last) != sequence.last_value) else {
        return Ok(None);
    };
    let next = last.checked_add(sequence.increment_by);
    let name = format!(
        "{}.{}",
        quoted(&sequence.sequence_schema),
        quoted(&sequence.sequence)
    );
    let Some(next) = next.filter(|next| (sequence.min_value..=sequence.max_value).contains(next))
    else {
        // Numbers of the other direction, from before it began, are in nobody's way.
        let is_behind = if is_up {
            last < sequence.min_value
        } else {
            last > sequence.max_value
        };
        return Ok((!is_behind).then(|| {
            format!(
                "the sequence `{}` has no number left behind {last}",
                on_one_line(&sequence.sequence)
            )
        }));
    };
    let restart = format!("ALTER SEQUENCE {name} RESTART WITH {next}");
    let restarted = session.execute(AssertSqlSafe(restart)).await;
    restarted.with_context(|| format!("cannot advance the sequence `{}`", sequence.sequence))?;
    Ok(None)
}
