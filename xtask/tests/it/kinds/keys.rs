//! Foreign keys to what a dump does not hold, of partitioned tables and in text as well.

use serde_json::Value;

use super::{drilled, elsewhere, id, refused, restored_into, taken};
use crate::encryption::Pair;
use crate::exec;
use crate::exec::is_missing;
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

/// Also of a folder of several sessions, which is packed, and of what is encrypted.
#[test]
fn rows_go_into_tables_by_the_hint() {
    for case in Case::each("keys_hint") {
        case.query(
            "CREATE TABLE t (id int); CREATE TABLE u (id int); \
             INSERT INTO t VALUES (1), (2); INSERT INTO u VALUES (3);",
        );
        let schema = taken(&case, &["--schema-only"]);
        let pair = Pair::new();
        pair.file(&case.project, "key.txt");
        let recipient = ["--recipient", &pair.public];
        for (jobs, sealed) in [(false, false), (true, false), (false, true), (true, true)] {
            if jobs && case.server.is_none() || sealed && is_missing("age") {
                continue;
            }
            let jobs: &[&str] = if jobs { &["--jobs", "2"] } else { &[] };
            let sealed: &[&str] = if sealed { &recipient } else { &[] };
            let rows = taken(&case, &[&["--data-only"], jobs, sealed].concat());
            let output = drilled(&case, id(&rows)).expect_code(3);
            let (url, other) = elsewhere(&case, &format!("{} {}", jobs.len(), sealed.len()));
            restored_into(&case, id(&schema), &url);
            if by_hint(
                &case,
                &output,
                "there already, whose triggers fire: ",
                &other,
            ) {
                let count = "SELECT count(*) FROM t; SELECT id FROM u;";
                assert_eq!(other.query(count), case.query(count));
            }
        }
    }
}

/// Does what the hint says behind these words, in a shell; not where a program is missing.
pub fn by_hint(case: &Case, output: &exec::Output, words: &str, into: &Case) -> bool {
    let program = if into.server.is_none() {
        "sqlite3"
    } else {
        "tar"
    };
    if is_missing("zstd") || is_missing(program) {
        return false;
    }
    let (_, command) = output
        .stderr
        .split_once(words)
        .expect("a command in a hint");
    let command = command.lines().next().expect("a line");
    let key = case.project.path().join("key.txt");
    let mut command = command.replace("KEY", &format!("'{}'", key.display()));
    let mut shell = std::process::Command::new("/bin/sh");
    if let Some(live) = &into.server {
        let bin = live.cluster().bin().display();
        command = command
            .replace("pg_restore", &format!("'{bin}/pg_restore'"))
            .replace(" psql ", &format!(" '{bin}/psql' "))
            .replace("URL", &format!("'{}'", live.name()));
        let client = live.client("psql");
        let set = client.get_envs();
        shell.envs(set.filter_map(|(name, value)| Some((name, value?))));
    } else {
        let file = into.project.sqlite_path();
        command = command
            .replace("FILE", &format!("'{}'", file.display()))
            // As a new one begins.
            .replace("sqlite3 ", "sqlite3 -cmd '.dbconfig defensive on' ");
    }
    shell.args(["-c", &command]).current_dir(into.project.tmp());
    exec::run(&mut shell, None).expect_code(0);
    true
}

/// SQLite writes text, whose foreign keys stand in it: rows of a table whose parents stayed behind.
#[test]
fn keys_of_sqlite_that_lead_to_nothing_are_named_and_not_tried() {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE Authors (id INTEGER PRIMARY KEY, born INT, UNIQUE (id, born));
         CREATE TABLE books (id INTEGER PRIMARY KEY, author INT, born INT, sequel INT REFERENCES books,
           FOREIGN KEY (author, born) REFERENCES AUTHORS (id, born));
         INSERT INTO authors VALUES (1, 1815); INSERT INTO books VALUES (7, 1, 1815, 7);",
    );
    let gaps: [&[&str]; 5] = [
        &["--table", "books"],
        &["--exclude-table", "authors"],
        &["--exclude-table-data", "authors"],
        &["--schema-only", "--table", "books"],
        &["--data-only", "--table", "books"],
    ];
    for flags in gaps {
        let arguments = [&["db", "backup", "--json"], flags].concat();
        let output = case.project.run(arguments).expect_code(0);
        says(
            &output,
            &["the foreign key `(author, born) → Authors` of `books` leads to nothing"],
        );
        let document = output.json();
        let manifest = &document["backup"];
        assert_eq!(
            left_out(manifest),
            ["(author, born) → Authors"],
            "{flags:?}"
        );
        if flags.contains(&"--data-only") {
            continue;
        }
        let alone = ["cannot be restored alone: it needs table Authors with its rows"];
        refused(drilled(&case, id(manifest)), 3, &alone);
        let (url, other) = elsewhere(&case, "gap");
        let restore = ["db", "restore", id(manifest), "--into", &url, "--yes"];
        let output = case.project.run(restore).expect_code(3);
        says(&output, &alone);
        if by_hint(&case, &output, "by hand: ", &other) {
            let rows = if flags.contains(&"--schema-only") {
                "0"
            } else {
                "1"
            };
            assert_eq!(other.query("SELECT count(*) FROM books;"), [rows]);
        }
    }
    let whole: [&[&str]; 4] = [
        &["--schema-only"],
        &["--format", "plain"],
        &["--table", "books", "--table", "authors"],
        &["--exclude-table-data", "*"],
    ];
    for flags in whole {
        let manifest = taken(&case, flags);
        assert_eq!(left_out(&manifest), [""; 0], "{flags:?}");
        drilled(&case, id(&manifest)).expect_code(0);
    }
}
