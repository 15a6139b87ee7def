//! Whatever a value is: written and read it is the same one, in each format, and of its own type.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::rc::Rc;

use anyhow::{Context, Result};
use proptest::prelude::*;
use xtask_db::parsers::portable::cell::{Cell, Kind};
use xtask_db::parsers::portable::csv_folder::{self, CsvFolder, Files, Folder};
use xtask_db::parsers::portable::document::Document;
use xtask_db::parsers::portable::head::{ColumnHead, FORMAT, Head, TableHead};
use xtask_db::parsers::portable::intake::Intake;
use xtask_db::parsers::portable::ndjson::Lines;
use xtask_db::parsers::portable::number::{canonical, is_safe};
use xtask_db::parsers::portable::outlet::{Layout, Outlet};
use xtask_db::parsers::portable::{Sink, read_file};
use xtask_db::parsers::{EngineKind, Interrupt};

/// Files in memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

struct Written(Memory, String);

impl Write for Written {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let mut files = self.0.0.borrow_mut();
        files
            .entry(self.1.clone())
            .or_default()
            .extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Files for Memory {
    type File = Written;

    fn create(&mut self, name: &str) -> Result<Written> {
        self.0.borrow_mut().insert(name.to_owned(), Vec::new());
        Ok(Written(self.clone(), name.to_owned()))
    }
}

impl Folder for Memory {
    fn open(&self, name: &str) -> Result<Box<dyn Read>> {
        let file = self.0.borrow().get(name).cloned();
        Ok(Box::new(Cursor::new(file.context("no such file")?)))
    }
}

/// All rows that come.
#[derive(Default)]
struct Kept(Vec<Vec<Cell>>);

impl Sink for Kept {
    fn head(&mut self, _: &Head) -> Result<()> {
        Ok(())
    }

    fn table(&mut self, _: usize) -> Result<bool> {
        Ok(true)
    }

    fn row(&mut self, cells: &[Cell], _: u64) -> Result<()> {
        self.0.push(cells.to_vec());
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        Ok(())
    }
}

fn write(layout: Box<dyn Layout + '_>, head: &Head, rows: &[Vec<Cell>]) -> Result<()> {
    let mut outlet = Outlet::new(layout);
    outlet.head(head)?;
    outlet.table(0)?;
    rows.iter().try_for_each(|row| outlet.row(row, 0))?;
    outlet.end_table()?;
    outlet.finish().map(drop)
}

/// What an export of these rows is, file by file.
fn exported(format: &str, head: &Head, rows: &[Vec<Cell>]) -> Result<Memory> {
    let mut memory = Memory::default();
    if format == "csv" {
        write(Box::new(CsvFolder::new(memory.clone())), head, rows)?;
        return Ok(memory);
    }
    let file = memory.create("file")?;
    match format {
        "json" => write(Box::new(Document::new(file)), head, rows)?,
        _ => write(Box::new(Lines::new(file)), head, rows)?,
    }
    Ok(memory)
}

fn read(format: &str, memory: &Memory, is_edited: bool) -> Result<Vec<Vec<Cell>>> {
    let mut kept = Kept::default();
    let mut intake = Intake::new(&mut kept, is_edited, Interrupt::unconnected());
    if format == "csv" {
        csv_folder::read(memory, &mut intake)?;
    } else {
        let mut open = || {
            let file: Box<dyn BufRead> = Box::new(BufReader::new(memory.open("file")?));
            Ok(file)
        };
        read_file(&mut open, &mut intake)?;
    }
    intake.finish()?;
    Ok(kept.0)
}

fn passed(format: &str, head: &Head, rows: &[Vec<Cell>]) -> Result<Vec<Vec<Cell>>> {
    read(format, &exported(format, head, rows)?, false)
}

fn head(kinds: &[Kind], rows: usize) -> Head {
    let column = |(i, kind): (usize, &Kind)| ColumnHead {
        name: format!("c\"{i},\\\n"),
        data_type: "any".into(),
        kind: *kind,
    };
    Head {
        format: FORMAT,
        engine: EngineKind::Sqlite,
        engine_version: "3".into(),
        database: "x".into(),
        taken_at: chrono::DateTime::UNIX_EPOCH,
        migrations: Vec::new(),
        left_out: Vec::new(),
        tables: vec![TableHead {
            schema: "main".into(),
            name: "t/../x".into(),
            rows: rows as u64,
            file: None,
            sequences: Vec::new(),
            columns: kinds.iter().enumerate().map(column).collect(),
        }],
    }
}

fn texts() -> impl Strategy<Value = String> {
    let odd = [
        "",
        "\\N",
        "\\s:x",
        "\\",
        "null",
        "NULL",
        "NaN",
        "Infinity",
        "-0",
        "1",
        "1.0",
        "01",
        "+1",
        "1e5",
        "-",
        "true",
        "\r\n",
        "\"",
        ",",
        "\u{feff}x",
        "\u{0}",
        "a\nb",
        "{\"bytes\": \"00\"}",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{7f}",
        "\u{85}",
        " x ",
        "#",
    ];
    prop_oneof![
        proptest::sample::select(odd.map(str::to_owned).to_vec()),
        any::<String>(),
        "[0-9eE+.-]{0,12}",
        "(\\\\[Nsxirdjtu]?:?)?[a-f0-9\\\\]{0,6}",
    ]
}

fn kinds() -> impl Strategy<Value = Kind> {
    proptest::sample::select(vec![
        Kind::Any,
        Kind::Text,
        Kind::Integer,
        Kind::Real,
        Kind::Decimal,
        Kind::Boolean,
        Kind::Bytes,
        Kind::Json,
    ])
}

/// What a database may have in a column of a kind: on SQLite anything, on PostgreSQL its type.
fn cells(kind: Kind) -> BoxedStrategy<Cell> {
    let integers = prop_oneof![
        any::<i64>(),
        -3_i64..3,
        Just(i64::MIN),
        Just(i64::MAX),
        (1_i64 << 53) - 1..(1 << 53) + 3
    ];
    let reals = prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(5e-324),
        Just(1e16),
        Just(3.0)
    ];
    let reals =
        reals.prop_map(|number| Cell::Real(if number.is_nan() { f64::NAN } else { number }));
    let decimals = prop_oneof![
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?",
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned())
    ];
    let bytes = || proptest::collection::vec(any::<u8>(), 0..9);
    let not_text = |bytes: &Vec<u8>| std::str::from_utf8(bytes).is_err();
    let odd = bytes()
        .prop_filter("no text", not_text)
        .prop_map(Cell::TextBytes);
    let json = proptest::sample::select(vec![
        "{}",
        "null",
        " [1 ]",
        "{\"a\": 1, \"a\": 1.10}",
        "{\n}",
        "\"\\u0000\"",
        "1e400",
        "\"\u{202e}\"",
    ]);
    let own: BoxedStrategy<Cell> = match kind {
        Kind::Any | Kind::Text => prop_oneof![
            integers.prop_map(Cell::Integer),
            reals,
            texts().prop_map(Cell::Text),
            bytes().prop_map(Cell::Bytes),
            odd,
        ]
        .boxed(),
        Kind::Integer => integers.prop_map(Cell::Integer).boxed(),
        Kind::Real => reals.boxed(),
        Kind::Decimal => decimals.prop_map(Cell::Decimal).boxed(),
        Kind::Boolean => any::<bool>().prop_map(Cell::Bool).boxed(),
        Kind::Bytes => bytes().prop_map(Cell::Bytes).boxed(),
        Kind::Json => json.prop_map(|text| Cell::Json(text.to_owned())).boxed(),
    };
    prop_oneof![1 => Just(Cell::Null), 9 => own].boxed()
}

fn tables() -> impl Strategy<Value = (Vec<Kind>, Vec<Vec<Cell>>)> {
    proptest::collection::vec(kinds(), 0..4).prop_flat_map(|kinds| {
        let row: Vec<BoxedStrategy<Cell>> = kinds.iter().map(|kind| cells(*kind)).collect();
        (Just(kinds), proptest::collection::vec(row, 0..6))
    })
}

proptest! {
    #[test]
    fn every_value_comes_back((kinds, rows) in tables()) {
        let head = head(&kinds, rows.len());
        for format in ["ndjson", "json", "csv"] {
            let read = passed(format, &head, &rows);
            let read = read.map_err(|error| TestCaseError::fail(format!("{format}: {error:#}")))?;
            prop_assert_eq!(&read, &rows, "{}", format);
        }
    }

    /// Bytes of any file of a whole export: what is still read is what was written.
    #[test]
    fn no_damage_passes_or_makes_it_panic(
        (kinds, rows) in tables(),
        file in any::<proptest::sample::Index>(),
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let head = head(&kinds, rows.len());
        for format in ["ndjson", "json", "csv"] {
            let memory = exported(format, &head, &rows).expect("an export");
            let name = {
                let files = memory.0.borrow();
                files.keys().nth(file.index(files.len())).expect("a file").clone()
            };
            for (place, byte) in &places {
                let mut files = memory.0.borrow_mut();
                let bytes = files.get_mut(&name).expect("a file");
                if !bytes.is_empty() {
                    let at = place.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            if let Ok(read) = read(format, &memory, false) {
                prop_assert_eq!(&read, &rows, "{} {}", format, name);
            }
            drop(read(format, &memory, true));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0..4_usize) {
        let start = ["", "{\"export\": ", "{\n\"export\": {", "{\"row\": {"][start];
        let bytes = [start.as_bytes(), &bytes].concat();
        let mut kept = Kept::default();
        let mut intake = Intake::new(&mut kept, true, Interrupt::unconnected());
        let read = read_file(&mut || Ok(Box::new(Cursor::new(bytes.clone()))), &mut intake);
        prop_assert!(read.is_err() || intake.finish().is_err());
    }

    /// Two numbers are written alike only when they are one.
    #[test]
    fn numbers_are_compared_by_value(whole in -10_000_i64..10_000, zeros in 0..5_usize, shift in 0..6_usize) {
        let plain = canonical(&whole.to_string());
        let fraction = format!("{whole}.{}", "0".repeat(zeros));
        prop_assert_eq!(canonical(&fraction), plain.clone());
        prop_assert_eq!(canonical(&format!("{whole}{}e-{shift}", "0".repeat(shift))), plain.clone());
        prop_assert_ne!(canonical(&format!("{whole}1")), plain);
        prop_assert!(is_safe(&whole.to_string()));
    }

    /// Whatever the exponent: beyond what can be counted it is no number, and no panic.
    #[test]
    fn no_exponent_is_too_large(digits in "[1-9]{1,9}\\.[1-9]{1,9}", exponent in prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()]) {
        let read = canonical(&format!("{digits}e{exponent}"));
        prop_assert!(read.is_some() || exponent.unsigned_abs() > 1 << 62);
    }
}
