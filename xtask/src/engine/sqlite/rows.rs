//! The rows of one table in the order of a key, a few at a time: read by a thread of their own,
//! because a statement cannot outlive the borrow of its connection.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::Sqlite;
use super::inspect::{self, quoted};
use crate::engine::Readable;
use crate::interrupt::Interrupt;
use crate::values::rows::{Order, Rows, Shape, Value};

/// So many rows wait to be taken.
const WAITING_ROWS: usize = 200;
/// Bytewise, whatever collation a column has and the encoding of the file is.
const COLLATION: &str = "xtask_bytes";

/// `None` is the last thing that comes: a thread that hangs up before has failed.
type Message = Result<Option<Vec<Value>>>;

pub struct SqliteRows(Receiver<Message>);

pub fn shape(sqlite: &Sqlite, table: &str) -> Result<Shape> {
    sqlite.read(|connection| {
        // Generated columns are made of the others.
        let mut statement = connection
            .prepare("SELECT name, pk FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid")?;
        let columns = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let columns = columns.collect::<Result<Vec<(String, i64)>, _>>()?;
        let mut key: Vec<_> = columns.iter().filter(|(_, place)| *place > 0).collect();
        key.sort_by_key(|(_, place)| *place);
        Ok(Shape {
            key: key.into_iter().map(|(name, _)| name.clone()).collect(),
            columns: (columns.iter())
                .map(|(name, _)| (name.clone(), Order::AnyType))
                .collect(),
        })
    })
}

pub fn rows(sqlite: &Sqlite, table: &str, names: &[String], keys: usize) -> Result<SqliteRows> {
    sqlite.require_file()?;
    let columns: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let order = columns[..keys].iter();
    let order: Vec<String> = order
        .map(|name| format!("{name} COLLATE {COLLATION}"))
        .collect();
    let question = format!(
        "SELECT {} FROM main.{} ORDER BY {}",
        columns.join(", "),
        quoted(table),
        order.join(", ")
    );
    let (sender, receiver) = sync_channel(WAITING_ROWS);
    let (path, interrupt) = (sqlite.path.clone(), sqlite.interrupt().clone());
    std::thread::spawn(move || {
        if let Err(error) = read(&path, &question, &interrupt, &sender) {
            // Nobody waits for it when the receiver is gone.
            let _ = sender.send(Err(error));
        }
    });
    Ok(SqliteRows(receiver))
}

fn read(
    path: &Path,
    question: &str,
    interrupt: &Interrupt,
    sender: &SyncSender<Message>,
) -> Result<()> {
    let connection = inspect::open_to_read(path, Ok(()))?.context("there is no database")?;
    connection.create_collation(COLLATION, str::cmp)?;
    inspect::patiently(interrupt, || {
        if connection.is_autocommit() {
            connection.execute_batch("BEGIN")?;
        }
        Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?)
    })?;
    inspect::interruptibly(&connection, interrupt, |connection| {
        send(connection, question, sender)
    })
}

fn send(connection: &Connection, question: &str, sender: &SyncSender<Message>) -> Result<()> {
    let mut statement = connection
        .prepare(question)
        .context("cannot read the rows")?;
    let count = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next().context("cannot read the rows")? {
        let values = (0..count).map(|column| Ok(value(row.get_ref(column)?)));
        let values = values.collect::<rusqlite::Result<Vec<Value>>>()?;
        if sender.send(Ok(Some(values))).is_err() {
            return Ok(());
        }
    }
    // Nobody waits for it when the receiver is gone.
    let _ = sender.send(Ok(None));
    Ok(())
}

fn value(value: ValueRef) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => match str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::BrokenText(text.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl Rows for SqliteRows {
    fn next(&mut self) -> Result<Option<Vec<Value>>> {
        self.0.recv().context("the rows end too early")?
    }
}

impl Readable for Sqlite {
    fn shape(&mut self, table: &(String, String)) -> Result<Shape> {
        shape(self, &table.1)
    }

    fn rows(
        &mut self,
        table: &(String, String),
        columns: &[String],
        keys: usize,
    ) -> Result<Box<dyn Rows>> {
        Ok(Box::new(rows(self, &table.1, columns, keys)?))
    }
}
