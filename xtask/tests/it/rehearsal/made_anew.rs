//! What has the name, the type or the place of something that was dropped is not it.

use serde_json::json;

use super::{cases, migrate};
use crate::setup::{Case, says};

fn with_tags(name: &str, second: &str) -> Vec<Case> {
    let cases = cases(name, second);
    for case in &cases {
        case.query("CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL);");
        case.query("INSERT INTO tags VALUES (1, 'a'), (2, 'b');");
    }
    cases
}

const PHONES: &str = "authors.phone: the column is dropped, with 1 value";

const LOSSES: [(&str, &str, &str); 6] = [
    (
        "ALTER TABLE authors DROP COLUMN phone; \
         ALTER TABLE authors ADD COLUMN phone TEXT NOT NULL DEFAULT '';",
        PHONES,
        "authors.phone",
    ),
    (
        "ALTER TABLE authors DROP COLUMN phone; \
         ALTER TABLE authors ADD COLUMN email TEXT NOT NULL DEFAULT '';",
        PHONES,
        "authors.phone",
    ),
    (
        "ALTER TABLE authors RENAME TO people; ALTER TABLE people DROP COLUMN phone; \
         ALTER TABLE people ADD COLUMN phone TEXT NOT NULL DEFAULT ''; \
         ALTER TABLE people RENAME TO authors;",
        PHONES,
        "authors.phone",
    ),
    (
        "ALTER TABLE authors ADD COLUMN other TEXT NOT NULL DEFAULT ''; \
         ALTER TABLE authors DROP COLUMN phone; \
         ALTER TABLE authors RENAME COLUMN other TO phone;",
        PHONES,
        "authors.phone",
    ),
    (
        "DROP TABLE tags; CREATE TABLE labels (id INTEGER PRIMARY KEY, name TEXT NOT NULL); \
         INSERT INTO labels VALUES (7, 'x'), (8, 'y'), (9, 'z');",
        "tags: the table is dropped, with 2 rows",
        "tags",
    ),
    (
        "ALTER TABLE authors RENAME COLUMN phone TO mobile; UPDATE authors SET mobile = NULL;",
        "authors.phone: 1 of 1 values are gone",
        "authors.phone",
    ),
];

#[test]
fn what_was_dropped_is_gone_whatever_is_made_in_its_place() {
    for (second, said, names) in LOSSES {
        for case in with_tags("anew", second) {
            let refused = migrate(&case, &[]).expect_code(3);
            says(&refused, &[said]);
            assert_eq!(
                case.query("SELECT phone FROM authors WHERE id = 1; SELECT count(*) FROM tags;"),
                ["12", "2"],
                "{second}"
            );
            migrate(&case, &["--accept-loss", names]).expect_code(0);
        }
    }
}

/// Through several names, and through those of others.
const RENAMES: [&str; 5] = [
    "ALTER TABLE tags RENAME TO passing; ALTER TABLE passing RENAME TO labels;",
    "ALTER TABLE authors RENAME phone TO passing; ALTER TABLE authors RENAME passing TO mobile;",
    "ALTER TABLE authors RENAME COLUMN name TO passing; \
     ALTER TABLE authors RENAME COLUMN phone TO name; \
     ALTER TABLE authors RENAME COLUMN passing TO phone;",
    "ALTER TABLE tags RENAME TO labels; ALTER TABLE labels RENAME COLUMN name TO word; \
     ALTER TABLE labels ADD COLUMN name TEXT;",
    "ALTER TABLE tags RENAME TO tags_old; CREATE TABLE tags (id INTEGER, name TEXT); \
     INSERT INTO tags SELECT id, name FROM tags_old; DROP TABLE tags_old;",
];

#[test]
fn what_was_renamed_is_still_it() {
    for second in RENAMES {
        for case in with_tags("renames", second) {
            migrate(&case, &[]).expect_code(0);
        }
    }
}

/// As many rows under the old name, or more, are not its rows.
#[test]
fn another_table_under_the_name_of_a_dropped_one_is_not_it() {
    let cases = |name, second| {
        let cases = with_tags(name, second);
        for case in &cases {
            case.query("CREATE TABLE more (id INTEGER, name TEXT);");
            case.query("INSERT INTO more VALUES (1, 'x'), (2, 'y'), (3, 'z');");
        }
        cases
    };
    let refills = "DROP TABLE tags; ALTER TABLE more RENAME TO tags; \
        CREATE TABLE more (id INTEGER, name TEXT); \
        INSERT INTO more VALUES (4, 'x'), (5, 'y'), (6, 'z'), (7, 'z');";
    for case in cases("refilled", refills) {
        let refused = migrate(&case, &[]).expect_code(3);
        says(&refused, &["tags: the table is dropped, with 2 rows"]);
        assert!(!refused.stderr.contains("\n  more: "), "{refused}");
    }
    let swaps = "ALTER TABLE tags RENAME TO passing; ALTER TABLE more RENAME TO tags; \
        ALTER TABLE passing RENAME TO more;";
    for case in cases("swapped", swaps) {
        let document = case.migrate();
        let effect = document["rehearsal"]["effect"].to_string();
        assert_eq!(effect.matches("renamed_to").count(), 2, "{effect}");
    }
}

/// One file renames, the next one drops.
#[test]
fn renames_are_followed_from_file_to_file() {
    for mut case in with_tags("files", "ALTER TABLE tags RENAME TO labels;") {
        case.project = (case.project).migration("3_third.sql", "DROP TABLE labels;");
        let refused = migrate(&case, &[]).expect_code(3);
        says(&refused, &["tags: the table is dropped, with 2 rows"]);
        case.project.write(
            "migrations/3_third.sql",
            "ALTER TABLE labels DROP COLUMN name;",
        );
        let refused = migrate(&case, &[]).expect_code(3);
        says(
            &refused,
            &["tags.name: the column is dropped, with 2 values"],
        );
    }
}

#[test]
fn a_cast_of_a_column_that_is_renamed_is_seen() {
    let second = "ALTER TABLE authors RENAME COLUMN name TO called; \
        ALTER TABLE authors ALTER COLUMN called TYPE varchar(1) USING left(called, 1);";
    for case in cases("renamed_cast", second) {
        if case.server.is_some() {
            let said = "authors.name: 2 values are cast from character varying(80)";
            says(&migrate(&case, &[]).expect_code(3), &[said]);
        }
    }
}

/// SQLite takes names in any letters and quotes; and a virtual table takes its own tables along.
#[test]
fn on_sqlite_renames_are_found_however_they_are_written() {
    let case = cases(
        "",
        "alter table MAIN.[Authors] rename column \"PHONE\" to 'mobile';\n\
         /* ; */ ALTER TABLE `docs` RENAME TO papers; ALTER TABLE Books RENAME TO books2;",
    )
    .remove(0);
    case.query("CREATE VIRTUAL TABLE docs USING fts5(body); INSERT INTO docs VALUES ('x');");
    case.query("CREATE TABLE docs_of_ours (id INTEGER); INSERT INTO docs_of_ours VALUES (1);");
    let document = case.migrate();
    let tables = document["rehearsal"]["effect"]["tables"].as_array();
    let renamed: Vec<_> = tables
        .expect("a list")
        .iter()
        .filter(|table| table["kind"] == json!(null) || table["kind"] == "table")
        .filter_map(|table| table["renamed_to"].as_str())
        .collect();
    assert!(renamed.contains(&"papers_content"), "{document:#}");
    assert!(renamed.contains(&"books2"), "{document:#}");
    assert!(!renamed.contains(&"papers_of_ours"), "{document:#}");
}

/// A table that only this connection sees has the name first.
#[test]
fn on_sqlite_a_temporary_table_is_another_one() {
    let case = with_tags(
        "",
        "CREATE TEMP TABLE tags (id INTEGER, name TEXT); ALTER TABLE tags RENAME TO labels; \
         DROP TABLE main.tags; CREATE TABLE main.labels (id INTEGER, name TEXT); \
         INSERT INTO main.labels VALUES (1, 'x'), (2, 'y');",
    )
    .remove(0);
    let refused = migrate(&case, &[]).expect_code(3);
    says(&refused, &["tags: the table is dropped, with 2 rows"]);
}
