//! A signal while a rehearsal is under way: the scratch database goes, and the live one never knew.

use super::{SIGNALS, UNTOUCHED, blocking, filled, interrupt, start};
use crate::cluster::{Cluster, Database};
use crate::exec;
use crate::project::Project;
use crate::setup::Case;

const MIGRATE: [&str; 3] = ["db", "migrate-safe", "--yes"];

/// The vault has one backup more, and the database nothing.
#[track_caller]
fn assert_untouched(database: &Database, project: &Project, before: &[String]) {
    let left = format!(
        "SELECT datname FROM pg_database WHERE datname LIKE '{}\\_%';",
        database.name()
    );
    assert_eq!(database.psql(&left), "", "a scratch database is left");
    assert_eq!(database.psql("SELECT count(*) FROM first;"), "2");
    assert_eq!(
        database.psql("SELECT max(version) FROM _sqlx_migrations;"),
        "1"
    );
    let new = project.vault_files();
    let new: Vec<&String> = new.iter().filter(|name| !before.contains(name)).collect();
    assert!(
        new.iter()
            .all(|name| name.starts_with("backup_") && name.contains("pre-migrate")),
        "{new:?}"
    );
    let status = project.json(["db", "status"]);
    assert!(status["unfinished"].is_null(), "{status}");
    assert_eq!(status["left_beside"], serde_json::json!([]));
}

#[test]
fn while_the_scratch_is_filled() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (database, project) = filled(cluster, "while_a_scratch_is_filled");
    for signal in SIGNALS {
        let before = project.vault_files();
        let bin = blocking(cluster, "pg_restore", "--dbname=", "");
        let running = start(&project, &MIGRATE, &bin);
        bin.wait_for("pid");
        interrupt(running, signal, UNTOUCHED);
        assert!(!super::is_running(&bin), "pg_restore outlived the tool");
        assert_untouched(&database, &project, &before);
    }
    project.run(MIGRATE).expect_code(0);
}

#[test]
fn while_the_rehearsed_migration_sleeps() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (database, project) = filled(cluster, "while_a_rehearsal_sleeps");
    let sleeps = "CREATE TABLE second (id INTEGER); DELETE FROM first; SELECT pg_sleep(600);";
    for (signal, begin) in SIGNALS.into_iter().zip(["", "-- no-transaction\n"]) {
        project.write("migrations/2_second.sql", format!("{begin}{sleeps}"));
        let before = project.vault_files();
        let running = exec::start(&mut project.command(MIGRATE), None);
        let asleep = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE '{}\\_scratch\\_%' AND wait_event = 'PgSleep';",
            database.name()
        );
        while database.psql(&asleep) != "1" {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        interrupt(running, signal, UNTOUCHED);
        assert_untouched(&database, &project, &before);
    }
    project.write(
        "migrations/2_second.sql",
        "CREATE TABLE second (id INTEGER);",
    );
    project.run(MIGRATE).expect_code(0);
}

/// A statement that never ends by itself.
#[test]
fn while_the_rehearsed_migration_of_sqlite_counts() {
    let endless = "DELETE FROM first; \
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO first SELECT max(i) FROM n;";
    for signal in SIGNALS {
        let mut case = Case::sqlite();
        case.project = case
            .project
            .migration("1_first.sql", "CREATE TABLE first (id INTEGER);");
        case.migrate();
        case.query("INSERT INTO first VALUES (1);");
        case.project = case.project.migration("2_endless.sql", endless);
        let before = (case.contents(), case.project.vault_files());
        let running = exec::start(&mut case.project.command(MIGRATE), None);
        running.wait_for_line("backed up as ");
        std::thread::sleep(std::time::Duration::from_millis(500));
        interrupt(running, signal, UNTOUCHED);
        assert_eq!(case.contents(), before.0);
        let mut left = case.project.vault_files();
        left.retain(|name| !name.contains("pre-migrate"));
        let then: Vec<String> = before
            .1
            .into_iter()
            .filter(|name| !name.contains("pre-migrate"))
            .collect();
        assert_eq!(left, then, "something is left in the vault");
    }
}
