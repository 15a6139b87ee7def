//! What differs between two backups, or a backup and the database.

use serde_json::{Value, json};

use crate::exec::Output;
use crate::fingerprints::chinook;
use crate::setup::{Case, says, text};

mod rows;

const FIRST: &str = "\
CREATE TABLE authors (id INTEGER PRIMARY KEY, name VARCHAR(80) NOT NULL, phone TEXT);
CREATE TABLE books (id INTEGER PRIMARY KEY, author INTEGER NOT NULL \
  REFERENCES authors (id), title TEXT);
CREATE INDEX by_title ON books (title);
CREATE VIEW titles AS SELECT title FROM books;
INSERT INTO authors VALUES (1, 'a', '12'), (2, 'b', NULL);
INSERT INTO books VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, 'z');";

const SECOND: &str = "\
DROP VIEW titles;
CREATE VIEW titles AS SELECT id, title FROM books;
DROP INDEX by_title;
CREATE INDEX by_author ON books (author);
ALTER TABLE books ADD COLUMN isbn TEXT;
ALTER TABLE authors RENAME COLUMN phone TO fax;
CREATE TABLE shops (id INTEGER PRIMARY KEY);
DELETE FROM books WHERE id = 3;";

fn cases(name: &str) -> Vec<Case> {
    let with_first = |mut case: Case| {
        case.project = case.project.migration("1_first.sql", FIRST);
        case.migrate();
        case
    };
    Case::each(name).into_iter().map(with_first).collect()
}

#[track_caller]
fn backup(case: &Case, more: &[&str]) -> String {
    let taken = case.project.json(["db", "backup"].iter().chain(more));
    text(&taken, "/backup/id").to_owned()
}

#[track_caller]
fn diff(case: &Case, names: &[&str]) -> Value {
    case.project.json(["db", "diff"].iter().chain(names))
}

#[track_caller]
fn screen(case: &Case, names: &[&str]) -> Output {
    let output = case.project.run(["db", "diff"].iter().chain(names));
    output.expect_code(0)
}

#[track_caller]
fn table<'a>(document: &'a Value, name: &str) -> &'a Value {
    let mut tables = document["tables"].as_array().expect("a list").iter();
    (tables.find(|table| table["name"] == name)).unwrap_or_else(|| panic!("{document:#}"))
}

#[test]
fn what_a_migration_changed_is_named() {
    for mut case in cases("diff_migration") {
        let before = backup(&case, &[]);
        case.project = case.project.migration("2_second.sql", SECOND);
        let yes = ["db", "migrate-safe", "--yes", "--accept-loss", "books"];
        case.project.json(yes);
        let document = diff(&case, &[&before]);
        assert_eq!(
            (text(&document, "/a/backup"), &document["differs"]),
            (&*before, &json!(true))
        );
        assert_eq!(
            (&document["b"]["backup"], &document["schema_compared"]),
            (&Value::Null, &json!(true))
        );
        let books = table(&document, "books");
        assert_eq!((&books["rows_a"], &books["rows_b"]), (&json!(3), &json!(2)));
        assert_eq!(
            books["changes"],
            json!([
                "column isbn only in B: text",
                "index by_title only in A",
                "index by_author only in B"
            ])
        );
        assert_eq!(books["content"], "differs");
        assert_eq!(
            table(&document, "authors")["changes"],
            json!(["column phone only in A: text", "column fax only in B: text"])
        );
        assert_eq!(table(&document, "shops")["changes"], json!(["only in B"]));
        assert_eq!(table(&document, "shops")["rows_a"], Value::Null);
        let titles = &table(&document, "titles")["changes"];
        assert!(
            titles
                .as_array()
                .expect("a list")
                .iter()
                .any(|change| text(change, "").starts_with("column id only in B")),
            "{titles}"
        );
        assert_eq!(document["others"], json!(["migration 2 second: only in B"]));

        let shown = screen(&case, &[&before, "live"]);
        for part in [
            "A  backup_",
            "as it is now",
            "index by_title only in A",
            "shops",
            "titles (view)",
            "migration 2 second: only in B",
        ] {
            assert!(shown.stdout.contains(part), "no {part} in {shown}");
        }
        // The other way round.
        let after = backup(&case, &[]);
        let document = diff(&case, &[&after, &before]);
        assert_eq!(table(&document, "shops")["changes"], json!(["only in A"]));
        assert_eq!(document["others"], json!(["migration 2 second: only in A"]));
    }
}

#[test]
fn when_nothing_differs_it_is_said() {
    for case in cases("diff_same") {
        let first = backup(&case, &[]);
        let second = backup(&case, &[]);
        let shown = screen(&case, &[&first, &second]);
        assert!(
            shown
                .stdout
                .contains("nothing differs in tables and numbers of rows"),
            "{shown}"
        );
        assert!(shown.stdout.contains("content not compared"), "{shown}");
        says(&shown, &["--fingerprint"]);
        let with = backup(&case, &["--fingerprint"]);
        let shown = screen(&case, &["latest", "live"]);
        assert!(
            shown.stdout.contains(&with) && shown.stdout.contains("\nnothing differs\n"),
            "{shown}"
        );
        assert!(shown.stdout.contains("same content"), "{shown}");
        assert!(!shown.stderr.contains("--fingerprint"), "{shown}");
        // What came back is what it was.
        case.restore(&with);
        assert_eq!(diff(&case, &[&with])["differs"], false);
    }
}

/// As many rows: only a fingerprint tells.
#[test]
fn one_value_of_a_music_store() {
    for case in chinook("diff_store") {
        let plain = backup(&case, &[]);
        let with = backup(&case, &["--fingerprint"]);
        let (name, sql) = match case.server {
            None => (
                "Genre",
                "UPDATE Genre SET Name = Name || '!' WHERE GenreId = 1;",
            ),
            Some(_) => (
                "genre",
                "UPDATE genre SET name = name || '!' WHERE genre_id = 1;",
            ),
        };
        case.query(sql);
        assert_eq!(diff(&case, &[&plain])["differs"], false);
        for names in [[with.as_str(), "live"], ["live", with.as_str()]] {
            let document = diff(&case, &names);
            assert_eq!(table(&document, name)["content"], "differs");
            let tables = document["tables"].as_array().expect("a list");
            let same = tables.iter().filter(|table| table["content"] == "same");
            assert_eq!(same.count(), 10, "{document:#}");
        }
        assert!(screen(&case, &[&with]).stdout.contains("content differs"));
    }
}

/// Manifests say it all: neither a dump nor, for two ids, the database is needed.
#[test]
fn no_dump_is_read_and_nothing_is_written() {
    for case in cases("diff_reads") {
        let first = backup(&case, &[]);
        case.query("DELETE FROM books;");
        let second = backup(&case, &[]);
        for id in [&first, &second] {
            std::fs::remove_file(case.dump(id)).expect("remove the dump");
        }
        let files = case.project.vault_files();
        let log = case.project.json(["db", "log"]);
        let away = [
            "--database-url",
            match case.server {
                None => "sqlite://nowhere/at-all.db",
                Some(_) => "postgres://127.0.0.1:1/nowhere",
            },
        ];
        let document = diff(
            &case,
            &[&[first.as_str(), second.as_str()], &away[..]].concat(),
        );
        assert_eq!(table(&document, "books")["rows_b"], 0);
        assert_eq!(case.project.vault_files(), files);
        assert_eq!(case.project.json(["db", "log"]), log);
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let id = backup(&case, &[]);
    let refused = |names: &[&str], code: u8, parts: &[&str]| {
        let output = case.project.run(["db", "diff"].iter().chain(names));
        says(&output.expect_code(code.into()), parts);
    };
    refused(&["live"], 2, &["both of them are the live database"]);
    refused(
        &["backup_1999"],
        4,
        &["no backup has `backup_1999` in its id"],
    );
    refused(&[&id, "sqlite://x.db"], 2, &["a database URL stands where"]);
    if let Some(other) = Case::postgres("diff_other") {
        let url = other.server.as_ref().expect("a server").url();
        refused(
            &[&id, "live", "--database-url", &url],
            2,
            &["nothing in them can be compared"],
        );
    }
}
