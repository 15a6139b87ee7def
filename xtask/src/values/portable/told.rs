//! Says how far rows are on their way to another sink.

use anyhow::Result;

use super::Sink;
use super::cell::Cell;
use super::head::Head;
use crate::values::progress::Progress;

/// So many rows are passed on between two words of how far it is.
pub const ROWS_A_WORD: u64 = 512;

pub struct Told<'a> {
    sink: &'a mut dyn Sink,
    progress: &'a dyn Progress,
    step: &'a str,
    is_wanted: bool,
    rows: u64,
}

impl<'a> Told<'a> {
    /// The step begins with the head, which says how many rows there are; somebody else ends it.
    pub fn new(sink: &'a mut dyn Sink, progress: &'a dyn Progress, step: &'a str) -> Told<'a> {
        Told {
            sink,
            progress,
            step,
            is_wanted: false,
            rows: 0,
        }
    }
}

impl Sink for Told<'_> {
    fn head(&mut self, head: &Head) -> Result<()> {
        self.progress.begin_rows(self.step, head.rows());
        self.sink.head(head)
    }

    /// All rows are counted, those that are not wanted as well.
    fn table(&mut self, index: usize) -> Result<bool> {
        self.is_wanted = self.sink.table(index)?;
        Ok(true)
    }

    fn row(&mut self, cells: &[Cell], line: u64) -> Result<()> {
        self.rows += 1;
        if self.rows == ROWS_A_WORD {
            self.progress.advance(self.rows);
            self.rows = 0;
        }
        match self.is_wanted {
            true => self.sink.row(cells, line),
            false => Ok(()),
        }
    }

    fn end_table(&mut self) -> Result<()> {
        self.progress.advance(self.rows);
        self.rows = 0;
        match self.is_wanted {
            true => self.sink.end_table(),
            false => Ok(()),
        }
    }
}
