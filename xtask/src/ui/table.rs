//! Plain aligned columns: no frames, so that a line can be copied or cut.

use std::fmt::{self, Write};

use unicode_width::UnicodeWidthStr;

pub struct Table {
    columns: Vec<Column>,
    /// All cells, row by row, the header first: a list may have thousands.
    text: String,
    cells: Vec<Cell>,
}

#[derive(Default)]
struct Column {
    width: usize,
    is_right: bool,
}

#[derive(Clone, Copy)]
struct Cell {
    /// In bytes of the text.
    length: usize,
    width: usize,
}

impl Table {
    pub fn new(header: &[&str]) -> Table {
        let mut table = Table {
            columns: header.iter().map(|_| Column::default()).collect(),
            text: String::new(),
            cells: Vec::new(),
        };
        header.iter().for_each(|name| table.cell(name));
        table
    }

    pub fn right(mut self, column: usize) -> Table {
        self.columns[column].is_right = true;
        self
    }

    /// As many cells as there are columns.
    pub fn row(&mut self, cells: &[&dyn fmt::Display]) {
        debug_assert_eq!(cells.len(), self.columns.len());
        cells.iter().for_each(|cell| self.cell(cell));
    }

    fn cell(&mut self, cell: &dyn fmt::Display) {
        let start = self.text.len();
        // Writing into a string does not fail.
        let _ = write!(self.text, "{cell}");
        let text = &self.text[start..];
        let width = if super::is_plain(text.as_bytes()) && !text.contains('\n') {
            text.len()
        } else {
            // A name with a line break would tear the row.
            let text = text.replace(['\n', '\r', '\t'], "\u{fffd}");
            self.text.truncate(start);
            self.text.push_str(&text);
            text.width()
        };
        let at = self.cells.len() % self.columns.len();
        let column = &mut self.columns[at];
        column.width = column.width.max(width);
        let length = self.text.len() - start;
        self.cells.push(Cell { length, width });
    }

    /// Its rows below those of this one, which has the same columns.
    pub fn append(&mut self, other: Table) {
        for (column, theirs) in self.columns.iter_mut().zip(&other.columns) {
            column.width = column.width.max(theirs.width);
        }
        let (header, rows) = other.cells.split_at(self.columns.len());
        let header: usize = header.iter().map(|cell| cell.length).sum();
        self.text.push_str(&other.text[header..]);
        self.cells.extend(rows);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: usize = self.columns.iter().map(|column| column.width + 2).sum();
        let blanks = " ".repeat(widths);
        let mut line = String::new();
        let mut rest = self.text.as_str();
        for row in self.cells.chunks(self.columns.len()) {
            line.clear();
            // Not written before something follows: a line ends with its last word.
            let mut blank = 0;
            for (column, cell) in self.columns.iter().zip(row) {
                let pad = column.width - cell.width;
                let (before, after) = if column.is_right { (pad, 0) } else { (0, pad) };
                let (text, following) = rest.split_at(cell.length);
                rest = following;
                blank += 1 + before;
                if !text.is_empty() {
                    line.push_str(&blanks[..blank]);
                    line.push_str(text);
                    blank = 0;
                }
                blank += after + 1;
            }
            line.push('\n');
            f.write_str(&line)?;
        }
        Ok(())
    }
}
