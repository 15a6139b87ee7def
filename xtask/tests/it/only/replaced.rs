//! `--only --into --force`: what is dropped is what was just backed up, and nothing else.

use rustix::process::Signal;

use super::{only, shop};
use crate::cluster::{Cluster, Database};
use crate::exec::{self, Output, Running};
use crate::pg_bin::PgBin;
use crate::setup::{Case, says, text};

/// The database beside the live one of [`shop`], with its `authors` and `books` in it.
fn filled(case: &Case) -> Database {
    let live = case.server.as_ref().expect("a server");
    let other = live.cluster().database(&format!("{}_new", live.name()));
    only(case, "authors,books", &["--into", &other.url(), "--yes"]).expect_code(0);
    other
}

/// `--only names --into url --force` up to its scratch database: the safety backup is taken, and
/// nothing is replaced yet.
fn at_the_gate(case: &Case, names: &str, url: &str) -> (Running, PgBin) {
    let cluster = Cluster::get_or_skip().expect("a cluster");
    let bin = PgBin::logging(cluster).gated(cluster, "pg_restore", "--dbname=");
    let arguments = ["db", "restore", "latest", "--only", names, "--into", url];
    let mut command = case.project.command(arguments);
    command.arg("--force").env("PG_BIN", bin.path());
    let running = exec::start(&mut command, None);
    bin.wait_for("pg_restore.waits");
    (running, bin)
}

fn meanwhile(case: &Case, other: &Database, names: &str, sql: &str) -> Output {
    let (running, bin) = at_the_gate(case, names, &other.url());
    other.psql(sql);
    bin.open("pg_restore");
    running.finish()
}

#[test]
fn what_is_written_after_the_safety_backup_is_not_dropped() {
    let Some(case) = shop("only_late") else {
        return;
    };
    let other = filled(&case);
    let ask = "SELECT count(*), sum(words), (SELECT max(name) FROM authors) FROM books;";
    for (sql, now) in [
        (
            "INSERT INTO books (id, author_id, title) VALUES (999, 1, 'late');",
            "301|45150|Ada",
        ),
        ("DELETE FROM books WHERE id = 999;", "300|45150|Ada"),
        // As many rows, and another value.
        ("UPDATE authors SET name = 'Zoe';", "300|45150|Zoe"),
    ] {
        let refused = meanwhile(&case, &other, "authors,books", sql).expect_code(3);
        says(&refused, &["somebody has written to", "as it was"]);
        assert_eq!(other.psql(ask), now);
    }
    // Both go together, although one refers to the other.
    only(&case, "authors,books", &["--into", &other.url(), "--force"]).expect_code(0);
    assert_eq!(other.psql(ask), "300|45150|Ada");
}

#[test]
fn a_table_that_comes_meanwhile_is_not_dropped() {
    let Some(case) = shop("only_comes") else {
        return;
    };
    let other = filled(&case);
    let sql = "CREATE SCHEMA shop; CREATE TABLE shop.books (theirs int); INSERT INTO shop.books VALUES (7);";
    let refused = meanwhile(&case, &other, "books,shop.books", sql).expect_code(3);
    says(&refused, &["something of that name is there already"]);
    assert_eq!(other.psql("SELECT theirs FROM shop.books;"), "7");
    assert_eq!(other.psql("SELECT count(*) FROM books;"), "300");
}

#[test]
fn what_is_no_table_is_not_replaced() {
    let Some(case) = shop("only_view") else {
        return;
    };
    let other = filled(&case);
    other.psql("ALTER TABLE books RENAME TO old_books; CREATE VIEW books AS SELECT 7 AS seven;");
    let refused = only(&case, "books", &["--into", &other.url(), "--force"]).expect_code(3);
    says(&refused, &["`public.books` is not only tables", "hint: "]);
    assert_eq!(other.psql("SELECT seven FROM books;"), "7");
}

/// README: it is backed up first. `--force` says what is replaced, not that it may be lost.
#[test]
fn without_a_safety_backup_nothing_is_replaced() {
    let Some(case) = shop("only_unsafe") else {
        return;
    };
    let other = filled(&case);
    other.psql("UPDATE books SET words = 1;");
    let cluster = Cluster::get_or_skip().expect("a cluster");
    let bin = PgBin::logging(cluster).script(cluster, "pg_dump", "echo no room >&2; exit 1");
    for arguments in [&["--only", "books"][..], &[]] {
        let url = other.url();
        let mut command = case
            .project
            .command(["db", "restore", "latest", "--into", &url]);
        command
            .args(arguments)
            .arg("--force")
            .env("PG_BIN", bin.path());
        let refused = exec::run(&mut command, None).expect_code(3);
        says(&refused, &["cannot be backed up; nothing was changed"]);
        assert!(!refused.stderr.contains("add `--force`"), "{refused}");
        assert_eq!(other.psql("SELECT sum(words) FROM books;"), "300");
    }
}

/// What a restore took first is what its undo is for, and a bring that came to nothing needs none.
#[test]
fn an_undo_knows_of_tables_that_were_replaced() {
    let Some(case) = shop("only_undo") else {
        return;
    };
    let other = filled(&case);
    other.psql("UPDATE books SET words = 1;");
    let undo = || {
        let mut command = case
            .project
            .command(["db", "restore", "--undo", "--yes", "--json"]);
        exec::run(command.env("DATABASE_URL", other.url()), None)
    };
    // Somebody writes meanwhile, and the safety backup is of nothing that was replaced.
    let sql = "UPDATE books SET words = 2;";
    meanwhile(&case, &other, "books", sql).expect_code(3);
    says(&undo().expect_code(3), &["nothing to undo"]);

    let brought = only(
        &case,
        "books",
        &["--into", &other.url(), "--force", "--json"],
    );
    let safety = text(&brought.expect_code(0).json(), "/safety_backup").to_owned();
    assert_eq!(other.psql("SELECT sum(words) FROM books;"), "45150");
    assert_eq!(text(&undo().expect_code(0).json(), "/restored"), safety);
    assert_eq!(other.psql("SELECT sum(words) FROM books;"), "600");
}

/// A signal, or the end of all, before anything is replaced.
#[test]
fn one_that_is_cut_short_has_replaced_nothing() {
    let Some(case) = shop("only_cut") else {
        return;
    };
    let other = filled(&case);
    other.psql("UPDATE books SET words = 1;");
    for (signal, code) in [(Signal::TERM, 130), (Signal::KILL, 137)] {
        let (running, bin) = at_the_gate(&case, "books", &other.url());
        running.signal(signal);
        bin.open("pg_restore");
        running.finish().expect_code(code);
        assert_eq!(other.psql("SELECT sum(words) FROM books;"), "300");
    }
    only(&case, "books", &["--into", &other.url(), "--force"]).expect_code(0);
    assert_eq!(other.psql("SELECT sum(words) FROM books;"), "45150");
}
