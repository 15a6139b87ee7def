//! Rows of a file into the tables of a PostgreSQL database: one transaction, in which the tables
//! are held against writers, filled through `COPY`, read back, matched with the file, and committed.

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::super::connect::{self, quoted};
use super::super::fingerprint::SETTINGS;
use super::super::{Postgres, in_place, lock};
use super::load::Loader;
use super::{export, loosen, numbers, outline};
use crate::engine::Restored;
use crate::values::database_url::PostgresUrl;
use crate::values::failure::{Failure, Outcome};
use crate::values::portable::Sink;
use crate::values::portable::fit::{Landed, LandedColumn, Landing, Mode};
use crate::values::portable::outline::ColumnOutline;
use crate::values::portable::tally::Tally;

pub type Source<'a> = &'a mut dyn FnMut(&mut dyn Sink) -> Result<()>;

/// Where rows are to be replaced, the tables are held from before the backup: what is deleted is
/// what the backup holds, and no row that somebody was told is written is in neither.
pub fn prepare(postgres: &mut Postgres, landing: &Landing) -> Result<()> {
    if landing.mode == Mode::Replace {
        let begun = begin(&postgres.url, landing);
        postgres.import = Some(postgres.runtime.block_on(begun)?);
    }
    Ok(())
}

pub fn import(postgres: &mut Postgres, landing: &Landing, source: Source) -> Result<Restored> {
    lock::require(&postgres.runtime, lock::session(&mut postgres.lock))?;
    let mut work = match postgres.import.take() {
        Some(work) => work,
        None => postgres.runtime.block_on(begin(&postgres.url, landing))?,
    };
    let done = fill(postgres, &mut work, landing, source).and_then(|warnings| {
        let committed = async { Ok(work.session.execute("COMMIT").await.map(drop)?) };
        postgres
            .runtime
            .block_on(committed)
            .context("cannot commit")?;
        Ok(warnings)
    });
    let (id, number) = (work.id, work.number);
    drop(work);
    let warnings = match done {
        Ok(warnings) => warnings,
        Err(error) => conclude(postgres, id, number, error)?,
    };
    Ok(Restored {
        kept: None,
        warnings,
    })
}

pub struct Work {
    session: PgConnection,
    id: connect::SessionId,
    number: i64,
    /// In which functions of checks and indexes find what they name.
    search_path: String,
}

/// The locks come first: what the transaction sees from then on, others cannot change.
async fn begin(url: &PostgresUrl, landing: &Landing) -> Result<Work> {
    let mut session = connect::connect(url).await?.session;
    let id = connect::id_of(&mut session).await?;
    let search_path: String = sqlx::query_scalar("SELECT current_setting('search_path')")
        .fetch_one(&mut session)
        .await
        .context("cannot ask for the search path")?;
    let tables: Vec<String> = landing.wanted().map(in_sql).collect();
    let mut begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE; SET LOCAL row_security = off; {SETTINGS}"
    );
    if !tables.is_empty() {
        begin += &format!(
            "; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
            tables.join(", ")
        );
    }
    let begun = session.execute(AssertSqlSafe(begin)).await;
    begun.context("cannot hold the tables against writers")?;
    let number = sqlx::query_scalar("SELECT txid_current()")
        .fetch_one(&mut session)
        .await
        .context("cannot begin to write")?;
    Ok(Work {
        session,
        id,
        number,
        search_path,
    })
}

pub fn in_sql(table: &Landed) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// All but the COMMIT.
fn fill(
    postgres: &Postgres,
    work: &mut Work,
    landing: &Landing,
    source: Source,
) -> Result<Vec<String>> {
    let session = &mut work.session;
    let counted = count(session, landing);
    postgres.runtime.block_on(counted)?;
    let path = work.search_path.clone();
    let (earlier, tighten) = postgres.runtime.block_on(async {
        let earlier = match landing.mode {
            Mode::Append => tallies(session, landing).await?,
            Mode::IntoEmpty | Mode::Replace => Vec::new(),
        };
        let tighten = loosen::loosen(session, landing).await?;
        if landing.mode == Mode::Replace {
            delete(session, landing).await?;
        }
        set_search_path(session, &path).await?;
        anyhow::Ok((earlier, tighten))
    })?;
    let mut loader = Loader::new(&postgres.runtime, session, landing);
    source(&mut loader)?;
    let given = loader.finish()?;
    postgres.runtime.block_on(async {
        loosen::tighten(session, &tighten).await?;
        let warnings = numbers::advance(session, landing).await?;
        set_search_path(session, "").await?;
        let found = tallies(session, landing).await?;
        compare(landing, &earlier, &given, &found)?;
        Ok(warnings)
    })
}

async fn set_search_path(session: &mut PgConnection, path: &str) -> Result<()> {
    sqlx::query("SELECT pg_catalog.set_config('search_path', $1, true)")
        .bind(path)
        .execute(session)
        .await
        .context("cannot set the search path")?;
    Ok(())
}

/// What the plan said of rows that are there must still be so.
async fn count(session: &mut PgConnection, landing: &Landing) -> Result<()> {
    for table in landing.wanted() {
        let rows = outline::count(session, &(table.schema.clone(), table.name.clone())).await?;
        if rows != table.rows_now {
            return Err(Failure::refused(format!(
                "somebody has written to the database meanwhile: `{}` has {rows} rows, and had {} \
                 when the plan was made",
                table.title, table.rows_now
            ))
            .hint("nothing was changed; run the command again")
            .into());
        }
    }
    Ok(())
}

/// What refers to others goes first.
async fn delete(session: &mut PgConnection, landing: &Landing) -> Result<()> {
    let tables: Vec<&Landed> = landing.wanted().collect();
    for table in tables.into_iter().rev() {
        let only = outline::only(session, (&table.schema, &table.name)).await?;
        let delete = format!("DELETE FROM {only}{}", in_sql(table));
        let deleted = session.execute(AssertSqlSafe(delete)).await;
        deleted.with_context(|| format!("cannot delete the rows of table `{}`", table.title))?;
    }
    Ok(())
}

/// What the tables hold, in the columns that the file has.
async fn tallies(session: &mut PgConnection, landing: &Landing) -> Result<Vec<Tally>> {
    let mut tallies = Vec::new();
    for table in landing.wanted() {
        let column = |column: &LandedColumn| ColumnOutline {
            name: column.name.clone(),
            data_type: String::new(),
            kind: column.kind,
            is_generated: false,
        };
        let columns: Vec<ColumnOutline> = table.columns.iter().map(column).collect();
        let columns: Vec<&ColumnOutline> = columns.iter().collect();
        let mut tally = Tally::default();
        let name = (table.schema.as_str(), table.name.as_str());
        export::rows(session, name, &columns, &mut |cells| {
            table.add(&mut tally, cells);
            Ok(())
        })
        .await?;
        tallies.push(tally);
    }
    Ok(tallies)
}

/// Row for row what the file says, and nothing else of what was there before.
fn compare(landing: &Landing, earlier: &[Tally], given: &[Tally], found: &[Tally]) -> Result<()> {
    ensure!(given.len() == found.len(), "a table was not filled");
    for (i, table) in landing.wanted().enumerate() {
        let before = earlier.get(i).cloned().unwrap_or_default();
        table.require(&given[i], &found[i].since(&before))?;
    }
    Ok(())
}

/// The truth is the server's, also when a signal came or the connection was lost while it committed.
fn conclude(
    postgres: &Postgres,
    id: connect::SessionId,
    number: i64,
    error: anyhow::Error,
) -> Result<Vec<String>> {
    let asked = postgres.runtime.block_on_to_the_end(async {
        let mut other = connect::connect_patiently(&postgres.url, None).await?;
        connect::end_session(&mut other.session, id).await?;
        // A close that fails changes nothing.
        let _ = other.session.close().await;
        in_place::require_committed(postgres, number).await
    });
    match asked {
        Ok(()) => Ok(vec![format!("it was committed, although: {error:#}")]),
        Err(unknown) if is_after_change(&unknown) => Err(unknown),
        Err(_) => Err(error),
    }
}

fn is_after_change(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| failure.outcome == Outcome::AfterChange)
}
