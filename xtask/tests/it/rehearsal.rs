//! Before a migration touches the live database, its backup has been restored beside it, compared,
//! and the migration has run there.

use serde_json::{Value, json};

use crate::exec::Output;
use crate::setup::{Case, says, text, versions};

mod drill;
mod effect;
mod elsewhere;
mod foreign;
mod gate;
mod made_anew;
mod partitions;
mod reach;
mod reviewed;
mod scratch;

const FIRST: &str = "\
CREATE TABLE authors (id INTEGER PRIMARY KEY, name VARCHAR(80) NOT NULL, phone TEXT);
CREATE TABLE books (id INTEGER PRIMARY KEY, author INTEGER NOT NULL \
  REFERENCES authors (id) ON DELETE CASCADE, title TEXT);
INSERT INTO authors VALUES (1, 'a', '12'), (2, 'b', NULL);
INSERT INTO books VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, 'z');";

/// Authors and books on each engine, and a second migration that is pending.
fn cases(name: &str, second: &str) -> Vec<Case> {
    let with_first = |mut case: Case| {
        case.project = case.project.migration("1_first.sql", FIRST);
        case.migrate();
        case.project = case.project.migration("2_second.sql", second);
        case
    };
    Case::each(name).into_iter().map(with_first).collect()
}

#[track_caller]
fn migrate(case: &Case, more: &[&str]) -> Output {
    let arguments = ["db", "migrate-safe", "--yes"].iter().chain(more);
    case.project.run(arguments)
}

/// Nothing but the live databases of the tests.
#[track_caller]
fn assert_no_scratch(case: &Case) {
    if let Some(database) = &case.server {
        let scratch = format!(
            "SELECT datname FROM pg_database WHERE datname LIKE '{}\\_%';",
            database.name()
        );
        assert_eq!(database.psql(&scratch), "");
    }
    let left = case.project.vault_files();
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

#[test]
fn what_passes_the_rehearsal_runs_on_the_live_database() {
    for case in cases("rehearsed", "ALTER TABLE books ADD COLUMN isbn TEXT;") {
        let document = case.migrate();
        assert_eq!(text(&document, "/outcome"), "migrated");
        let rehearsal = &document["rehearsal"];
        assert_eq!(versions(&rehearsal["migrations"]), [2]);
        for field in ["restore_ms", "duration_ms"] {
            assert!(rehearsal[field].is_u64(), "{rehearsal:#}");
        }
        let tables = rehearsal["effect"]["tables"].as_array().expect("a list");
        let books = tables
            .iter()
            .find(|table| table["name"] == "books")
            .expect("books");
        assert_eq!(
            (&books["rows_before"], &books["rows_after"]),
            (&json!(3), &json!(3))
        );
        assert_eq!(books["changes"], json!(["new column isbn text"]));
        assert_eq!(rehearsal["effect"]["losses"], json!([]));
        assert_eq!(
            case.query("SELECT count(isbn), count(*) FROM books;"),
            ["0|3"]
        );
        assert_no_scratch(&case);
    }
}

#[test]
fn a_migration_that_fails_there_never_begins_on_the_live_database() {
    let second = "UPDATE books SET title = 'gone';\nINSERT INTO books VALUES (1, 1, 'twice');";
    for case in cases("failing", second) {
        let failed = migrate(&case, &[]).expect_code(3);
        says(
            &failed,
            &[
                "the rehearsal on a scratch database failed",
                "is as it was",
                "migration 2 (second) failed",
            ],
        );
        assert_eq!(case.query("SELECT title FROM books WHERE id = 1;"), ["x"]);
        let status = case.project.json(["db", "status"]);
        assert_eq!(versions(&status["pending"]), [2]);
        assert_eq!(status["unfinished"], Value::Null);
        assert_no_scratch(&case);
    }
}

#[test]
fn a_migration_whose_deferred_constraint_fails_at_its_end_never_begins() {
    let Some(mut case) = Case::postgres("deferred") else {
        return;
    };
    case.project = case.project.migration(
        "1_first.sql",
        "CREATE TABLE a (id int PRIMARY KEY); \
        CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED);",
    );
    case.migrate();
    case.project = case
        .project
        .migration("2_second.sql", "INSERT INTO b VALUES (7);");
    let failed = migrate(&case, &[]).expect_code(3);
    says(
        &failed,
        &[
            "the rehearsal on a scratch database failed",
            "violates foreign key constraint",
        ],
    );
    assert_no_scratch(&case);
}

#[test]
fn locks_and_tables_that_are_written_anew_are_named() {
    let Some(mut case) = Case::postgres("locks") else {
        return;
    };
    case.project = case.project.migration("1_first.sql", FIRST);
    case.migrate();
    case.project = case
        .project
        .migration(
            "2_wide.sql",
            "ALTER TABLE authors ALTER COLUMN id TYPE bigint;",
        )
        .migration("3_index.sql", "CREATE INDEX by_title ON books (title);")
        .migration(
            "4_beside.sql",
            "-- no-transaction\nCREATE INDEX CONCURRENTLY by_author ON books (author);",
        );
    let document = case.migrate();
    let ran = &document["rehearsal"]["migrations"];
    assert_eq!(ran[0]["rewritten"], json!(["authors"]));
    let all = "AccessExclusiveLock, others can neither read nor write";
    assert!(
        text(&ran[0], "/locks/0").starts_with(&format!("authors: {all}")),
        "{ran:#}"
    );
    assert_eq!(
        ran[1]["locks"],
        json!(["books: ShareLock, others cannot write"])
    );
    assert_eq!(
        (&ran[1]["rewritten"], &ran[2]["locks"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn the_statement_that_writes_a_table_anew_is_named() {
    let Some(mut case) = Case::postgres("rewrites") else {
        return;
    };
    let parts = "CREATE TABLE logs (at INT, line TEXT) PARTITION BY RANGE (at); \
        CREATE TABLE logs_1 PARTITION OF logs DEFAULT; \
        CREATE SCHEMA \"Shop\"; CREATE TABLE \"Shop\".\"Odd one\" (a INT);";
    case.project = (case.project)
        .migration("1_first.sql", FIRST)
        .migration("2_parts.sql", parts);
    case.migrate();
    case.project = (case.project)
        .migration(
            "3_one.sql",
            "-- ALTER TABLE books: not this one\nALTER TABLE authors ADD CONSTRAINT named CHECK (name <> '');\n\
             ALTER TABLE ONLY public.authors\n  ALTER COLUMN id TYPE bigint;\n\
             SELECT 'ALTER TABLE authors ALTER id TYPE text';\nALTER TABLE logs ALTER line TYPE varchar(9);",
        )
        .migration(
            "4_several.sql",
            "ALTER TABLE \"Shop\".\"Odd one\" ALTER a TYPE bigint;\nTRUNCATE books, \"Shop\".\"Odd one\";",
        )
        .migration("5_hidden.sql", "\nDO $$ BEGIN ALTER TABLE books ALTER id TYPE bigint; END $$;");
    let output = migrate(&case, &["--accept-loss", "books"]).expect_code(0);
    says(
        &output,
        &[
            "authors (line 3: ALTER TABLE)",
            "logs_1 (line 3: ALTER TABLE, or line 5: SELECT, or line 6: ALTER TABLE)",
            "Shop.Odd one (line 1: ALTER TABLE, or line 2: TRUNCATE)",
            "books (line 2: TRUNCATE)",
            "5 writes anew: books (line 2: DO)",
        ],
    );
}

#[test]
fn without_a_rehearsal_it_is_said() {
    for case in cases("unrehearsed", "DELETE FROM books;") {
        let output = migrate(&case, &["--no-rehearse"]).expect_code(0);
        says(&output, &["not rehearsed"]);
        let log = case.project.json(["db", "log"]);
        let entries = log["entries"].as_array().expect("a list");
        let notes: Vec<_> = entries.iter().map(|entry| &entry["note"]).collect();
        assert_eq!(notes[2], &Value::Null, "{log:#}");
        assert_eq!(notes[5], "not rehearsed: --no-rehearse", "{log:#}");
        let deeds: Vec<&str> = entries.iter().map(|entry| text(entry, "/deed")).collect();
        assert_eq!(
            deeds,
            [
                "backup", "rehearse", "migrate", "migrate", "backup", "migrate", "migrate"
            ]
        );
    }
}
