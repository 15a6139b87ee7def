//! The question on a terminal, and what others do while a person thinks.

use std::fs;
use std::time::Duration;

use super::{export, fingerprints};
use crate::exec;
use crate::pg_bin::PgBin;
use crate::pty::{CTRL_C, ENTER, Terminal};
use crate::setup::{Case, says};

const TWO: &str =
    "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b');";

fn ask(case: &Case, more: &[&str]) -> Terminal {
    let path = super::place(case, "ndjson");
    let mut arguments = vec!["db", "import", path.to_str().expect("a UTF-8 path")];
    arguments.extend(more);
    let mut terminal = Terminal::start(case.project.command(arguments));
    terminal.wait_for("type `yes`");
    terminal
}

#[test]
fn only_the_word_yes_imports() {
    for case in Case::each("portable_terminal") {
        case.query(TWO);
        export(&case, "ndjson");
        case.query("UPDATE t SET name = 'mine';");
        let before = case.query("SELECT * FROM t ORDER BY 1;");
        for (answer, code) in [("no\r", 3), ("y\r", 3), (CTRL_C, 130), ("yes\r", 0)] {
            let mut terminal = ask(&case, &["--replace"]);
            assert_eq!(case.project.vault_files(), [""; 0], "before the answer");
            terminal.send(answer);
            assert_eq!(terminal.exit_code(), code, "{}", terminal.screen());
            let is_same = case.query("SELECT * FROM t ORDER BY 1;") == before;
            assert_eq!(is_same, code != 0, "{answer:?}\n{}", terminal.screen());
        }
    }
}

/// The plan counted rows; a row more or less is another plan.
#[test]
fn what_others_write_while_a_person_thinks_is_not_deleted_unseen() {
    for case in Case::each("portable_meanwhile") {
        case.query(TWO);
        export(&case, "ndjson");
        for mode in ["--replace", "--append"] {
            let mut terminal = ask(&case, &[mode]);
            case.query("INSERT INTO t VALUES (99, 'theirs');");
            terminal
                .send("yes")
                .send(ENTER)
                .wait_for("somebody has written");
            assert_eq!(terminal.exit_code(), 3, "{}", terminal.screen());
            assert_eq!(case.query("SELECT id FROM t ORDER BY 1;"), ["1", "2", "99"]);
            case.query("DELETE FROM t WHERE id = 99;");
        }
    }
}

/// On SQLite nobody can be held back without ending what they do; that they wrote is seen. Rows that
/// were changed and not added leave the counts as they were.
#[test]
fn what_others_change_during_the_backup_is_not_deleted_unseen() {
    let case = Case::sqlite();
    case.query(TWO);
    case.query(
        "CREATE TABLE large (bytes BLOB); INSERT INTO large
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT randomblob(1000) FROM n;",
    );
    let path = export(&case, "ndjson");
    let shown = path.to_str().expect("a UTF-8 path");
    let arguments = ["db", "import", shown, "--replace", "--yes", "--table", "t"];
    for _ in 0..10 {
        let running = exec::start(&mut case.project.command(arguments), None);
        running.wait_for_line("goes into ");
        // The watch begins within moments after the plan; the backup takes longer.
        while vault_is_empty(&case) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let written = case.query("UPDATE t SET name = 'theirs' WHERE id = 1 RETURNING id;");
        assert_eq!(written, ["1"]);
        let output = running.finish();
        if output.code == 0 {
            // It was done before; once more.
            assert_eq!(case.query("SELECT name FROM t WHERE id = 1;"), ["theirs"]);
            for file in fs::read_dir(case.project.vault()).expect("list it") {
                drop(fs::remove_file(file.expect("an entry").path()));
            }
            continue;
        }
        assert_eq!(output.code, 3, "{output}");
        says(
            &output,
            &[
                "another program has written to the database since the backup",
                "hint: ",
            ],
        );
        assert_eq!(case.query("SELECT name FROM t WHERE id = 1;"), ["theirs"]);
        return;
    }
    panic!("nobody ever wrote in between");
}

fn vault_is_empty(case: &Case) -> bool {
    let entries = fs::read_dir(case.project.vault());
    let names = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let mut staged = names.filter(|name| name.to_string_lossy().ends_with(".partial"));
    staged.next().is_none()
}

/// On PostgreSQL they wait, from before the backup on: what is deleted is what it holds.
#[test]
fn nobody_writes_between_the_backup_and_what_is_replaced() {
    let Some(case) = Case::postgres("portable_held") else {
        return;
    };
    case.query(TWO);
    let path = export(&case, "ndjson");
    let server = case.server.as_ref().expect("a server");
    let bin = PgBin::logging(server.cluster());
    let bin = bin.gated(server.cluster(), "pg_dump", "--format=custom");
    let shown = path.to_str().expect("a UTF-8 path");
    let arguments = ["db", "import", shown, "--replace", "--yes"];
    let mut command = case.project.command(arguments);
    let running = exec::start(command.env("PG_BIN", bin.path()), None);
    bin.wait_for("pg_dump.waits");
    let write = "SET lock_timeout = '1s'; UPDATE t SET name = 'theirs' WHERE id = 1;";
    let held = exec::run(&mut server.psql_command(), Some(write));
    assert_ne!(held.code, 0, "somebody could write: {held}");
    says(&held, &["lock timeout"]);
    assert_eq!(case.query("SELECT name FROM t WHERE id = 1;"), ["a"]);
    bin.open("pg_dump");
    running.finish().expect_code(0);
    case.query(write);
}

/// The file was read before the question; what is read after it must be the same.
#[test]
fn a_file_that_changes_while_a_person_thinks_is_not_imported() {
    for case in Case::each("portable_file_changed") {
        case.query(TWO);
        let path = export(&case, "ndjson");
        let before = fingerprints(&case);
        let other = {
            case.query("INSERT INTO t VALUES (3, 'c');");
            let text = fs::read(export(&case, "ndjson")).expect("read it");
            case.query("DELETE FROM t WHERE id = 3;");
            export(&case, "ndjson");
            text
        };
        let mut terminal = ask(&case, &["--replace"]);
        fs::write(&path, other).expect("another export");
        terminal
            .send("yes")
            .send(ENTER)
            .wait_for("the file was changed while it was imported");
        terminal.wait_for("hint: ");
        assert_eq!(terminal.exit_code(), 4, "{}", terminal.screen());
        assert_eq!(fingerprints(&case), before);
    }
}
