//! From one engine to the other and back, for a schema that both have.

use std::fs;

use rusqlite::Connection;

use super::{export, fingerprints, import};
use crate::cluster::Cluster;
use crate::project::shared_data;
use crate::setup::{Case, says};

/// The tables of a SQLite file in PostgreSQL's words, keys and all.
fn ddl_for_postgres(connection: &Connection) -> String {
    let rows = |sql: &str| crate::project::sqlite_rows(connection, sql).expect("read the schema");
    let mut tables = String::new();
    let mut keys = String::new();
    for table in
        rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    {
        let column = |line: &String| {
            let mut parts = line.split('|');
            let (name, declared) = (parts.next().expect("a name"), parts.next().expect("a type"));
            let not_null = if parts.next() == Some("1") {
                " NOT NULL"
            } else {
                ""
            };
            let data_type = declared
                .replace("NVARCHAR", "VARCHAR")
                .replace("DATETIME", "TIMESTAMP");
            format!("\"{name}\" {data_type}{not_null}")
        };
        let columns = rows(&format!(
            "SELECT name, type, \"notnull\" FROM pragma_table_info('{table}')"
        ));
        let columns: Vec<String> = columns.iter().map(column).collect();
        let key = rows(&format!(
            "SELECT '\"' || name || '\"' FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk"
        ));
        tables += &format!(
            "CREATE TABLE \"{table}\" ({}, PRIMARY KEY ({}));\n",
            columns.join(", "),
            key.join(", ")
        );
        keys += &rows(&format!(
            "SELECT 'ALTER TABLE \"{table}\" ADD FOREIGN KEY (\"' || \"from\" || '\") REFERENCES \"' || \
             \"table\" || '\" (\"' || \"to\" || '\");' FROM pragma_foreign_key_list('{table}')"
        ))
        .join("\n");
    }
    tables + &keys
}

#[test]
fn a_music_store_goes_to_postgres_and_back() {
    let (Some(store), Some(cluster)) = (
        shared_data("chinook/chinook.sqlite"),
        Cluster::get_or_skip(),
    ) else {
        return;
    };
    let case = Case::sqlite();
    fs::copy(store, case.project.sqlite_path()).expect("copy chinook");
    let before = fingerprints(&case);
    let there = Case::of(cluster.create_database("portable_between"));
    let connection = Connection::open(case.project.sqlite_path()).expect("open chinook");
    there.query(&ddl_for_postgres(&connection));
    drop(connection);
    for format in ["ndjson", "json", "csv"] {
        let path = export(&case, format);
        import(&there, &path, &["--replace"]).expect_code(0);
        assert_eq!(
            there.query("SELECT count(*), sum(\"UnitPrice\") FROM \"Track\";"),
            ["3503|3680.97"]
        );
        let back = export(&there, format);
        import(&case, &back, &["--replace"]).expect_code(0);
        assert_eq!(fingerprints(&case), before, "through {format}");
    }
}

/// Names as each engine has them by itself, and a table of every type that both have.
const BOTH: &str = "
CREATE TABLE Authors (Id BIGINT PRIMARY KEY, Name TEXT NOT NULL);
CREATE TABLE Books (id BIGINT PRIMARY KEY, author BIGINT REFERENCES Authors (Id), title VARCHAR(80),
  price NUMERIC(12, 2), ratio DOUBLE PRECISION, sold BOOLEAN, cover BYTES, at TIMESTAMP, doc JSONTYPE);
INSERT INTO Authors VALUES (1, 'Ada'), (9007199254740993, '');
INSERT INTO Books VALUES (1, 1, 'Faust', 9.90, 0.1, TRUE, NULL, '2026-01-23 14:30:52', '{\"a\": 1.10}'),
  (2, 9007199254740993, '', 0, 1e300, FALSE, EMPTY, NULL, NULL), (-3, NULL, NULL, NULL, NULL, NULL, BITS, NULL, '[]'),
  (4, 1, 'x\u{1f600}y', 1234567890.12, 3, NULL, NULL, '2026-01-23 14:30:52.5', 'null');
";

fn schema(case: &Case) {
    let own = match case.server {
        None => [
            ("BYTES", "BLOB"),
            ("JSONTYPE", "TEXT"),
            ("EMPTY", "x''"),
            ("BITS", "x'00ff5c0a'"),
        ],
        Some(_) => [
            ("BYTES", "BYTEA"),
            ("JSONTYPE", "JSON"),
            ("EMPTY", "''"),
            ("BITS", "'\\x00ff5c0a'"),
        ],
    };
    let sql = own
        .iter()
        .fold(BOTH.to_owned(), |sql, (word, own)| sql.replace(word, own));
    case.query(&sql);
}

#[test]
fn every_type_that_both_have_goes_there_and_back() {
    let Some(there) = Case::postgres("portable_both") else {
        return;
    };
    let here = Case::sqlite();
    schema(&here);
    schema(&there);
    let before = (fingerprints(&here), fingerprints(&there));
    for format in ["ndjson", "csv", "json"] {
        let path = export(&here, format);
        import(&there, &path, &["--replace"]).expect_code(0);
        assert_eq!(
            fingerprints(&there),
            before.1,
            "into PostgreSQL through {format}"
        );
        let path = export(&there, format);
        import(&here, &path, &["--replace"]).expect_code(0);
        assert_eq!(
            fingerprints(&here),
            before.0,
            "into SQLite through {format}"
        );
    }
}

/// A type of SQLite, one of PostgreSQL, a value, and what is said of it.
const TO_POSTGRES: &[(&str, &str, &str, &str)] = &[
    (
        "TEXT",
        "TEXT",
        "'a' || char(0)",
        "line 3: column `v` of `t`: PostgreSQL has no text with a NUL",
    ),
    (
        "BLOB",
        "TEXT",
        "x'00'",
        "line 3: column `v` of `t`: its type is not `bytea`",
    ),
    (
        "BLOB",
        "BYTEA",
        "'text'",
        "line 3: column `v` of `t`: its type is `bytea`",
    ),
    (
        "INTEGER",
        "BIGINT",
        "'many'",
        "line 3: the table `t` does not take the row",
    ),
    (
        "INTEGER",
        "SMALLINT",
        "40000",
        "line 3: the table `t` does not take the row",
    ),
    (
        "REAL",
        "NUMERIC(10,2)",
        "0.999",
        "the table `t` would hold other values than the file has",
    ),
    (
        "REAL",
        "NUMERIC(10,2)",
        "1e300",
        "line 3: the table `t` does not take the row",
    ),
    (
        "TEXT",
        "VARCHAR(3)",
        "'abcd'",
        "line 3: the table `t` does not take the row",
    ),
    (
        "TEXT",
        "VARCHAR(3)",
        "'abc '",
        "the table `t` would hold other values than the file has",
    ),
    (
        "TEXT",
        "TIMESTAMPTZ",
        "'yesteryear'",
        "line 3: the table `t` does not take the row",
    ),
];

/// The other way round.
const TO_SQLITE: &[(&str, &str, &str, &str)] = &[
    (
        "float8",
        "REAL",
        "'NaN'",
        "line 3: column `v` of `t`: SQLite has no NaN",
    ),
    (
        "numeric",
        "NUMERIC",
        "12345678901234567890.123",
        "the table `t` would hold other values",
    ),
    (
        "numeric",
        "INTEGER",
        "0.12345678901234567",
        "the table `t` would hold other values",
    ),
];

/// What the other engine would make something else of is refused, with its line where that is known.
#[test]
fn what_the_other_engine_would_change_is_refused() {
    let Some(there) = Case::postgres("portable_changed") else {
        return;
    };
    let here = Case::sqlite();
    for (ours, theirs, value, says_so) in TO_POSTGRES {
        here.query(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (v {ours}); INSERT INTO t VALUES ({value});"
        ));
        there.query(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (v {theirs});"
        ));
        let output = import(&there, &export(&here, "ndjson"), &[]).expect_code(3);
        says(&output, &[*says_so]);
        assert_eq!(there.query("SELECT count(*) FROM t;"), ["0"], "{value}");
    }
    for (theirs, ours, value, says_so) in TO_SQLITE {
        there.query(&format!(
            "DROP TABLE t; CREATE TABLE t (v {theirs}); INSERT INTO t VALUES ({value});"
        ));
        here.query(&format!("DROP TABLE t; CREATE TABLE t (v {ours});"));
        let output = import(&here, &export(&there, "ndjson"), &[]).expect_code(3);
        says(&output, &[says_so]);
        assert_eq!(here.query("SELECT count(*) FROM t;"), ["0"], "{value}");
        // As text it has room.
        here.query("DROP TABLE t; CREATE TABLE t (v TEXT);");
        if *value != "'NaN'" {
            import(&here, &export(&there, "ndjson"), &[]).expect_code(0);
            assert_eq!(here.query("SELECT v FROM t;"), [*value]);
        }
    }
}
