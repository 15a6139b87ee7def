//! Clocks that were set back or differ: what is dated in the future is called that, and nobody
//! guesses which backup is the latest.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::setup::{Case, says, sealed, text};

/// Dates a backup anew, as a clock that is wrong by this much would have; returns its id.
fn redate(case: &Case, id: &str, by: TimeDelta) -> String {
    let bytes = fs::read(case.manifest(id)).expect("read the manifest");
    let mut document: Value = serde_json::from_slice(&bytes).expect("a manifest");
    let then: DateTime<Utc> = text(&document, "/created_at").parse().expect("a time");
    let then = then + by;
    let label = id.get("backup_2026-01-23_143052".len()..).expect("an id");
    let new = format!("backup_{}{label}", then.format("%Y-%m-%d_%H%M%S"));
    let dump = |id: &str| case.dump(id).file_name().expect("a name").to_owned();
    document["id"] = new.clone().into();
    document["created_at"] = then.to_rfc3339().into();
    document["dump"]["file"] = dump(&new).to_str().expect("UTF-8").into();
    fs::rename(case.dump(id), case.dump(&new)).expect("rename the dump");
    fs::remove_file(case.manifest(id)).expect("remove the manifest");
    fs::write(case.manifest(&new), sealed(document)).expect("write the manifest");
    new
}

/// A backup from before the clock was set back and two from after it; the rows say which is which.
fn set_back(by: TimeDelta) -> (Case, [String; 3]) {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let mut ids = Vec::new();
    for label in ["first", "second", "third"] {
        let taken = case.project.json(["db", "backup", label]);
        ids.push(text(&taken, "/backup/id").to_owned());
        case.query("INSERT INTO t VALUES (1);");
    }
    ids[0] = redate(&case, &ids[0], by);
    (case, ids.try_into().expect("three"))
}

#[test]
fn a_backup_of_the_future_is_called_that_and_is_not_taken_for_the_latest() {
    let (case, [future, second, third]) = set_back(TimeDelta::minutes(5 * 60 + 30));
    let listed = case.project.run(["db", "list"]).expect_code(0);
    let order: Vec<_> = [&future, &third, &second]
        .map(|id| listed.stdout.find(id))
        .into();
    assert!(order.is_sorted() && order[0].is_some(), "{listed}");
    assert!(listed.stdout.contains("5 h in the future"), "{listed}");

    let status = case.project.run(["db", "status"]).expect_code(0);
    says(
        &status,
        &["note: `db restore latest` will be refused", &future],
    );
    let document = case.project.json(["db", "status"]);
    assert!(document["latest"]["age_hours"].as_f64().expect("a number") < -5.0);

    for verb in [
        &["restore", "latest", "--yes"][..],
        &["restore", "latest", "--force"],
        &["verify"],
    ] {
        let refused = case
            .project
            .run([&["db"][..], verb].concat())
            .expect_code(3);
        says(&refused, &["in the future", "cannot be told", "\nhint: "]);
        says(
            &refused,
            &[
                &format!("db restore {future}"),
                &format!("db restore {third}"),
            ],
        );
    }
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["4"]);
    for (id, rows) in [(&third, "3"), (&future, "1"), (&second, "2")] {
        case.restore(id);
        assert_eq!(case.query("SELECT count(*) FROM t;"), [rows]);
    }
    case.project.run(["db", "verify", "--all"]).expect_code(0);
    // The next one is in the present, too, and does not make it the latest again.
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    let migrated = case.migrate();
    case.project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(3);
    case.restore(text(&migrated, "/backup/id"));
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["2"]);
}

/// There is nothing to mix it up with.
#[test]
fn the_only_backup_is_the_latest_whatever_its_date() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let only = redate(&case, &case.backup(), TimeDelta::days(400));
    case.query("INSERT INTO t VALUES (1);");
    let restored = case
        .project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(0);
    says(&restored, &[&only, "in the future"]);
    // The safety backup that it took is never the latest.
    case.restore("latest");
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["0"]);
}

/// Two machines that share a vault are never exactly of one mind.
#[test]
fn a_clock_that_is_ahead_by_seconds_is_no_reason_to_refuse() {
    let (case, [future, ..]) = set_back(TimeDelta::seconds(45));
    let restored = case.restore("latest");
    assert_eq!(text(&restored, "/restored"), future);
    let status = case.project.run(["db", "status"]).expect_code(0);
    assert_eq!(status.stderr, "");
}

#[test]
fn of_two_backups_in_one_second_the_later_one_is_the_latest() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let met = (0..10).any(|_| {
        let ids = [(); 3].map(|()| {
            case.query("INSERT INTO t VALUES (1);");
            case.backup()
        });
        let latest = case.project.json(["db", "status"]);
        assert_eq!(text(&latest, "/latest/id"), ids[2], "of {ids:?}");
        let listed = case.project.json(["db", "list"]);
        for (place, id) in ids.iter().rev().enumerate() {
            assert_eq!(text(&listed, &format!("/backups/{place}/manifest/id")), id);
        }
        let rows = case.query("SELECT count(*) FROM t;");
        case.query("DELETE FROM t;");
        case.restore("latest");
        assert_eq!(case.query("SELECT count(*) FROM t;"), rows);
        ids[2].ends_with("_3") || ids[2].ends_with("_2")
    });
    assert!(met, "no two backups fell into one second");
}
