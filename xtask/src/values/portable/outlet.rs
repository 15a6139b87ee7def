//! Where an export is written: counts what passes, and ends each table and the whole with it.

use anyhow::{Context, Result, ensure};

use super::Sink;
use super::cell::Cell;
use super::head::{End, Head, TableEnd, TableHead};
use super::tally::Tally;

/// How an export stands in its file or files.
pub trait Layout {
    /// What the head says of the files, before it is written.
    fn prepare(&mut self, _head: &mut Head) {}

    fn begin(&mut self, head: &Head) -> Result<()>;
    fn table(&mut self, table: &TableHead) -> Result<()>;
    fn row(&mut self, cells: &[Cell], check: &str) -> Result<()>;
    fn end_table(&mut self, end: &TableEnd) -> Result<()>;
    fn end(&mut self, end: &End) -> Result<()>;
}

pub struct Outlet<'a> {
    layout: Box<dyn Layout + 'a>,
    head: Option<Head>,
    at: Option<usize>,
    tally: Tally,
    ended: u64,
}

impl<'a> Outlet<'a> {
    pub fn new(layout: Box<dyn Layout + 'a>) -> Outlet<'a> {
        Outlet {
            layout,
            head: None,
            at: None,
            tally: Tally::default(),
            ended: 0,
        }
    }

    /// The last word. What has it is whole.
    pub fn finish(mut self) -> Result<Head> {
        let head = self.head.take().context("nothing was exported")?;
        ensure!(
            self.ended == head.tables.len() as u64,
            "a table was not exported"
        );
        self.layout.end(&End {
            tables: self.ended,
            rows: head.rows(),
            head: head.digest().context("cannot write the head")?,
        })?;
        Ok(head)
    }

    fn table_at(&self) -> Result<&TableHead> {
        let head = self.head.as_ref().context("rows came before the head")?;
        let at = self.at.context("rows came before their table")?;
        head.tables.get(at).context("there is no such table")
    }
}

impl Sink for Outlet<'_> {
    fn head(&mut self, head: &Head) -> Result<()> {
        let mut head = head.clone();
        self.layout.prepare(&mut head);
        self.layout.begin(&head)?;
        self.head = Some(head);
        Ok(())
    }

    fn table(&mut self, index: usize) -> Result<bool> {
        self.at = Some(index);
        self.tally = Tally::default();
        let table = self.table_at()?.clone();
        self.layout.table(&table)?;
        Ok(true)
    }

    fn row(&mut self, cells: &[Cell], _line: u64) -> Result<()> {
        let check = self.tally.add(cells);
        self.layout.row(cells, &check)
    }

    fn end_table(&mut self) -> Result<()> {
        let table = self.table_at()?;
        ensure!(
            table.rows == self.tally.rows,
            "{} rows of `{}` were exported, {} were counted in the same moment",
            self.tally.rows,
            table.title(),
            table.rows
        );
        let end = TableEnd {
            schema: table.schema.clone(),
            name: table.name.clone(),
            rows: self.tally.rows,
            digest: self.tally.digest(),
        };
        self.at = None;
        self.ended += 1;
        self.layout.end_table(&end)
    }
}
