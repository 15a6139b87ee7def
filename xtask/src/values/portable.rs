//! What `db export` writes and `db import` reads: rows that a person can read and edit, in a form
//! that both engines speak, and that knows when it was cut or changed. Files and databases are
//! elsewhere: here are bytes that come from a reader and go to a writer.

use std::io::{BufRead, Read as _};

use anyhow::{Context, Result};

pub mod bound;
pub mod cell;
pub mod compare;
pub mod csv_folder;
pub mod document;
pub mod fit;
pub mod head;
pub mod intake;
pub mod mismatch;
pub mod moment;
pub mod ndjson;
pub mod number;
pub mod order;
pub mod outlet;
pub mod outline;
pub mod row;
pub mod tally;
pub mod told;
pub mod value;

use cell::Cell;
use head::Head;
use intake::Intake;

/// A head with thousands of tables has some MiB.
const MAX_FIRST_LINE_BYTES: u64 = 64 << 20;

/// Reads a file of either format; its first line says which. `open`: from its beginning.
pub fn read_file(
    open: &mut dyn FnMut() -> Result<Box<dyn BufRead>>,
    intake: &mut Intake,
) -> Result<()> {
    let mut first = Vec::new();
    let read = open()?
        .take(MAX_FIRST_LINE_BYTES)
        .read_until(b'\n', &mut first);
    read.context("cannot read the file")?;
    let is_cut = first.len() as u64 == MAX_FIRST_LINE_BYTES;
    match document::is_first_line(&first) {
        true => document::read(&mut *open()?, intake),
        false if is_cut => {
            intake.next_line();
            Err(intake.damaged("it has no end within 64 MiB; this is no export"))
        }
        false => ndjson::read(&mut *open()?, intake),
    }
}

/// Where rows go: from a database into a file, or from a file into a database.
pub trait Sink {
    fn head(&mut self, head: &Head) -> Result<()>;

    /// The table with this number in the head begins; whether its rows are wanted.
    fn table(&mut self, index: usize) -> Result<bool>;

    /// `line`: where it stands in the file, if it comes from one.
    fn row(&mut self, cells: &[Cell], line: u64) -> Result<()>;

    fn end_table(&mut self) -> Result<()>;
}

/// For a look at a file that goes nowhere.
pub struct Nowhere;

impl Sink for Nowhere {
    fn head(&mut self, _: &Head) -> Result<()> {
        Ok(())
    }

    fn table(&mut self, _: usize) -> Result<bool> {
        Ok(false)
    }

    fn row(&mut self, _: &[Cell], _: u64) -> Result<()> {
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        Ok(())
    }
}
