//! What each flag means on SQLite: SQL as text, which `sqlite3` reads.

use std::process::Command;

use super::{chinook, drilled, elsewhere, feed, id, refused, restored_into, rows, taken, unpacked};
use crate::exec;
use crate::setup::{Case, text};

/// What loses its value in a careless text.
const ODD: &str = "\
CREATE TABLE v (a, b TEXT, c REAL, d BLOB, e INTEGER, f GENERATED ALWAYS AS (e + 1)); \
INSERT INTO v VALUES \
  (NULL, '', 0.1, X'', 1), (-9223372036854775808, 'it''s', 1e308, X'00ff27', 2), \
  (9223372036854775807, 'a' || char(10) || '\\n' || char(13) || char(0) || ';--', -5e-324, X'0a', 3), \
  (1.0, 'ünï 💡', 9e999, zeroblob(3000), 4), ('1', '-- lines: 7', 0.30000000000000004, NULL, 5), \
  (-9e999, CAST(X'ff00fe' AS TEXT), 1.7976931348623157e308, X'', 6), (0.1 + 0.2, 'x', 2.2250738585072014e-308, 1, 7);
CREATE TABLE \"od\"\"d\nname\" (\"a\nb\" TEXT, \"select\" INTEGER) -- a comment; and
; INSERT INTO \"od\"\"d\nname\" VALUES ('x', 1);
CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT); INSERT INTO auto(t) VALUES ('a'), ('b'); DELETE FROM auto WHERE id = 2;
CREATE TABLE bare (t TEXT); INSERT INTO bare(rowid, t) VALUES (7, 'seven'), (70, 'seventy'); DELETE FROM bare WHERE rowid = 7;
CREATE TABLE without (a TEXT, b TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID; INSERT INTO without VALUES ('1', '2');
CREATE TABLE strict (a ANY, b INTEGER) STRICT; INSERT INTO strict VALUES ('1', 1), (1.0, 2);
CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES ('a quick fox'), ('lazy dogs');
CREATE INDEX by_b ON v (b COLLATE NOCASE) WHERE b <> ''; CREATE VIEW w AS SELECT a, b FROM v;
CREATE TRIGGER tr AFTER INSERT ON bare BEGIN INSERT INTO auto(t) VALUES (new.t); UPDATE auto SET t = ';'; END;
PRAGMA user_version = 42; PRAGMA application_id = 7;";

const LOOK: &str = "SELECT quote(a), quote(b), quote(c), quote(d), e, f FROM v ORDER BY e; \
SELECT hex(b) FROM v; SELECT \"a\nb\" FROM \"od\"\"d\nname\"; SELECT * FROM sqlite_sequence; \
SELECT rowid, t FROM bare; SELECT typeof(a), b FROM strict; SELECT rowid, body FROM words('fox'); \
SELECT type, name, sql FROM sqlite_schema WHERE sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY 1, 2; \
PRAGMA user_version; PRAGMA application_id;";

#[test]
fn every_value_comes_through_as_text() {
    let case = Case::sqlite();
    case.query(ODD);
    let manifest = taken(&case, &["--format", "plain"]);
    drilled(&case, id(&manifest)).expect_code(0);
    let (url, other) = elsewhere(&case, "copy");
    restored_into(&case, id(&manifest), &url);
    assert_eq!(other.query(LOOK), case.query(LOOK));
    // A writer finds everything as it was.
    case.query("INSERT INTO bare VALUES ('new');");
    other.query("INSERT INTO bare VALUES ('new');");
    assert_eq!(other.query(LOOK), case.query(LOOK));
}

#[test]
fn a_text_in_utf_16_stays_in_utf_16() {
    let case = Case::sqlite();
    case.query("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('ünï' || char(0) || '💡');");
    let manifest = taken(&case, &["--format", "plain"]);
    let (url, other) = elsewhere(&case, "copy");
    restored_into(&case, id(&manifest), &url);
    let look = "PRAGMA encoding; SELECT hex(CAST(a AS BLOB)) FROM t;";
    assert_eq!(other.query(look), case.query(look));
}

/// By the program that everybody has, and twice with `--clean`.
#[test]
fn sqlite3_reads_it() {
    let case = Case::sqlite();
    if !chinook(&case) {
        return;
    }
    if exec::is_missing("sqlite3") {
        return;
    }
    let manifest = taken(&case, &["--format", "plain", "--clean"]);
    let script = unpacked(&case, &manifest);
    let other = Case::sqlite();
    for _ in 0..2 {
        let mut sqlite3 = Command::new("sqlite3");
        sqlite3
            .args(["-bail", "-batch"])
            .arg(other.project.sqlite_path());
        feed(sqlite3, &script);
        for table in ["Track", "PlaylistTrack", "Invoice"] {
            let look = format!("SELECT * FROM {table}; SELECT count(*) FROM {table};");
            assert_eq!(other.query(&look), case.query(&look), "{table}");
        }
    }
    let schema = taken(&case, &["--schema-only"]);
    assert!(!unpacked(&case, &schema).contains("INSERT"));
    assert!(rows(&schema).iter().all(|(_, rows)| *rows == 0));
    drilled(&case, id(&schema)).expect_code(0);
    let data = taken(&case, &["--data-only"]);
    assert!(!unpacked(&case, &data).contains("CREATE"));
    assert!(rows(&data).contains(&("Track".into(), 3503)));
    refused(
        drilled(&case, id(&data)),
        3,
        &["no definitions", "sqlite3 -bail"],
    );
    let both = Case::sqlite();
    for manifest in [&schema, &data] {
        let mut sqlite3 = Command::new("sqlite3");
        sqlite3
            .args(["-bail", "-batch"])
            .arg(both.project.sqlite_path());
        feed(sqlite3, &unpacked(&case, manifest));
    }
    let look = "SELECT * FROM Track; SELECT * FROM PlaylistTrack;";
    assert_eq!(both.query(look), case.query(look));
}

#[test]
fn some_tables_with_their_indexes_and_triggers() {
    let case = Case::sqlite();
    case.query(ODD);
    let manifest = taken(&case, &["--table", "b*", "--table", "WORDS"]);
    let names: Vec<String> = rows(&manifest).into_iter().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"bare".into()) && names.contains(&"words_data".into()),
        "{names:?}"
    );
    assert!(!names.contains(&"v".into()), "{names:?}");
    drilled(&case, id(&manifest)).expect_code(0);
    // A view that would not work.
    let output = case.project.run(["db", "backup", "--table", "w"]);
    refused(output, 3, &["cannot be written as SQL text", "view `w`"]);
    taken(&case, &["--table", "w", "--table", "v"]);

    let manifest = taken(
        &case,
        &["--exclude-table", "words", "--exclude-table-data", "v"],
    );
    let found = rows(&manifest);
    assert!(
        found.contains(&("v".into(), 0)) && found.contains(&("auto".into(), 1)),
        "{found:?}"
    );
    assert!(
        !found.iter().any(|(name, _)| name.starts_with("words")),
        "{found:?}"
    );
    drilled(&case, id(&manifest)).expect_code(0);
    let (url, other) = elsewhere(&case, "copy");
    restored_into(&case, id(&manifest), &url);
    assert_eq!(
        other.query("SELECT count(*) FROM v; SELECT t FROM auto;"),
        ["0", "a"]
    );
    let views = "SELECT count(*) FROM sqlite_schema WHERE type = 'view';";
    assert_eq!(other.query(views), ["0"]);
}

/// A statement that was changed by somebody who can seal it is not run to its end.
#[test]
fn a_text_with_other_rows_is_refused() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one');");
    let manifest = taken(&case, &["--format", "plain"]);
    let path = case.project.vault().join(text(&manifest, "/dump/file"));
    for (from, to) in [
        ("'one'", "'two'"),
        ("INSERT INTO", "SELEC"),
        ("COMMIT;", "ROLLBACK;"),
    ] {
        let script = unpacked(&case, &manifest).replace(from, to);
        let packed = zstd::encode_all(script.as_bytes(), 3).expect("pack");
        let mut forged = manifest.clone();
        let file = case.manifest(id(&manifest));
        let mut document: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON");
        document["dump"]["sha256"] = crate::setup::sha256(&packed).into();
        document["dump"]["size_bytes"] = packed.len().into();
        std::mem::swap(&mut forged, &mut document);
        let before = (
            std::fs::read(&path).expect("read"),
            std::fs::read(&file).expect("read"),
        );
        std::fs::write(&path, &packed).expect("write");
        std::fs::write(&file, crate::setup::sealed(forged)).expect("write");
        drilled(&case, id(&manifest)).expect_code(4);
        std::fs::write(&path, before.0).expect("write");
        std::fs::write(&file, before.1).expect("write");
    }
    drilled(&case, id(&manifest)).expect_code(0);
}
