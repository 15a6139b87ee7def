//! An export as lines, each a JSON object of its own: the head, then for each table its name, its
//! rows and its end, then the end.

use std::io::{BufRead, Read as _, Write};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bound::{MAX_ROW_BYTES, TOO_LONG};
use super::cell::Cell;
use super::head::{End, Head, TableEnd, TableHead, TableName};
use super::intake::Intake;
use super::outlet::Layout;
use super::row;

/// One of them; only a row has a check beside it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line<'a> {
    export: Option<Head>,
    table: Option<TableName>,
    #[serde(borrow)]
    row: Option<&'a RawValue>,
    check: Option<String>,
    end_of_table: Option<TableEnd>,
    end: Option<End>,
}

pub struct Lines<W> {
    out: W,
    names: Vec<String>,
    line: String,
}

impl<W: Write> Lines<W> {
    pub fn new(out: W) -> Lines<W> {
        Lines {
            out,
            names: Vec::new(),
            line: String::new(),
        }
    }

    fn put(&mut self, key: &str, value: &impl Serialize) -> Result<()> {
        let value = serde_json::to_string(value).context("cannot write JSON")?;
        writeln!(self.out, "{{\"{key}\": {value}}}").context("cannot write")
    }
}

impl<W: Write> Layout for Lines<W> {
    fn begin(&mut self, head: &Head) -> Result<()> {
        self.put("export", head)
    }

    fn table(&mut self, table: &TableHead) -> Result<()> {
        self.names = row::names(&table.columns);
        self.put("table", &table.short())
    }

    fn row(&mut self, cells: &[Cell], check: &str) -> Result<()> {
        self.line.clear();
        self.line.push_str("{\"row\": ");
        row::write(&self.names, cells, &mut self.line);
        self.line.push_str(", \"check\": \"");
        self.line.push_str(check);
        self.line.push_str("\"}\n");
        ensure!((self.line.len() as u64) < MAX_ROW_BYTES, TOO_LONG);
        let written = self.out.write_all(self.line.as_bytes());
        written.context("cannot write")
    }

    fn end_table(&mut self, end: &TableEnd) -> Result<()> {
        self.put("end_of_table", end)
    }

    fn end(&mut self, end: &End) -> Result<()> {
        self.put("end", end)?;
        self.out.flush().context("cannot write")
    }
}

pub fn read(from: &mut dyn BufRead, intake: &mut Intake) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let bound = intake.allowance.bound();
        let read = (&mut *from).take(bound).read_until(b'\n', &mut bytes);
        let read = read.context("cannot read the file")?;
        if read == 0 {
            return Ok(());
        }
        intake.next_line();
        if read as u64 == bound && !bytes.ends_with(b"\n") {
            return Err(intake.damaged(intake.allowance.words()));
        }
        let text = std::str::from_utf8(&bytes);
        let text = text.map_err(|_| intake.damaged("there are bytes that are no UTF-8"))?;
        let text = text.trim_end_matches(['\n', '\r']);
        // An editor may leave some.
        if !text.trim().is_empty() {
            take(text, intake)?;
        }
    }
}

fn take(text: &str, intake: &mut Intake) -> Result<()> {
    let line: Line = serde_json::from_str(text).map_err(|error| intake.unreadable(&error))?;
    if line.check.is_some() && line.row.is_none() {
        return Err(intake.damaged("a check without a row"));
    }
    match line {
        Line {
            row: Some(raw),
            check,
            export: None,
            table: None,
            end_of_table: None,
            end: None,
        } => intake.row_of_json(raw.get(), check.as_deref()),
        Line {
            export: Some(head),
            row: None,
            table: None,
            end_of_table: None,
            end: None,
            ..
        } => intake.head(head),
        Line {
            table: Some(name),
            export: None,
            row: None,
            end_of_table: None,
            end: None,
            ..
        } => intake.table(&name),
        Line {
            end_of_table: Some(end),
            export: None,
            row: None,
            table: None,
            end: None,
            ..
        } => intake.end_of_table(&end),
        Line {
            end: Some(end),
            export: None,
            row: None,
            table: None,
            end_of_table: None,
            ..
        } => intake.end(&end),
        _ => {
            Err(intake
                .damaged("a line is one of `export`, `table`, `row`, `end_of_table` and `end`"))
        }
    }
}
