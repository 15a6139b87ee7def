//! A drill restores a backup into a scratch database and compares.

use std::fs;

use serde_json::{Value, json};

use super::{assert_no_scratch, cases};
use crate::setup::{Case, says, sealed, text};

fn rows_changed(case: &Case, id: &str) {
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(case.manifest(id)).expect("read it")).expect("JSON");
    let tables = manifest["tables"].as_array_mut().expect("a list");
    let books = tables
        .iter_mut()
        .find(|table| table["name"] == "books")
        .expect("books");
    books["rows"] = json!(4);
    fs::write(case.manifest(id), sealed(manifest)).expect("write it");
}

#[test]
fn a_good_backup_comes_back() {
    for case in cases("drill", "SELECT 1;") {
        let id = case.backup();
        case.query("DELETE FROM books;");
        let before = case.query("SELECT count(*) FROM books;");
        let document = case.project.json(["db", "drill"]);
        let drilled = &document["drilled"][0];
        assert_eq!(
            (text(drilled, "/id"), &drilled["restored"]),
            (id.as_str(), &json!(true))
        );
        assert!(
            drilled["restore_ms"].is_u64() && drilled["rows"] == 6,
            "{drilled:#}"
        );
        assert_eq!(
            case.query("SELECT count(*) FROM books;"),
            before,
            "the live one is untouched"
        );
        assert_no_scratch(&case);

        let status = case.project.json(["db", "status"]);
        assert!(status["drilled_at"].is_string(), "{status:#}");
        assert!(
            status["latest"]["ladder"]["drilled_at"].is_string(),
            "{status:#}"
        );
        let screen = case.project.run(["db", "status"]).expect_code(0);
        let line = screen
            .stdout
            .lines()
            .find(|line| line.starts_with("proof "));
        let rungs: Vec<&str> = line.expect("a line").split(", ").collect();
        let is_dated = |rung: &&&str| rung.ends_with(" ago");
        assert_eq!(rungs.iter().filter(is_dated).count(), 3, "{screen}");
    }
}

#[test]
fn a_backup_that_never_came_back_is_said_so() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    case.backup();
    let screen = case.project.run(["db", "status"]).expect_code(0);
    assert!(
        screen
            .stdout
            .contains("none was ever restored: cargo xtask db drill"),
        "{screen}"
    );
}

/// Of this database, and of what is there: another one's drill, or one of a backup that is gone,
/// shows nothing.
#[test]
fn only_a_backup_that_is_there_and_ours_was_restored() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let id = case.backup();
    let other = [
        "db",
        "--database-url",
        "sqlite://database/other.db?mode=rwc",
    ];
    for verb in ["backup", "drill"] {
        case.project
            .run([&other[..], &[verb]].concat())
            .expect_code(0);
    }
    let drilled_at = || case.project.json(["db", "status"])["drilled_at"].clone();
    assert_eq!(drilled_at(), Value::Null);
    case.project.run(["db", "drill"]).expect_code(0);
    assert!(drilled_at().is_string());
    case.backup();
    for file in [case.manifest(&id), case.dump(&id)] {
        fs::remove_file(file).expect("lose it");
    }
    assert_eq!(drilled_at(), Value::Null);
}

/// What was once shown and does not hold any more is no proof.
#[test]
fn a_rung_that_failed_later_is_shown_as_failed() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let id = case.backup();
    case.project.run(["db", "verify"]).expect_code(0);
    case.project.run(["db", "drill"]).expect_code(0);
    let good = fs::read(case.dump(&id)).expect("read it");
    let mut bad = good.clone();
    bad[20] ^= 1;
    fs::write(case.dump(&id), bad).expect("damage it");
    case.project.run(["db", "drill", &id]).expect_code(4);
    let shown = || {
        let status = case.project.run(["db", "status"]).expect_code(0).stdout;
        let list = case.project.run(["db", "list"]).expect_code(0).stdout;
        [
            status.matches("FAILED").count(),
            list.matches("FAILED").count(),
        ]
    };
    assert_eq!(shown(), [2, 2], "hash and drill");
    let status = case.project.json(["db", "status"]);
    let ladder = &status["latest"]["ladder"];
    assert!(ladder["verified_at"].is_string() && ladder["verify_failed_at"].is_string());
    fs::write(case.dump(&id), good).expect("put it back");
    case.project.run(["db", "verify"]).expect_code(0);
    assert_eq!(shown(), [1, 1], "the drill");
    case.project.run(["db", "drill"]).expect_code(0);
    assert_eq!(shown(), [0, 0]);
}

#[test]
fn what_does_not_hold_what_its_manifest_says_fails_the_drill() {
    for case in cases("drill_bad", "SELECT 1;") {
        let good = case.backup();
        let bad = case.backup();
        rows_changed(&case, &bad);
        case.project.run(["db", "verify", &bad]).expect_code(0);
        let failed = case.project.run(["db", "drill", &bad]).expect_code(4);
        says(
            &failed,
            &["table `books` has 3 rows, the manifest says 4", &good],
        );
        assert_no_scratch(&case);

        let all = case.project.run(["db", "drill", "--all"]).expect_code(4);
        says(
            &all,
            &["1 of 3 backups do not come back as they were taken"],
        );
        assert!(
            all.stdout.contains(&format!("NOT RESTORED  {bad}")),
            "{all}"
        );
        assert_eq!(all.stdout.matches("restored  ").count(), 2, "{all}");
        assert_no_scratch(&case);
    }
}

#[test]
fn a_damaged_dump_is_never_restored() {
    for case in cases("drill_damaged", "SELECT 1;") {
        let id = case.backup();
        let mut bytes = fs::read(case.dump(&id)).expect("read it");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(case.dump(&id), bytes).expect("write it");
        let failed = case.project.run(["db", "drill", &id]).expect_code(4);
        says(&failed, &["cannot be trusted"]);
        let log = case.project.json(["db", "log", "--last", "1"]);
        assert_eq!(text(&log, "/entries/0/deed"), "drill");
        assert_eq!(text(&log, "/entries/0/ending"), "failed");
    }
}

/// Asked before a database is made: the manifest says how much there is in it.
#[test]
fn a_server_without_room_is_refused_before_it_begins() {
    let Some(case) = Case::postgres("drill_space") else {
        return;
    };
    case.query("CREATE TABLE t (id int);");
    let id = case.backup();
    let path = case.manifest(&id);
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(&path).expect("read it")).expect("JSON");
    manifest["dump"]["raw_size_bytes"] = json!(1u64 << 50);
    fs::write(&path, sealed(manifest)).expect("write it");
    let refused = case.project.run(["db", "drill"]).expect_code(3);
    says(
        &refused,
        &[
            "the server's disk has ",
            "MiB free, and a scratch database needs about 1073741825 MiB",
            "SCRATCH_DATABASE_URL",
        ],
    );
    assert_no_scratch(&case);
}
