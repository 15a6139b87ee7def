//! Plain aligned columns: no frames, so that a line can be copied or cut.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, Table as Columns, presets};

pub struct Table(Columns);

impl Table {
    pub fn new(header: &[&str]) -> Table {
        let mut table = Columns::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(header.to_vec());
        Table(table)
    }

    pub fn right(mut self, column: usize) -> Table {
        if let Some(column) = self.0.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        self
    }

    pub fn row(&mut self, cells: &[String]) {
        // A name with a line break would tear the row.
        let cells = cells
            .iter()
            .map(|cell| cell.replace(['\n', '\r', '\t'], "\u{fffd}"));
        self.0.add_row(cells.collect::<Vec<_>>());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
