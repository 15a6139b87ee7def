//! The restore that a naive tool gets wrong: over a migrated database, and then forward again.

use crate::setup::{Case, says, text, versions};

const BASE: &str = "
    CREATE TABLE authors (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO authors VALUES (1, 'Ada'), (2, 'Grace');
    CREATE VIEW names AS SELECT name FROM authors;
";

const MIGRATIONS: &[(&str, &str)] = &[
    (
        "2_email.sql",
        "ALTER TABLE authors ADD COLUMN email TEXT; UPDATE authors SET email = name, name = 'gone';",
    ),
    (
        "3_books.sql",
        "CREATE TABLE books (
             id BIGINT NOT NULL PRIMARY KEY,
             author BIGINT NOT NULL REFERENCES authors (id)
         );
         INSERT INTO books VALUES (7, 1);
         CREATE VIEW written AS
             SELECT authors.email, books.id FROM books JOIN authors ON authors.id = books.author;",
    ),
    (
        "4_fewer.sql",
        "-- expect-loss: authors\nDROP VIEW names; DELETE FROM authors WHERE id = 2;",
    ),
];

/// Rows that changed are as they were, what was added is gone, what was dropped is back, and the
/// history says so too: the same migrations apply again.
#[test]
fn migrations_apply_again_after_the_restore() {
    for case in Case::each("way_back") {
        case.project.write("migrations/1_base.sql", BASE);
        case.migrate();
        let before = case.contents();
        for (file, sql) in MIGRATIONS {
            case.project.write(format!("migrations/{file}"), sql);
        }
        for _ in 0..2 {
            let done = case.migrate();
            assert_eq!(versions(&done["applied"]), [2, 3, 4]);
            assert_eq!(case.query("SELECT * FROM written;"), ["Ada|7"]);
            case.restore(text(&done, "/backup/id"));
            assert_eq!(case.contents()[0], before[0], "tables and rows");
            assert_eq!(case.contents()[1], before[1], "history");
            let authors = case.query("SELECT * FROM authors ORDER BY id;");
            assert_eq!(authors, ["1|Ada", "2|Grace"]);
            assert_eq!(case.query("SELECT count(*) FROM names;"), ["2"]);
        }
    }
}

/// A rollback at 3 a.m. is tried twice. `latest` still means the backup from before the mistake,
/// not the safety backup of the mistake itself.
#[test]
fn restore_latest_is_repeatable() {
    for case in Case::each("repeatable") {
        case.project.write("migrations/1_base.sql", BASE);
        case.migrate();
        let good = case.backup();
        case.query("DELETE FROM authors;");
        let first = case.restore("latest");
        assert_eq!(text(&first, "/restored"), good);
        let safety = text(&first, "/safety_backup");
        let again = case.restore("latest");
        assert_eq!(text(&again, "/restored"), good);
        assert_eq!(case.query("SELECT count(*) FROM authors;"), ["2"]);
        let status = case.project.json(["db", "status"]);
        assert_eq!(text(&status, "/latest/id"), good);
        case.restore(safety);
        assert_eq!(case.query("SELECT count(*) FROM authors;"), ["0"], "undone");
    }
}

/// An id may be shortened as long as only one backup has it.
#[test]
fn a_part_of_an_id_is_enough_when_it_is_unique() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    for label in ["before-lunch", "before-dinner"] {
        case.project.json(["db", "backup", label]);
        case.query("INSERT INTO t VALUES (1);");
    }
    let ambiguous = case.project.run(["db", "restore", "before-", "--yes"]);
    says(
        &ambiguous.expect_code(2),
        &["before-lunch", "before-dinner"],
    );
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["2"]);
    case.restore("dinner");
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["1"]);
    let unknown = case.project.run(["db", "restore", "supper", "--yes"]);
    says(&unknown.expect_code(4), &["supper"]);
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["1"]);
}
