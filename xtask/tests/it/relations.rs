//! A backup knows what its tables look like, and a restore compares.

use std::fs;

use serde_json::{Value, json};

use crate::setup::{Case, sealed, text};

#[track_caller]
fn manifest(case: &Case, id: &str) -> Value {
    serde_json::from_slice(&fs::read(case.manifest(id)).expect("read it")).expect("JSON")
}

#[track_caller]
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let list = list.as_array().expect("a list");
    let found = list.iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {list:#?}"))
}

#[test]
fn a_manifest_describes_the_tables_of_postgresql() {
    let Some(case) = Case::postgres("relations") else {
        return;
    };
    case.query(
        "CREATE SCHEMA shop;
         CREATE TABLE shop.books (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
           title varchar(80) NOT NULL DEFAULT 'none', price numeric(10, 2) CHECK (price > 0));
         CREATE INDEX books_by_title ON shop.books (lower(title));
         CREATE VIEW shop.cheap AS SELECT id FROM shop.books WHERE price < 5;
         CREATE MATERIALIZED VIEW titles AS SELECT title FROM shop.books;
         CREATE MATERIALIZED VIEW empty AS SELECT title FROM shop.books WITH NO DATA;
         CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER touched BEFORE UPDATE ON shop.books FOR EACH ROW EXECUTE FUNCTION noop();
         CREATE TABLE days (day date NOT NULL) PARTITION BY RANGE (day);
         CREATE TABLE days_26 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
         CREATE TABLE days_27 PARTITION OF days FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
         INSERT INTO shop.books (title, price) VALUES ('a', 3), ('b', 7);
         INSERT INTO days VALUES ('2026-05-05'), ('2026-06-06'), ('2027-01-01');
         REFRESH MATERIALIZED VIEW titles;",
    );
    let manifest = manifest(&case, &case.backup());

    let rows = |name| &named(&manifest["tables"], name)["rows"];
    assert_eq!(rows("books"), 2);
    assert_eq!((rows("days"), rows("days_26")), (&json!(3), &json!(2)));
    assert_eq!((rows("days_27"), rows("titles")), (&json!(1), &json!(2)));
    assert_eq!(named(&manifest["tables"], "days_26")["kind"], "partition");
    let views = &named(&manifest["tables"], "titles")["kind"];
    assert_eq!(*views, "materialized_view");
    let tables = manifest["tables"].as_array().expect("a list");
    assert!(
        tables.iter().all(|table| table["name"] != "empty"),
        "{tables:#?}"
    );

    let books = named(&manifest["relations"], "books");
    assert_eq!(books["schema"], "shop");
    let columns = json!([
        {"name": "id", "type": "bigint", "not_null": true,
            "default": "generated always as identity"},
        {"name": "title", "type": "character varying(80)", "not_null": true,
            "default": "'none'::character varying"},
        {"name": "price", "type": "numeric(10,2)"},
    ]);
    assert_eq!(books["columns"], columns);
    let definition = |list: &str, name| text(named(&books[list], name), "/definition").to_owned();
    assert_eq!(definition("constraints", "books_pkey"), "PRIMARY KEY (id)");
    assert!(definition("indexes", "books_by_title").contains("lower((title)::text)"));
    assert!(definition("triggers", "touched").contains("EXECUTE FUNCTION public.noop()"));
    let cheap = named(&manifest["relations"], "cheap");
    assert_eq!(cheap["kind"], "view");
    assert!(text(cheap, "/definition").contains("FROM shop.books"));
}

#[test]
fn a_manifest_describes_the_tables_of_sqlite() {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
         CREATE TABLE books (id INTEGER PRIMARY KEY, \
           author INTEGER NOT NULL DEFAULT 1 REFERENCES authors (id) ON DELETE CASCADE);
         CREATE INDEX books_by_author ON books (author);
         CREATE VIEW broken AS SELECT a FROM nowhere;
         CREATE TRIGGER touched AFTER UPDATE ON books BEGIN SELECT 1; END;",
    );
    let manifest = manifest(&case, &case.backup());
    let books = named(&manifest["relations"], "books");
    let columns = json!([
        {"name": "id", "type": "integer"},
        {"name": "author", "type": "integer", "not_null": true, "default": "1"},
    ]);
    assert_eq!(books["columns"], columns);
    let key = text(&books["constraints"], "/0/definition");
    assert!(
        key.contains("references authors (id)") && key.contains("on delete CASCADE"),
        "{key}"
    );
    named(&books["indexes"], "books_by_author");
    named(&books["triggers"], "touched");
    let authors = named(&manifest["relations"], "authors");
    assert_eq!(text(&authors["indexes"], "/0/definition"), "unique (name)");
    let broken = named(&manifest["relations"], "broken");
    assert_eq!(
        (&broken["kind"], &broken["columns"]),
        (&json!("view"), &json!([]))
    );
}

/// The manifest is the measure: what was built must look like it, not only count like it.
#[test]
fn what_looks_otherwise_than_the_manifest_says_is_not_restored() {
    for case in Case::each("looks") {
        case.query("CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT);");
        case.query("CREATE INDEX by_title ON books (title); INSERT INTO books VALUES (1, 'a');");
        let id = case.backup();
        let mut said = manifest(&case, &id);
        let is_books = |relation: &&mut Value| relation["name"] == "books";
        let mut relations = said["relations"].as_array_mut().expect("a list").iter_mut();
        let books = relations.find(is_books).expect("books");
        books["columns"][1]["type"] = json!("uuid");
        books["indexes"][0]["name"] = json!("another");
        fs::write(case.manifest(&id), sealed(said)).expect("write it");
        case.query("INSERT INTO books VALUES (2, 'b');");

        let refused = case
            .project
            .run(["db", "restore", &id, "--yes"])
            .expect_code(4);
        let column = "the column `title` is text, the manifest says uuid";
        for part in [column, "the index `another` is missing"] {
            assert!(refused.stderr.contains(part), "no `{part}` in\n{refused}");
        }
        assert_eq!(case.query("SELECT count(*) FROM books;"), ["2"]);
    }
}
