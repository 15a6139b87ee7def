//! As what a value must be found again: what somebody could tell apart is never taken for the same.

use std::fs;

use super::{export, import};
use crate::setup::{Case, says};

/// Types of the two columns, the value as SQL, and what it would become; nothing: it stays what it is.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const SQLITE_TO_SQLITE: &[Row] = &[
    ("TEXT", "NUMERIC", "'007'", Some("7")),
    ("TEXT", "INTEGER", "'+4917012345'", Some("4917012345")),
    ("TEXT", "NUMERIC", "'1.10'", Some("1.1")),
    ("TEXT", "REAL", "'1e5'", Some("100000.0")),
    ("BLOB", "INTEGER", "'007'", Some("7")),
    ("BLOB", "NUMERIC", "'7.0'", Some("7")),
    ("TEXT", "INTEGER", "'many'", None),
    ("TEXT", "INTEGER", "'12'", None),
    ("INTEGER", "TEXT", "12", None),
    ("REAL", "TEXT", "0.5", None),
    ("INTEGER", "REAL", "3", None),
    ("REAL", "INTEGER", "3.0", None),
    ("BLOB", "NUMERIC", "0.25", None),
    (
        "INTEGER",
        "REAL",
        "9007199254740993",
        Some("9007199254740992"),
    ),
];

const POSTGRES_TO_SQLITE: &[Row] = &[
    ("text", "NUMERIC", "'007'", Some("7")),
    ("varchar", "INTEGER", "'+4917012345'", Some("4917012345")),
    ("json", "NUMERIC", "'1.10'", Some("1.1")),
    ("numeric", "NUMERIC", "'NaN'", Some("NaN")),
    ("numeric", "REAL", "'Infinity'", Some("Infinity")),
    ("numeric", "TEXT", "'NaN'", None),
    ("numeric(10,2)", "NUMERIC", "9.90", None),
    ("numeric(10,2)", "TEXT", "9.90", None),
    ("text", "TEXT", "'007'", None),
    ("timestamptz", "DATETIME", "'2026-01-23 14:30+00'", None),
    // SQLite has a negative zero only where a column has no type.
    ("double precision", "REAL", "'-0'", Some("0")),
    ("double precision", "NUMERIC", "'-0'", Some("0")),
    ("double precision", "TEXT", "'-0'", Some("0.0")),
    ("double precision", "BLOB", "'-0'", None),
    ("double precision", "REAL", "0", None),
];

const SQLITE_TO_POSTGRES: &[Row] = &[
    (
        "DATETIME",
        "date",
        "'2026-01-23 14:30:52'",
        Some("2026-01-23"),
    ),
    (
        "DATETIME",
        "timestamp",
        "'2026-01-23 14:30:52+02:00'",
        Some("2026-01-23 14:30:52"),
    ),
    (
        "DATETIME",
        "timestamp(0)",
        "'2026-01-23 14:30:52.4'",
        Some("2026-01-23 14:30:52"),
    ),
    (
        "TEXT",
        "timestamptz",
        "'2026-01-23 14:30:52.1234567'",
        Some("2026-01-23 14:30:52.123457+00"),
    ),
    ("REAL", "real", "0.30000000000000004", Some("0.3")),
    ("INTEGER", "real", "16777217", Some("1.6777216e+07")),
    ("BLOB", "integer", "'007'", Some("7")),
    ("TEXT", "jsonb", "'{\"a\": 1, \"a\": 2}'", None),
    ("TEXT", "jsonb", "'{\"b\":1e2,\"a\":[1.10,null]}'", None),
    ("DATETIME", "date", "'2026-01-23'", None),
    ("DATETIME", "date", "'2026-01-23 00:00:00'", None),
    ("DATETIME", "timestamp", "'2026-01-23T14:30'", None),
    ("TEXT", "timestamptz", "'2026-01-23T14:30:52+02:00'", None),
    ("TEXT", "timestamptz", "'2026-01-23 14:30:52.5'", None),
    ("TEXT", "time", "'14:30'", None),
    ("REAL", "real", "0.1", None),
    ("REAL", "real", "0.10000000149011612", None),
    ("INTEGER", "real", "16777216", None),
    ("TEXT", "char(5)", "'ab'", None),
    ("TEXT", "\"char\"", "'abcdefgh'", Some("a")),
    ("TEXT", "numeric(5,1)[]", "'{1.256}'", Some("{1.3}")),
    (
        "TEXT",
        "time(0) with time zone",
        "'12:00:00.6+02'",
        Some("12:00:01+02"),
    ),
    (
        "TEXT",
        "timetz",
        "'12:00:00.1234567+02'",
        Some("12:00:00.123457+02"),
    ),
    ("TEXT", "interval(0)", "'00:00:01.6'", Some("00:00:02")),
    ("TEXT", "interval", "'00:00:00.0000004'", Some("00:00:00")),
    (
        "TEXT",
        "name",
        "'n23456789' || hex(zeroblob(30))",
        Some("63 letters of it"),
    ),
    (
        "TEXT",
        "name[]",
        "'{n23456789' || hex(zeroblob(30)) || '}'",
        Some("63 letters of it"),
    ),
    ("TEXT", "money", "'$1.256'", Some("$1.26")),
    (
        "TEXT",
        "date[]",
        "'{\"2026-01-23 14:30:00\"}'",
        Some("{2026-01-23}"),
    ),
    ("TEXT", "real[]", "'{0.30000000000000004}'", Some("{0.3}")),
    ("TEXT", "tsvector", "'a a'", Some("'a'")),
    // As PostgreSQL writes them.
    ("TEXT", "\"char\"", "'a'", None),
    ("TEXT", "numeric(5,1)[]", "'{1.3,NULL}'", None),
    ("TEXT", "timetz", "'12:00:00.5+02'", None),
    ("TEXT", "interval(0)", "'1 day 00:00:01'", None),
    ("TEXT", "name", "'short'", None),
    ("TEXT", "money", "'$1.25'", None),
    ("TEXT", "date[]", "'{2026-01-23}'", None),
    (
        "TEXT",
        "tsvector",
        "char(39) || 'a' || char(39) || ':1'",
        None,
    ),
    ("TEXT", "bit(3)", "'101'", None),
    ("TEXT", "point", "'(1,2.5)'", None),
    // What loses nothing may be written in another way.
    ("TEXT", "integer[]", "'{1, 2}'", None),
    (
        "TEXT",
        "uuid",
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
        None,
    ),
    ("TEXT", "int4range", "'[1,2]'", None),
];

const POSTGRES_TO_POSTGRES: &[Row] = &[
    (
        "timestamptz",
        "timestamp",
        "'2026-01-23 14:30+02'",
        Some("2026-01-23 12:30:00"),
    ),
    (
        "timestamp",
        "timestamp(0)",
        "'2026-01-23 14:30:52.4'",
        Some("2026-01-23 14:30:52"),
    ),
    ("numeric[]", "numeric(10,2)[]", "'{1.005}'", Some("{1.01}")),
    ("integer", "real", "16777217", Some("1.6777216e+07")),
    ("text", "integer", "'007'", Some("7")),
    ("bigint", "numeric(20,2)", "7", None),
    ("varchar(3)", "text", "'007'", None),
    ("real", "double precision", "0.1", None),
    ("timestamp", "timestamp(3)", "'2026-01-23 14:30:52.4'", None),
    ("numeric(10,2)", "numeric(12,4)", "9.90", None),
];

/// What would become of the value by itself is what the table says, so each refusal is for a reason.
#[track_caller]
fn hold(here: &Case, there: &Case, rows: &[Row]) {
    for (ours, theirs, value, becomes) in rows {
        let what = format!("{value} from {ours} into {theirs}");
        here.query(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (v {ours}); INSERT INTO t VALUES ({value});"
        ));
        let path = export(here, "ndjson");
        there.query(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (v {theirs});"
        ));
        let output = import(there, &path, &[]);
        let Some(becomes) = becomes else {
            assert_eq!(output.code, 0, "{what}\n{output}");
            assert_eq!(there.query("SELECT count(v) FROM t;"), ["1"], "{what}");
            continue;
        };
        assert_eq!(output.code, 3, "{what} is not {becomes}\n{output}");
        assert!(
            output.stderr.contains("line 3") && output.stderr.contains("column `v`"),
            "{what}\n{output}"
        );
        assert_eq!(there.query("SELECT count(*) FROM t;"), ["0"], "{what}");
    }
}

#[test]
fn no_text_becomes_a_number_and_no_number_another_one() {
    let (here, there) = (Case::sqlite(), Case::sqlite());
    hold(&here, &there, SQLITE_TO_SQLITE);
}

#[test]
fn what_postgres_has_is_in_sqlite_what_it_was() {
    let Some(server) = Case::postgres("portable_to_sqlite") else {
        return;
    };
    hold(&server, &Case::sqlite(), POSTGRES_TO_SQLITE);
}

#[test]
fn no_time_zone_and_no_digit_is_lost_on_the_way_to_postgres() {
    let Some(server) = Case::postgres("portable_to_pg") else {
        return;
    };
    hold(&Case::sqlite(), &server, SQLITE_TO_POSTGRES);
}

#[test]
fn another_type_on_postgres_changes_no_value() {
    let (Some(here), Some(there)) = (
        Case::postgres("portable_other_type"),
        Case::postgres("portable_other_type_2"),
    ) else {
        return;
    };
    hold(&here, &there, POSTGRES_TO_POSTGRES);
}

/// Where only the presence of a value is compared the plan says so.
#[test]
fn the_plan_names_what_is_hardly_compared() {
    let Some(there) = Case::postgres("portable_hardly") else {
        return;
    };
    let here = Case::sqlite();
    here.query("CREATE TABLE t (id INTEGER, addr TEXT); INSERT INTO t VALUES (1, '10.0.0.1/32');");
    there.query("CREATE TABLE t (id INTEGER, addr INET);");
    let output = import(&there, &export(&here, "ndjson"), &[]).expect_code(0);
    says(
        &output,
        &["note: `t`: the column `addr` is only compared by whether there is a value: `inet`"],
    );
    assert!(!output.stderr.contains("`id`"), "{output}");
    // The question has long scrolled by.
    says(
        &output,
        &["matched with the file, but for `addr` of `t`: there it was only compared whether"],
    );
    there.query("ALTER TABLE t DROP COLUMN addr; ALTER TABLE t ADD COLUMN addr text;");
    let output = import(&there, &export(&here, "ndjson"), &["--replace"]).expect_code(0);
    says(&output, &["read back and matched with the file\n"]);
}

/// What a person writes need not stand as the database writes it.
#[test]
fn an_edited_row_may_stand_otherwise() {
    let tables = [
        (
            "CREATE TABLE t (n NUMERIC, r REAL, t TEXT); INSERT INTO t VALUES (1, 2.5, 'a'), (3, 4.5, 'b');",
            "{\"row\": {\"n\": \"9.9\", \"r\": 12, \"t\": 7}}",
            "SELECT n, r, t FROM t WHERE n = 9.9;",
            "9.9|12.0|7",
        ),
        (
            "CREATE TABLE t (n NUMERIC(10,2), doc JSONB, at TIMESTAMPTZ); INSERT INTO t VALUES (1, '{\"b\": 2}', '2026-01-01'), (3, '[]', NULL);",
            "{\"row\": {\"n\": 9.9, \"doc\": {\"json\": {\"a\":1}}, \"at\": \"2026-01-23 14:30\"}}",
            "SET timezone = 'UTC'; SELECT n, doc, at FROM t WHERE n = 9.9;",
            "9.90|{\"a\": 1}|2026-01-23 14:30:00+00",
        ),
    ];
    for (case, (create, row, ask, found)) in Case::each("portable_by_value").iter().zip(tables) {
        case.query(create);
        let path = export(case, "ndjson");
        let text = fs::read_to_string(&path).expect("read it");
        let mut lines: Vec<&str> = text.lines().collect();
        lines[2] = row;
        fs::write(&path, lines.join("\n")).expect("edit it");
        import(case, &path, &["--replace", "--edited"]).expect_code(0);
        let rows = case.query(ask);
        assert_eq!(rows.last().map(String::as_str), Some(found));
    }
}

/// Which row and which column a value does not fit into, in a folder with the name of the file.
#[test]
fn what_does_not_stay_is_named_with_its_place() {
    let Some(there) = Case::postgres("portable_place") else {
        return;
    };
    let here = Case::sqlite();
    here.query("CREATE TABLE t (id INTEGER, price NUMERIC); INSERT INTO t VALUES (1, 9.5), (2, 0.999), (3, 1);");
    there.query("CREATE TABLE t (id INTEGER, price NUMERIC(10,2));");
    for (format, place) in [
        (
            "ndjson",
            "line 4, a floating-point number in the column `price` of type `numeric(10,2)`",
        ),
        (
            "csv",
            "`t.csv` line 3, a floating-point number in the column `price`",
        ),
    ] {
        let output = import(&there, &export(&here, format), &[]).expect_code(3);
        says(
            &output,
            &[
                "the table `t` would hold other values than the file has",
                place,
            ],
        );
    }
    there.query("DROP TABLE t; CREATE TABLE t (id INTEGER CHECK (id < 3), price NUMERIC);");
    let output = import(&there, &export(&here, "csv"), &[]).expect_code(3);
    says(
        &output,
        &[
            "`t.csv` line 4: the table `t` does not take the row",
            "hint: mend that line",
        ],
    );
}
