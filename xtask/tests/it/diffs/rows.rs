//! The rows of one table that differ, by key.

use serde_json::json;

use super::{backup, diff, screen};
use crate::fingerprints::chinook;
use crate::setup::{Case, says, text};

/// What stdout says after the lines that say what A and B are.
#[track_caller]
fn lines(case: &Case, names: &[&str]) -> Vec<String> {
    let output = screen(case, names);
    let lines = output.stdout.lines().skip(2);
    lines.map(str::to_owned).collect()
}

/// No scratch database is left, and nothing in the vault but backups.
#[track_caller]
fn assert_nothing_left(case: &Case) {
    if let Some(database) = &case.server {
        let left = format!(
            "SELECT datname FROM pg_database WHERE datname LIKE '{}\\_%';",
            database.name()
        );
        assert_eq!(database.psql(&left), "");
    }
    let files = case.project.vault_files();
    assert!(files.iter().all(|name| !name.starts_with('.')), "{files:?}");
}

#[test]
fn rows_are_matched_by_their_key() {
    for case in Case::each("rows") {
        case.query(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, note TEXT);
             INSERT INTO t VALUES (1, 'one', NULL), (2, 'two', ''), (3, 'it''s', 'NULL'),
               (10, 'ten', 'x'), (11, 'same', NULL);",
        );
        let before = backup(&case, &[]);
        case.query(
            "DELETE FROM t WHERE id = 1;
             UPDATE t SET note = NULL WHERE id IN (2, 3);
             UPDATE t SET name = 'Ten', note = 'y' WHERE id = 10;
             INSERT INTO t VALUES (-4, 'new', NULL), (9, 'q', '');",
        );
        let expected = [
            "+ -4: name = 'new', note = NULL",
            "- 1: name = 'one', note = NULL",
            "~ 2: note: '' → NULL",
            "~ 3: note: 'NULL' → NULL",
            "+ 9: name = 'q', note = ''",
            "~ 10: name: 'ten' → 'Ten'; note: 'x' → 'y'",
            "t: 1 only in A, 2 only in B, 3 changed",
        ];
        assert_eq!(lines(&case, &[&before, "--rows", "t"]), expected);
        assert_nothing_left(&case);
        // Between two backups, and the other way round; a limit counts the rest.
        let after = backup(&case, &[]);
        let found = lines(&case, &[&after, &before, "--rows", "t", "--limit", "2"]);
        let expected = [
            "- -4: name = 'new', note = NULL",
            "+ 1: name = 'one', note = NULL",
            "and 4 rows more",
            "t: 2 only in A, 1 only in B, 3 changed",
        ];
        assert_eq!(found, expected);
        assert_nothing_left(&case);
        let rows = &diff(&case, &[&before, &after, "--rows", "t"])["rows"];
        assert_eq!(
            (&rows["removed"], &rows["added"], &rows["changed"]),
            (&json!(1), &json!(2), &json!(3))
        );
        assert_eq!(
            (&rows["key"], &rows["by_primary_key"]),
            (&json!(["id"]), &json!(true))
        );
        assert_eq!(
            rows["changes"][2],
            json!({"change": "changed", "key": ["2"], "columns": [{"column": "note", "a": "''", "b": "NULL"}]})
        );
        assert_eq!(
            lines(&case, &[&after, "--rows", "t"]),
            ["nothing differs in the rows of t"]
        );
    }
}

/// Names that need quoting, keys of several columns, bytes, and texts that collations order otherwise.
#[test]
fn odd_names_composite_keys_and_bytes() {
    for case in Case::each("rows_odd") {
        let (bytes, one) = match case.server {
            None => ("BLOB", "x'00ff'"),
            Some(_) => ("BYTEA", "'\\x00ff'"),
        };
        case.query(&format!(
            "CREATE TABLE \"odd \"\" table\" (\"a b\" TEXT, number BIGINT, \"xtask_row\" {bytes},
               PRIMARY KEY (number, \"a b\"));
             INSERT INTO \"odd \"\" table\" VALUES ('b', 1, {one}), ('B', 1, NULL), ('ä', 1, NULL),
               ('_', 1, NULL), ('a', 2, NULL), ('Z', 10, NULL);"
        ));
        let before = backup(&case, &[]);
        case.query(
            "UPDATE \"odd \"\" table\" SET xtask_row = NULL WHERE \"a b\" = 'b';
             DELETE FROM \"odd \"\" table\" WHERE \"a b\" IN ('ä', 'Z');",
        );
        assert_eq!(
            lines(&case, &[&before, "--rows", "odd \" table"]),
            [
                "~ (1, 'b'): xtask_row: x'00ff' → NULL",
                "- (1, 'ä'): xtask_row = NULL",
                "- (10, 'Z'): xtask_row = NULL",
                "odd \" table: 2 only in A, 0 only in B, 1 changed",
            ]
        );
    }
}

/// As often as a row is there; NULL among them.
#[test]
fn without_a_primary_key_rows_are_counted() {
    for case in Case::each("rows_no_key") {
        case.query(
            "CREATE TABLE t (name TEXT, number BIGINT);
             INSERT INTO t VALUES ('x', 1), ('x', 1), (NULL, 2), (NULL, NULL), ('y', 3);",
        );
        let before = backup(&case, &[]);
        case.query("DELETE FROM t; INSERT INTO t VALUES (NULL, NULL), ('x', 1), ('y', 4), (NULL, 2), (NULL, 2);");
        assert_eq!(
            lines(&case, &[&before, "--rows", "t"]),
            [
                "+ (NULL, 2)",
                "- ('x', 1)",
                "- ('y', 3)",
                "+ ('y', 4)",
                "t: 2 only in A, 2 only in B, 0 changed",
            ]
        );
        says(
            &screen(&case, &[&before, "--rows", "t"]),
            &["without a primary key in both"],
        );
    }
}

/// More rows than are held at once, on both sides, in the order of a text key.
#[test]
fn many_rows_are_walked_along() {
    for case in Case::each("rows_many") {
        case.query(
            "CREATE TABLE t (name TEXT PRIMARY KEY, number BIGINT);
             INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
               SELECT 'n' || i, i FROM n;",
        );
        let before = backup(&case, &[]);
        case.query(
            "DELETE FROM t WHERE number % 1000 = 7; UPDATE t SET number = -number WHERE number % 1000 = 8;
             INSERT INTO t VALUES ('n0', 0), ('zz', 0);",
        );
        let rows = &diff(&case, &[&before, "--rows", "t"])["rows"];
        let counts = ["removed", "added", "changed"].map(|count| rows[count].as_u64());
        assert_eq!(counts, [Some(5), Some(2), Some(5)]);
        let keys: Vec<&str> = (rows["changes"].as_array().expect("a list").iter())
            .map(|change| text(change, "/key/0"))
            .collect();
        assert!(keys.is_sorted(), "{keys:?}");
    }
}

#[test]
fn one_row_of_a_music_store() {
    for case in chinook("rows_store") {
        let id = backup(&case, &[]);
        let (table, sql) = match case.server {
            None => (
                "Track",
                "UPDATE Track SET UnitPrice = 1.5 WHERE TrackId = 77;",
            ),
            Some(_) => (
                "track",
                "UPDATE track SET unit_price = 1.5 WHERE track_id = 77;",
            ),
        };
        case.query(sql);
        let found = lines(&case, &[&id, "--rows", table]);
        assert!(
            found[0].starts_with("~ 77: ") && found[0].contains("0.99 → 1.5"),
            "{found:?}"
        );
        assert_eq!(
            found[1],
            format!("{table}: 0 only in A, 0 only in B, 1 changed")
        );
        assert_nothing_left(&case);
    }
}

/// Columns that only one of them has are left to the other report.
#[test]
fn what_both_have_is_compared_and_what_cannot_be_is_refused() {
    for case in Case::each("rows_refused") {
        case.query(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a');
             CREATE TABLE loose (a TEXT); CREATE TABLE gone (a TEXT);",
        );
        let before = backup(&case, &[]);
        case.query(
            "ALTER TABLE t ADD COLUMN more TEXT; UPDATE t SET name = 'b', more = 'c';
             ALTER TABLE loose ADD COLUMN b TEXT; DROP TABLE gone;",
        );
        assert_eq!(
            lines(&case, &[&before, "--rows", "t"]),
            [
                "~ 1: name: 'a' → 'b'",
                "t: 0 only in A, 0 only in B, 1 changed"
            ]
        );
        let refused = |table: &str, code: i32, part: &str| {
            let output = case.project.run(["db", "diff", &before, "--rows", table]);
            says(&output.expect_code(code), &[part]);
            assert_nothing_left(&case);
        };
        refused("loose", 3, "have no common primary key");
        refused("gone", 2, "B has no table `gone`");
        refused("never", 2, "neither A nor B has a table `never`");
    }
}

/// SQLite takes any bytes for text: two that cannot be shown are still two.
#[test]
fn broken_texts_differ() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, CAST(x'ff41' AS TEXT));");
    let before = backup(&case, &[]);
    case.query("UPDATE t SET name = CAST(x'fe41' AS TEXT);");
    let expected = [
        "~ 1: name: CAST(x'ff41' AS TEXT) → CAST(x'fe41' AS TEXT)",
        "t: 0 only in A, 0 only in B, 1 changed",
    ];
    assert_eq!(lines(&case, &[&before, "--rows", "t"]), expected);
}
