//! Backups that know the values of their tables, not only how many rows there are.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::project::shared_data;
use crate::setup::{Case, says, sealed, text};

/// Takes a backup with fingerprints, and returns its id and them, by table.
#[track_caller]
fn backup(case: &Case) -> (String, BTreeMap<String, String>) {
    let taken = case.project.json(["db", "backup", "--fingerprint"]);
    let tables = taken["backup"]["tables"].as_array().expect("a list");
    // A virtual table has none: its values are in its shadow tables.
    let tables = tables.iter().filter(|table| table["kind"].is_null());
    let tables = tables.filter_map(|table| {
        let name = format!("{}.{}", text(table, "/schema"), text(table, "/name"));
        Some((name, table["fingerprint"].as_str()?.to_owned()))
    });
    (text(&taken, "/backup/id").to_owned(), tables.collect())
}

/// Both engines, and the owner whose restore is in place.
fn cases(name: &str) -> Vec<Case> {
    let owner = Case::owner(&format!("{name}_owner")).map(|(case, _)| case);
    Case::each(name).into_iter().chain(owner).collect()
}

fn edit(case: &Case, id: &str, change: impl Fn(&mut Value)) {
    let path = case.manifest(id);
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(&path).expect("read it")).expect("JSON");
    change(&mut manifest);
    fs::write(&path, sealed(manifest)).expect("write it");
}

/// The music store, where it is beside the checkout.
pub fn chinook(name: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    if let Some(store) = shared_data("chinook/chinook.sqlite") {
        let case = Case::sqlite();
        fs::copy(store, case.project.sqlite_path()).expect("copy chinook");
        cases.push(case);
    }
    if let Some(script) = shared_data("chinook/chinook-postgres.sql")
        && let Some(case) = Case::postgres(name)
    {
        case.query(&fs::read_to_string(script).expect("read chinook"));
        cases.push(case);
    }
    cases
}

#[test]
fn a_restored_music_store_has_the_values_of_its_backup() {
    for case in chinook("fingerprinted") {
        let (id, before) = backup(&case);
        assert!(before.len() > 10, "{before:?}");
        case.project.run(["db", "drill", &id]).expect_code(0);
        let genre = match case.server {
            None => "UPDATE Genre SET Name = Name || '!' WHERE GenreId = 1;",
            Some(_) => "UPDATE genre SET name = name || '!' WHERE genre_id = 1;",
        };
        case.query(genre);
        let (_, changed) = backup(&case);
        let differ = before
            .iter()
            .filter(|(name, then)| changed[*name] != **then);
        assert_eq!(differ.count(), 1, "one value of one table");
        case.restore(&id);
        assert_eq!(backup(&case).1, before);
    }
}

/// As many rows, and other values: neither a restore nor a drill takes it.
#[test]
fn other_values_in_as_many_rows_are_refused() {
    for case in cases("other_values") {
        case.query("CREATE TABLE t (id BIGINT PRIMARY KEY, \"xtask_row\" TEXT);");
        case.query("INSERT INTO t VALUES (1, 'one'), (2, NULL);");
        let (good, _) = backup(&case);
        case.query("UPDATE t SET \"xtask_row\" = '' WHERE id = 2;");
        let (_, other) = backup(&case);
        let fingerprint = other.values().next().expect("one table");
        edit(&case, &good, |manifest| {
            manifest["tables"][0]["fingerprint"] = json!(fingerprint);
        });
        let parts = [
            "table",
            "t` has as many rows, and other values than the manifest says",
        ];
        let stopped = case
            .project
            .run(["db", "restore", &good, "--yes"])
            .expect_code(4);
        assert!(
            stopped
                .stderr
                .contains("other values than the manifest says"),
            "{stopped}"
        );
        assert_eq!(
            case.query("SELECT count(*) FROM t WHERE \"xtask_row\" = '';"),
            ["1"]
        );
        if case
            .server
            .as_ref()
            .is_none_or(|server| !server.name().contains("owner"))
        {
            let drilled = case.project.run(["db", "drill", &good]).expect_code(4);
            says(&drilled, &parts);
        }
    }
}

/// What a later version may write is no reason to refuse a backup.
#[test]
fn another_method_is_not_compared() {
    for case in cases("other_method") {
        case.query("CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1);");
        let (id, _) = backup(&case);
        edit(&case, &id, |manifest| {
            manifest["tables"][0]["fingerprint"] = json!("sum-of-bits-7:1234");
        });
        case.query("DELETE FROM t;");
        case.restore(&id);
        assert_eq!(case.query("SELECT id FROM t;"), ["1"]);
    }
}

#[test]
fn a_migration_can_ask_for_it() {
    for mut case in Case::each("fingerprint_migration") {
        let sql = "CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1);";
        case.project = case.project.migration("1_first.sql", sql);
        case.migrate();
        case.project = case
            .project
            .migration("2_second.sql", "INSERT INTO t VALUES (2);");
        let migrated = (case.project).json(["db", "migrate-safe", "--yes", "--fingerprint"]);
        assert_eq!(text(&migrated, "/outcome"), "migrated");
        let tables = migrated["backup"]["tables"].as_array().expect("a list");
        assert_eq!(tables.len(), 2);
        assert!(
            tables.iter().all(|table| table["fingerprint"].is_string()),
            "{tables:#?}"
        );
        // Unasked, it costs nothing.
        let plain = case.project.json(["db", "backup"]);
        assert!(
            plain["backup"]["tables"][0]["fingerprint"].is_null(),
            "{plain:#}"
        );
    }
}

/// Everything that decides how a value becomes text, set otherwise; columns dropped, generated and
/// in another order in each partition; a restore that may move rows between partitions.
const HARD: &str = r#"
ALTER DATABASE this SET "TimeZone" = 'Asia/Tokyo';
ALTER DATABASE this SET "DateStyle" = 'German';
ALTER DATABASE this SET "IntervalStyle" = 'sql_standard';
ALTER DATABASE this SET extra_float_digits = -5;
ALTER DATABASE this SET bytea_output = 'escape';
ALTER DATABASE this SET quote_all_identifiers = on;
CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (a int, b text);
CREATE TABLE values_of_all (
  gone text, id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, at timestamptz,
  took interval, ratio float8, small float4, bytes bytea, price numeric, doc json, docb jsonb,
  list text[], kind mood, both_of pair, table_of regclass, cost money, span tstzrange, words tsvector,
  "Odd "" name" text, xtask_row text);
ALTER TABLE values_of_all DROP COLUMN gone;
INSERT INTO values_of_all VALUES
  (1, DEFAULT, '2026-03-29 02:30+01', '1 year 2 mons -3 days', 0.1 + 0.2, 1e-30, '\x0001ff', 1e100,
   '{"b": 1,  "a": 2}', '{"b": 1, "a": 2}', '{a,NULL,"x y"}', 'happy', '(1,"x,y")', 'values_of_all',
   12.34, '[2026-01-01,)', 'a:1 b', e'x\ny', 'r'),
  (2, DEFAULT, NULL, NULL, 'NaN', '-Infinity', '', 'NaN', NULL, NULL, '{}', NULL, NULL, NULL, NULL,
   'empty', '', '', NULL);
CREATE TABLE parted (id int, name text, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE part_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_1 (name text, gone int, id int NOT NULL);
ALTER TABLE part_1 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION part_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT n, 'name ' || n FROM generate_series(1, 100) n;
CREATE TABLE parent (id int); CREATE TABLE child (more text) INHERITS (parent);
INSERT INTO parent VALUES (1), (1); INSERT INTO child VALUES (2, 'x');
CREATE TABLE nothing ();  INSERT INTO nothing DEFAULT VALUES;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM parent;
"#;

#[test]
fn text_of_values_does_not_depend_on_settings() {
    let Some(case) = Case::postgres("fingerprint_text") else {
        return;
    };
    let name = case.server.as_ref().expect("a server").name().to_owned();
    case.query(&HARD.replace("DATABASE this", &format!("DATABASE \"{name}\"")));
    let (id, before) = backup(&case);
    assert_eq!(before.len(), 5, "{before:?}");
    case.restore(&id);
    assert_eq!(backup(&case).1, before, "with these settings");
    for name in [
        "TimeZone",
        "DateStyle",
        "IntervalStyle",
        "bytea_output",
        "extra_float_digits",
    ] {
        let database = case.server.as_ref().expect("a server").name();
        case.query(&format!("ALTER DATABASE \"{database}\" RESET \"{name}\";"));
    }
    assert_eq!(backup(&case).1, before, "without them");
    case.query("UPDATE parted SET name = name || ' ' WHERE id = 7;");
    let now = backup(&case).1;
    let differ: Vec<&String> = now
        .keys()
        .filter(|name| now[*name] != before[*name])
        .collect();
    assert_eq!(differ, ["public.parted"]);
}

/// Several sessions dump and restore, and one counts.
#[test]
fn jobs_make_no_difference() {
    let Some(case) = Case::postgres("fingerprint_jobs") else {
        return;
    };
    let name = case.server.as_ref().expect("a server").name().to_owned();
    case.query(&HARD.replace("DATABASE this", &format!("DATABASE \"{name}\"")));
    let (_, before) = backup(&case);
    let taken = (case.project).json(["db", "backup", "--fingerprint", "--jobs", "2"]);
    let id = text(&taken, "/backup/id");
    (case.project).json(["db", "restore", id, "--yes", "--jobs", "2"]);
    assert_eq!(backup(&case).1, before);
}

/// An index makes another plan, and a server of another version writes the same text.
#[test]
fn another_server_makes_the_same_of_the_same_rows() {
    let (Some(case), Some(other)) = (Case::postgres("fingerprint_here"), Cluster::own_or_skip(""))
    else {
        return;
    };
    let sql = "CREATE TABLE t (id int PRIMARY KEY, name text);
               INSERT INTO t SELECT n, repeat('ä', n % 50) FROM generate_series(1, 5000) n;";
    case.query(sql);
    let there = Case::of(other.create_database("fingerprint_there"));
    there.query(sql);
    there.query("CREATE INDEX ON t (name); CLUSTER t USING t_name_idx;");
    assert_eq!(backup(&case).1, backup(&there).1);
}

#[test]
fn sqlite_tells_types_and_edges_apart() {
    let values = [
        "NULL, NULL",
        "'', NULL",
        "1, NULL",
        "1.0, NULL",
        "'1', NULL",
        "x'31', NULL",
        "x'', NULL",
        "'ab', 'c'",
        "'a', 'bc'",
        "'c', 'ab'",
        "9007199254740993, 0",
        "9007199254740992, 0",
        "0.1, 0",
        "0.1 + 1e-17, 0",
        "char(0), 0",
        "'a' || char(0) || 'b', 0",
        "1e999, 0",
    ];
    let case = Case::sqlite();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for value in values {
        case.query(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (a, b, c AS (a || 'x')); INSERT INTO t VALUES ({value});"
        ));
        let fingerprint = backup(&case).1.remove("main.t").expect("of this table");
        assert!(fingerprint.starts_with("sqlite-values-1:"), "{fingerprint}");
        if let Some(same) = seen.insert(fingerprint, value) {
            assert_eq!(
                (same, value),
                ("0.1, 0", "0.1 + 1e-17, 0"),
                "two values, one fingerprint"
            );
        }
    }
    // In any order, and as often as it is there.
    let mut made = Vec::new();
    for rows in [
        "('x', 1), ('y', 2)",
        "('y', 2), ('x', 1)",
        "('x', 1), ('y', 2), ('y', 2)",
    ] {
        case.query(&format!(
            "DELETE FROM t; INSERT INTO t (a, b) VALUES {rows};"
        ));
        made.push(backup(&case).1.remove("main.t"));
    }
    assert_eq!(made[0], made[1]);
    assert_ne!(made[0], made[2]);
}

/// The live file itself is read where nobody can change it, a copy otherwise.
#[test]
fn both_journals_make_the_same() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES (1, 2);");
    case.query("CREATE VIRTUAL TABLE words USING fts5(word); INSERT INTO words VALUES ('x');");
    let (id, of_copy) = backup(&case);
    case.query("PRAGMA journal_mode = WAL;");
    assert_eq!(backup(&case).1, of_copy);
    case.restore(&id);
    assert_eq!(backup(&case).1, of_copy);
}
