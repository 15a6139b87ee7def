//! On a small file system: the vault's, and that of a SQLite database.

use std::time::Instant;

use rusqlite::Connection;

use super::fill_sqlite;
use super::small::Small;
use crate::cluster::Cluster;
use crate::exec;
use crate::pg_bin::PgBin;
use crate::project::Project;
use crate::setup::{Case, says};

const VAULT: &str = "database/backups";
/// The backup waits for a writer while somebody else takes the space.
#[test]
fn a_vault_that_fills_up_during_a_backup_of_sqlite() {
    let case = Case::sqlite();
    let Some(disk) = Small::over(&case.project, VAULT, 8 << 10) else {
        return;
    };
    fill_sqlite(&case, 700);
    let sample = "SELECT count(*), max(hex(bytes)) FROM t;";
    let before = case.query(sample);
    let writer = Connection::open(case.project.sqlite_path()).expect("open the database");
    writer.execute_batch("BEGIN EXCLUSIVE").expect("lock it");
    let command = case.project.command(["db", "backup"]);
    let running = exec::start(&mut disk.command(&command), None);
    let deadline = Instant::now() + exec::LIMIT;
    while disk.files().is_empty() {
        assert!(Instant::now() < deadline, "nothing is staged");
    }
    disk.blow_up(200);
    drop(writer);
    let failed = running.finish();
    says(
        &failed,
        &["no backup was taken", "pages into", VAULT, "is full"],
    );
    assert_eq!(failed.code, 1, "{failed}");
    assert_eq!(disk.files(), ["journal.jsonl"], "{failed}");
    assert_eq!(case.query(sample), before, "{failed}");
    disk.let_air_out();
    disk.run(&case.project, &["db", "backup"]).expect_code(0);
    disk.run(&case.project, &["db", "verify"]).expect_code(0);
}

/// `pg_dump` waits while somebody else takes the space.
#[test]
fn a_vault_that_fills_up_during_a_backup_of_a_server() {
    let Some(case) = Case::postgres("full_vault") else {
        return;
    };
    let cluster = Cluster::get_or_skip().expect("a cluster");
    case.query(
        "CREATE TABLE t AS SELECT x, sha512(x::text::bytea) FROM generate_series(1, 9000) x;",
    );
    let Some(disk) = Small::over(&case.project, VAULT, 12 << 10) else {
        return;
    };
    let bin = PgBin::logging(cluster).gated(cluster, "pg_dump", "--format=custom");
    let mut command = case.project.command(["db", "backup"]);
    command.env("PG_BIN", bin.path());
    let running = exec::start(&mut disk.command(&command), None);
    bin.wait_for("pg_dump.waits");
    disk.blow_up(100);
    bin.open("pg_dump");
    let failed = running.finish();
    says(&failed, &["no backup was taken", "No space left on device"]);
    assert_eq!(failed.code, 1, "{failed}");
    assert_eq!(disk.files(), ["journal.jsonl"], "{failed}");
    disk.let_air_out();
    disk.run(&case.project, &["db", "backup"]).expect_code(0);
    disk.run(&case.project, &["db", "verify"]).expect_code(0);
}

/// Asked before anything is written, with the numbers and with the folder.
#[test]
fn a_vault_without_room_is_refused_before_anything_is_written() {
    for case in Case::each("no_room") {
        let Some(disk) = Small::over(&case.project, VAULT, 8 << 10) else {
            return;
        };
        let table = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY);";
        case.query(table);
        disk.run(&case.project, &["db", "backup", "good"])
            .expect_code(0);
        let files = disk.files();
        disk.blow_up(4);
        let verbs: [&[&str]; 2] = [&["backup"], &["restore", "good", "--yes"]];
        for verb in verbs {
            let refused = disk.run(&case.project, &[&["db"][..], verb].concat());
            says(&refused, &["has 0 MiB free", "may need", "hint: free some"]);
            assert_eq!(refused.code, 3, "{refused}");
            assert_eq!(disk.files(), files, "{refused}");
        }
        disk.let_air_out();
        disk.run(&case.project, &["db", "backup"]).expect_code(0);
    }
}

/// The dump fits, and what comes out of it does not.
#[test]
fn a_scratch_database_without_room_is_refused_before_it_is_made() {
    let case = Case::sqlite();
    let Some(disk) = Small::over(&case.project, VAULT, 8 << 10) else {
        return;
    };
    // Nothing is copied beside for the backup.
    case.query("PRAGMA journal_mode = wal;");
    fill_sqlite(&case, 3000);
    case.query("PRAGMA wal_checkpoint(TRUNCATE);");
    disk.run(&case.project, &["db", "backup", "good"])
        .expect_code(0);
    let files = disk.files();
    disk.blow_up(2 << 10);
    let refused = disk.run(&case.project, &["db", "drill"]);
    says(&refused, &["MiB free, and unpacking the dump needs"]);
    assert_eq!(refused.code, 3, "{refused}");
    assert_eq!(disk.files(), files, "{refused}");
    disk.let_air_out();
    // The backup before a rehearsal asks for more than both need.
    disk.blow_up(4 << 10);
    (case.project).write("migrations/1_first.sql", "CREATE TABLE first (id INTEGER);");
    let refused = disk.run(&case.project, &["db", "migrate-safe", "--yes"]);
    says(&refused, &["has 4 MiB free, and the backup may need 7 MiB"]);
    assert_eq!(refused.code, 3, "{refused}");
    let first = "SELECT name FROM sqlite_schema WHERE name = 'first';";
    assert_eq!(case.query(first), [""; 0]);
}

/// The restored database needs more room than the live one has: it stays what it is.
#[test]
fn a_restore_into_a_full_disk_leaves_the_sqlite_file_as_it_is() {
    if exec::is_missing("sqlite3") {
        return;
    }
    for mode in ["delete", "wal"] {
        let project = Project::new().database_url("sqlite://database/live/app.db");
        let Some(disk) = Small::over(&project, "database/live", 8 << 10) else {
            return;
        };
        let live = project.path().join("database/live/app.db");
        let query = |sql: &str| disk.sqlite(&live, sql);
        query(&format!("PRAGMA journal_mode = {mode};"));
        query(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB);
             WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2500)
             INSERT INTO t SELECT x, randomblob(1000) FROM n;",
        );
        disk.run(&project, &["db", "backup", "large"])
            .expect_code(0);
        let rows = "SELECT id, hex(bytes) FROM t ORDER BY id;";
        let large = query(rows);
        query("DELETE FROM t WHERE id > 5; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);");
        let small = query(rows);
        disk.blow_up(600);

        let failed = disk.run(&project, &["db", "restore", "large", "--yes"]);
        says(
            &failed,
            &[
                "was not restored",
                "pages into",
                "live/app.db",
                "disk is full",
            ],
        );
        assert_eq!(failed.code, 1, "{mode}\n{failed}");
        assert_eq!(query(rows), small, "{mode}\n{failed}");
        assert_eq!(query("PRAGMA integrity_check;"), ["ok"]);
        let staged = |name: &String| name.starts_with('.');
        assert!(!project.vault_files().iter().any(staged), "{failed}");
        disk.let_air_out();
        disk.run(&project, &["db", "restore", "large", "--yes"])
            .expect_code(0);
        assert_eq!(query(rows), large, "{mode}");
    }
}
