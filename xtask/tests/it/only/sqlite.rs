//! The same for SQLite, where a schema is a file that is attached.

use super::only;
use crate::exec;
use crate::project::sqlite_rows;
use crate::setup::{Case, hinted_command, says};

const NOTES: &str = "CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT); \
         CREATE TABLE \"Odd \"\"one\"\".🦀\" (id INTEGER PRIMARY KEY AUTOINCREMENT, author INTEGER REFERENCES authors, \
           any, twice AS (id * 2) STORED, CHECK (id > 0)); \
         CREATE INDEX odd_any ON \"Odd \"\"one\"\".🦀\" (any) WHERE any IS NOT NULL; \
         CREATE TRIGGER noisy AFTER DELETE ON \"Odd \"\"one\"\".🦀\" BEGIN SELECT 1; END; \
         CREATE TABLE plain (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID; \
         CREATE VIEW seen AS SELECT * FROM authors; CREATE VIRTUAL TABLE words USING fts5(x); \
         INSERT INTO authors VALUES (1, 'Ada'); \
         INSERT INTO \"Odd \"\"one\"\".🦀\" (author, any) VALUES (1, 1.5), (1, x'00ff'), (NULL, 'x'); \
         DELETE FROM \"Odd \"\"one\"\".🦀\" WHERE id = 3; INSERT INTO plain VALUES ('k', x'01');";

#[test]
fn sqlite_tables_come_into_another_file_which_can_be_attached() {
    let case = Case::sqlite();
    case.query(NOTES);
    case.project.json(["db", "backup", "--fingerprint"]);
    case.query("DELETE FROM plain; DROP TABLE \"Odd \"\"one\"\".🦀\";");
    let before = crate::setup::database_digests(&case.project.sqlite_path());

    // The hint for `--into-schema` can be pasted.
    let refused = only(&case, "plain", &["--into-schema", "rescued", "--yes"]).expect_code(3);
    says(
        &refused,
        &["SQLite has no schemas", "ATTACH 'rescued.db' AS rescued"],
    );
    let mut pasted = hinted_command(&refused);
    let last = pasted
        .iter()
        .position(|word| word.ends_with(';'))
        .expect("the command's end");
    pasted.truncate(last + 1);
    pasted[last] = pasted[last].trim_end_matches(';').to_owned();
    pasted.push("--yes".into());
    case.project.run(pasted).expect_code(0);

    let names = "'Odd', \"Odd \"\"one\"\".🦀\"";
    only(&case, names, &["--into", "sqlite:rescued.db", "--yes"]).expect_code(2);
    let odd = "\"odd \"\"ONE\"\".🦀\"";
    let done = only(&case, odd, &["--into", "sqlite:rescued.db", "--yes"]).expect_code(0);
    says(
        &done,
        &["without the trigger `noisy`", "refers to `authors`"],
    );
    let rescued = rusqlite::Connection::open(case.project.path().join("rescued.db")).expect("open");
    let ask = |sql: &str| crate::project::sqlite_rows(&rescued, sql).expect("ask");
    assert_eq!(ask("SELECT k, hex(v) FROM plain;"), ["k|01"]);
    let rows = "SELECT id, author, typeof(any), twice FROM \"Odd \"\"one\"\".🦀\" ORDER BY id;";
    assert_eq!(ask(rows), ["1|1|real|2", "2|1|blob|4"]);
    assert_eq!(ask("SELECT seq FROM sqlite_sequence;"), ["3"]);
    assert_eq!(
        ask("SELECT name FROM sqlite_schema WHERE name = 'odd_any';"),
        ["odd_any"]
    );
    assert_eq!(
        crate::setup::database_digests(&case.project.sqlite_path()),
        before
    );

    let again = only(&case, "plain", &["--into", "sqlite:rescued.db", "--yes"]).expect_code(3);
    says(&again, &["has `plain` already", "--force"]);
    ask("UPDATE plain SET v = x'02';");
    only(&case, "plain", &["--into", "sqlite:rescued.db", "--force"]).expect_code(0);
    assert_eq!(ask("SELECT k, hex(v) FROM plain;"), ["k|01"]);
    for (name, what) in [
        ("seen", "is a view"),
        ("words", "is a virtual table"),
        ("plains", "--only plain"),
    ] {
        says(
            &only(&case, name, &["--into", "sqlite:new.db", "--yes"]).expect_code(3),
            &[what],
        );
    }
    assert!(!case.project.path().join("new.db").exists());
}

/// The rows keep their numbers, which views and other tables may go by.
#[test]
fn numbers_of_rows_are_kept() {
    let case = Case::sqlite();
    case.query("CREATE TABLE notes (x TEXT); INSERT INTO notes VALUES ('a'), ('b'), ('c'); DELETE FROM notes WHERE x = 'b';");
    case.backup();
    only(&case, "notes", &["--into", "sqlite:new.db", "--yes"]).expect_code(0);
    let new = rusqlite::Connection::open(case.project.path().join("new.db")).expect("open");
    let rows = sqlite_rows(&new, "SELECT rowid, x FROM notes ORDER BY 1;").expect("ask");
    assert_eq!(rows, ["1|a", "3|c"]);
}

/// A writer that was there first holds the file until the safety backup is taken.
#[test]
fn what_is_written_after_the_safety_backup_is_not_dropped_on_sqlite() {
    for late in [
        "INSERT INTO plain VALUES ('late', x'09')",
        "UPDATE plain SET v = x'09'",
    ] {
        let case = Case::sqlite();
        case.query(NOTES);
        case.backup();
        only(&case, "plain", &["--into", "sqlite:new.db", "--yes"]).expect_code(0);
        let new = rusqlite::Connection::open(case.project.path().join("new.db")).expect("open");
        new.execute_batch(&format!("BEGIN IMMEDIATE; {late};"))
            .expect("write");
        let mut command = case
            .project
            .command(["db", "restore", "latest", "--only", "plain"]);
        command.args(["--into", "sqlite:new.db", "--force"]);
        let running = exec::start(&mut command, None);
        running.wait_for_line("backed up as ");
        new.execute_batch("COMMIT").expect("commit");
        let refused = running.finish().expect_code(3);
        says(&refused, &["somebody has written to `plain`", "as it was"]);
        let rows = sqlite_rows(&new, "SELECT count(*) FROM plain WHERE v = x'09';").expect("ask");
        assert_eq!(rows, ["1"]);
    }
}

/// SQLite attaches no file whose text is in another encoding.
#[test]
fn tables_in_utf_16_come_into_a_new_file_and_into_no_other_one() {
    let case = Case::sqlite();
    case.query(
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('ünï💡');",
    );
    case.backup();
    only(&case, "t", &["--into", "sqlite:new.db", "--yes"]).expect_code(0);
    let new = rusqlite::Connection::open(case.project.path().join("new.db")).expect("open");
    let rows = sqlite_rows(&new, "PRAGMA encoding; SELECT a FROM t;").expect("ask");
    assert_eq!(rows, ["UTF-16le", "ünï💡"]);

    let old = rusqlite::Connection::open(case.project.path().join("old.db")).expect("open");
    sqlite_rows(&old, "CREATE TABLE mine (a TEXT);").expect("make");
    let refused = only(&case, "t", &["--into", "sqlite:old.db", "--yes"]).expect_code(3);
    says(
        &refused,
        &[
            "is in UTF-8, and that in the backup in UTF-16le",
            "sqlite:rescued.db",
            "as it was",
        ],
    );
    let rows = sqlite_rows(&old, "SELECT name FROM sqlite_schema;").expect("ask");
    assert_eq!(rows, ["mine"]);
}
