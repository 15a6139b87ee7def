//! A run that shut others out and was cut short, by whatever: they are let in again.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{EXCLUSIVE, FIRST, SETTING, cases, everybody_is_in, on_postgres, psql};
use crate::cluster::Cluster;
use crate::exec::{self, LIMIT};
use crate::setup::{Case, says, text};
use crate::traced;

fn while_migrating(case: &Case, signal: Signal) -> exec::Output {
    let running = exec::start(&mut case.project.command(EXCLUSIVE), None);
    running.wait_for_line("backed up as ");
    running.signal(signal);
    running.finish()
}

#[test]
fn a_signal_lets_everybody_in_again() {
    let slow = "SELECT pg_sleep(3); CREATE TABLE seen (id INT);";
    let Some(case) = on_postgres("signal", slow) else {
        return;
    };
    while_migrating(&case, Signal::TERM).expect_code(130);
    everybody_is_in(&case);
}

/// The second one ends the process wherever it is, also while it lets the others in.
#[test]
fn after_a_second_signal_the_next_command_lets_everybody_in_again() {
    let slow = "SELECT pg_sleep(3); CREATE TABLE seen (id INT);";
    for pause_ms in [0, 2, 10, 40] {
        let Some(case) = on_postgres("twice", slow) else {
            return;
        };
        let running = exec::start(&mut case.project.command(EXCLUSIVE), None);
        running.wait_for_line("backed up as ");
        running.signal(Signal::INT);
        std::thread::sleep(Duration::from_millis(pause_ms));
        running.signal(Signal::INT);
        running.finish().expect_code(130);
        case.project.run(["db", "status"]).expect_code(0);
        everybody_is_in(&case);
    }
}

#[test]
fn after_a_kill_the_next_command_lets_everybody_in_again() {
    let slow = "SELECT pg_sleep(3); CREATE TABLE seen (id INT);";
    for next in [
        &["db", "status"][..],
        &["db", "backup"],
        &["db", "migrate-safe", "--yes"],
        &["db", "restore", "latest", "--yes"],
    ] {
        let Some(case) = on_postgres("killed", slow) else {
            return;
        };
        while_migrating(&case, Signal::KILL).expect_code(137);
        assert_eq!(case.query(SETTING), ["default_transaction_read_only=on"]);
        let database = case.server.as_ref().expect("a server");
        assert!(!psql(database, "INSERT INTO t VALUES (8)"), "it is shut");
        let output = case.project.run(next).expect_code(0);
        says(
            &output,
            &["a run that was cut short", "they are let in again"],
        );
        everybody_is_in(&case);
        let listed = case.project.json(["db", "list"]);
        for backup in listed["backups"].as_array().expect("a list") {
            let id = text(backup, "/manifest/id");
            let manifest = std::fs::read_to_string(case.manifest(id)).expect("a manifest");
            assert!(!manifest.contains("default_transaction_read_only"), "{id}");
        }
    }
}

/// On SQLite the lock is a transaction, which ends with the process.
#[test]
fn a_cut_on_sqlite_leaves_nothing_behind() {
    let slow = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) \
                SELECT i FROM n WHERE i % 1000 = 0;";
    for journal in ["delete", "wal"] {
        for (signal, code) in [(Signal::TERM, 130), (Signal::INT, 130), (Signal::KILL, 137)] {
            let mut case = cases("cut", slow).remove(0);
            case.project = case.project.unrehearsed();
            case.query(&format!("PRAGMA journal_mode = {journal};"));
            let before = case.contents();
            while_migrating(&case, signal).expect_code(code);
            assert_eq!(case.contents(), before, "{journal}, {signal:?}");
            everybody_is_in(&case);
        }
    }
}

/// Who may no longer change the setting says so, and not that all is well.
#[test]
fn a_database_that_cannot_be_opened_again_is_no_success() {
    let Some((mut case, admin)) = Case::owner("still_shut") else {
        return;
    };
    let slow = "CREATE TABLE seen (id INT); SELECT pg_sleep(3);";
    case.project = case.project.migration("1_first.sql", FIRST);
    case.migrate();
    case.project = case.project.migration("2_second.sql", slow);
    let running = exec::start(&mut case.project.command(EXCLUSIVE), None);
    let cluster = Cluster::get_or_skip().expect("a cluster");
    let postgres = cluster.database("postgres");
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep';",
        admin.name()
    );
    let deadline = Instant::now() + LIMIT;
    while postgres.psql(&asleep) != "1" {
        assert!(Instant::now() < deadline, "it does not migrate");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (name, role) = (admin.name(), format!("{}_owner", admin.name()));
    postgres.psql(&format!("ALTER DATABASE {name} OWNER TO CURRENT_USER;"));
    let failed = running.finish().expect_code(5);
    says(
        &failed,
        &[
            "applied; the way back is",
            "others are still shut out",
            "cargo xtask db status",
        ],
    );
    let shut = ["default_transaction_read_only=on"];
    assert_eq!(case.query(SETTING), shut);
    postgres.psql(&format!("ALTER DATABASE {name} OWNER TO {role};"));
    case.project.run(["db", "status"]).expect_code(0);
    everybody_is_in(&case);
    assert_eq!(case.query("SELECT count(*) FROM seen;"), ["0"]);
}

/// There is one mark in a vault: what it says of one database must not be lost for another one.
#[test]
fn two_databases_do_not_share_a_mark() {
    let slow = "SELECT pg_sleep(3); CREATE TABLE seen (id INT);";
    let Some(case) = on_postgres("one_of_two", slow) else {
        return;
    };
    while_migrating(&case, Signal::KILL).expect_code(137);
    let mark = case.project.vault().join(".exclusive");
    let before = std::fs::read(&mark).expect("a mark");
    let other = Cluster::get_or_skip()
        .expect("a cluster")
        .create_database("other_of_two");
    let mut command = case.project.command(EXCLUSIVE);
    let refused = exec::run(command.env("DATABASE_URL", other.url()), None).expect_code(3);
    says(&refused, &["only the vault knows", "hint: "]);
    assert_eq!(std::fs::read(&mark).expect("a mark"), before);
    case.project.run(["db", "status"]).expect_code(0);
    everybody_is_in(&case);
    let mut command = case.project.command(EXCLUSIVE);
    exec::run(command.env("DATABASE_URL", other.url()), None).expect_code(0);
}

/// The disk takes its time, longer than anybody would wait for an answer: what is said is what is.
#[test]
fn a_commit_that_takes_long_is_waited_for() {
    let mut case = cases("slow_disk", "CREATE TABLE seen (id INT);").remove(0);
    case.project = case.project.unrehearsed();
    let live = case.project.sqlite_path().display().to_string();
    let log = case.project.tmp().join("calls").display().to_string();
    let calls = "fsync,fdatasync";
    let (trace, delay) = (
        format!("trace={calls}"),
        format!("inject={calls}:delay_enter=11000000"),
    );
    let options = ["-P", &live, "-e", &trace, "-e", &delay, "--output", &log];
    let Some(output) = traced::run(&case.project, &options, &EXCLUSIVE) else {
        return;
    };
    let output = output.expect_code(0);
    let log = std::fs::read_to_string(log).expect("read the log");
    assert!(log.contains("DELAYED"), "{log}");
    says(&output, &["applied 2 second"]);
    assert_eq!(case.query("SELECT count(*) FROM seen;"), ["0"]);
    everybody_is_in(&case);
}
