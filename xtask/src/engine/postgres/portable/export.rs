//! The rows of a PostgreSQL database for an export: `COPY` of one table after the other, in one
//! transaction, with settings that leave the server one way to write a value.

use anyhow::{Context, Result};
use chrono::Utc;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::super::connect::{self, quoted};
use super::super::fingerprint::SETTINGS;
use super::super::inspect::{self, begin_in};
use super::super::{Postgres, policies};
use super::copy_text;
use super::{import, outline};
use crate::engine::portable::Source;
use crate::engine::{Portable, Restored};
use crate::values::database::EngineKind;
use crate::values::portable::Sink;
use crate::values::portable::cell::{Cell, Kind};
use crate::values::portable::fit::Landing;
use crate::values::portable::head::{FORMAT, Head};
use crate::values::portable::outline::{ColumnOutline, Outline, TableOutline, choose};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

impl Portable for Postgres {
    fn prepare_import(&mut self, landing: &Landing) -> Result<()> {
        import::prepare(self, landing)
    }

    fn import(
        &mut self,
        _proof: &VerifiedDump,
        landing: &Landing,
        source: Source,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        import::import(self, landing, source, progress)
    }

    fn outline(&mut self) -> Result<Outline> {
        self.runtime.block_on(async {
            let mut session = connect::connect(&self.url).await?.session;
            let history = begin(&mut session, &self.bookkeeping.table).await?;
            let outline = outline::read(&mut session, history.as_deref(), &self.left_out).await;
            outline.map_err(policies::explain)
        })
    }

    fn export(&mut self, wanted: &[String], sink: &mut dyn Sink) -> Result<()> {
        let books = &self.bookkeeping.table;
        let sent = self.runtime.block_on(async {
            let mut connected = connect::connect(&self.url).await?;
            let session = &mut connected.session;
            let history = begin(session, books).await?;
            let taken_at = Utc::now();
            let outline = outline::read(session, history.as_deref(), &self.left_out).await?;
            let chosen = choose(&outline, wanted)?;
            let tables: Vec<&TableOutline> = chosen.iter().map(|i| &outline.tables[*i]).collect();
            sink.head(&Head {
                format: FORMAT,
                engine: EngineKind::Postgresql,
                engine_version: connected.server_version.clone(),
                database: connected.database.clone(),
                taken_at,
                migrations: inspect::read_history(session, history.as_deref()).await?,
                left_out: outline.left_out.clone(),
                tables: tables.iter().map(|table| table.head()).collect(),
            })?;
            for (i, table) in tables.iter().enumerate() {
                if sink.table(i)? {
                    let columns: Vec<&ColumnOutline> = table
                        .columns
                        .iter()
                        .filter(|column| !column.is_generated)
                        .collect();
                    let name = (table.schema.as_str(), table.name.as_str());
                    rows(session, name, &columns, &mut |cells| sink.row(cells, 0)).await?;
                    sink.end_table()?;
                }
            }
            anyhow::Ok(())
        });
        let sent = sent.map_err(policies::explain);
        sent.with_context(|| format!("cannot export the database of `{}`", self.url))
    }
}

/// One moment, in which no policy hides a row, and nothing is written. Returns the name of sqlx's
/// table, as the session found it before it finds nothing without a schema.
async fn begin(session: &mut PgConnection, history: &str) -> Result<Option<String>> {
    let context = "cannot begin to read";
    let begin = begin_in(None) + "; SET LOCAL row_security = off";
    session
        .execute(AssertSqlSafe(begin))
        .await
        .context(context)?;
    let history = inspect::find_history(session, history).await?;
    session.execute(SETTINGS).await.context(context)?;
    Ok(history)
}

/// All rows of a table, its partitions' among them and not those of tables that inherit from it.
pub async fn rows(
    session: &mut PgConnection,
    (schema, name): (&str, &str),
    columns: &[&ColumnOutline],
    row: &mut dyn FnMut(&[Cell]) -> Result<()>,
) -> Result<()> {
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let kinds: Vec<Kind> = columns.iter().map(|column| column.kind).collect();
    let only = outline::only(session, (schema, name)).await?;
    let from = format!("{only}{}.{}", quoted(schema), quoted(name));
    let question = format!("COPY (SELECT {} FROM {from}) TO STDOUT", names.join(", "));
    let context = || format!("cannot read the rows of table `{name}`");
    let mut stream = session
        .copy_out_raw(&question)
        .await
        .with_context(context)?;
    let mut rest: Vec<u8> = Vec::new();
    let mut cells = Vec::with_capacity(kinds.len());
    while let Some(bytes) = stream.try_next().await.with_context(context)? {
        // A message is a row, as servers send them; the protocol does not say so.
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                rest.extend_from_slice(line);
                break;
            }
            let whole = match rest.is_empty() {
                true => line,
                false => {
                    rest.extend_from_slice(line);
                    &rest
                }
            };
            read_line(whole, &kinds, &mut cells).with_context(context)?;
            rest.clear();
            row(&cells)?;
        }
    }
    anyhow::ensure!(rest.is_empty(), "the rows of table `{name}` end too early");
    Ok(())
}

fn read_line(line: &[u8], kinds: &[Kind], cells: &mut Vec<Cell>) -> Result<()> {
    cells.clear();
    if kinds.is_empty() {
        return Ok(());
    }
    for (i, field) in line.split(|byte| *byte == b'\t').enumerate() {
        let kind = kinds.get(i).context("a row has too many values")?;
        cells.push(copy_text::cell(copy_text::unescaped(field), *kind)?);
    }
    anyhow::ensure!(cells.len() == kinds.len(), "a row has too few values");
    Ok(())
}
