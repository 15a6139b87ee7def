//! A table that does not hold what it was given: which column it is, and where in the file the first
//! value stands that the table does not have. Only looked for when something is wrong.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};

use anyhow::Result;

use super::Sink;
use super::cell::Cell;
use super::fit::{Landed, Landing};
use super::head::Head;
use super::tally::Tally;
use crate::values::failure::Failure;
use crate::values::words::on_one_line;

/// Beyond so many values in memory the table alone is named.
const MANY: usize = 4_000_000;

pub struct Search<'a> {
    pub table: &'a Landed,
    /// Of the table in the head.
    index: usize,
    rows: (u64, u64),
    /// By column, what the table has.
    values: Vec<HashSet<u64>>,
    is_full: bool,
    head: Option<Head>,
    first: Option<String>,
}

/// Begins with the first table that is not what it was given; `before`: what was in it and stays.
pub fn search<'a>(
    landing: &'a Landing,
    before: &[Tally],
    given: &[Tally],
    found: &[Tally],
) -> Option<Search<'a>> {
    let tables = landing.tables.iter().enumerate();
    let wanted = tables.filter_map(|(index, table)| Some((index, table.as_ref()?)));
    for (i, (index, table)) in wanted.enumerate() {
        let given = given.get(i).cloned().unwrap_or_default();
        let added = found.get(i).cloned().unwrap_or_default();
        let added = added.since(&before.get(i).cloned().unwrap_or_default());
        if !given.is_same_as(&added) {
            return Some(Search {
                table,
                index,
                rows: (given.rows, added.rows),
                values: table.columns.iter().map(|_| HashSet::new()).collect(),
                is_full: false,
                head: None,
                first: None,
            });
        }
    }
    None
}

impl Search<'_> {
    /// Whether there are as many rows as there should be, and only a value can be wrong.
    pub fn is_of_values(&self) -> bool {
        self.rows.0 == self.rows.1
    }

    /// A row that the table has.
    pub fn learn(&mut self, cells: &[Cell]) {
        if self.is_full {
            return;
        }
        let columns = self.table.columns.iter().zip(cells);
        for (values, (column, cell)) in self.values.iter_mut().zip(columns) {
            values.insert(hash(&column.compare.of(cell)));
        }
        self.is_full = self.values.iter().map(HashSet::len).sum::<usize>() > MANY;
    }

    pub fn refusal(self) -> Failure {
        let title = &self.table.title;
        if !self.is_of_values() {
            let (given, found) = self.rows;
            return Failure::refused(format!(
                "the table `{title}` would hold {found} rows of the {given} in the file"
            ))
            .hint("nothing was changed; look for a rule or a policy of the table that keeps rows");
        }
        let place = self
            .first
            .map_or_else(String::new, |first| format!(": {first}"));
        Failure::refused(format!(
            "the table `{title}` would hold other values than the file has{place}"
        ))
        .hint("nothing was changed; mend the value, or give the column a type that keeps it")
    }
}

fn hash(cell: &Cell) -> u64 {
    let mut bytes = Vec::new();
    cell.append_to(&mut bytes);
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    hasher.finish()
}

impl Sink for Search<'_> {
    fn head(&mut self, head: &Head) -> Result<()> {
        self.head = Some(head.clone());
        Ok(())
    }

    fn table(&mut self, index: usize) -> Result<bool> {
        Ok(index == self.index && !self.is_full)
    }

    fn row(&mut self, cells: &[Cell], line: u64) -> Result<()> {
        if self.first.is_some() {
            return Ok(());
        }
        let columns = self.table.columns.iter().zip(cells);
        let mut missing = self
            .values
            .iter()
            .zip(columns)
            .filter(|(values, (column, cell))| !values.contains(&hash(&column.compare.of(cell))));
        self.first = missing.next().map(|(_, (column, cell))| {
            let table = self
                .head
                .as_ref()
                .and_then(|head| head.tables.get(self.index));
            format!(
                "{}, {} in the column `{}` of type `{}`",
                table.map_or_else(|| format!("line {line}"), |table| table.place(line)),
                cell.describe(),
                on_one_line(&column.name),
                on_one_line(&column.data_type)
            )
        });
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        Ok(())
    }
}
