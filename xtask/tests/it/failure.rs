//! A migration fails on the live database although it passed its rehearsal: what is left of it is
//! named, and the backup comes back by itself where nobody else has written since.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::exec::{self, LIMIT};
use crate::pty::{ENTER, Terminal};
use crate::setup::{Case, says, text, versions};

mod left;
mod refused;

const FIRST: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT); \
    INSERT INTO t VALUES (1, 'one'), (2, 'two');";

/// Fails after a while in which others can write.
fn bad(case: &Case) -> &'static str {
    match case.server {
        Some(_) => "SELECT pg_sleep(2); INSERT INTO nowhere VALUES (1);",
        // It reads no table, and holds no lock meanwhile.
        None => {
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 6000000) \
             SELECT max(x) FROM n; INSERT INTO nowhere VALUES (1);"
        }
    }
}

/// One applied migration; then one that passes, if any, and one that fails, unrehearsed.
fn cases(name: &str, good: Option<&str>) -> Vec<Case> {
    let with_pending = |mut case: Case| {
        case.project = case.project.migration("1_first.sql", FIRST);
        case.migrate();
        case.project = case.project.unrehearsed();
        if let Some(good) = good {
            case.project.write("migrations/2_good.sql", good);
        }
        case.project.write("migrations/3_bad.sql", bad(&case));
        case
    };
    Case::each(name).into_iter().map(with_pending).collect()
}

const RESTORE: [&str; 5] = ["db", "migrate-safe", "--yes", "--on-failure", "restore"];

/// Starts the run and writes a row once the migration that passes is there.
fn write_meanwhile(case: &Case, arguments: &[&str], sql: &str) -> exec::Output {
    let running = exec::start(&mut case.project.command(arguments), None);
    running.wait_for_line("applied 2 ");
    match &case.server {
        Some(_) => drop(case.query(sql)),
        None => {
            let connection = rusqlite::Connection::open(case.project.sqlite_path()).expect("open");
            connection.busy_timeout(LIMIT).expect("wait");
            connection.execute_batch(sql).expect("write");
        }
    }
    running.finish()
}

fn deeds(case: &Case) -> Vec<(String, String)> {
    let log = case.project.json(["db", "log"]);
    let entries = log["entries"].as_array().expect("a list").iter();
    entries
        .map(|entry| (text(entry, "/deed").into(), text(entry, "/ending").into()))
        .collect()
}

#[test]
fn the_backup_comes_back_by_itself() {
    for good in [None, Some("CREATE TABLE good (id BIGINT);")] {
        for case in cases("comes_back", good) {
            let before = case.contents();
            let failed = case.project.run(RESTORE).expect_code(3);
            says(
                &failed,
                &[
                    "a migration failed; the backup `backup_",
                    "was restored, and the",
                    "is as it was before",
                    "nowhere",
                    "to undo: cargo xtask db restore --undo",
                ],
            );
            assert_eq!(case.contents(), before);
            let status = case.project.json(["db", "status"]);
            assert_eq!(versions(&status["applied"]), [1]);
            assert_eq!(status["unfinished"], Value::Null);
            let deeds = deeds(&case);
            let last: Vec<_> = deeds[deeds.len() - 3..].to_vec();
            let owned = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
            let expected = [
                ("migrate", "failed"),
                ("backup", "done"),
                ("restore", "done"),
            ];
            assert_eq!(last, expected.map(owned));
        }
    }
}

#[test]
fn a_row_of_somebody_else_keeps_it_from_coming_back() {
    let good = "CREATE TABLE good (id BIGINT);";
    for sql in [
        "INSERT INTO t VALUES (7, 'mine');",
        "UPDATE t SET name = 'mine' WHERE id = 1;",
        "DELETE FROM t WHERE id = 1;",
    ] {
        for case in cases("not_alone", Some(good)) {
            let failed = write_meanwhile(&case, &RESTORE, sql).expect_code(5);
            says(
                &failed,
                &[
                    "was not restored: ",
                    "committed: 2; not committed: 3",
                    "to go back to before all of them: cargo xtask db restore backup_",
                ],
            );
            let seen = match case.server {
                Some(_) => "t: 2 rows in the backup",
                None => "another program has written to the file since the backup",
            };
            says(&failed, &[seen, "rows in the backup", "rows now"]);
            assert_eq!(
                case.query("SELECT count(*) FROM t WHERE name = 'mine' OR id = 1;"),
                [match &sql[..6] {
                    "INSERT" => "2",
                    "UPDATE" => "1",
                    _ => "0",
                }]
            );
        }
    }
}

/// Its own rows are told from those of others on SQLite; on PostgreSQL that cannot be.
#[test]
fn rows_of_a_committed_migration_are_ours_or_unclear() {
    for case in cases("ours", Some("UPDATE t SET name = 'ours';")) {
        let before = case.contents();
        let failed = case.project.run(RESTORE);
        if case.server.is_none() {
            failed.expect_code(3);
            assert_eq!(case.contents(), before);
        } else {
            let failed = failed.expect_code(5);
            says(&failed, &["cannot be told", "2 of them written since"]);
        }
    }
}

#[test]
fn a_person_is_asked_and_only_yes_restores() {
    for (answer, code) in [("no", 5), ("yes", 3)] {
        for case in cases("asked", Some("CREATE TABLE good (id BIGINT);")) {
            let before = case.contents();
            let command = case.project.command(["db", "migrate-safe", "--yes"]);
            let mut terminal = Terminal::start(command);
            terminal.wait_for("committed: 2; not committed: 3");
            terminal.wait_for("nobody else has written since it was taken");
            terminal.wait_for("type `yes`").send(answer).send(ENTER);
            assert_eq!(terminal.exit_code(), code, "{}", terminal.screen());
            assert_eq!(case.contents() == before, code == 3);
        }
    }
}

#[test]
fn a_person_sees_what_others_wrote_and_may_give_it_up() {
    for case in cases("given_up", Some("CREATE TABLE good (id BIGINT);")) {
        let before = case.contents();
        let command = case.project.command(["db", "migrate-safe", "--yes"]);
        let mut terminal = Terminal::start(command);
        terminal.wait_for("applied 2 ");
        let sql = "INSERT INTO t VALUES (7, 'mine');";
        match &case.server {
            Some(_) => drop(case.query(sql)),
            None => {
                let file = case.project.sqlite_path();
                let connection = rusqlite::Connection::open(file).expect("open");
                connection.busy_timeout(LIMIT).expect("wait");
                connection.execute_batch(sql).expect("write");
            }
        }
        terminal.wait_for("what others wrote since it was taken would be lost:");
        terminal.wait_for("type `yes`").send("yes").send(ENTER);
        assert_eq!(terminal.exit_code(), 3, "{}", terminal.screen());
        assert_eq!(case.contents(), before);
    }
}

/// Killed in the middle of it, it is marked, and the next restore ends it.
#[test]
fn a_restore_that_is_killed_is_marked_and_can_be_done_again() {
    for case in cases("killed", Some("CREATE TABLE good (id BIGINT);")) {
        let before = case.contents();
        let running = exec::start(&mut case.project.command(RESTORE), None);
        let deadline = Instant::now() + LIMIT;
        let mark = case.project.vault().join(".unfinished");
        let is_marked = || {
            let text = std::fs::read_to_string(&mark).unwrap_or_default();
            text.contains("\"deed\":\"restore\"")
        };
        while !is_marked() {
            assert!(Instant::now() < deadline, "no mark");
            std::thread::sleep(Duration::from_micros(200));
        }
        running.signal(rustix::process::Signal::KILL);
        running.finish().expect_code(137);
        if mark.exists() {
            let status = case.project.json(["db", "status"]);
            assert_eq!(status["unfinished"]["deed"], "restore");
            let id = text(&status, "/unfinished/backup").to_owned();
            case.restore(&id);
        }
        assert_eq!(case.contents(), before);
        assert!(!mark.exists());
    }
}

#[test]
fn without_a_terminal_it_is_kept_and_a_wrong_word_is_wrong_usage() {
    for case in cases("kept", Some("CREATE TABLE good (id BIGINT);")) {
        for way in [&[][..], &["--on-failure", "keep"], &["--on-failure", "ask"]] {
            let arguments = ["db", "migrate-safe", "--yes"].iter().chain(way);
            case.project.run(arguments).expect_code(5);
        }
        let status = case.project.json(["db", "status"]);
        assert_eq!(versions(&status["applied"]), [1, 2]);
        let wrong = ["db", "migrate-safe", "--on-failure", "undo"];
        case.project.run(wrong).expect_code(2);
    }
}
