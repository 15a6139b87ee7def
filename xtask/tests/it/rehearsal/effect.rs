//! What a rehearsal shows of tables: what is new, another one, dropped, not valid.

use serde_json::{Value, json};

use super::{cases, migrate};
use crate::setup::{Case, says};

/// Indexes and a trigger that the second migration finds, and makes.
fn sql(case: &Case, before: bool) -> &'static str {
    match (case.server.is_some(), before) {
        (_, true) => "CREATE INDEX by_title ON books (title);",
        (false, false) => {
            "DROP INDEX by_title; CREATE INDEX by_author ON books (author); \
             CREATE TRIGGER noisy AFTER INSERT ON books BEGIN SELECT 1; END; \
             CREATE VIEW titles AS SELECT title FROM books;"
        }
        (true, false) => {
            "DROP INDEX by_title; CREATE INDEX by_author ON books (author); \
             CREATE FUNCTION noise() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN RETURN NEW; END $$; \
             CREATE TRIGGER noisy AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION noise(); \
             ALTER TABLE books DROP CONSTRAINT books_author_fkey; \
             ALTER TABLE books ADD CONSTRAINT titled CHECK (title <> ''); \
             CREATE VIEW titles AS SELECT title FROM books;"
        }
    }
}

#[track_caller]
fn changes<'a>(document: &'a Value, table: &str) -> Vec<&'a str> {
    let tables = document["rehearsal"]["effect"]["tables"].as_array();
    let mut tables = tables.expect("a list").iter();
    let found = tables.find(|found| found["name"] == table);
    let changes = found.and_then(|found| found["changes"].as_array());
    let changes = changes.unwrap_or_else(|| panic!("no {table} in {document:#}"));
    changes.iter().filter_map(Value::as_str).collect()
}

#[test]
fn indexes_constraints_triggers_and_views_are_named() {
    for case in cases("effect", "SELECT 1;") {
        case.query(sql(&case, true));
        case.project
            .write("migrations/2_second.sql", sql(&case, false));
        let document = case.migrate();
        let found = changes(&document, "books");
        let mut expected = vec![
            "index by_title is dropped",
            "new index by_author",
            "new trigger noisy",
        ];
        if case.server.is_some() {
            expected.extend([
                "constraint books_author_fkey is dropped",
                "new constraint titled",
            ]);
        }
        for change in &expected {
            assert!(found.contains(change), "no {change} in {found:?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert_eq!(changes(&document, "titles"), ["new view"]);
        assert_eq!(document["rehearsal"]["effect"]["losses"], json!([]));
    }
}

/// They are PostgreSQL's alone: an index of a partitioned table that some partition lacks is one.
#[test]
fn an_index_that_is_not_valid_afterwards_is_named() {
    let Some(mut case) = Case::postgres("effect_invalid") else {
        return;
    };
    case.project = case.project.migration(
        "1_first.sql",
        "CREATE TABLE parts (id int) PARTITION BY RANGE (id); \
         CREATE TABLE one PARTITION OF parts DEFAULT; CREATE INDEX half ON ONLY parts (id);",
    );
    let output = migrate(&case, &["--json"]).expect_code(0);
    says(
        &output,
        &["warning: the index `half` is not valid afterwards"],
    );
    let invalid = &output.json()["rehearsal"]["effect"]["invalid_indexes"];
    assert_eq!(invalid, &json!(["half"]));
}

#[test]
fn large_objects_that_are_gone_are_a_loss() {
    let Some(mut case) = Case::postgres("effect_large") else {
        return;
    };
    case.query("SELECT lo_from_bytea(4711, 'abc'), lo_from_bytea(4712, 'abc');");
    case.project = (case.project).migration("1_less.sql", "SELECT lo_unlink(4711);");
    let refused = migrate(&case, &[]).expect_code(3);
    let name = "pg_catalog.pg_largeobject";
    says(
        &refused,
        &[&format!("{name}: 1 of 2 large objects are gone")],
    );
    let count = "SELECT count(*) FROM pg_largeobject_metadata;";
    assert_eq!(case.query(count), ["2"]);
    migrate(&case, &["--accept-loss", name]).expect_code(0);
    assert_eq!(case.query(count), ["1"]);
}
