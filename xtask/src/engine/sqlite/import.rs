//! Rows of a file into the tables of a SQLite file: one transaction of a connection on which no
//! trigger fires and no foreign key acts; the rows are read back and matched with the file, and
//! the keys checked, before it is committed.

use anyhow::{Context, Result, ensure};
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement, params_from_iter};

use super::inspect::{self, quoted};
use super::{Sqlite, export, hold};
use crate::engine::Restored;
use crate::interrupt::Interrupt;
use crate::values::failure::Failure;
use crate::values::portable::Sink;
use crate::values::portable::cell::Cell;
use crate::values::portable::fit::{Landed, Landing, Mode};
use crate::values::portable::head::Head;
use crate::values::portable::tally::Tally;
use crate::values::words::on_one_line;

type Source<'a> = &'a mut dyn FnMut(&mut dyn Sink) -> Result<()>;

pub fn import(sqlite: &mut Sqlite, landing: &Landing, source: Source) -> Result<Restored> {
    sqlite.require_file()?;
    let connection = open(sqlite)?;
    inspect::patiently(sqlite.interrupt(), || {
        Ok(connection.execute_batch("BEGIN IMMEDIATE")?)
    })?;
    // Nobody else can write from here on.
    if landing.mode == Mode::Replace {
        let mut watch = sqlite.watch.take().context("nobody has watched the file")?;
        let silent = watch.require_silent(sqlite);
        sqlite.watch = Some(watch);
        silent?;
    }
    let interrupt = sqlite.interrupt().clone();
    let filled = inspect::interruptibly(&connection, &interrupt, |connection| {
        fill(connection, landing, &interrupt, source)
    });
    let committed = filled
        .and_then(|()| inspect::patiently(&interrupt, || Ok(connection.execute_batch("COMMIT")?)));
    if committed.is_err() && !connection.is_autocommit() {
        // A connection that is closed rolls back as well.
        let _ = connection.execute_batch("ROLLBACK");
    }
    committed?;
    Ok(Restored {
        kept: None,
        warnings: Vec::new(),
    })
}

fn open(sqlite: &Sqlite) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let context = || format!("cannot open the database `{}`", sqlite.path.display());
    let connection = Connection::open_with_flags(&sqlite.path, flags).with_context(context)?;
    connection.busy_handler(Some(hold::ask_often))?;
    connection.pragma_update(None, "foreign_keys", false)?;
    // A CHECK that the file was made with in other times is one that its rows must hold.
    connection.pragma_update(None, "ignore_check_constraints", false)?;
    let fires = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    ensure!(!fires, "triggers cannot be kept from firing");
    Ok(connection)
}

/// All but the COMMIT.
fn fill(
    connection: &Connection,
    landing: &Landing,
    interrupt: &Interrupt,
    source: Source,
) -> Result<()> {
    for table in landing.wanted() {
        require_rows(connection, table)?;
    }
    let earlier = match landing.mode {
        Mode::Append => tallies(connection, landing, interrupt)?,
        Mode::IntoEmpty | Mode::Replace => Vec::new(),
    };
    let broken = broken_keys(connection)?;
    if landing.mode == Mode::Replace {
        for table in landing.wanted() {
            let delete = format!("DELETE FROM main.{}", quoted(&table.name));
            let deleted = connection.execute(&delete, []);
            deleted.with_context(|| format!("cannot delete the rows of `{}`", table.title))?;
        }
    }
    let mut loader = Loader {
        connection,
        landing,
        at: None,
        given: landing.tables.iter().map(|_| Tally::default()).collect(),
        index: 0,
    };
    source(&mut loader)?;
    let both = loader.given.iter().zip(&landing.tables);
    let given: Vec<&Tally> = both
        .filter(|(_, table)| table.is_some())
        .map(|(tally, _)| tally)
        .collect();
    advance_numbers(connection, landing)?;
    let found = tallies(connection, landing, interrupt)?;
    for (i, table) in landing.wanted().enumerate() {
        let before = earlier.get(i).cloned().unwrap_or_default();
        table.require(given[i], &found[i].since(&before))?;
    }
    require_keys(&broken, &broken_keys(connection)?)
}

/// What the plan said of rows that are there must still be so.
fn require_rows(connection: &Connection, table: &Landed) -> Result<()> {
    let count = format!("SELECT count(*) FROM main.{}", quoted(&table.name));
    let rows: i64 = connection.query_row(&count, [], |row| row.get(0))?;
    if rows.unsigned_abs() == table.rows_now {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "somebody has written to the database meanwhile: `{}` has {rows} rows, and had {} when the \
         plan was made",
        table.title, table.rows_now
    ))
    .hint("nothing was changed; run the command again")
    .into())
}

/// What the tables hold, in the columns that the file has.
fn tallies(
    connection: &Connection,
    landing: &Landing,
    interrupt: &Interrupt,
) -> Result<Vec<Tally>> {
    let mut tallies = Vec::new();
    for table in landing.wanted() {
        let columns: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
        let mut tally = Tally::default();
        export::rows(connection, &table.name, &columns, interrupt, &mut |cells| {
            table.add(&mut tally, cells);
            Ok(())
        })?;
        tallies.push(tally);
    }
    Ok(tallies)
}

/// Child, row and parent of each row that refers to none: the first few.
fn broken_keys(connection: &Connection) -> Result<Vec<(String, Option<i64>, String)>> {
    const SHOWN: usize = 1000;
    let mut statement = connection
        .prepare("SELECT \"table\", rowid, parent FROM pragma_foreign_key_check")
        .context("cannot check the foreign keys")?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let found: rusqlite::Result<Vec<_>> = found.take(SHOWN).collect();
    found.context("cannot check the foreign keys")
}

type Broken = (String, Option<i64>, String);

/// What was broken before is not this file's fault.
fn require_keys(before: &[Broken], after: &[Broken]) -> Result<()> {
    let Some((child, row, parent)) = after.iter().find(|broken| !before.contains(broken)) else {
        return Ok(());
    };
    let row = row.map_or_else(String::new, |row| format!(" with rowid {row}"));
    Err(Failure::refused(format!(
        "the rows do not fit together: the row of `{}`{row} refers to a row of `{}` that is not there",
        on_one_line(child),
        on_one_line(parent)
    ))
    .hint("mend the rows, or import the tables that they refer to as well")
    .into())
}

/// The next number of an AUTOINCREMENT is one that was never given out; never back.
fn advance_numbers(connection: &Connection, landing: &Landing) -> Result<()> {
    if !export::has_sequences(connection)? {
        return Ok(());
    }
    for table in landing.wanted() {
        // There is a row as soon as the table had one.
        for sequence in &table.sequences {
            let set = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
            let changed = connection.execute(set, (&table.name, sequence.last));
            let context = "cannot advance the numbers of an AUTOINCREMENT";
            if changed.context(context)? == 0 && is_autoincrement(connection, &table.name)? {
                let add = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
                let added = connection.execute(add, (&table.name, sequence.last));
                added.context(context)?;
            }
        }
    }
    Ok(())
}

fn is_autoincrement(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let question =
        "SELECT sql LIKE '%autoincrement%' FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    connection.query_row(question, [table], |row| row.get(0))
}

struct Loader<'a> {
    connection: &'a Connection,
    landing: &'a Landing,
    at: Option<(&'a Landed, Statement<'a>)>,
    /// By the tables of the head.
    given: Vec<Tally>,
    index: usize,
}

impl Sink for Loader<'_> {
    fn head(&mut self, _: &Head) -> Result<()> {
        Ok(())
    }

    fn table(&mut self, index: usize) -> Result<bool> {
        self.index = index;
        let landed = self
            .landing
            .tables
            .get(index)
            .context("there is no such table")?;
        self.at = match landed {
            None => None,
            Some(table) => {
                let prepared = self.connection.prepare(&insert(table));
                let context = || format!("cannot write rows into `{}`", table.title);
                Some((table, prepared.with_context(context)?))
            }
        };
        Ok(self.at.is_some())
    }

    fn row(&mut self, cells: &[Cell], line: u64) -> Result<()> {
        let (table, statement) = self.at.as_mut().context("a row of no table")?;
        let place = |what: String| Failure::refused(format!("line {line}: {what}"));
        if let Some(place_of_nan) = cells.iter().position(is_nan) {
            let name = on_one_line(&table.columns[place_of_nan].name).into_owned();
            return Err(place(format!(
                "column `{name}` of `{}`: SQLite has no NaN",
                table.title
            ))
            .into());
        }
        let inserted = statement.execute(params_from_iter(cells.iter().map(Bound)));
        inserted.with_context(|| {
            place(format!("the table `{}` does not take the row", table.title))
                .hint("mend that line, or the table; nothing was changed")
        })?;
        if let Some(tally) = self.given.get_mut(self.index) {
            table.add(tally, cells);
        }
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        self.at = None;
        Ok(())
    }
}

fn is_nan(cell: &Cell) -> bool {
    matches!(cell, Cell::Real(number) if number.is_nan())
}

fn insert(table: &Landed) -> String {
    let names: Vec<String> = table
        .columns
        .iter()
        .map(|column| quoted(&column.name))
        .collect();
    if names.is_empty() {
        return format!("INSERT INTO main.{} DEFAULT VALUES", quoted(&table.name));
    }
    let marks = vec!["?"; names.len()];
    format!(
        "INSERT INTO main.{} ({}) VALUES ({})",
        quoted(&table.name),
        names.join(", "),
        marks.join(", ")
    )
}

/// As SQLite takes it; what the column makes of it is read back.
struct Bound<'a>(&'a Cell);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Bool(value) => ToSqlOutput::Owned(Value::Integer((*value).into())),
            Cell::Integer(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Cell::Real(number) => ToSqlOutput::Owned(Value::Real(*number)),
            Cell::Decimal(text) | Cell::Text(text) | Cell::Json(text) => {
                ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
            }
            Cell::TextBytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Text(bytes)),
            Cell::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}
