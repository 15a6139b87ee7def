//! Sequences after rows came that they have not numbered: the next number must be a new one.
//! `ALTER SEQUENCE … RESTART` belongs to the transaction, as `setval` does not.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::super::connect::quoted;
use super::import::in_sql;
use super::outline::SEQUENCES;
use crate::values::portable::cell::Kind;
use crate::values::portable::fit::{Landed, LandedColumn, Landing};
use crate::values::words::on_one_line;

/// A sequence that columns take their numbers from.
pub struct Sequence {
    schema: String,
    name: String,
    increment: i64,
    min: i64,
    max: i64,
    /// What it gives out next, if it has one left.
    next: i128,
    /// Schema, table and column of each.
    pub users: Vec<(String, String, String)>,
}

/// Those that this role may read. Their own position, and not what `pg_sequences` says of it: that is
/// nothing at all until the first number was given out.
pub async fn read(session: &mut PgConnection) -> Result<Vec<Sequence>> {
    type Row = (
        String,
        String,
        i64,
        i64,
        i64,
        Vec<String>,
        Vec<String>,
        Vec<String>,
    );
    let context = "cannot ask for the sequences";
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT n.nspname::text, s.relname::text, v.seqincrement, v.seqmin, v.seqmax, \
           array_agg(u.schema), array_agg(u.name), array_agg(u.column_name) \
         FROM ({SEQUENCES}) AS u JOIN pg_catalog.pg_class s ON s.oid = u.sequence \
         JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
         JOIN pg_catalog.pg_sequence v ON v.seqrelid = s.oid \
         WHERE has_table_privilege(s.oid, 'SELECT') GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2"
    )))
    .fetch_all(&mut *session)
    .await
    .context(context)?;
    let mut sequences = Vec::new();
    for (schema, name, increment, min, max, schemas, tables, columns) in rows {
        let question = format!(
            "SELECT last_value, is_called FROM {}.{}",
            quoted(&schema),
            quoted(&name)
        );
        let (last, is_called): (i64, bool) = sqlx::query_as(AssertSqlSafe(question))
            .persistent(false)
            .fetch_one(&mut *session)
            .await
            .context(context)?;
        let step = if is_called { increment } else { 0 };
        let users = schemas.into_iter().zip(tables).zip(columns);
        sequences.push(Sequence {
            schema,
            name,
            increment,
            min,
            max,
            next: i128::from(last) + i128::from(step),
            users: users
                .map(|((schema, table), column)| (schema, table, column))
                .collect(),
        });
    }
    Ok(sequences)
}

/// Those whose position this role may not know.
pub async fn unreadable(session: &mut PgConnection) -> Result<Vec<(String, String)>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "SELECT DISTINCT n.nspname::text, s.relname::text FROM ({SEQUENCES}) AS u \
         JOIN pg_catalog.pg_class s ON s.oid = u.sequence \
         JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
         WHERE NOT has_table_privilege(s.oid, 'SELECT') ORDER BY 1, 2"
    )))
    .fetch_all(session)
    .await
    .context("cannot ask for the sequences")
}

impl Sequence {
    /// The last number that was given out, or would have been.
    pub fn last(&self) -> Option<i64> {
        i64::try_from(self.next - i128::from(self.increment)).ok()
    }

    fn behind(&self, number: i64) -> i128 {
        i128::from(number) + i128::from(self.increment)
    }
}

/// Never back: to what is furthest of where it is, where it was when the rows were exported, and the
/// rows of all columns that it numbers. One line for each that cannot be advanced.
pub async fn advance(session: &mut PgConnection, landing: &Landing) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for (_, name) in unreadable(session).await? {
        let shown = on_one_line(&name);
        warnings.push(format!(
            "the sequence `{shown}` stays where it is: this role may not read it"
        ));
    }
    for sequence in read(session).await? {
        let mut next = vec![sequence.next];
        for (schema, name, column) in &sequence.users {
            let mut tables = landing.wanted();
            let table = tables.find(|t| t.schema == *schema && t.name == *name);
            let Some(table) = table else {
                continue;
            };
            let of_file = table.sequences.iter().filter(|s| s.column == *column);
            next.extend(of_file.map(|s| sequence.behind(s.last)));
            // What is no integer may have a number in it, and is none.
            let is_number = |c: &LandedColumn| c.name == *column && c.kind == Kind::Integer;
            if table.columns.iter().any(is_number) {
                let furthest = furthest(session, table, &sequence, column).await?;
                next.extend(furthest.map(|number| sequence.behind(number)));
            }
        }
        let next = match sequence.increment > 0 {
            true => next.into_iter().max(),
            false => next.into_iter().min(),
        };
        if let Some(next) = next.filter(|next| *next != sequence.next) {
            warnings.extend(restart(session, &sequence, next).await?);
        }
    }
    Ok(warnings)
}

async fn furthest(
    session: &mut PgConnection,
    table: &Landed,
    sequence: &Sequence,
    column: &str,
) -> Result<Option<i64>> {
    let function = if sequence.increment > 0 { "max" } else { "min" };
    let question = format!(
        "SELECT {function}({})::bigint FROM {}",
        quoted(column),
        in_sql(table)
    );
    sqlx::query_scalar(AssertSqlSafe(question))
        .persistent(false)
        .fetch_one(session)
        .await
        .context("cannot ask for the highest number")
}

async fn restart(
    session: &mut PgConnection,
    sequence: &Sequence,
    next: i128,
) -> Result<Option<String>> {
    let shown = on_one_line(&sequence.name);
    if !(i128::from(sequence.min)..=i128::from(sequence.max)).contains(&next) {
        let last = next - i128::from(sequence.increment);
        return Ok(Some(format!(
            "the sequence `{shown}` has no number left behind {last}"
        )));
    }
    let restart = format!(
        "ALTER SEQUENCE {}.{} RESTART WITH {next}",
        quoted(&sequence.schema),
        quoted(&sequence.name)
    );
    let restarted = session.execute(AssertSqlSafe(restart)).await;
    restarted.with_context(|| format!("cannot advance the sequence `{shown}`"))?;
    Ok(None)
}
