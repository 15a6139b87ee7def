//! Rows of a file into the tables of a SQLite file: one transaction of a connection on which no
//! trigger fires and no foreign key acts; the rows are read back and matched with the file, and
//! the keys checked, before it is committed.

use anyhow::{Context, Result, ensure};
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, params_from_iter};

use super::inspect::{self, quoted};
use super::{Sqlite, export, hold, keys, search, watch};
use crate::engine::Restored;
use crate::engine::portable::{self, Source};
use crate::interrupt::Interrupt;
use crate::values::failure::Failure;
use crate::values::others::Others;
use crate::values::portable::cell::{Cell, Kind};
use crate::values::portable::fit::{Landed, Landing, Mode};
use crate::values::portable::head::Head;
use crate::values::portable::tally::Tally;
use crate::values::portable::{Sink, number};
use crate::values::progress::Progress;
use crate::values::words::on_one_line;

/// As SQLite wants kibibytes: below zero.
const CACHE_KIB: i64 = -16 * 1024;

pub fn import(
    sqlite: &mut Sqlite,
    landing: &Landing,
    source: Source,
    progress: &dyn Progress,
) -> Result<Restored> {
    sqlite.require_file()?;
    let connection = open(sqlite)?;
    inspect::patiently(sqlite.interrupt(), || {
        Ok(connection.execute_batch("BEGIN IMMEDIATE")?)
    })?;
    // Nobody else can write from here on.
    if landing.mode == Mode::Replace {
        let mut watching = sqlite.watch.take().context("nobody has watched the file")?;
        let others = watching.others(sqlite);
        sqlite.watch = Some(watching);
        if !matches!(others?, Others::Silent) {
            let again = "nothing was changed; run the command again when nobody else writes";
            return Err(watch::written().hint(again).into());
        }
    }
    let interrupt = sqlite.interrupt().clone();
    let filled = inspect::interruptibly(&connection, &interrupt, |connection| {
        let scene = Scene {
            connection,
            landing,
            interrupt: &interrupt,
            progress,
        };
        scene.fill(source)
    });
    let committed = filled.and_then(|warnings| {
        inspect::patiently(&interrupt, || Ok(connection.execute_batch("COMMIT")?))?;
        Ok(warnings)
    });
    if committed.is_err() && !connection.is_autocommit() {
        // A connection that is closed rolls back as well.
        let _ = connection.execute_batch("ROLLBACK");
    }
    Ok(Restored {
        kept: None,
        warnings: committed?,
    })
}

fn open(sqlite: &Sqlite) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let context = || format!("cannot open the database `{}`", sqlite.path.display());
    let connection = Connection::open_with_flags(&sqlite.path, flags).with_context(context)?;
    connection.busy_handler(Some(hold::ask_often))?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    // A CHECK that the file was made with in other times is one that its rows must hold.
    connection.pragma_update(None, "ignore_check_constraints", false)?;
    let fires = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    ensure!(!fires, "triggers cannot be kept from firing");
    Ok(connection)
}

/// In the transaction.
struct Scene<'a> {
    connection: &'a Connection,
    landing: &'a Landing,
    interrupt: &'a Interrupt,
    progress: &'a dyn Progress,
}

impl Scene<'_> {
    /// All but the COMMIT; returns what is to be said.
    fn fill(&self, source: Source) -> Result<Vec<String>> {
        let (connection, landing) = (self.connection, self.landing);
        let mut rows = |table: &Landed, row: &mut dyn FnMut(&[Cell])| self.rows(table, row);
        for table in landing.wanted() {
            portable::require_rows(table, count(connection, table)?)?;
        }
        let earlier = match landing.mode {
            Mode::Append => portable::tallies(landing, self.progress, &mut rows)?,
            Mode::IntoEmpty | Mode::Replace => Vec::new(),
        };
        let mut broken = keys::broken(connection, landing)?;
        if landing.mode == Mode::Replace {
            // Rows that go away are no excuse for those that come.
            broken.retain(|(table, _), _| !landing.has("main", table));
            for table in landing.wanted() {
                let delete = format!("DELETE FROM main.{}", quoted(&table.name));
                let deleted = connection.execute(&delete, []);
                deleted.with_context(|| format!("cannot delete the rows of `{}`", table.title))?;
            }
        }
        let mut loader = Loader::new(connection, landing);
        source(&mut loader)?;
        let given = loader.finish();
        advance_numbers(connection, landing)?;
        let found = portable::tallies(landing, self.progress, &mut rows)?;
        let all = (&earlier[..], &given[..], &found[..]);
        portable::require_same(landing, all, &mut rows, source)?;
        keys::require(&broken, &keys::broken(connection, landing)?)?;
        let mut warnings = self.silent_triggers()?;
        warnings.extend(search::stale(connection, landing)?);
        Ok(warnings)
    }

    fn rows(&self, table: &Landed, row: &mut dyn FnMut(&[Cell])) -> Result<()> {
        let columns: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
        let mut each = |cells: &[Cell]| {
            row(cells);
            Ok(())
        };
        export::rows(
            self.connection,
            &table.name,
            &columns,
            self.interrupt,
            &mut each,
        )
    }

    fn silent_triggers(&self) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE",
        )?;
        let mut warnings = Vec::new();
        for table in self.landing.wanted() {
            let triggers: i64 = statement
                .query_row([&table.name], |row| row.get(0))
                .context("cannot look for triggers")?;
            if triggers > 0 {
                warnings.push(portable::silent_triggers(&table.title));
            }
        }
        Ok(warnings)
    }
}

fn count(connection: &Connection, table: &Landed) -> rusqlite::Result<u64> {
    let count = format!("SELECT count(*) FROM main.{}", quoted(&table.name));
    let rows: i64 = connection.query_row(&count, [], |row| row.get(0))?;
    Ok(rows.unsigned_abs())
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
    head: Option<Head>,
    at: Option<(&'a Landed, Statement<'a>)>,
    /// By the tables of the head.
    given: Vec<Tally>,
    index: usize,
}

impl<'a> Loader<'a> {
    fn new(connection: &'a Connection, landing: &'a Landing) -> Loader<'a> {
        Loader {
            connection,
            landing,
            head: None,
            at: None,
            given: landing.tables.iter().map(|_| Tally::default()).collect(),
            index: 0,
        }
    }

    /// What was given to each table that was wanted.
    fn finish(self) -> Vec<Tally> {
        let both = self.given.into_iter().zip(&self.landing.tables);
        both.filter_map(|(tally, table)| Some(table.as_ref()?.given(tally)))
            .collect()
    }

    fn place(&self, line: u64) -> String {
        let table = (self.head.as_ref()).and_then(|head| head.tables.get(self.index));
        table.map_or_else(|| format!("line {line}"), |table| table.place(line))
    }
}

impl Sink for Loader<'_> {
    fn head(&mut self, head: &Head) -> Result<()> {
        self.head = Some(head.clone());
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
        let place = |loader: &Loader, what: String| {
            Failure::refused(format!("{}: {what}", loader.place(line)))
                .hint("mend that line, or the table; nothing was changed")
        };
        let (table, statement) = self.at.as_mut().context("a row of no table")?;
        let table = *table;
        let mut columns = cells.iter().zip(&table.columns);
        if let Some((cell, column)) = columns.find(|(cell, column)| has_no_place(cell, column.kind))
        {
            let name = on_one_line(&column.name);
            let what = format!(
                "column `{name}` of `{}`: SQLite has no {}",
                table.title,
                named(cell)
            );
            return Err(place(self, what).into());
        }
        if let Err(error) = statement.execute(params_from_iter(cells.iter().map(Bound))) {
            let is_of_row = is_of_row(&error);
            let error = anyhow::Error::new(error);
            let title = &table.title;
            return Err(match is_of_row {
                true => error.context(place(
                    self,
                    format!("the table `{title}` does not take the row"),
                )),
                false => error.context(format!("cannot write rows into `{title}`")),
            });
        }
        if let Some(tally) = self.given.get_mut(self.index) {
            table.give(tally, cells);
        }
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        self.at = None;
        Ok(())
    }
}

/// It would become NULL, or text in a column of numbers.
fn has_no_place(cell: &Cell, kind: Kind) -> bool {
    match cell {
        Cell::Real(number) => number.is_nan(),
        Cell::Decimal(digits) => kind != Kind::Text && !number::is_number(digits),
        _ => false,
    }
}

fn named(cell: &Cell) -> &str {
    match cell {
        Cell::Decimal(name) => name,
        _ => "NaN",
    }
}

/// Whether it is the row's fault, and not the disk's or another writer's.
fn is_of_row(error: &rusqlite::Error) -> bool {
    use ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    let code = error.sqlite_error_code();
    matches!(code, Some(ConstraintViolation | TooBig | TypeMismatch))
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
