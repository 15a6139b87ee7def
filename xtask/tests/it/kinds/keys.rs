//! Foreign keys to what a dump does not hold, of partitioned tables and in text as well.

use serde_json::Value;

use super::{drilled, elsewhere, id, refused, restored_into, taken};
use crate::setup::{Case, says, text};

const KEYS: &str =
    "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 ORDER BY 1;";

fn visits(name: &str) -> Option<Case> {
    let case = Case::postgres(name)?;
    case.query(
        "CREATE SCHEMA s; CREATE TABLE s.people (id int PRIMARY KEY); \
         CREATE TABLE s.visits (at int PRIMARY KEY, who int CONSTRAINT visits_who REFERENCES s.people) \
           PARTITION BY RANGE (at); \
         CREATE TABLE s.visits_1 PARTITION OF s.visits FOR VALUES FROM (0) TO (10); \
         CREATE TABLE s.visits_2 PARTITION OF s.visits FOR VALUES FROM (10) TO (20); \
         CREATE TABLE s.bills (of_visit int CONSTRAINT bills_visit REFERENCES s.visits); \
         INSERT INTO s.people VALUES (1); INSERT INTO s.visits VALUES (1, 1), (11, 1); \
         INSERT INTO s.bills VALUES (1), (11);",
    );
    Some(case)
}

fn left_out(manifest: &Value) -> Vec<&str> {
    let keys = manifest["kind"]["foreign_keys_left_out"].as_array();
    keys.into_iter()
        .flatten()
        .map(|key| text(key, "/name"))
        .collect()
}

#[test]
fn without_rows_no_key_has_a_gap() {
    let Some(case) = visits("keys_schema") else {
        return;
    };
    let manifest = taken(&case, &["--schema-only", "--schema", "s"]);
    assert_eq!(left_out(&manifest), [""; 0]);
    drilled(&case, id(&manifest)).expect_code(0);
    let (url, other) = elsewhere(&case, "schema");
    restored_into(&case, id(&manifest), &url);
    assert_eq!(other.query(KEYS), case.query(KEYS));
}

#[test]
fn keys_to_and_from_partitions_without_rows_are_left_out() {
    let Some(case) = visits("keys_parts") else {
        return;
    };
    for (pattern, gaps) in [
        ("s.visits*", vec!["bills_visit"]),
        // Some of them are enough.
        ("s.visits_2", vec!["bills_visit"]),
        ("s.people", vec!["visits_who"]),
        ("s.bills", vec![]),
    ] {
        let manifest = taken(&case, &["--exclude-table-data", pattern]);
        assert_eq!(left_out(&manifest), gaps, "{pattern}");
        drilled(&case, id(&manifest)).expect_code(0);
    }
}

/// Text is read as it is: what it refers to cannot be left out of it.
#[test]
fn text_with_a_gap_is_said_to_need_more_and_not_tried() {
    let Some(case) = visits("keys_plain") else {
        return;
    };
    let arguments = [
        "db", "backup", "--format", "plain", "--table", "s.bills", "--json",
    ];
    let output = case.project.run(arguments).expect_code(0);
    says(&output, &["bills_visit", "stands in the text"]);
    let document = output.json();
    let id = text(&document, "/backup/id");
    let alone = ["cannot be restored alone", "table s.visits with its rows"];
    refused(drilled(&case, id), 3, &alone);
    let (url, _) = elsewhere(&case, "plain");
    let restore = ["db", "restore", id, "--into", &url, "--yes"];
    refused(case.project.run(restore), 3, &alone);
}

/// Several sessions dump into a folder, which is packed: the hint unpacks it.
#[test]
fn rows_of_several_sessions_go_into_tables_by_the_hint() {
    let Some(case) = Case::postgres("keys_jobs") else {
        return;
    };
    case.query(
        "CREATE TABLE t (id int); CREATE TABLE u (id int); \
         INSERT INTO t VALUES (1), (2); INSERT INTO u VALUES (3);",
    );
    let schema = taken(&case, &["--schema-only"]);
    let rows = taken(&case, &["--data-only", "--jobs", "2"]);
    let output = drilled(&case, id(&rows)).expect_code(3);
    let (url, other) = elsewhere(&case, "jobs");
    restored_into(&case, id(&schema), &url);
    let hint = output
        .stderr
        .split_once("there already, ")
        .expect("a hint")
        .1;
    let (_, command) = hint.split_once(": ").expect("a command");
    let command = command.lines().next().expect("a line");
    let live = other.server.as_ref().expect("a server");
    let bin = live.cluster().bin().display().to_string();
    let command = command
        .replace("pg_restore", &format!("'{bin}/pg_restore'"))
        .replace("URL", &format!("'{}'", live.name()));
    let mut shell = std::process::Command::new("/bin/sh");
    let client = live.client("psql");
    let set = client
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    shell
        .envs(set)
        .args(["-c", &command])
        .current_dir(case.project.tmp());
    crate::exec::run(&mut shell, None).expect_code(0);
    let count = "SELECT count(*) FROM t; SELECT id FROM u;";
    assert_eq!(other.query(count), case.query(count));
}
