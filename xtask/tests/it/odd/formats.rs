//! SQLite files of every layout, files that are none, and schemas that only the application knows.

use std::fs;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::setup::{Case, says, text};

/// From each page size into each other, and back by the undo.
#[test]
fn every_page_size_comes_back_into_another() {
    let sizes = [512, 1024, 4096, 32768, 65536];
    for (size, other) in sizes.iter().zip(sizes.iter().rev()) {
        let case = Case::sqlite();
        case.query(&format!(
            "PRAGMA page_size = {size}; CREATE TABLE t (b BLOB); INSERT INTO t VALUES (zeroblob(300000));"
        ));
        case.backup();
        let mode = if *size < 4096 { "wal" } else { "delete" };
        case.query(&format!(
            "DELETE FROM t; PRAGMA page_size = {other}; VACUUM; PRAGMA journal_mode = {mode};
             CREATE TABLE late (id INTEGER);"
        ));
        let layout =
            || case.query("PRAGMA page_size; PRAGMA journal_mode; SELECT length(b) FROM t;");
        let restored = case.restore("latest");
        assert_eq!(
            layout(),
            [&size.to_string(), "delete", "300000"],
            "from {other}"
        );
        case.restore(text(&restored, "/safety_backup"));
        assert_eq!(layout(), [&other.to_string(), mode], "undone");
    }
}

#[test]
fn every_encoding_and_auto_vacuum_comes_back() {
    for (encoding, vacuum) in [("UTF-16le", 0), ("UTF-16be", 2), ("UTF-8", 1)] {
        let case = Case::sqlite();
        case.query(&format!(
            "PRAGMA encoding = '{encoding}'; PRAGMA auto_vacuum = {vacuum};
             CREATE TABLE \"täble 😀\" (a TEXT); INSERT INTO \"täble 😀\" VALUES ('wörd 😀');"
        ));
        case.backup();
        fs::remove_file(case.project.sqlite_path()).expect("lose the database");
        case.query("PRAGMA encoding = 'UTF-8'; CREATE TABLE other (a TEXT);");
        case.restore("latest");
        let found = case.query("PRAGMA encoding; PRAGMA auto_vacuum; SELECT a FROM \"täble 😀\";");
        assert_eq!(found, [encoding, &vacuum.to_string(), "wörd 😀"]);
    }
}

/// What no SQLite can read is no backup, and is left as it is.
#[test]
fn a_file_that_is_no_database_is_not_backed_up() {
    let mut encrypted: Vec<u8> = (0..8192_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut cut = b"SQLite format 3\0".to_vec();
    cut.resize(99, 0);
    encrypted[0] = 7;
    for bytes in [
        &encrypted[..],
        b"not a database, but long enough to be looked at",
        &cut,
    ] {
        let case = Case::sqlite();
        let path = case.project.sqlite_path();
        fs::write(&path, bytes).expect("write the file");
        case.project
            .write("migrations/1_a.sql", "CREATE TABLE a (id INTEGER);");
        for verb in [&["status"][..], &["backup"], &["migrate-safe", "--yes"]] {
            let output = case.project.run([&["db"], verb].concat()).expect_code(1);
            says(&output, &["is not a database", "\nhint: "]);
        }
        assert_eq!(fs::read(&path).expect("read the file"), bytes);
        assert!(
            !case
                .project
                .vault_files()
                .iter()
                .any(|file| file.ends_with(".json"))
        );
    }
}

/// No bytes are an empty database to SQLite, and so to the tool.
#[test]
fn a_database_of_no_bytes_is_an_empty_one() {
    let case = Case::sqlite();
    fs::write(case.project.sqlite_path(), "").expect("make the file");
    case.backup();
    case.query("CREATE TABLE late (id INTEGER); INSERT INTO late VALUES (1);");
    let restored = case.restore("latest");
    assert_eq!(case.query("SELECT count(*) FROM sqlite_schema;"), ["0"]);
    case.restore(text(&restored, "/safety_backup"));
    assert_eq!(case.query("SELECT id FROM late;"), ["1"]);
}

/// Collations and functions that the application brings along are not there when a backup is
/// taken: it is taken nevertheless, and the tables that need them are counted.
#[test]
fn a_schema_that_only_the_application_knows() {
    let case = Case::sqlite();
    let open = || {
        let connection = Connection::open(case.project.sqlite_path()).expect("open the database");
        let backwards = |a: &str, b: &str| b.cmp(a);
        connection
            .create_collation("mine", backwards)
            .expect("the collation");
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        let double = |context: &rusqlite::functions::Context<'_>| Ok(context.get::<i64>(0)? * 2);
        connection
            .create_scalar_function("twice", 1, flags, double)
            .expect("the function");
        connection
    };
    open()
        .execute_batch(
            "CREATE TABLE keyed (name TEXT COLLATE mine PRIMARY KEY, n INTEGER) WITHOUT ROWID;
             CREATE TABLE indexed (name TEXT COLLATE mine, n INTEGER, m AS (twice(n)), CHECK (twice(n) > 0));
             CREATE INDEX by_name ON indexed (name);
             CREATE INDEX by_twice ON indexed (twice(n)) WHERE twice(n) > 2;
             INSERT INTO keyed VALUES ('a', 1), ('b', 2), ('c', 3);
             INSERT INTO indexed (name, n) VALUES ('a', 1), ('b', 2);",
        )
        .expect("fill the database");
    let taken = case.project.json(["db", "backup"]);
    let counted = serde_json::json!([
        {"schema": "main", "name": "indexed", "rows": 2},
        {"schema": "main", "name": "keyed", "rows": 3},
    ]);
    assert_eq!(taken["backup"]["tables"], counted);
    assert_eq!(case.project.json(["db", "status"])["tables"], counted);
    open()
        .execute_batch("DELETE FROM keyed; DROP TABLE indexed;")
        .expect("change it");
    case.restore("latest");
    let connection = open();
    let checked: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("check the database");
    assert_eq!(checked, "ok");
    let first: String = connection
        .query_row("SELECT name FROM keyed ORDER BY name LIMIT 1", [], |row| {
            row.get(0)
        })
        .expect("read the database");
    assert_eq!(first, "c", "in the application's order");
}

/// A module that only the application has: its table cannot be read, and is copied.
#[test]
fn a_virtual_table_of_a_module_that_is_not_there() {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE known (id INTEGER); INSERT INTO known VALUES (1);
         PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema VALUES
             ('table', 'odd', 'odd', 0, 'CREATE VIRTUAL TABLE odd USING not_here (a, b)');",
    );
    let taken = case.project.json(["db", "backup"]);
    assert_eq!(taken["backup"]["tables"].as_array().map(Vec::len), Some(1));
    fs::remove_file(case.project.sqlite_path()).expect("lose the database");
    case.restore("latest");
    let schema = case.query("SELECT name FROM sqlite_schema ORDER BY name;");
    assert_eq!(schema, ["known", "odd"]);
}
