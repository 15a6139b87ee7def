//! Large values and many tables: nothing is held in memory as a whole, nothing is cut.
//!
//! `XTASK_DB_BIG=1` runs them as large as people have them: a gigabyte of rows, a large object of
//! 200 MB, a value of 100 MB, 5,000 tables; and with less memory than that. It takes minutes.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::exec;
use crate::setup::{Case, says, text};

const MIB: u64 = 1 << 20;

/// What the tool and each of its children may have in the large runs: less than what they move.
const MEMORY_KIB: u64 = 900 * 1024;

fn is_big() -> bool {
    std::env::var_os("XTASK_DB_BIG").is_some()
}

/// Runs the tool with `--json`; in the large runs with bounded memory.
#[track_caller]
fn json(case: &Case, verb: &[&str]) -> Value {
    let tool = case.project.command([&["db", "--json"], verb].concat());
    if !is_big() {
        let mut tool = tool;
        return exec::run(&mut tool, None).expect_code(0).json();
    }
    let mut bounded = Command::new("/bin/sh");
    bounded.args([
        "-c",
        &format!("ulimit -v {MEMORY_KIB} && exec \"$0\" \"$@\""),
    ]);
    let mut bounded = exec::wrapped(bounded, &tool);
    exec::run(&mut bounded, None).expect_code(0).json()
}

#[test]
fn large_rows_values_and_objects_come_back() {
    let Some(case) = Case::postgres("large") else {
        return;
    };
    let (rows, value, object) = match is_big() {
        true => (1_000_000, 100 * MIB, 200 * MIB),
        false => (12_000, 8 * MIB, 10 * MIB),
    };
    // Texts that hardly compress: what is written is as large as what is read.
    case.query(&format!(
        "CREATE TABLE many AS SELECT n, (SELECT string_agg(md5(n::text || i), '')
             FROM generate_series(1, 32) AS i) AS body FROM generate_series(1, {rows}) AS n;
         CREATE TABLE one AS SELECT decode(repeat('00ff5c0a', ({value} / 4)::int), 'hex') AS body;
         CREATE TABLE objects AS SELECT lo_from_bytea(0,
             decode(repeat('deadbeef', ({object} / 4)::int), 'hex')) AS id;"
    ));
    let state = || {
        case.query(
            "SELECT count(*), sum(length(body)), sum(hashtextextended(n || body, 0)::numeric) FROM many;
             SELECT length(body), md5(body) FROM one;
             SELECT length(lo_get(id)), md5(lo_get(id)) FROM objects;",
        )
    };
    let before = state();
    json(&case, &["backup"]);
    case.query(
        "UPDATE many SET body = 'gone' WHERE n % 2 = 0; DELETE FROM many WHERE n % 3 = 0;
         TRUNCATE one; SELECT lo_put(id, 5, 'other') FROM objects;",
    );
    let restored = json(&case, &["restore", "latest", "--yes"]);
    assert_eq!(state(), before);
    assert!(text(&restored, "/safety_backup").contains("pre-restore"));
}

fn create_tables(case: &Case, count: u32) {
    // A transaction for each hundred: locks add up.
    let batch = |from: u32| {
        let tables = (from..from + 100).map(|n| {
            format!("CREATE TABLE t{n} (id SERIAL PRIMARY KEY, name TEXT); INSERT INTO t{n} (name) VALUES ('one');\n")
        });
        format!("BEGIN;\n{}COMMIT;\n", tables.collect::<String>())
    };
    let script: String = (0..count).step_by(100).map(batch).collect();
    case.query(&script);
}

/// Each of the large runs takes nearly all locks that the shared server has.
static MANY_LOCKS: Mutex<()> = Mutex::new(());

#[test]
fn many_tables_come_back() {
    let _alone = MANY_LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    for case in Case::each("tables") {
        let count = if is_big() { 5_000 } else { 600 };
        create_tables(&case, count);
        let taken = json(&case, &["backup"]);
        let tables = taken["backup"]["tables"].as_array().expect("a list");
        assert_eq!(tables.len(), count as usize);
        let change =
            "DROP TABLE t7; INSERT INTO t8 VALUES (2, 'two'); CREATE TABLE late (id INTEGER);";
        case.query(change);
        json(&case, &["restore", "latest", "--yes"]);
        let status = json(&case, &["status"]);
        assert_eq!(status["tables"], taken["backup"]["tables"]);
        // With a rehearsal.
        let sql = "ALTER TABLE t7 ADD COLUMN more TEXT;";
        case.project.write("migrations/1_more.sql", sql);
        let migrated = json(&case, &["migrate-safe", "--yes"]);
        assert_eq!(
            migrated["rehearsal"]["migrations"][0]["version"], 1,
            "{migrated}"
        );
        json(&case, &["verify", "--all"]);
    }
}

/// One transaction takes a lock for everything that it drops and makes, and a server has only so
/// many. When they run out, it is said, and the database is as it was.
#[test]
fn a_restore_in_place_that_runs_out_of_locks_changes_nothing() {
    if !is_big() {
        return exec::say("SKIPPED: 3,000 tables in place, without XTASK_DB_BIG");
    }
    let _alone = MANY_LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((case, admin)) = Case::owner("locks") else {
        return;
    };
    create_tables(&case, 3_000);
    case.backup();
    case.query("INSERT INTO t8 VALUES (2, 'two');");
    let refused = case.project.run(["db", "restore", "latest", "--yes"]);
    assert_ne!(
        refused.code, 0,
        "the server has locks enough: take more tables\n{refused}"
    );
    says(&refused, &["max_locks_per_transaction"]);
    assert_eq!(case.query("SELECT count(*) FROM t8;"), ["2"]);
    assert_eq!(
        admin.psql("SELECT count(*) FROM pg_class WHERE relname ~ '^t[0-9]+$';"),
        "3000"
    );
}
