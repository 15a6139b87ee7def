//! An export as one JSON document. It is written a row a line, and read however it stands, a row
//! at a time.

use std::cell::Cell as Counter;
use std::fmt;
use std::io::{BufRead, Read, Write};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bound::{Allowance, MAX_ROW_BYTES, TOO_LONG};
use super::cell::Cell;
use super::head::{End, Head, TableEnd, TableHead, TableName};
use super::intake::Intake;
use super::outlet::Layout;
use super::row;

pub struct Document<W> {
    out: W,
    names: Vec<String>,
    line: String,
    tables: u64,
    rows: u64,
}

impl<W: Write> Document<W> {
    pub fn new(out: W) -> Document<W> {
        Document {
            out,
            names: Vec::new(),
            line: String::new(),
            tables: 0,
            rows: 0,
        }
    }

    fn put(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).context("cannot write")
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).context("cannot write JSON")
}

impl<W: Write> Layout for Document<W> {
    fn begin(&mut self, head: &Head) -> Result<()> {
        self.put(&format!("{{\n\"export\": {},\n\"tables\": [", json(head)?))
    }

    fn table(&mut self, table: &TableHead) -> Result<()> {
        self.names = row::names(&table.columns);
        let comma = if self.tables == 0 { "" } else { "," };
        self.tables += 1;
        self.rows = 0;
        let name = json(&table.short())?;
        self.put(&format!("{comma}\n{{\"table\": {name}, \"rows\": ["))
    }

    fn row(&mut self, cells: &[Cell], check: &str) -> Result<()> {
        self.line.clear();
        self.line
            .push_str(if self.rows == 0 { "\n" } else { ",\n" });
        self.rows += 1;
        self.line.push_str("{\"row\": ");
        row::write(&self.names, cells, &mut self.line);
        self.line.push_str(", \"check\": \"");
        self.line.push_str(check);
        self.line.push_str("\"}");
        ensure!((self.line.len() as u64) < MAX_ROW_BYTES, TOO_LONG);
        let written = self.out.write_all(self.line.as_bytes());
        written.context("cannot write")
    }

    fn end_table(&mut self, end: &TableEnd) -> Result<()> {
        self.put(&format!("\n], \"end_of_table\": {}}}", json(end)?))
    }

    fn end(&mut self, end: &End) -> Result<()> {
        self.put(&format!("\n],\n\"end\": {}\n}}\n", json(end)?))?;
        self.out.flush().context("cannot write")
    }
}

const CHUNK_BYTES: usize = 1 << 16;

/// Hands over byte by byte, as serde_json asks for them: so it is never ahead of the lines that it
/// counts, and of what a row may have.
struct Counted<R> {
    from: R,
    chunk: Vec<u8>,
    at: usize,
    end: usize,
    line: Rc<Counter<u64>>,
    allowance: Allowance,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.end {
            self.end = self.from.read(&mut self.chunk)?;
            self.at = 0;
        }
        let Some(place) = buffer.first_mut().filter(|_| self.at < self.end) else {
            return Ok(0);
        };
        *place = self.chunk[self.at];
        self.at += 1;
        self.allowance.spend(1)?;
        if *place == b'\n' {
            self.line.set(self.line.get() + 1);
        }
        Ok(1)
    }
}

/// Whether a file with this first line is a document: one that we wrote, or that somebody put into
/// one line. A quote in a name would have a backslash before it.
pub fn is_first_line(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    matches!(text.trim(), "" | "{") || text.contains("\"rows\":[") || text.contains("\"rows\": [")
}

pub fn read(from: &mut dyn BufRead, intake: &mut Intake) -> Result<()> {
    let line = Rc::new(Counter::new(1));
    intake.count_with(line.clone());
    let mut reader = serde_json::Deserializer::from_reader(Counted {
        from,
        chunk: vec![0; CHUNK_BYTES],
        at: 0,
        end: 0,
        line,
        allowance: intake.allowance.clone(),
    });
    let mut stopped = None;
    let whole = Part {
        what: What::Whole,
        intake,
        stopped: &mut stopped,
    };
    let read = whole.deserialize(&mut reader).and_then(|()| reader.end());
    match (stopped, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(intake.unreadable(&error)),
        (None, Ok(())) => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum What {
    Whole,
    Tables,
    Table,
    Rows,
}

struct Part<'a, 's> {
    what: What,
    intake: &'a mut Intake<'s>,
    /// An error of ours; serde has only words for it.
    stopped: &'a mut Option<anyhow::Error>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    row: Box<RawValue>,
    check: Option<String>,
}

impl<'s> Part<'_, 's> {
    fn inner(&mut self, what: What) -> Part<'_, 's> {
        Part {
            what,
            intake: &mut *self.intake,
            stopped: &mut *self.stopped,
        }
    }

    fn done<E: serde::de::Error>(&mut self, done: Result<()>) -> Result<(), E> {
        done.map_err(|error| {
            *self.stopped = Some(error);
            E::custom("stopped")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.what {
            What::Whole | What::Table => deserializer.deserialize_map(self),
            What::Tables | What::Rows => deserializer.deserialize_seq(self),
        }
    }
}

impl<'de> Visitor<'de> for Part<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.what {
            What::Whole => "an object with `export`, `tables` and `end`",
            What::Tables => "a list of tables",
            What::Table => "an object with `table`, `rows` and `end_of_table`",
            What::Rows => "a list of rows",
        })
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let done = match (self.what, key.as_str()) {
                (What::Whole, "export") => {
                    let head = map.next_value()?;
                    self.intake.head(head)
                }
                (What::Whole, "tables") => {
                    map.next_value_seed(self.inner(What::Tables))?;
                    Ok(())
                }
                (What::Whole, "end") => {
                    let end: End = map.next_value()?;
                    self.intake.end(&end)
                }
                (What::Table, "table") => {
                    let name: TableName = map.next_value()?;
                    self.intake.table(&name)
                }
                (What::Table, "rows") => {
                    map.next_value_seed(self.inner(What::Rows))?;
                    Ok(())
                }
                (What::Table, "end_of_table") => {
                    let end: TableEnd = map.next_value()?;
                    self.intake.end_of_table(&end)
                }
                _ => return Err(A::Error::custom(format!("`{key}` is not expected here"))),
            };
            self.done(done)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        match self.what {
            What::Rows => {
                while let Some(Row { row, check }) = list.next_element()? {
                    let done = self.intake.row_of_json(row.get(), check.as_deref());
                    self.done(done)?;
                }
            }
            _ => while list.next_element_seed(self.inner(What::Table))?.is_some() {},
        }
        Ok(())
    }
}
