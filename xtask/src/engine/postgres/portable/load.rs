//! Rows on their way into a table: collected, and handed over in one `COPY` after the other, so
//! that memory is bounded and the server's complaint about a row leads to its line.

use anyhow::{Context, Result};
use sqlx::PgConnection;
use sqlx::postgres::PgDatabaseError;

use super::super::connect::quoted;
use super::copy_text;
use super::import::in_sql;
use crate::runtime::Runtime;
use crate::values::failure::Failure;
use crate::values::portable::Sink;
use crate::values::portable::cell::Cell;
use crate::values::portable::fit::{Landed, Landing};
use crate::values::portable::head::Head;
use crate::values::portable::tally::Tally;
use crate::values::words::on_one_line;

/// So much is collected; a row that is larger goes alone.
const BATCH_BYTES: usize = 1 << 20;

pub struct Loader<'a> {
    runtime: &'a Runtime,
    session: &'a mut PgConnection,
    landing: &'a Landing,
    head: Option<Head>,
    at: Option<&'a Landed>,
    batch: Vec<u8>,
    /// Where each row of the batch stands in the file.
    lines: Vec<u64>,
    /// By the tables of the head.
    given: Vec<Tally>,
    index: usize,
}

impl<'a> Loader<'a> {
    pub fn new(
        runtime: &'a Runtime,
        session: &'a mut PgConnection,
        landing: &'a Landing,
    ) -> Loader<'a> {
        Loader {
            runtime,
            session,
            landing,
            head: None,
            at: None,
            batch: Vec::new(),
            lines: Vec::new(),
            given: landing.tables.iter().map(|_| Tally::default()).collect(),
            index: 0,
        }
    }

    /// What was given to each table that was wanted.
    pub fn finish(self) -> Result<Vec<Tally>> {
        anyhow::ensure!(self.batch.is_empty(), "the rows of a table have no end");
        let both = self.given.into_iter().zip(&self.landing.tables);
        let wanted = both.filter_map(|(tally, table)| Some(table.as_ref()?.given(tally)));
        Ok(wanted.collect())
    }

    fn flush(&mut self) -> Result<()> {
        let Some(table) = self.at else {
            return Ok(());
        };
        if self.lines.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = table
            .columns
            .iter()
            .map(|column| quoted(&column.name))
            .collect();
        let list = match names.is_empty() {
            true => String::new(),
            false => format!(" ({})", names.join(", ")),
        };
        let statement = format!("COPY {}{list} FROM STDIN", in_sql(table));
        let (session, batch) = (&mut *self.session, self.batch.as_slice());
        let copied = self.runtime.block_on(async {
            let mut copy = session.copy_in_raw(&statement).await?;
            copy.send(batch).await?;
            Ok(copy.finish().await?)
        });
        let copied = copied.map_err(|error| self.name_line(table, error))?;
        let rows = self.lines.len() as u64;
        if copied != rows {
            return Err(Failure::refused(format!(
                "the table `{}` took {copied} of {rows} rows: something keeps the others out",
                table.title
            ))
            .hint("nothing was changed; import as the owner of the tables")
            .into());
        }
        self.batch.clear();
        self.lines.clear();
        Ok(())
    }

    fn name_line(&self, table: &Landed, error: anyhow::Error) -> anyhow::Error {
        let answer = error
            .downcast_ref::<sqlx::Error>()
            .and_then(sqlx::Error::as_database_error);
        let answer = answer.and_then(|answer| answer.try_downcast_ref::<PgDatabaseError>());
        let title = &table.title;
        let context = || format!("cannot write rows into the table `{title}`");
        let Some(answer) = answer else {
            return error.context(context());
        };
        match answer.code().get(..2) {
            // Data, constraints, and what is too large.
            Some("22" | "23" | "54") => {}
            _ if answer.code() == "42501" => {
                let refused = Failure::refused(context());
                return error.context(
                    refused.hint("import as the owner of the tables; nothing was changed"),
                );
            }
            _ => return error.context(context()),
        }
        let number = answer.r#where().and_then(line_of_copy);
        let line = number.and_then(|number| self.lines.get(number.checked_sub(1)?));
        let place = match (line, self.lines.first(), self.lines.last()) {
            (Some(line), _, _) => format!(
                "{}: the table `{title}` does not take the row",
                self.place(*line)
            ),
            (None, Some(first), Some(last)) => {
                format!(
                    "{} to {last}: the table `{title}` does not take a row",
                    self.place(*first)
                )
            }
            _ => format!("the table `{title}` does not take the rows"),
        };
        error.context(
            Failure::refused(place).hint("mend that line, or the table; nothing was changed"),
        )
    }

    fn place(&self, line: u64) -> String {
        let table = (self.head.as_ref()).and_then(|head| head.tables.get(self.index));
        table.map_or_else(|| format!("line {line}"), |table| table.place(line))
    }
}

/// `COPY books, line 3, column id: "x"`, where a name may hold anything.
fn line_of_copy(words: &str) -> Option<usize> {
    let copy = words.lines().find(|line| line.starts_with("COPY "))?;
    let after = copy.split(", line ").skip(1);
    let mut numbers = after.filter_map(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().ok()
    });
    numbers.next()
}

impl Sink for Loader<'_> {
    fn head(&mut self, head: &Head) -> Result<()> {
        self.head = Some(head.clone());
        Ok(())
    }

    fn table(&mut self, index: usize) -> Result<bool> {
        let landed = self
            .landing
            .tables
            .get(index)
            .context("there is no such table")?;
        self.at = landed.as_ref();
        self.index = index;
        Ok(self.at.is_some())
    }

    fn row(&mut self, cells: &[Cell], line: u64) -> Result<()> {
        let table = self.at.context("a row of no table")?;
        for (i, (cell, column)) in cells.iter().zip(&table.columns).enumerate() {
            if i > 0 {
                self.batch.push(b'\t');
            }
            if let Err(why) = copy_text::append(cell, column.kind, &mut self.batch) {
                let (name, title) = (on_one_line(&column.name), &table.title);
                return Err(Failure::refused(format!(
                    "{}: column `{name}` of `{title}`: {why}",
                    self.place(line)
                ))
                .hint("mend that line, or the table; nothing was changed")
                .into());
            }
        }
        self.batch.push(b'\n');
        self.lines.push(line);
        if let Some(tally) = self.given.get_mut(self.index) {
            table.give(tally, cells);
        }
        if self.batch.len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        self.flush()?;
        self.at = None;
        Ok(())
    }
}
