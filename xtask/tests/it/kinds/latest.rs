//! `latest` is the newest full one, everywhere; no other one takes the place of a database.

use serde_json::Value;

use super::{elsewhere, id, refused, restored_into, taken};
use crate::setup::{Case, says, text};

const CREATE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT); \
                      INSERT INTO t VALUES (1, 'one'), (2, 'two');";
const COUNT: &str = "SELECT count(*) FROM t;";

const KINDS: [&[&str]; 5] = [
    &["--schema-only"],
    &["--data-only"],
    &["--format", "plain"],
    &["--table", "t"],
    &["--schema-only", "--format", "plain", "--exclude-table", "t"],
];

#[test]
fn no_other_kind_is_the_latest_or_takes_the_place_of_a_database() {
    for case in Case::each("kind_latest") {
        case.query(CREATE);
        let full = case.backup();
        for flags in KINDS {
            let manifest = taken(&case, flags);
            let other = id(&manifest);
            for more in [&["--yes"][..], &["--force"], &["--force", "--yes"]] {
                let restore = [&["db", "restore", other], more].concat();
                let output = case.project.run(restore);
                refused(
                    output,
                    3,
                    &[other, "never takes the place of a database", "hint: "],
                );
            }
            let status = case.project.json(["db", "status"]);
            assert_eq!(text(&status, "/latest/id"), full, "{flags:?}");
            assert_eq!(text(&status, "/newer/id"), other, "{flags:?}");
        }
        assert_eq!(case.query(COUNT), ["2"]);

        case.query("DELETE FROM t;");
        let verified = case.project.json(["db", "verify"]);
        assert_eq!(text(&verified, "/verified/0/id"), full);
        let drilled = case.project.json(["db", "drill"]);
        assert_eq!(text(&drilled, "/drilled/0/id"), full);
        let diff = case.project.json(["db", "diff", "latest"]);
        assert_eq!(text(&diff, "/a/backup"), full);
        let restored = case.restore("latest");
        assert_eq!(text(&restored, "/restored"), full);
        assert_eq!(case.query(COUNT), ["2"]);
        // The safety backup, and what undoes a restore, are full ones.
        let safety = case.project.json(["db", "list"]);
        assert_eq!(safety["backups"][0]["manifest"]["kind"], Value::Null);
    }
}

#[test]
fn without_a_full_one_there_is_no_latest() {
    for case in Case::each("kind_only") {
        case.query(CREATE);
        taken(&case, &["--schema-only"]);
        for verb in ["verify", "drill"] {
            let output = case.project.run(["db", verb]);
            refused(output, 4, &["no full backup"]);
        }
        refused(
            case.project.run(["db", "restore", "latest", "--yes"]),
            4,
            &["no full backup"],
        );
        let status = case.project.json(["db", "status"]);
        assert_eq!(status["latest"], Value::Null);
    }
}

/// The kind is seen wherever a backup is.
#[test]
fn every_list_says_the_kind() {
    for case in Case::each("kind_lists") {
        case.query(CREATE);
        let manifest = taken(&case, &["--schema-only", "noon"]);
        let id = id(&manifest);
        assert!(id.ends_with("_schema-only_noon"), "{id}");
        assert_eq!(manifest["kind"]["only"], "schema");
        assert_eq!(manifest["format"], 2);
        let listed = case.project.run(["db", "list"]).expect_code(0);
        assert!(listed.stdout.contains("manual (schema-only)"), "{listed}");
        let status = case.project.run(["db", "status"]).expect_code(0);
        assert!(status.stdout.contains("(schema-only)"), "{status}");
        for (verb, list) in [("verify", "verified"), ("drill", "drilled")] {
            let document = case.project.json(["db", verb, id]);
            assert_eq!(document[list][0]["kind"], "schema-only", "{document}");
        }
        let diff = case.project.json(["db", "diff", id]);
        assert_eq!(diff["a"]["kind"], "schema-only");
        let shown = case.project.run(["db", "diff", id]).expect_code(0);
        says(&shown, &["A is schema-only", "no rows"]);
    }
}

/// A full one is written as it was before there were kinds.
#[test]
fn a_full_one_says_nothing_of_kinds() {
    for case in Case::each("kind_full") {
        case.query(CREATE);
        let manifest = taken(&case, &[]);
        assert_eq!(manifest["kind"], Value::Null);
        assert_eq!(manifest["globals"], Value::Null);
        assert_eq!(manifest["format"], 1);
    }
}

#[test]
fn a_label_never_looks_like_a_kind() {
    let case = Case::sqlite();
    case.query(CREATE);
    for label in ["plain", "schema-only", "partial_x"] {
        let output = case.project.run(["db", "backup", label]);
        refused(output, 2, &["a kind of dump", "cargo xtask db backup my-"]);
    }
    for label in ["plainly", "my-plain", "x_plain"] {
        let id = taken(&case, &[label]);
        assert_eq!(id["kind"], Value::Null);
    }
}

/// Into nothing only: what is there is never replaced, whoever says so.
#[test]
fn into_a_database_that_holds_something_nothing_is_restored() {
    for case in Case::each("kind_into") {
        case.query(CREATE);
        let manifest = taken(&case, &["--table", "t"]);
        let (url, other) = elsewhere(&case, "into");
        restored_into(&case, id(&manifest), &url);
        assert_eq!(other.query(COUNT), ["2"]);
        other.query("DELETE FROM t;");
        for more in ["--yes", "--force"] {
            let restore = ["db", "restore", id(&manifest), "--into", &url, more];
            refused(case.project.run(restore), 3, &["replaces nothing"]);
        }
        assert_eq!(other.query(COUNT), ["0"]);
    }
}
