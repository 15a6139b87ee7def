//! What people read, word for word: help, tables, results, and every failure with its code.
//!
//! Sizes, times, versions and folders are replaced by their names in brackets.

use std::ffi::OsStr;

use crate::exec;
use crate::project::Project;

mod failures;
mod help;
mod help_of_changes;
mod migrations;
mod portable;
mod postgres;
mod results;
mod retention;
mod vault;

/// In this order: what an earlier one has replaced, a later one does not see.
const UNSTEADY: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\d_\d{6}", "[TIME]"),
    // The second one of a second.
    (r"(\[TIME\]_pre-(migrate|restore))_\d+\b", "$1"),
    (r"(_before_)\d{14}", "$1[TIME]"),
    (r"its manifest says \d+", "its manifest says [N]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "[TIME]"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[TIME]"),
    (r"\b\d+(\.\d+)? ([KM]i)?B\b", "[SIZE]"),
    (r"\bin (\d+ ms|\d+\.\d s)", "in [N] ms"),
    (r"\b\d+ s ago\b", "[AGE] ago"),
    (r"\b\d+ s old\b", "[AGE] old"),
    (r"  \d+ s\b", "  [AGE]"),
    (r"\b[0-4] s\b", "[AGE]"),
    (
        r"database +age +size +tables",
        "database  age  size  tables",
    ),
    (r"\bpid \d+\b", "pid [PID]"),
    (r"\bport \d{4,5}\b", "port [PORT]"),
    (r":\d{5}/", ":[PORT]/"),
    (r"host=%2F[^&']+&port=\d+", "host=[SOCKET]&port=[PORT]"),
    (r"/tmp/xtask-db-pg-\w+", "[SOCKET]"),
    (r"(/[^\s/`]+)+/xtask-db-bin-\w+", "[BIN]"),
    (r"/\S+/bin/pg_", "[BIN]/pg_"),
    (r"\b(words_[a-z]+)_\d+", "$1"),
    (r"(PostgreSQL\)?|SQLite) \d+\.[\d.]+[^\n`]*", "$1 [VERSION]"),
    (r"postgresql-client-\d+", "postgresql-client-[MAJOR]"),
    (r"postgresql@\d+", "postgresql@[MAJOR]"),
    (r"[0-9a-f]{40,}", "[DIGEST]"),
    // The width of a column follows from what stands in it.
    (r"  +\[", "  ["),
    (r"\] {2,}", "]  "),
];

/// Bound to the scope of a test.
fn steady() -> impl Drop {
    let mut settings = insta::Settings::clone_current();
    for (from, to) in UNSTEADY {
        settings.add_filter(from, *to);
    }
    settings.set_omit_expression(true);
    settings.bind_to_scope()
}

/// Runs the tool; everything that it leaves for a reader.
#[track_caller]
fn said<A: AsRef<OsStr>>(project: &Project, arguments: impl IntoIterator<Item = A>) -> String {
    // The width that clap wraps its help to.
    let output = exec::run(project.command(arguments).env("COLUMNS", "100"), None);
    let mut said = format!("exit code {}\n", output.code);
    for (name, text) in [("stdout", output.stdout), ("stderr", output.stderr)] {
        if !text.is_empty() {
            said += &format!("--- {name}\n{text}");
        }
    }
    without_folder(project, &said)
}

fn without_folder(project: &Project, text: &str) -> String {
    let project = project.path();
    let folder = project.parent().expect("a parent").display();
    text.replace(&folder.to_string(), "[DIR]")
}

/// Two migrations, and a database in which `first` has been applied and has a row.
fn begun() -> Project {
    let project = Project::new()
        .env("USER", "ada")
        .migration("1_first.sql", "CREATE TABLE first (id INTEGER);")
        .migration("2_second.sql", "CREATE TABLE second (id INTEGER);");
    let arguments = ["db", "migrate-safe", "--yes", "--target-version", "1"];
    project.run(arguments).expect_code(0);
    project.sqlite("INSERT INTO first VALUES (1)");
    project
}
