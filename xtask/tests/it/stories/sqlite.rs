//! Restores into a SQLite file in every state that a file can be in.

use std::fs;

use rusqlite::Connection;

use crate::encryption::{Pair, adopt};
use crate::project::{Project, sqlite_rows};
use crate::setup::{Case, database_digests, says, text};

const CREATE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
                      INSERT INTO t VALUES (1, 'one'), (2, 'two');";
const ROWS: &str = "SELECT * FROM t ORDER BY id;";
const EXPECTED: [&str; 2] = ["1|one", "2|two"];

/// A case whose backup `latest` holds [`EXPECTED`].
fn backed_up(pragmas: &str) -> Case {
    let case = Case::sqlite();
    case.query(&format!("{pragmas} {CREATE}"));
    case.backup();
    case
}

fn connect(case: &Case) -> Connection {
    Connection::open(case.project.sqlite_path()).expect("open the database")
}

#[test]
fn a_missing_file_is_made_again() {
    let case = backed_up("");
    fs::remove_file(case.project.sqlite_path()).expect("lose the database");
    let restored = case.restore("latest");
    assert!(restored["safety_backup"].is_null(), "{restored:#}");
    assert_eq!(case.query(ROWS), EXPECTED);
}

/// The file was named and is missing: a restore is what brings it back.
#[test]
fn a_missing_file_elsewhere_is_made_again() {
    let case = Case::sqlite();
    let folder = case.project.path().join("data");
    fs::create_dir(&folder).expect("create a folder");
    let connection = Connection::open(folder.join("shop.db")).expect("create a database");
    connection.execute_batch(CREATE).expect("fill the database");
    drop(connection);
    let url = ["--database-url", "sqlite://data/shop.db"];
    let run = |arguments: &[&str]| case.project.run([&["db"][..], arguments, &url].concat());
    run(&["backup"]).expect_code(0);
    fs::remove_dir_all(&folder).expect("lose the folder");
    run(&["restore", "latest", "--yes"]).expect_code(0);
    let connection = Connection::open(folder.join("shop.db")).expect("open the database");
    assert_eq!(sqlite_rows(&connection, ROWS).expect("read"), EXPECTED);
}

/// What cannot be read cannot be backed up first, and is not thrown away.
#[test]
fn a_destroyed_file_is_kept_beside_and_the_same_command_restores() {
    for consent in ["--yes", "--force"] {
        let case = backed_up("");
        let id = text(&case.project.json(["db", "list"]), "/backups/0/manifest/id").to_owned();
        case.query("DELETE FROM t;");
        case.project.run(["db", "backup", "later"]).expect_code(0);
        let garbage = b"this was a database once ".repeat(1000);
        case.project.write("database/app.db", &garbage);
        let files = case.project.vault_files();
        let restored = case.project.run(["db", "restore", &id, consent, "--json"]);
        let restored = restored.expect_code(0);
        says(&restored, &["no safety backup"]);
        assert_eq!(case.query(ROWS), EXPECTED);
        assert_eq!(case.project.vault_files(), files, "no half of a backup");
        let restored = restored.json();
        assert_eq!(text(&restored, "/restored"), id);
        let kept = text(&restored, "/kept_database");
        assert!(fs::read(kept).expect("read the kept file") == garbage);
    }
}

/// All its rows can be read: no hint leads past them, and what is forced keeps them.
#[test]
fn a_broken_index_loses_no_row() {
    for mode in ["DELETE", "WAL"] {
        let case = Case::sqlite();
        case.project
            .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
        case.query(&format!(
            "PRAGMA journal_mode = {mode};
             CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE INDEX i ON t (a);
             INSERT INTO t (a) VALUES ('old');"
        ));
        let id = case.backup();
        case.query("INSERT INTO t (a) VALUES ('n1'), ('n2');");
        case.query(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_master SET sql = 'CREATE INDEX i ON t (a DESC)' WHERE name = 'i';",
        );
        let writer = connect(&case);
        for verb in [
            &["backup"][..],
            &["migrate-safe", "--yes"],
            &["restore", "latest", "--yes"],
        ] {
            let failed = case.project.run([&["db"][..], verb].concat());
            assert_ne!(failed.code, 0, "{failed}");
            let hint = failed.stderr.split_once("\nhint: ").expect("a hint").1;
            let first = hint.lines().next().unwrap_or_default();
            assert!(first.ends_with("database/app.db REINDEX"), "{failed}");
        }
        let restored = case.project.json(["db", "restore", "latest", "--force"]);
        assert_eq!(text(&restored, "/restored"), id);
        assert_eq!(case.query("SELECT a FROM t;"), ["old"]);
        let seen = sqlite_rows(&writer, "SELECT a FROM t;");
        assert_eq!(seen.expect("an open connection sees it"), ["old"]);
        let kept = text(&restored, "/kept_database");
        let beside = Connection::open(kept).expect("open the kept file");
        let rows = sqlite_rows(&beside, "REINDEX; SELECT a FROM t ORDER BY id;");
        assert_eq!(rows.expect("read"), ["old", "n1", "n2"], "{mode}");
        let undone = case.project.run(["db", "restore", "--undo", "--yes"]);
        says(&undone.expect_code(3), &["was kept as", kept]);
    }
}

#[test]
fn a_file_with_a_broken_page_needs_force() {
    for mode in ["DELETE", "WAL"] {
        restored_over_a_broken_page(Case::sqlite(), mode);
        // Encrypted, the safety backup that cannot be taken reads the live file itself.
        let project = adopt(Project::new(), &Pair::new());
        let server = None;
        restored_over_a_broken_page(Case { project, server }, mode);
    }
}

/// The schema can be read and a table cannot: it is damaged all the same.
fn restored_over_a_broken_page(case: Case, mode: &str) {
    case.query(&format!("PRAGMA journal_mode = {mode};"));
    case.query("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);");
    case.query(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 200)
         INSERT INTO t SELECT n, hex(randomblob(500)) FROM number;",
    );
    let before = case.query("SELECT count(*), sum(id) FROM t;");
    case.backup();
    let mut bytes = fs::read(case.project.sqlite_path()).expect("read the database");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xA5);
    case.project.write("database/app.db", &bytes);

    let refused = case.project.run(["db", "restore", "latest", "--yes"]);
    let refused = refused.expect_code(3);
    says(&refused, &["--force"]);
    assert!(fs::read(case.project.sqlite_path()).expect("read") == bytes);
    says(&refused, &[".recover | sqlite3"]);
    let restored = case.project.json(["db", "restore", "latest", "--force"]);
    assert_eq!(case.query("PRAGMA integrity_check;"), ["ok"]);
    assert_eq!(case.query("SELECT count(*), sum(id) FROM t;"), before);
    // Page by page, but for the counters in its first page.
    let kept = fs::read(text(&restored, "/kept_database")).expect("read the kept file");
    assert_eq!(kept.len(), bytes.len());
    assert!(kept[100..] == bytes[100..], "{mode}");
}

/// A reader in the middle of a transaction keeps its moment, then sees the restored data; and the
/// file is in WAL mode still, although the backup is from before it was.
#[test]
fn a_reader_in_wal_mode_is_not_disturbed() {
    let case = backed_up("");
    case.query("PRAGMA journal_mode = WAL;");
    let reader = connect(&case);
    let read = |sql: &str| sqlite_rows(&reader, sql).expect("read through the open connection");
    read("DELETE FROM t WHERE id = 1; ALTER TABLE t ADD COLUMN more TEXT;");
    assert_eq!(read("BEGIN; SELECT * FROM t;"), ["2|two|"]);
    case.restore("latest");
    assert_eq!(read("SELECT * FROM t;"), ["2|two|"], "its own moment");
    assert_eq!(read("COMMIT; SELECT * FROM t ORDER BY id;"), EXPECTED);
    assert_eq!(read("PRAGMA journal_mode;"), ["wal"]);
    assert_eq!(case.query("PRAGMA journal_mode;"), ["wal"]);
    assert_eq!(case.query("PRAGMA integrity_check;"), ["ok"]);
}

/// The copy API cannot change the page size of a file in WAL mode by itself.
#[test]
fn another_page_size_comes_back() {
    for mode in ["DELETE", "WAL"] {
        let case = backed_up("PRAGMA page_size = 1024;");
        case.query("PRAGMA page_size = 8192; VACUUM; DELETE FROM t;");
        case.query(&format!("PRAGMA journal_mode = {mode};"));
        assert_eq!(case.query("PRAGMA page_size;"), ["8192"]);
        case.restore("latest");
        assert_eq!(case.query("PRAGMA page_size;"), ["1024"], "{mode}");
        assert_eq!(case.query(ROWS), EXPECTED, "{mode}");
        assert_eq!(case.query("PRAGMA integrity_check;"), ["ok"]);
    }
}

#[test]
fn a_read_only_url_is_refused() {
    let case = backed_up("");
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    let before = database_digests(&case.project.sqlite_path());
    for verb in [&["restore", "latest"][..], &["migrate-safe"]] {
        let url = [
            "--yes",
            "--database-url",
            "sqlite://database/app.db?mode=ro",
        ];
        let refused = case.project.run([&["db"][..], verb, &url].concat());
        says(&refused.expect_code(3), &["read-only"]);
    }
    assert_eq!(database_digests(&case.project.sqlite_path()), before);
}
