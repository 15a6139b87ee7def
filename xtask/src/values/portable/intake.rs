//! What every format hands over while it is read: counted and matched with what the file says of
//! itself, and passed on. The first thing that is not right ends it, with its line.

use std::cell::Cell as Counter;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;

use anyhow::{Context, Result};

use super::Sink;
use super::bound::{Allowance, MAX_ROW_BYTES};
use super::cell::Cell;
use super::head::{End, FORMAT, Head, TableEnd, TableHead, TableName};
use super::row;
use super::tally::Tally;
use crate::interrupt::Interrupt;
use crate::values::failure::Failure;

/// So many rows are read between two looks for a signal.
const ROWS_A_LOOK: u64 = 512;

/// What a file holds, all of it read.
#[derive(Debug, Clone, PartialEq)]
pub struct Inventory {
    pub head: Head,
    /// As many as there are tables in the head.
    pub tables: Vec<Found>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    pub tally: Tally,
    /// Rows that are not as they were exported, and those that were added.
    pub edited: u64,
    /// Whether the table as a whole is not what was exported.
    pub is_edited: bool,
}

impl Inventory {
    pub fn is_edited(&self) -> bool {
        self.tables.iter().any(|found| found.is_edited)
    }
}

pub struct Intake<'s> {
    sink: &'s mut dyn Sink,
    interrupt: Interrupt,
    /// Somebody has said that the file was edited.
    accepts_edits: bool,
    line: Rc<Counter<u64>>,
    /// For the next row, and what is around rows.
    pub allowance: Allowance,
    /// The file of a table, where it has one.
    file: Option<String>,
    head: Option<Head>,
    /// Of tables that have begun.
    found: BTreeMap<usize, Found>,
    at: Option<(usize, bool)>,
    ended: bool,
}

impl<'s> Intake<'s> {
    pub fn new(sink: &'s mut dyn Sink, accepts_edits: bool, interrupt: Interrupt) -> Intake<'s> {
        Intake {
            sink,
            interrupt,
            accepts_edits,
            line: Rc::default(),
            allowance: Allowance::new(MAX_ROW_BYTES),
            file: None,
            head: None,
            found: BTreeMap::new(),
            at: None,
            ended: false,
        }
    }

    pub fn next_line(&mut self) {
        self.line.set(self.line.get() + 1);
    }

    pub fn at_line(&mut self, file: &str, line: u64) {
        self.line.set(line);
        if self.file.as_deref() != Some(file) {
            self.file = Some(file.to_owned());
        }
    }

    /// Somebody else counts.
    pub fn count_with(&mut self, line: Rc<Counter<u64>>) {
        self.line = line;
    }

    /// An error that says where.
    pub fn damaged(&self, what: impl std::fmt::Display) -> anyhow::Error {
        let failure = self.untrusted(what);
        let hint = "nothing was changed; mend that line, or export again";
        failure.hint(hint).into()
    }

    fn untrusted(&self, what: impl std::fmt::Display) -> Failure {
        let place = match &self.file {
            Some(file) => format!("`{file}` line {}", self.line.get()),
            None => format!("line {}", self.line.get()),
        };
        Failure::untrusted(format!("{place}: {what}"))
    }

    /// What serde says; its own line is the better one, where it knows it.
    pub fn unreadable(&self, error: &serde_json::Error) -> anyhow::Error {
        if error.io_error_kind() == Some(ErrorKind::FileTooLarge) {
            return self.damaged(self.allowance.words());
        }
        if error.is_io() {
            return anyhow::anyhow!("cannot read the file: {error}");
        }
        // What a line break must not be in is the end of the line before.
        if error.column() == 0 && error.line() > 1 {
            self.line.set(self.line.get().saturating_sub(1));
        }
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        self.damaged(format!("{words} (column {})", error.column()))
    }

    fn not_as_exported(&self, what: &str) -> anyhow::Error {
        let place = self.damaged(what);
        place.context(
            Failure::untrusted("the file is not as it was exported: it was damaged, or edited")
                .hint("if you have edited it, add `--edited`; if not, export again"),
        )
    }

    pub fn head(&mut self, head: Head) -> Result<()> {
        self.allowance.renew();
        if self.head.is_some() {
            return Err(self.damaged("a second head"));
        }
        if head.format != FORMAT {
            let what = format!(
                "its format is {}, and only {FORMAT} is known here",
                head.format
            );
            let hint = "nothing was changed; a newer version of this tool may read it";
            return Err(self.untrusted(what).hint(hint).into());
        }
        let mut names: Vec<_> = head.tables.iter().map(TableHead::short).collect();
        names.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(self.damaged("the head names a table twice"));
        }
        self.sink.head(&head)?;
        self.head = Some(head);
        Ok(())
    }

    pub fn known_head(&self) -> Result<&Head> {
        let head = self.head.as_ref();
        head.ok_or_else(|| self.damaged("there is no `export` before it"))
    }

    pub fn table(&mut self, name: &TableName) -> Result<()> {
        let tables = &self.known_head()?.tables;
        let Some(index) = tables.iter().position(|table| table.is(name)) else {
            return Err(self.damaged(format!("the head knows no table `{}`", name.name)));
        };
        if self.at.is_some() || self.ended || self.found.contains_key(&index) {
            return Err(self.damaged("a table begins where none can"));
        }
        self.found.insert(index, Found::default());
        self.at = Some((index, self.sink.table(index)?));
        Ok(())
    }

    pub fn columns(&self) -> Result<&TableHead> {
        let (index, _) = self.at.ok_or_else(|| self.damaged("a row of no table"))?;
        let table = self.known_head()?.tables.get(index);
        table.context("there is no such table")
    }

    pub fn row_of_json(&mut self, raw: &str, check: Option<&str>) -> Result<()> {
        let cells = row::read(raw, &self.columns()?.columns);
        let cells = cells.map_err(|error| self.damaged(error))?;
        self.row(&cells, check)
    }

    pub fn row(&mut self, cells: &[Cell], check: Option<&str>) -> Result<()> {
        self.allowance.renew();
        let (index, is_wanted) = self.at.ok_or_else(|| self.damaged("a row of no table"))?;
        let found = self.found.entry(index).or_default();
        let made = found.tally.add(cells);
        if check != Some(&made) {
            found.edited += 1;
            found.is_edited = true;
            if !self.accepts_edits {
                return Err(self.not_as_exported("the row is another one than was exported"));
            }
        }
        if found.tally.rows.is_multiple_of(ROWS_A_LOOK) {
            self.interrupt.check()?;
        }
        if is_wanted {
            self.sink.row(cells, self.line.get())?;
        }
        Ok(())
    }

    pub fn end_of_table(&mut self, end: &TableEnd) -> Result<()> {
        let table = self.columns()?;
        let name = TableName {
            schema: end.schema.clone(),
            name: end.name.clone(),
        };
        if !table.is(&name) {
            return Err(self.damaged(format!("the end of `{}` in another table", end.name)));
        }
        let (title, head_rows) = (table.title(), table.rows);
        let (index, is_wanted) = self.at.take().context("no table has begun")?;
        let found = self.found.entry(index).or_default();
        let is_same = found.tally.rows == end.rows && found.tally.digest() == end.digest;
        if !is_same || head_rows != end.rows {
            found.is_edited = true;
            let rows = found.tally.rows;
            if !self.accepts_edits {
                return Err(self.not_as_exported(&format!(
                    "`{title}` has {rows} rows, and {} were exported, with the digest {}",
                    end.rows, end.digest
                )));
            }
        }
        if is_wanted {
            self.sink.end_table()?;
        }
        Ok(())
    }

    pub fn end(&mut self, end: &End) -> Result<()> {
        let head = self.known_head()?;
        if self.at.is_some() || self.ended {
            return Err(self.damaged("an end where none can be"));
        }
        let missing = (0..head.tables.len()).find(|index| !self.found.contains_key(index));
        if let Some(missing) = missing {
            let title = head.tables[missing].title();
            return Err(self.damaged(format!("the rows of `{title}` are missing")));
        }
        let digest = head.digest().context("cannot read the head")?;
        let tables = head.tables.len() as u64;
        let is_same = end.head == digest && end.tables == tables && end.rows == head.rows();
        if !is_same && self.accepts_edits {
            let place = self.damaged("the head is another one than was exported");
            return Err(place.context(
                Failure::untrusted("the head of the file was damaged, or edited")
                    .hint("rows may be edited, and the head may not; export again"),
            ));
        }
        if !is_same {
            return Err(self.not_as_exported("the head is another one than was exported"));
        }
        self.ended = true;
        Ok(())
    }

    /// Refuses what has no end.
    pub fn finish(mut self) -> Result<Inventory> {
        if !self.ended {
            let cut = self.untrusted("the file ends here, without its `end`: it was cut");
            return Err(cut.hint("nothing was changed; export again").into());
        }
        let head = self.head.take().context("there is no head")?;
        let tables = (0..head.tables.len()).map(|index| self.found.remove(&index));
        let tables = tables.map(Option::unwrap_or_default).collect();
        Ok(Inventory { head, tables })
    }
}
