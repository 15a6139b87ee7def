//! The contracts on SQLite.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};
use sha2::{Digest, Sha256};

use super::state::{ROWS_OF, State};
use super::{Subject, contract_tests, schema_tests};
use crate::project::{Project, shared_data, sqlite_rows};

/// The default database of a project.
pub(super) struct Sqlite {
    project: Project,
}

contract_tests!(Sqlite:
    an_empty_database_is_one_again
    a_restore_under_a_writer_holds
    a_migration_applies_again_after_the_restore
    looking_writes_nothing
    a_flipped_bit_is_refused
);

schema_tests!(Sqlite, "sqlite": tables search references pages blobs odd_names);

const CHINOOK_CHANGE: &str = "
    DROP TABLE PlaylistTrack;
    UPDATE Track SET UnitPrice = UnitPrice * 2, Name = upper(Name);
    DELETE FROM InvoiceLine WHERE InvoiceId % 2 = 0;
    ALTER TABLE Artist ADD COLUMN Country TEXT NOT NULL DEFAULT 'unknown';
    INSERT INTO Artist (Name) VALUES ('New');
    CREATE TABLE Rating (TrackId INTEGER REFERENCES Track (TrackId), Stars INTEGER);
    CREATE VIEW Best AS SELECT Name FROM Track JOIN Rating USING (TrackId);
";

#[test]
fn chinook() {
    let subject = Sqlite::new();
    if let Some(store) = shared_data("chinook/chinook.sqlite") {
        let bytes = fs::read(store).expect("read chinook");
        fs::write(subject.project.sqlite_path(), bytes).expect("copy chinook");
    }
    super::chinook_survives(&subject, CHINOOK_CHANGE);
}

#[test]
fn a_dump_restores_without_this_tool() {
    super::a_dump_restores_without_this_tool(&Sqlite::new(), include_str!("sqlite/tables.sql"));
}

/// A connection that was open all the time sees the restored data, and the file stays in WAL mode.
#[test]
fn an_open_connection_sees_the_restored_data() {
    let subject = Sqlite::new();
    subject
        .query("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let open = subject.connect();
    subject.project.json(["db", "backup"]);
    let read = |sql: &str| sqlite_rows(&open, sql).expect("read through the open connection");
    read("INSERT INTO t VALUES (2); ALTER TABLE t ADD COLUMN more TEXT;");
    assert_eq!(read("SELECT * FROM t ORDER BY id"), ["1|", "2|"]);
    subject.project.json(["db", "restore", "latest", "--yes"]);
    assert_eq!(read("SELECT * FROM t ORDER BY id"), ["1"]);
    assert_eq!(read("PRAGMA journal_mode"), ["wal"]);
    read("INSERT INTO t VALUES (3);");
    assert_eq!(subject.query("SELECT id FROM t ORDER BY id"), ["1", "3"]);
}

impl Sqlite {
    fn new() -> Self {
        Self {
            project: Project::new(),
        }
    }

    fn connect(&self) -> Connection {
        open(&self.project.sqlite_path())
    }
}

impl Subject for Sqlite {
    const ENGINE: &'static str = "sqlite";

    /// The store is a file that is there before the contract starts, so there is nothing to run.
    fn chinook() -> Option<String> {
        shared_data("chinook/chinook.sqlite").map(|_| String::new())
    }

    fn start() -> Option<Self> {
        Some(Self::new())
    }

    fn project(&self) -> &Project {
        &self.project
    }

    fn query(&self, sql: &str) -> Vec<String> {
        sqlite_rows(&self.connect(), sql).unwrap_or_else(|error| panic!("{error} in {sql}"))
    }

    fn state(&self) -> State {
        state_of(&self.connect()).expect("read the whole database")
    }

    fn writer(&self) -> impl Sized + 'static {
        Writer::start(self.connect())
    }

    fn state_by_hand(&self, dump: &Path) -> State {
        let file = self.project.path().join("by-hand.db");
        let output = File::create(&file).expect("create a file");
        let mut zstd = super::postgres::zstd_child(dump, Stdio::from(output));
        assert!(zstd.wait().expect("wait for zstd").success());
        state_of(&open(&file)).expect("read the whole file")
    }
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("open the database");
    let patience = Duration::from_secs(30);
    connection.busy_timeout(patience).expect("set the time-out");
    connection
}

/// Settings of the file's header, the schema as it was written, and every table's rows.
fn state_of(connection: &Connection) -> rusqlite::Result<State> {
    let mut state = State::default();
    let pragmas = [
        "user_version",
        "application_id",
        "encoding",
        "page_size",
        "auto_vacuum",
        "journal_mode",
        "integrity_check",
        "foreign_key_check",
    ];
    for pragma in pragmas {
        for line in sqlite_rows(connection, &format!("PRAGMA {pragma}"))? {
            state.push("database", format!("{pragma}|{line}"));
        }
    }
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema";
    for line in sqlite_rows(connection, schema)? {
        state.push("schema", line);
    }
    let tables = "SELECT name FROM sqlite_schema
                  WHERE type = 'table' AND name NOT IN ('writer_left', 'writer_right')";
    for table in sqlite_rows(connection, tables)? {
        push_rows(&mut state, connection, &table)?;
    }
    Ok(state.sorted())
}

fn push_rows(state: &mut State, connection: &Connection, table: &str) -> rusqlite::Result<()> {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    // 1 is what a virtual table hides: its own name and such.
    let columns = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY name";
    let columns: Vec<String> = connection
        .prepare(columns)?
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let list: Vec<String> = columns.iter().map(|name| quote(name)).collect();
    let sql = format!("SELECT {} FROM {}", list.join(", "), quote(table));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut line = String::new();
        for (index, column) in columns.iter().enumerate() {
            line += &format!("{column}={} ", exact(row.get_ref(index)?));
        }
        state.push(format!("{ROWS_OF}{table}"), line);
    }
    Ok(())
}

/// The value with its type, bit by bit; what is long as its digest.
fn exact(value: ValueRef<'_>) -> String {
    const LONG: usize = 200;
    let digest = |bytes: &[u8]| {
        let sum: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{} bytes {sum}", bytes.len())
    };
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => format!("i{number}"),
        ValueRef::Real(number) => format!("r{number:?}"),
        ValueRef::Text(text) if text.len() > LONG => format!("t{}", digest(text)),
        ValueRef::Text(text) => format!("t{:?}", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => format!("b{}", digest(bytes)),
    }
}

/// One connection that stays open through everything that the tool does.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(connection: Connection) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                write_once(&connection);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("dropped once").join();
        if !std::thread::panicking() {
            ended.expect("the writer's thread");
        }
    }
}

fn write_once(connection: &Connection) {
    let result = connection.execute_batch(
        "BEGIN IMMEDIATE;
         INSERT INTO writer_left SELECT coalesce(max(id), 0) + 1 FROM writer_left;
         INSERT INTO writer_right SELECT max(id) FROM writer_left;
         COMMIT;",
    );
    let Err(error) = result else {
        return;
    };
    // Waiting for its turn is what an application does; any other error is one that it would see.
    let busy = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    );
    assert!(busy, "the writer is broken: {error}");
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").expect("roll back");
    }
}
