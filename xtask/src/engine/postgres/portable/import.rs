//! Rows of a file into the tables of a PostgreSQL database: one transaction, in which the tables
//! are held against writers, filled through `COPY`, read back, matched with the file, and committed.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::super::connect::{self, quoted};
use super::super::fingerprint::SETTINGS;
use super::super::{Postgres, in_place, lock};
use super::load::Loader;
use super::{children, export, loosen, numbers, outline, views};
use crate::engine::Restored;
use crate::engine::portable::{self, Source};
use crate::values::database_url::PostgresUrl;
use crate::values::failure::Failure;
use crate::values::portable::cell::Cell;
use crate::values::portable::fit::{Landed, LandedColumn, Landing, Mode};
use crate::values::portable::outline::ColumnOutline;
use crate::values::portable::tally::Tally;
use crate::values::progress::Progress;

/// How long a server may take to end a session.
const PATIENCE: Duration = Duration::from_secs(5);
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Where rows are to be replaced, the tables are held from before the backup: what is deleted is
/// what the backup holds, and no row that somebody was told is written is in neither.
pub fn prepare(postgres: &mut Postgres, landing: &Landing) -> Result<()> {
    if landing.mode == Mode::Replace {
        let begun = begin(&postgres.url, landing);
        postgres.import = Some(postgres.runtime.block_on(begun)?);
    }
    Ok(())
}

pub fn import(
    postgres: &mut Postgres,
    landing: &Landing,
    source: Source,
    progress: &dyn Progress,
) -> Result<Restored> {
    lock::require(&postgres.runtime, lock::session(&mut postgres.lock))?;
    let mut work = match postgres.import.take() {
        Some(work) => work,
        None => postgres.runtime.block_on(begin(&postgres.url, landing))?,
    };
    let scene = Scene {
        postgres,
        landing,
        progress,
    };
    let filled = scene.fill(&mut work, source);
    let mut warnings = match filled {
        Ok(warnings) => warnings,
        Err(error) => {
            end(postgres, work);
            return Err(error);
        }
    };
    let committed = async { Ok(work.session.execute("COMMIT").await.map(drop)?) };
    let committed = postgres.runtime.block_on(committed);
    let (id, number) = (work.id, work.number);
    drop(work);
    if let Err(error) = committed {
        warnings.push(conclude(
            postgres,
            id,
            number,
            error.context("cannot commit"),
        )?);
    }
    Ok(Restored {
        kept: None,
        warnings,
    })
}

/// What was not committed is gone with its session, also when nobody can be told to end it; who waits
/// for the tables need not wait for that.
fn end(postgres: &Postgres, work: Work) {
    let id = work.id;
    drop(work);
    postgres.runtime.block_on_to_the_end(async {
        let ended = async {
            let mut other = connect::connect(&postgres.url).await?;
            connect::end_session(&mut other.session, id).await
        };
        let _ = tokio::time::timeout(PATIENCE, ended).await;
    });
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
    begun.map_err(|error| not_held(landing, error))?;
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

fn not_held(landing: &Landing, error: sqlx::Error) -> anyhow::Error {
    let code = error.as_database_error().and_then(|answer| answer.code());
    if !matches!(code.as_deref(), Some(LOCK_NOT_AVAILABLE | "42501")) {
        return anyhow::Error::new(error).context("cannot hold the tables against writers");
    }
    let titles: Vec<String> = landing.wanted().map(|t| format!("`{}`", t.title)).collect();
    let refused = format!("cannot hold {} against writers", titles.join(", "));
    let refused = Failure::refused(refused).hint(way_out(&error));
    anyhow::Error::new(error).context(refused)
}

/// Where a table cannot be had: somebody uses it, or this role may not.
pub fn way_out(error: &sqlx::Error) -> &'static str {
    let code = error.as_database_error().and_then(|answer| answer.code());
    match code.as_deref() {
        Some(LOCK_NOT_AVAILABLE) => {
            "nothing was changed; end the sessions that use the table, then run the command again"
        }
        _ => "nothing was changed; import as the owner of the tables",
    }
}

pub fn in_sql(table: &Landed) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// In the transaction. Without its COMMIT it ends with its session, and nothing has changed.
struct Scene<'a> {
    postgres: &'a Postgres,
    landing: &'a Landing,
    progress: &'a dyn Progress,
}

impl Scene<'_> {
    /// All but the COMMIT; returns what is to be said.
    fn fill(&self, work: &mut Work, source: Source) -> Result<Vec<String>> {
        let (runtime, landing) = (&self.postgres.runtime, self.landing);
        let path = work.search_path.clone();
        let session = &mut work.session;
        runtime.block_on(count(session, landing))?;
        let earlier = match landing.mode {
            Mode::Append => self.tallies(session)?,
            Mode::IntoEmpty | Mode::Replace => Vec::new(),
        };
        let loosened = runtime.block_on(async {
            if landing.mode == Mode::Replace {
                children::refuse(session, landing).await?;
            }
            let loosened = loosen::loosen(session, landing).await?;
            if landing.mode == Mode::Replace {
                delete(session, landing).await?;
            }
            set_search_path(session, &path).await?;
            anyhow::Ok(loosened)
        })?;
        let mut loader = Loader::new(runtime, session, landing);
        source(&mut loader)?;
        let given = loader.finish()?;
        let mut warnings = runtime.block_on(async {
            loosen::tighten(session, &loosened).await?;
            let warnings = numbers::advance(session, landing).await?;
            set_search_path(session, "").await?;
            anyhow::Ok(warnings)
        })?;
        let found = self.tallies(session)?;
        let all = (&earlier[..], &given[..], &found[..]);
        let mut rows = |table: &Landed, row: &mut dyn FnMut(&[Cell])| {
            runtime.block_on(rows_of(session, table, row))
        };
        portable::require_same(landing, all, &mut rows, source)?;
        warnings.extend(loosened.warnings);
        warnings.extend(runtime.block_on(views::stale(session, landing))?);
        Ok(warnings)
    }

    fn tallies(&self, session: &mut PgConnection) -> Result<Vec<Tally>> {
        let mut rows = |table: &Landed, row: &mut dyn FnMut(&[Cell])| {
            let rows = rows_of(session, table, row);
            self.postgres.runtime.block_on(rows)
        };
        portable::tallies(self.landing, self.progress, &mut rows)
    }
}

async fn rows_of(
    session: &mut PgConnection,
    table: &Landed,
    row: &mut dyn FnMut(&[Cell]),
) -> Result<()> {
    let column = |column: &LandedColumn| ColumnOutline {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        kind: column.kind,
        is_generated: false,
    };
    let columns: Vec<ColumnOutline> = table.columns.iter().map(column).collect();
    let columns: Vec<&ColumnOutline> = columns.iter().collect();
    let name = (table.schema.as_str(), table.name.as_str());
    let mut each = |cells: &[Cell]| {
        row(cells);
        Ok(())
    };
    export::rows(session, name, &columns, &mut each).await
}

async fn set_search_path(session: &mut PgConnection, path: &str) -> Result<()> {
    sqlx::query("SELECT pg_catalog.set_config('search_path', $1, true)")
        .bind(path)
        .execute(session)
        .await
        .context("cannot set the search path")?;
    Ok(())
}

async fn count(session: &mut PgConnection, landing: &Landing) -> Result<()> {
    for table in landing.wanted() {
        let rows = outline::count(session, &(table.schema.clone(), table.name.clone())).await?;
        portable::require_rows(table, rows)?;
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
        deleted.map_err(|error| not_deleted(table, error))?;
    }
    Ok(())
}

/// By a key that is `RESTRICT`, which no transaction puts off.
fn not_deleted(table: &Landed, error: sqlx::Error) -> anyhow::Error {
    let answer = error.as_database_error();
    let is_restricted = answer.is_some_and(|answer| {
        answer.is_foreign_key_violation() || answer.code().as_deref() == Some("23001")
    });
    let has_no_identity = answer.is_some_and(|answer| {
        // The code is that of many states; a message in another language is not taken apart.
        answer.code().as_deref() == Some("55000") && answer.message().contains("replica identity")
    });
    let error = anyhow::Error::new(error);
    if has_no_identity {
        let title = &table.title;
        return error.context(
            Failure::refused(format!(
                "the rows of `{title}` cannot be deleted: it is published, and nothing says which row is which"
            ))
            .hint(format!(
                "nothing was changed; in `psql`, as its owner: ALTER TABLE {} REPLICA IDENTITY FULL;",
                in_sql(table)
            )),
        );
    }
    if !is_restricted {
        return error.context(format!("cannot delete the rows of table `{}`", table.title));
    }
    error.context(
        Failure::refused(format!(
            "the rows of `{}` cannot be deleted: a foreign key `ON DELETE RESTRICT` holds them",
            table.title
        ))
        .hint("nothing was changed; delete the rows yourself, then import without `--replace`"),
    )
}

/// The truth is the server's, also when a signal came or the connection was lost while it committed.
/// Returns what is to be said when it is done all the same.
fn conclude(
    postgres: &Postgres,
    id: connect::SessionId,
    number: i64,
    error: anyhow::Error,
) -> Result<String> {
    let asked = postgres.runtime.block_on_to_the_end(async {
        let mut other = connect::connect_patiently(&postgres.url, None).await?;
        connect::end_session(&mut other.session, id).await?;
        // A close that fails changes nothing.
        let _ = other.session.close().await;
        in_place::is_committed(postgres, number).await
    });
    match asked {
        Ok(true) => Ok(format!("it was committed, although: {error:#}")),
        Ok(false) => Err(error),
        Err(unknown) => Err(error.context(
            Failure::after_change(format!(
                "whether the import was committed cannot be asked: {}",
                unknown.root_cause()
            ))
            .hint("look at the rows of the tables when the server answers; `cargo xtask db restore latest` brings back those of before"),
        )),
    }
}
