//! What was exported, imported into the same schema: the same values, in every format.

use super::{empty, export, fingerprints, import};
use crate::fingerprints::chinook;
use crate::setup::{Case, says};

const FORMATS: [&str; 3] = ["ndjson", "json", "csv"];

#[test]
fn a_music_store_comes_back_in_every_format() {
    for case in chinook("portable_store") {
        let before = fingerprints(&case);
        assert!(before.len() >= 11, "{before:?}");
        let names: Vec<String> = (before.keys())
            .map(|name| format!("\"{}\"", name.split_once('.').expect("a schema").1))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for format in FORMATS {
            let path = export(&case, format);
            empty(&case, &names);
            let output = import(&case, &path, &[]).expect_code(0);
            says(
                &output,
                &["read back and matched with the file", "pre-import"],
            );
            assert_eq!(fingerprints(&case), before, "through {format}");
            // Over what is there, with keys that refer to each other.
            import(&case, &path, &["--replace"]).expect_code(0);
            assert_eq!(fingerprints(&case), before, "replaced through {format}");
        }
    }
}

/// Each value with the type that it has, whatever its column was declared as.
const SQLITE: &str = r#"
CREATE TABLE "all of ""them" (id INTEGER PRIMARY KEY, "a b" INTEGER, t TEXT, r REAL, n NUMERIC, x BLOB,
  untyped, twice AS (id * 2) STORED);
INSERT INTO "all of ""them" VALUES
  (1, 1, 'one', 1.0, 1, x'00ff', NULL), (2, 'text in it', '', -0.0, '1e5', x'', ''),
  (3, 9223372036854775807, char(13, 10), 9e999, 0.1, 'text', '\N'),
  (4, -9223372036854775808, char(0) || 'a', -9e999, '007', 5, '\s:x'),
  (5, 9007199254740993, CAST(x'ff00fe' AS TEXT), 5e-324, 9007199254740993, 1.5, 1.0),
  (6, NULL, 'é 😀 "quoted", comma', 1.7976931348623157e308, NULL, NULL, 1),
  (7, 0.5, '{"a": 1, "a": 2}', 3, '1.0', x'22', '1'), (8, x'31', ' ', NULL, '', x'0a', '1.0'),
  (9, 0, char(27) || '[31m', 0.30000000000000004, 12345678901234567890.5, 'ä', x'31'),
  (-5, 1, 'null', 1e16, 'NULL', NULL, 'true');
CREATE TABLE keys (a TEXT, b INTEGER, c, PRIMARY KEY (b, a)) WITHOUT ROWID;
INSERT INTO keys VALUES ('b', 1, NULL), ('a', 1, ''), ('B', 0, 1e300);
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT);
INSERT INTO counted VALUES (1, 'a'), (500, 'b'); DELETE FROM counted WHERE id = 500;
CREATE TABLE same (a, b); INSERT INTO same VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL);
CREATE TABLE one (a TEXT); INSERT INTO one VALUES (''), (NULL), ('"'), (''), (',');
CREATE VIEW seen AS SELECT * FROM one;
"#;

#[test]
fn sqlite_keeps_every_value_with_its_type() {
    let case = Case::sqlite();
    case.query(SQLITE);
    let tables = ["\"all of \"\"them\"", "keys", "counted", "same", "one"];
    let before = fingerprints(&case);
    for (format, next) in FORMATS.into_iter().zip(501..) {
        let path = export(&case, format);
        empty(&case, &tables);
        case.query("DELETE FROM sqlite_sequence;");
        import(&case, &path, &[]).expect_code(0);
        assert_eq!(fingerprints(&case), before, "through {format}");
        case.query("INSERT INTO counted (t) VALUES ('next');");
        assert_eq!(
            case.query("SELECT max(id) FROM counted;"),
            [next.to_string()]
        );
        case.query("DELETE FROM counted WHERE id > 500;");
    }
}

/// Everything that PostgreSQL has a way of its own to write.
const POSTGRES: &str = r#"
CREATE SCHEMA shop;
CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN cents AS numeric(20,2) CHECK (VALUE >= 0); CREATE DOMAIN small_cents AS cents;
CREATE TABLE shop."Every ""type" (
  gone text, id int PRIMARY KEY, b boolean, i2 smallint, i8 bigint, r4 real, r8 double precision, n numeric,
  n2 numeric(10,2), price small_cents, t text, v varchar(10), c char(5), bytes bytea, at timestamptz,
  plain timestamp, d date, tm time, took interval, doc json, docb jsonb, list text[], grid int[][], kind mood,
  both_of pair, span tstzrange, many int4multirange, u uuid, addr inet, bits bit varying(9), words tsvector, cost money,
  place point, table_of regclass, one_char "char", twice int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE shop."Every ""type" DROP COLUMN gone;
INSERT INTO shop."Every ""type" VALUES
  (1, true, 32767, 9223372036854775807, 0.1, 0.1 + 0.2::float8, 1e400::numeric, 1.10, 99999999999999999.99, 'x', 'v',
   'ab', '\x00ff5c', '2026-03-29 02:30+01', '2026-03-29 02:30:00.123456', '0044-03-15 BC', '24:00',
   '1 year 2 mons -3 days 04:05:06.7', '{"b": 1,  "a": 2, "a": 3}', '{"b": 1.10, "a": 12345678901234567890.123}',
   '{a,NULL,"x y","NULL"}', '[0:1][5:6]={{1,2},{3,4}}', 'happy', '(1,"x,y")', '[2026-01-01,)', '{[1,3),[5,9)}',
   'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1/8', B'101', 'a:1 b', 12.34, '(1.5,-2)', 'shop."Every ""type"', 'x'),
  (2, false, -32768, -9223372036854775808, 'NaN', '-0', 'NaN', -1.00, 0, '', '', '', '', 'infinity', '-infinity',
   'infinity', '00:00', '-1 mons', E'{\n "a": "\\u0000"}', 'null', '{}', '{}', NULL, NULL, 'empty', '{}', NULL, NULL, '', '',
   NULL, NULL, NULL, NULL),
  (3, NULL, NULL, 9007199254740993, 'Infinity', '-Infinity', 'Infinity', NULL, 0.10, E'a\tb\r\nc\\d\\N "quoted", \u001b[31m', NULL,
   NULL, NULL, '0001-01-01 BC', NULL, NULL, NULL, NULL, '"text"', '[1, {"bytes": "00"}]', '{{a,b},{c,d}}', NULL, 'sad', '(,)', NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (4, NULL, NULL, NULL, 1e-30, 5e-324, 0.000, NULL, NULL, '\N', '\.', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '[]', '{}',
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE numbered (id bigint GENERATED ALWAYS AS IDENTITY, s serial, t text);
INSERT INTO numbered (t) SELECT 'x' FROM generate_series(1, 7); DELETE FROM numbered WHERE id = 7;
CREATE TABLE parted (id int, name text, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE part_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_1 (name text, gone int, id int NOT NULL); ALTER TABLE part_1 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION part_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT n, 'name ' || n FROM generate_series(1, 100) n;
CREATE TABLE parent (id int); CREATE TABLE child (more text) INHERITS (parent);
INSERT INTO parent VALUES (1), (1); INSERT INTO child VALUES (2, 'x');
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM parent;
"#;

#[test]
fn postgres_keeps_every_value_of_every_type() {
    let Some(case) = Case::postgres("portable_types") else {
        return;
    };
    case.query(POSTGRES);
    let name = case.server.as_ref().expect("a server").name().to_owned();
    for setting in [
        "\"TimeZone\" = 'Asia/Tokyo'",
        "\"DateStyle\" = 'German'",
        "\"IntervalStyle\" = 'sql_standard'",
        "extra_float_digits = -5",
        "bytea_output = 'escape'",
        "default_transaction_read_only = on",
    ] {
        case.query(&format!("ALTER DATABASE \"{name}\" SET {setting};"));
    }
    let before = fingerprints(&case);
    assert_eq!(before.len(), 6, "{before:?}");
    let tables = [
        "shop.\"Every \"\"type\"",
        "numbered",
        "parted",
        "parent",
        "nothing",
    ];
    let write = "SET default_transaction_read_only = off;";
    for (format, next) in FORMATS.into_iter().zip(8..) {
        let path = export(&case, format);
        case.query(&format!(
            "{write} TRUNCATE {} RESTART IDENTITY;",
            tables.join(", ")
        ));
        import(&case, &path, &[]).expect_code(0);
        assert_eq!(fingerprints(&case), before, "through {format}");
        // The highest number is gone, and is not given out again.
        case.query(&format!(
            "{write} INSERT INTO numbered (t) VALUES ('next');"
        ));
        assert_eq!(
            case.query("SELECT max(id), max(s) FROM numbered;"),
            [format!("{next}|{next}")]
        );
        case.query(&format!("{write} DELETE FROM numbered WHERE id = {next};"));
    }
}
