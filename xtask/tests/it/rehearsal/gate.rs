//! Data that would be gone is named, and nothing runs until somebody says that it may be.

use std::fs;

use serde_json::json;

use super::{assert_no_scratch, cases, migrate};
use crate::project::Project;
use crate::pty::{ENTER, Terminal};
use crate::setup::{Case, database_digests, says};

/// The pragma has no effect inside of sqlx's transaction: dropping the parent deletes the children.
const REBUILD: &str = "\
PRAGMA foreign_keys=OFF;
CREATE TABLE authors_new (id INTEGER PRIMARY KEY, name TEXT NOT NULL, phone TEXT);
INSERT INTO authors_new SELECT id, name, phone FROM authors;
DROP TABLE authors;
ALTER TABLE authors_new RENAME TO authors;
PRAGMA foreign_keys=ON;";

fn sqlite(second: &str) -> Case {
    cases("", second).remove(0)
}

#[test]
fn the_textbook_rebuild_of_a_table_with_children_is_stopped() {
    let case = sqlite(REBUILD);
    let before = database_digests(&case.project.sqlite_path());
    let refused = migrate(&case, &[]).expect_code(3);
    says(
        &refused,
        &[
            "the migrations would lose data; nothing was changed",
            "books: 3 of 3 rows are gone",
            "--accept-loss books",
            "-- expect-loss: books",
        ],
    );
    assert!(!refused.stderr.contains("authors: "), "{refused}");
    assert_eq!(database_digests(&case.project.sqlite_path()), before);
    assert_eq!(case.query("SELECT count(*) FROM books;"), ["3"]);
    assert_no_scratch(&case);

    let document = case
        .project
        .json(["db", "migrate-safe", "--yes", "--accept-loss", "books"]);
    assert_eq!(document["rehearsal"]["accepted_losses"], json!(["books"]));
    assert_eq!(case.query("SELECT count(*) FROM books;"), ["0"]);
}

/// What loses something, what is said of it, and what must be named.
const LOSSES: [(&str, &str, &str); 6] = [
    (
        "DELETE FROM books WHERE id > 1;",
        "books: 2 of 3 rows are gone",
        "books",
    ),
    (
        "DROP TABLE books;",
        "books: the table is dropped, with 3 rows",
        "books",
    ),
    (
        "CREATE TABLE elsewhere (id INTEGER); DROP TABLE books; \
         CREATE VIEW books AS SELECT id FROM elsewhere;",
        "books: the table is dropped, with 3 rows",
        "books",
    ),
    (
        "ALTER TABLE authors DROP COLUMN phone;",
        "authors.phone: the column is dropped, with 1 value",
        "authors.phone",
    ),
    (
        "UPDATE authors SET phone = NULL;",
        "authors.phone: 1 of 1 values are gone",
        "authors.phone",
    ),
    (
        "DELETE FROM authors WHERE id = 2; DROP TABLE books;",
        "authors: 1 of 2 rows are gone",
        "books,authors",
    ),
];

#[test]
fn every_loss_must_be_named() {
    for (second, said, names) in LOSSES {
        for case in cases("losses", second) {
            let refused = migrate(&case, &[]).expect_code(3);
            says(&refused, &[said]);
            for wrong in ["titles", "authors.name", "shop.books"] {
                migrate(&case, &["--accept-loss", wrong]).expect_code(3);
            }
            assert_eq!(case.query("SELECT count(*) FROM books;"), ["3"], "{second}");
            assert_eq!(
                case.query("SELECT count(phone) FROM authors;"),
                ["1"],
                "{second}"
            );
            migrate(&case, &["--accept-loss", names]).expect_code(0);
            assert_no_scratch(&case);
        }
    }
}

/// What looks like a loss to somebody who only counts, and is none.
const HARMLESS: [&str; 7] = [
    "ALTER TABLE books RENAME TO volumes;",
    "ALTER TABLE books RENAME TO volumes; CREATE VIEW books AS SELECT * FROM volumes;",
    "ALTER TABLE authors RENAME COLUMN phone TO mobile;",
    "ALTER TABLE books ADD COLUMN isbn TEXT; UPDATE books SET title = 'new';",
    "CREATE TABLE empty (id INTEGER); DROP TABLE empty;",
    "ALTER TABLE authors ADD COLUMN email TEXT; ALTER TABLE authors DROP COLUMN email;",
    "CREATE TABLE b2 (id INTEGER PRIMARY KEY, author INTEGER, title TEXT); \
     INSERT INTO b2 SELECT id, author, title FROM books; DROP TABLE books; \
     ALTER TABLE b2 RENAME TO books;",
];

#[test]
fn what_loses_nothing_is_not_stopped() {
    for second in HARMLESS {
        for case in cases("harmless", second) {
            migrate(&case, &[]).expect_code(0);
        }
    }
}

#[test]
fn a_cast_that_may_cut_values_must_be_named() {
    let second = "ALTER TABLE authors ALTER COLUMN name TYPE varchar(1) USING left(name, 1);";
    for case in cases("casts", second) {
        if case.server.is_none() {
            continue;
        }
        let refused = migrate(&case, &[]).expect_code(3);
        says(
            &refused,
            &["authors.name: 2 values are cast from character varying(80) to character varying(1)"],
        );
        migrate(&case, &["--accept-loss", "authors.name"]).expect_code(0);
    }
}

#[test]
fn names_that_are_none_are_wrong_usage() {
    let case = sqlite("DELETE FROM books;");
    for bad in ["", "books,", "a.b.c.d", "boo ks", "postgres://u:secret@h/d"] {
        let output = migrate(&case, &["--accept-loss", bad]).expect_code(2);
        assert!(!output.stderr.contains("secret"), "{output}");
    }
    assert!(
        case.project.vault_files().len() <= 2,
        "no backup for wrong usage"
    );
}

fn losing() -> Project {
    sqlite("DELETE FROM books;").project
}

#[test]
fn on_a_terminal_the_names_are_typed() {
    let project = losing();
    let mut terminal = Terminal::start(project.command(["db", "migrate-safe"]));
    terminal.wait_for("type `yes`").send("yes").send(ENTER);
    terminal.wait_for("books: 3 of 3 rows are gone");
    terminal
        .wait_for("type `books` to lose it")
        .send("books")
        .send(ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert_eq!(project.sqlite("SELECT count(*) FROM books"), ["0"]);
    // A person has read meanwhile: the backup that counts was taken afterwards.
    let dumps = project
        .vault_files()
        .into_iter()
        .filter(|name| name.ends_with(".db.zst"));
    assert_eq!(dumps.count(), 3);
}

#[test]
fn what_is_not_the_name_stops() {
    for typed in ["yes", "book", "", "authors", "\x1b"] {
        let project = losing();
        let before = fs::read(project.sqlite_path()).expect("read it");
        let mut terminal = Terminal::start(project.command(["db", "migrate-safe"]));
        terminal.wait_for("type `yes`").send("yes").send(ENTER);
        terminal.wait_for("type `books` to lose it").send(typed);
        if typed != "\x1b" {
            terminal.send(ENTER);
        }
        assert_eq!(terminal.exit_code(), 3, "{typed:?}: {}", terminal.screen());
        assert_eq!(fs::read(project.sqlite_path()).expect("read it"), before);
    }
}

/// Said in the file, it need not be said again, and the plan repeats it.
#[test]
fn a_loss_that_the_migration_declares_is_expected() {
    for second in [
        "-- expect-loss: books\nDELETE FROM books;",
        "DROP TABLE books; -- expect-loss: authors.phone,\"books\"",
    ] {
        for case in cases("declared", second) {
            let declared = migrate(&case, &[]);
            if second.starts_with("DROP") && declared.code != 0 {
                panic!("{declared}");
            }
            says(&declared.expect_code(0), &["2 expects to lose "]);
        }
    }
    for case in cases(
        "not_declared",
        "-- expect-loss: authors\nDELETE FROM books;",
    ) {
        says(
            &migrate(&case, &[]).expect_code(3),
            &["books: 3 of 3 rows are gone"],
        );
    }
}

/// What is said of a name that wants quotes can be pasted, into a shell and into the file.
#[test]
fn a_quoted_name_is_accepted_as_it_is_printed() {
    let change =
        "ALTER TABLE \"Order Items\" DROP COLUMN \"Na'me\"; ALTER TABLE t DROP COLUMN \"c,d\";";
    let make = || {
        let case = sqlite(change);
        case.query(
            "CREATE TABLE \"Order Items\" (id INTEGER PRIMARY KEY, \"Na'me\" TEXT); \
             INSERT INTO \"Order Items\" VALUES (1, 'x'); \
             CREATE TABLE t (id INTEGER PRIMARY KEY, \"c,d\"); INSERT INTO t VALUES (1, 2);",
        );
        case
    };
    let after = |refused: &crate::exec::Output, words: &str| {
        let (_, rest) = refused.stderr.split_once(words).expect("a hint");
        rest.lines().next().expect("a line").to_owned()
    };
    let case = make();
    let refused = migrate(&case, &[]).expect_code(3);
    let pasted = after(&refused, "for this run: cargo xtask ");
    let mut shell = case.project.command(["--version"]);
    let program = shell.get_program().to_owned();
    let set: Vec<_> = shell
        .get_envs()
        .map(|(k, v)| (k.to_owned(), v.map(Into::into)))
        .collect();
    shell = std::process::Command::new("/bin/sh");
    for (name, value) in set {
        let value: Option<std::ffi::OsString> = value;
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .arg("-c")
        .arg(format!("'{}' {pasted} --yes", program.display()));
    shell.current_dir(case.project.path());
    crate::exec::run(&mut shell, None).expect_code(0);

    let case = make();
    let refused = migrate(&case, &[]).expect_code(3);
    let said = after(&refused, "say so in the migration: ");
    case.project
        .write("migrations/2_second.sql", format!("{said}\n{change}"));
    migrate(&case, &[]).expect_code(0);
}
