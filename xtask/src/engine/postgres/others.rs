//! Whether others have written since a moment, by what the rows themselves say.
//!
//! Each row version carries the number of the transaction that wrote it, and a
//! row that is gone is missing in a count. Both are facts of the database. The
//! server's statistics are not: they count what was rolled back and what we
//! wrote ourselves, come late, and are lost in a crash.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{connect, describe, inspect};
use crate::values::database::Contents;
use crate::values::database_url::PostgresUrl;
use crate::values::others::Others;
use crate::values::schema::{self, RelationKind, display_name};

/// Rows counted in one question: few round trips, and few locks at a time.
const TABLES_A_QUESTION: usize = 100;

/// The oldest transaction that has not ended. What it and all later ones write counts as
/// written since: a savepoint of one that runs now cannot be told from a later transaction.
pub async fn since(session: &mut PgConnection) -> Result<i64> {
    sqlx::query_scalar("SELECT txid_snapshot_xmin(txid_current_snapshot())")
        .fetch_one(session)
        .await
        .context("cannot ask for the oldest transaction")
}

pub struct Watched<'a> {
    pub url: &'a PostgresUrl,
    pub bookkeeping: &'a str,
    /// Schemas that somebody else writes all the time.
    pub left_out: &'a [String],
    pub since: i64,
}

/// The migrations themselves leave the history; where `is_mixed`, they may have left more.
pub async fn seen(watched: &Watched<'_>, then: &Contents, is_mixed: bool) -> Result<Others> {
    let Watched {
        bookkeeping,
        left_out,
        since,
        ..
    } = *watched;
    let mut connected = connect::connect(watched.url).await?;
    let session = &mut connected.session;
    let mut tables = inspect::tables(session, left_out).await?;
    let history = inspect::find_history(session, bookkeeping).await?;
    let history = inspect::oid_of(session, history.as_deref()).await?;
    let history = tables.iter().find(|table| Some(table.oid) == history);
    let history = history.map(|table| (table.name().0.to_owned(), table.name().1.to_owned()));
    let is_history = |(schema, name): (&str, &str)| {
        let history = history.as_ref();
        history.is_some_and(|(of, called)| of == schema && called == name)
    };
    tables.retain(|table| !is_history(table.name()));
    let mut seen = count(session, &tables, since, then).await?;
    let kept = then.tables.iter().filter(|table| {
        matches!(table.kind, RelationKind::Table | RelationKind::Partition)
            && !is_history(table.key())
    });
    let gone = kept.filter(|table| tables.iter().all(|found| found.name() != table.key()));
    seen.extend(gone.map(|table| format!("{table}: {} rows in the backup, gone", table.rows)));
    seen.extend(large_objects(session, since, then).await?);
    if !is_mixed {
        if inspect::history(session, bookkeeping).await? != then.applied {
            seen.push("the migration history is another one".into());
        }
        let mut now = describe::relations(session, None, left_out).await?;
        let mut before = then.relations.clone();
        before.retain(|relation| !is_history(relation.key()));
        now.retain(|relation| !is_history(relation.key()));
        if !before.is_empty() {
            seen.extend(schema::differences(&before, &now));
        }
    }
    connected.session.close().await?;
    Ok(match (seen.is_empty(), is_mixed) {
        (true, _) => Others::Silent,
        (false, false) => Others::Wrote(seen),
        (false, true) => Others::Unclear(seen),
    })
}

/// Tables whose rows are not those of then, one line each.
async fn count(
    session: &mut PgConnection,
    tables: &[inspect::Table],
    since: i64,
    then: &Contents,
) -> Result<Vec<String>> {
    let known = then.by_name();
    let mut lines = Vec::new();
    let with_rows: Vec<_> = tables.iter().filter(|table| table.is_stored()).collect();
    for some in with_rows.chunks(TABLES_A_QUESTION) {
        let question = |next: i64| {
            let each = some.iter().enumerate();
            let each = each.map(|(i, table)| question(i, &table.in_sql(), since, next));
            each.collect::<Vec<_>>().join(" UNION ALL ")
        };
        for (i, rows, newer) in ask(session, question).await? {
            let (schema, name) = some[i.unsigned_abs() as usize].name();
            let before = known.get(&(schema, name)).map_or(0, |table| table.rows);
            if newer > 0 || rows.unsigned_abs() != before {
                lines.push(format!(
                    "{}: {before} rows in the backup, {rows} now; {newer} of them written since",
                    display_name(schema, name)
                ));
            }
        }
    }
    Ok(lines)
}

/// A row has the last 32 bits of the number.
fn question(i: usize, table: &str, since: i64, next: i64) -> String {
    let base = next - next.rem_euclid(1 << 32);
    let number = format!("({base} + xmin::text::bigint)");
    format!(
        "SELECT {i}, count(*), count(*) FILTER (WHERE {number} - \
           CASE WHEN {number} > {next} THEN 4294967296 ELSE 0 END >= {since}) FROM ONLY {table}"
    )
}

/// In one transaction with the number that no transaction it sees has reached.
async fn ask(
    session: &mut PgConnection,
    question: impl Fn(i64) -> String,
) -> Result<Vec<(i32, i64, i64)>> {
    let begin = inspect::begin_in(None) + "; SET LOCAL row_security = off";
    let context = "cannot look for what was written since";
    session
        .execute(AssertSqlSafe(begin))
        .await
        .context(context)?;
    let next: i64 = sqlx::query_scalar("SELECT txid_snapshot_xmax(txid_current_snapshot())")
        .fetch_one(&mut *session)
        .await
        .context(context)?;
    let rows = sqlx::query_as(AssertSqlSafe(question(next)))
        .persistent(false)
        .fetch_all(&mut *session)
        .await
        .context(context)?;
    session.execute("COMMIT").await.context(context)?;
    Ok(rows)
}

/// Only a superuser may look into them: else one that is there makes it unclear.
async fn large_objects(
    session: &mut PgConnection,
    since: i64,
    then: &Contents,
) -> Result<Option<String>> {
    let (before, now) = (
        then.large_objects.unwrap_or(0),
        inspect::large_objects(session).await?,
    );
    if before == 0 && now == 0 {
        return Ok(None);
    }
    let question = |next| question(0, "pg_catalog.pg_largeobject", since, next);
    let pages = ask(session, question)
        .await
        .context("whether large objects were written to cannot be told")?;
    let newer = pages.first().map_or(0, |(_, _, newer)| *newer);
    Ok((newer > 0 || before != now).then(|| {
        format!(
            "{before} large objects in the backup, {now} now; {newer} of their pages written since"
        )
    }))
}
