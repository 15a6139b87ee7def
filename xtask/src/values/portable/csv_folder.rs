//! An export as a folder: a CSV file for each table, with the names of its columns in the first
//! line, beside it a check for each of its rows, and `export.json`, which says what they are.
//!
//! A field stands as it is where the column says what it is. All else begins with a backslash:
//! `\N` is NULL, `\x:00ff` bytes, `\s:…` a text that would be taken for something else.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::bound::{Bounded, MAX_ROW_BYTES, TOO_LONG};
use super::cell::{Cell, Kind, hex};
use super::head::{ColumnHead, End, Head, TableEnd, TableHead};
use super::intake::Intake;
use super::outlet::Layout;
use super::{MAX_FIRST_LINE_BYTES, number, value};
use crate::values::failure::Failure;

pub const HEAD_FILE: &str = "export.json";
/// More than a reader has of the next rows when it comes to the end of one.
const READ_AHEAD_BYTES: usize = 1 << 16;
const NULL: &str = "\\N";
/// Eight letters and the end of the line; more is none.
const MAX_CHECK_BYTES: u64 = 64;

/// Makes the files of a folder.
pub trait Files {
    type File: Write;

    fn create(&mut self, name: &str) -> Result<Self::File>;
}

/// Opens the files of a folder.
pub trait Folder {
    fn open(&self, name: &str) -> Result<Box<dyn Read>>;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    export: Head,
    tables: Vec<TableEnd>,
    end: End,
}

/// Rows, and their checks.
type OpenTable<W> = (csv::Writer<W>, BufWriter<W>);

pub struct CsvFolder<F: Files> {
    files: F,
    head: Option<Head>,
    ends: Vec<TableEnd>,
    open: Option<OpenTable<F::File>>,
    kinds: Vec<Kind>,
}

impl<F: Files> CsvFolder<F> {
    pub fn new(files: F) -> CsvFolder<F> {
        CsvFolder {
            files,
            head: None,
            ends: Vec::new(),
            open: None,
            kinds: Vec::new(),
        }
    }
}

impl<F: Files> Layout for CsvFolder<F> {
    fn prepare(&mut self, head: &mut Head) {
        name_files(&mut head.tables);
    }

    fn begin(&mut self, head: &Head) -> Result<()> {
        self.head = Some(head.clone());
        Ok(())
    }

    fn table(&mut self, table: &TableHead) -> Result<()> {
        let file = table.file.as_deref().context("a table has no file")?;
        let mut rows = csv::Writer::from_writer(self.files.create(file)?);
        let names = table.columns.iter().map(|column| column.name.as_bytes());
        rows.write_record(names).context("cannot write")?;
        let checks = BufWriter::new(self.files.create(&check_file(file))?);
        self.kinds = table.columns.iter().map(|column| column.kind).collect();
        self.open = Some((rows, checks));
        Ok(())
    }

    fn row(&mut self, cells: &[Cell], check: &str) -> Result<()> {
        let (rows, checks) = self.open.as_mut().context("no table has begun")?;
        let mut bytes = READ_AHEAD_BYTES;
        for (cell, kind) in cells.iter().zip(&self.kinds) {
            let field = field(cell, *kind);
            // A quote is written twice, quotes stand around, and a comma behind.
            bytes += field.len() + field.matches('"').count() + 3;
            ensure!((bytes as u64) < MAX_ROW_BYTES, TOO_LONG);
            rows.write_field(field).context("cannot write")?;
        }
        rows.write_record(None::<&[u8]>).context("cannot write")?;
        writeln!(checks, "{check}").context("cannot write")
    }

    fn end_table(&mut self, end: &TableEnd) -> Result<()> {
        if let Some((mut rows, mut checks)) = self.open.take() {
            rows.flush().context("cannot write")?;
            checks.flush().context("cannot write")?;
        }
        self.ends.push(end.clone());
        Ok(())
    }

    fn end(&mut self, end: &End) -> Result<()> {
        let said = Said {
            export: self.head.take().context("there is no head")?,
            tables: std::mem::take(&mut self.ends),
            end: end.clone(),
        };
        let mut file = self.files.create(HEAD_FILE)?;
        let text = serde_json::to_string_pretty(&said).context("cannot write JSON")?;
        writeln!(file, "{text}").context("cannot write")?;
        file.flush().context("cannot write")
    }
}

/// Names that every file system has, and that differ also where case does not count.
pub fn name_files(tables: &mut [TableHead]) {
    let mut taken = Vec::new();
    for table in tables {
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let title = table.title();
        let mut name: String = (title.chars().take(60))
            .map(|c| if is_plain(c) { c } else { '_' })
            .collect();
        if name.starts_with('.') || name.is_empty() {
            name.insert(0, '_');
        }
        let plain = name.clone();
        let mut number = 1;
        while taken.contains(&name.to_lowercase()) || name.to_lowercase() == "export" {
            number += 1;
            name = format!("{plain}-{number}");
        }
        taken.push(name.to_lowercase());
        table.file = Some(format!("{name}.csv"));
    }
}

fn check_file(file: &str) -> String {
    format!("{}.check", file.strip_suffix(".csv").unwrap_or(file))
}

fn field(cell: &Cell, kind: Kind) -> String {
    let plain = match cell {
        Cell::Null => return NULL.to_owned(),
        Cell::Bool(value) => value.to_string(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) if number.is_finite() => format!("{number:?}"),
        Cell::Real(number) => value::real_name(*number).to_owned(),
        Cell::Decimal(digits) => digits.clone(),
        Cell::Text(text) | Cell::Json(text) => text.clone(),
        Cell::TextBytes(bytes) => return format!("\\u:{}", hex(bytes)),
        Cell::Bytes(bytes) => return format!("\\x:{}", hex(bytes)),
    };
    if read_field(&plain, kind).is_ok_and(|read| read == *cell) {
        return plain;
    }
    let tag = match cell {
        Cell::Bool(_) => 't',
        Cell::Integer(_) => 'i',
        Cell::Real(_) => 'r',
        Cell::Decimal(_) => 'd',
        Cell::Json(_) => 'j',
        _ => 's',
    };
    format!("\\{tag}:{plain}")
}

fn read_field(text: &str, kind: Kind) -> Result<Cell, String> {
    if text == NULL {
        return Ok(Cell::Null);
    }
    if let Some(tagged) = text.strip_prefix('\\') {
        return read_tagged(tagged);
    }
    let or_text = |cell: Result<Cell, String>| Ok(cell.unwrap_or(Cell::Text(text.to_owned())));
    match kind {
        Kind::Text | Kind::Bytes => Ok(Cell::Text(text.to_owned())),
        Kind::Json => Ok(Cell::Json(text.to_owned())),
        Kind::Boolean if text == "true" || text == "false" => Ok(Cell::Bool(text == "true")),
        Kind::Decimal => or_text(tagged("decimal", text)),
        Kind::Real => or_text(tagged("real", text)),
        Kind::Any | Kind::Integer if number::is_number(text) => {
            or_text(value::read_number(text, kind))
        }
        _ => Ok(Cell::Text(text.to_owned())),
    }
}

fn tagged(tag: &str, text: &str) -> Result<Cell, String> {
    let cell = value::from_tag(tag, text)?;
    cell.ok_or_else(|| "there is no such kind of value".into())
}

fn read_tagged(text: &str) -> Result<Cell, String> {
    let (tag, rest) = text.split_once(':').unwrap_or_default();
    let name = match tag {
        "x" => "bytes",
        "u" => "text_bytes",
        "i" => "integer",
        "r" => "real",
        "d" => "decimal",
        "j" => "json_text",
        "s" => "text",
        "t" if rest == "true" || rest == "false" => return Ok(Cell::Bool(rest == "true")),
        _ => {
            return Err(
                "behind a backslash at the beginning comes `N` (NULL) or one of `x:`, `u:`, `i:`, \
                 `r:`, `d:`, `j:`, `t:` and `s:` (a text)"
                    .into(),
            );
        }
    };
    tagged(name, rest)
}

pub fn read(folder: &dyn Folder, intake: &mut Intake) -> Result<()> {
    intake.at_line(HEAD_FILE, 1);
    let head = folder.open(HEAD_FILE)?.take(MAX_FIRST_LINE_BYTES);
    let said: Said = serde_json::from_reader(BufReader::new(head)).map_err(|error| {
        let line = u64::try_from(error.line()).unwrap_or(0);
        intake.at_line(HEAD_FILE, line);
        intake.unreadable(&error)
    })?;
    let tables = said.export.tables.clone();
    intake.head(said.export)?;
    for (i, table) in tables.iter().enumerate() {
        intake.at_line(HEAD_FILE, 1);
        intake.table(&table.short())?;
        let file = table.file.as_deref().unwrap_or_default();
        if !is_plain_name(file) {
            return Err(intake.damaged(format!("`{file}` is no file of this folder")));
        }
        read_table(folder, file, table, intake)?;
        intake.at_line(HEAD_FILE, 1);
        let end = said.tables.get(i);
        let end = end.ok_or_else(|| intake.damaged("the end of a table is missing"))?;
        intake.end_of_table(end)?;
    }
    intake.at_line(HEAD_FILE, 1);
    intake.end(&said.end)
}

/// Nothing outside of the folder is opened.
fn is_plain_name(file: &str) -> bool {
    !(file.is_empty() || file.starts_with('.') || file.contains(['/', '\0']))
}

fn read_table(
    folder: &dyn Folder,
    file: &str,
    table: &TableHead,
    intake: &mut Intake,
) -> Result<()> {
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(Bounded {
            from: BufReader::new(folder.open(file)?),
            allowance: intake.allowance.clone(),
        });
    let mut checks = checks(folder, file)?;
    let mut record = csv::StringRecord::new();
    let mut places = None;
    loop {
        let line = rows.position().line();
        intake.at_line(file, line);
        let is_there = rows.read_record(&mut record);
        if !is_there.map_err(|error| intake.damaged(error))? {
            break;
        }
        let Some(places) = &places else {
            places = Some(columns(&record, &table.columns, intake)?);
            continue;
        };
        if let Some(position) = record.position() {
            intake.at_line(file, position.line());
        }
        let cells =
            cells(&record, places, &table.columns).map_err(|error| intake.damaged(error))?;
        let mut check = Vec::new();
        let read = checks.as_mut().map_or(Ok(0), |checks| {
            checks.take(MAX_CHECK_BYTES).read_until(b'\n', &mut check)
        });
        read.context("cannot read the checks")?;
        intake.row(&cells, Some(String::from_utf8_lossy(&check).trim_end()))?;
    }
    match places {
        Some(_) => Ok(()),
        None => Err(intake.damaged("the names of the columns are missing")),
    }
}

/// Without them all rows count as edited.
fn checks(folder: &dyn Folder, file: &str) -> Result<Option<BufReader<Box<dyn Read>>>> {
    match folder.open(&check_file(file)) {
        Ok(checks) => Ok(Some(BufReader::new(checks))),
        Err(error) if error.downcast_ref::<Failure>().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where in a record each column is.
fn columns(
    record: &csv::StringRecord,
    columns: &[ColumnHead],
    intake: &Intake,
) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(unknown) = record
        .iter()
        .find(|name| columns.iter().all(|c| c.name != *name))
    {
        return Err(intake.damaged(format!("there is no column `{unknown}`")));
    }
    let place = |column: &ColumnHead| {
        let mut places = record
            .iter()
            .enumerate()
            .filter(|(_, name)| *name == column.name);
        match (places.next(), places.next()) {
            (Some((place, _)), None) => Ok(place),
            (None, _) => Err(intake.damaged(format!("the column `{}` is missing", column.name))),
            (Some(_), Some(_)) => {
                Err(intake.damaged(format!("the column `{}` is there twice", column.name)))
            }
        }
    };
    columns.iter().map(place).collect()
}

fn cells(
    record: &csv::StringRecord,
    places: &[usize],
    columns: &[ColumnHead],
) -> Result<Vec<Cell>, String> {
    if record.len() != columns.len().max(1) {
        return Err(format!(
            "there are {} fields, and {} columns",
            record.len(),
            columns.len()
        ));
    }
    let cell = |(place, column): (&usize, &ColumnHead)| {
        let text = record.get(*place).unwrap_or_default();
        let read = read_field(text, column.kind);
        read.map_err(|error| format!("column `{}`: {error}", column.name))
    };
    places.iter().zip(columns).map(cell).collect()
}
