//! The rows of a SQLite file for an export: all tables in one read transaction, each value with
//! the type that SQLite has it as.

use anyhow::{Context, Result};
use chrono::Utc;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::inspect::{self, quoted};
use super::{Sqlite, import, keys};
use crate::engine::portable::Source;
use crate::engine::{Engine as _, Portable, Restored};
use crate::interrupt::Interrupt;
use crate::values::database::EngineKind;
use crate::values::portable::Sink;
use crate::values::portable::cell::{Cell, Kind};
use crate::values::portable::fit::Landing;
use crate::values::portable::head::{FORMAT, Head, SequenceHead};
use crate::values::portable::outline::{ColumnOutline, Outline, TableOutline, choose};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// So many rows are read between two looks for a signal.
const ROWS_A_LOOK: u64 = 512;

impl Portable for Sqlite {
    fn prepare_import(&mut self, _landing: &Landing) -> Result<()> {
        self.watch()
    }

    fn import(
        &mut self,
        _proof: &VerifiedDump,
        landing: &Landing,
        source: Source,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        import::import(self, landing, source, progress)
    }

    fn outline(&mut self) -> Result<Outline> {
        self.require_file()?;
        let history = self.bookkeeping.table.clone();
        let empty = Outline {
            engine: EngineKind::Sqlite,
            tables: Vec::new(),
            left_out: Vec::new(),
        };
        let found = self.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let found = outline(connection, &history)?;
            drop(transaction);
            Ok(Some(found))
        })?;
        Ok(found.unwrap_or(empty))
    }

    fn export(&mut self, wanted: &[String], sink: &mut dyn Sink) -> Result<()> {
        self.require_file()?;
        let connection = inspect::open_to_read(&self.path, Ok(()))?;
        let connection = connection.context("there is no database file yet")?;
        // Where the moment is pinned.
        inspect::patiently(self.interrupt(), || {
            if connection.is_autocommit() {
                connection.execute_batch("BEGIN")?;
            }
            Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?)
        })?;
        let taken_at = Utc::now();
        inspect::interruptibly(&connection, self.interrupt(), |connection| {
            let history = &self.bookkeeping.table;
            let outline = outline(connection, history)?;
            let chosen = choose(&outline, wanted)?;
            let tables: Vec<&TableOutline> = chosen.iter().map(|i| &outline.tables[*i]).collect();
            sink.head(&Head {
                format: FORMAT,
                engine: EngineKind::Sqlite,
                engine_version: rusqlite::version().to_owned(),
                database: self
                    .path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                taken_at,
                migrations: inspect::history(connection, history)?,
                left_out: outline.left_out.clone(),
                tables: tables.iter().map(|table| table.head()).collect(),
            })?;
            for (i, table) in tables.iter().enumerate() {
                if sink.table(i)? {
                    send(connection, table, self.interrupt(), sink)?;
                    sink.end_table()?;
                }
            }
            Ok(())
        })
    }
}

fn send(
    connection: &Connection,
    table: &TableOutline,
    interrupt: &Interrupt,
    sink: &mut dyn Sink,
) -> Result<()> {
    let columns: Vec<String> = (table.columns.iter())
        .filter(|column| !column.is_generated)
        .map(|column| column.name.clone())
        .collect();
    rows(connection, &table.name, &columns, interrupt, &mut |cells| {
        sink.row(cells, 0)
    })
}

/// All rows of a table in the order in which it holds them.
pub fn rows(
    connection: &Connection,
    table: &str,
    columns: &[String],
    interrupt: &Interrupt,
    row: &mut dyn FnMut(&[Cell]) -> Result<()>,
) -> Result<()> {
    let context = || format!("cannot read the rows of table `{table}`");
    let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let question = format!(
        "SELECT {} FROM main.{} NOT INDEXED",
        names.join(", "),
        quoted(table)
    );
    let mut statement = connection.prepare(&question).with_context(context)?;
    let mut found = statement.query([]).with_context(context)?;
    let mut cells = Vec::with_capacity(columns.len());
    let mut count: u64 = 0;
    while let Some(next) = found.next().with_context(context)? {
        cells.clear();
        for column in 0..columns.len() {
            cells.push(cell(next.get_ref(column)?));
        }
        row(&cells)?;
        count += 1;
        if count.is_multiple_of(ROWS_A_LOOK) {
            interrupt.check()?;
        }
    }
    Ok(())
}

fn cell(value: ValueRef) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text.to_owned()),
            Err(_) => Cell::TextBytes(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    }
}

/// In the transaction that has begun.
pub fn outline(connection: &Connection, history: &str) -> Result<Outline> {
    // Not even a count begins without the collation of the key that it walks along.
    connection
        .collation_needed(|connection, name| connection.create_collation(name, str::cmp))
        .context("cannot stand in for the application's collations")?;
    let mut outline = Outline {
        engine: EngineKind::Sqlite,
        tables: Vec::new(),
        left_out: Vec::new(),
    };
    let history = inspect::bare_name(history);
    for (name, is_virtual) in names(connection).context("cannot read the schema")? {
        let kind = match is_virtual {
            true => "virtual".to_owned(),
            false => kind_of(connection, &name)?,
        };
        match kind.as_str() {
            "virtual" => outline.left_out.push(format!(
                "the virtual table `{name}`: its rows are made anew from other tables, or exported as a backup"
            )),
            // A part of a virtual table.
            "shadow" => {}
            _ => {
                let table = table(connection, name, &history);
                outline.tables.push(table.context("cannot read the schema")?);
            }
        }
    }
    Ok(outline)
}

/// Those of the application, and whether they are virtual: the module may be the application's as well.
pub fn names(connection: &Connection) -> rusqlite::Result<Vec<(String, bool)>> {
    let mut statement = connection.prepare(
        "SELECT name, sql LIKE 'CREATE VIRTUAL TABLE%' FROM sqlite_schema WHERE type = 'table' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    names.collect()
}

/// Of one table: the list of all would open every view as well, and fail with a broken one.
fn kind_of(connection: &Connection, name: &str) -> Result<String> {
    let found = connection.query_row(
        "SELECT type FROM pragma_table_list(?1) WHERE schema = 'main'",
        [name],
        |row| row.get(0),
    );
    found.with_context(|| format!("cannot ask what the table `{name}` is"))
}

fn table(connection: &Connection, name: String, history: &str) -> rusqlite::Result<TableOutline> {
    let count = format!("SELECT count(*) FROM main.{}", quoted(&name));
    let rows: i64 = connection.query_row(&count, [], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(
        "SELECT name, type, hidden, pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid",
    )?;
    let found = statement.query_map([&name], |row| {
        let (data_type, hidden): (String, i64) = (row.get(1)?, row.get(2)?);
        let column = ColumnOutline {
            name: row.get(0)?,
            kind: kind(&data_type),
            data_type,
            is_generated: hidden != 0,
        };
        Ok((column, row.get::<_, i64>(3)? > 0))
    })?;
    let found = found.collect::<Result<Vec<(ColumnOutline, bool)>, _>>()?;
    let key = found.iter().find(|(_, is_key)| *is_key);
    let sequence = match key {
        Some((column, _)) => last_number(connection, &name)?.map(|last| SequenceHead {
            column: column.name.clone(),
            last,
        }),
        None => None,
    };
    Ok(TableOutline {
        schema: "main".into(),
        rows: rows.unsigned_abs(),
        columns: found.into_iter().map(|(column, _)| column).collect(),
        parents: parents(connection, &name)?,
        sequences: sequence.into_iter().collect(),
        is_history: name.eq_ignore_ascii_case(history),
        key_fault: keys::fault(connection, &name),
        name,
    })
}

/// What SQLite gives a column the affinity of text by its declared type; all else may hold anything.
fn kind(declared: &str) -> Kind {
    let declared = declared.to_uppercase();
    let is_text = ["CHAR", "CLOB", "TEXT"]
        .iter()
        .any(|part| declared.contains(part));
    if is_text && !declared.contains("INT") {
        Kind::Text
    } else {
        Kind::Any
    }
}

pub fn parents(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    // As the parent is called, and not as somebody spelled it.
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT s.name FROM pragma_foreign_key_list(?1) k \
         JOIN sqlite_schema s ON s.type = 'table' AND s.name = k.\"table\" COLLATE NOCASE",
    )?;
    let parents = statement.query_map([table], |row| Ok(("main".to_owned(), row.get(0)?)))?;
    parents.collect()
}

/// Of a table with AUTOINCREMENT.
pub fn last_number(connection: &Connection, table: &str) -> rusqlite::Result<Option<i64>> {
    if !has_sequences(connection)? {
        return Ok(None);
    }
    let question = "SELECT seq FROM sqlite_sequence WHERE name = ?1 AND typeof(seq) = 'integer'";
    connection
        .query_row(question, [table], |row| row.get(0))
        .optional()
}

pub fn has_sequences(connection: &Connection) -> rusqlite::Result<bool> {
    let question = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'";
    connection.query_row(question, [], |row| Ok(row.get::<_, i64>(0)? > 0))
}
