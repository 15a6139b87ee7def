//! The question and the picker on a real terminal, and what happens where there is none.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::exec;
use crate::pg_bin::PgBin;
use crate::project::Project;
use crate::pty::{CTRL_C, CTRL_D, DOWN, ENTER, ESCAPE, Terminal};

mod progress;
pub mod raw;

const QUESTION: &str = "type `yes`";
const PICKER: &str = "which backup is to be restored?";

/// What a person may type, and the exit code. Only the first two are the word.
const ANSWERS: [(&str, i32); 16] = [
    ("yes\r", 0),
    ("yeah\x7f\x7fs\r", 0),
    ("no\r", 3),
    ("Yes\r", 3),
    ("YES\r", 3),
    ("y\r", 3),
    ("\r", 3),
    ("yes!\r", 3),
    (" yes\r", 3),
    ("yes \r", 3),
    ("ye\x7fs\r", 3),
    ("`yes`\r", 3),
    ("ye\x1b", 3),
    (ESCAPE, 3),
    (CTRL_D, 3),
    (CTRL_C, 130),
];

/// One migration applied, one pending, one backup, and a row that came after it.
fn project() -> Project {
    let project = Project::new().migration("1_first.sql", "CREATE TABLE first (id INTEGER);");
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    project.run(["db", "backup", "older"]).expect_code(0);
    project.sqlite("INSERT INTO first VALUES (1)");
    project.migration("2_second.sql", "CREATE TABLE second (id INTEGER);")
}

fn database_bytes(project: &Project) -> Vec<u8> {
    fs::read(project.sqlite_path()).expect("read the database")
}

/// Asks once for each answer; what is not `yes` changes neither database nor vault.
#[track_caller]
fn answer_all(arguments: &[&str]) {
    for (answer, code) in ANSWERS {
        let project = project();
        let (database, vault) = (database_bytes(&project), project.vault_files());
        let mut terminal = Terminal::start(project.command(arguments));
        terminal.wait_for(QUESTION);
        // No pause of a person between the dump and the change.
        assert_eq!(project.vault_files(), vault, "before the answer");
        terminal.send(answer);
        assert_eq!(
            terminal.exit_code(),
            code,
            "{answer:?}\n{}",
            terminal.screen()
        );
        let is_same = database_bytes(&project) == database;
        assert_eq!(is_same, code != 0, "{answer:?}\n{}", terminal.screen());
        let has_new_backup = project.vault_files() != vault;
        assert_eq!(
            has_new_backup,
            code == 0,
            "{answer:?}: {:?}",
            project.vault_files()
        );
        if code == 3 {
            let screen = terminal.screen();
            assert!(
                screen.contains("not confirmed; nothing was changed"),
                "{screen}"
            );
        }
    }
}

#[test]
fn only_yes_migrates() {
    answer_all(&["db", "migrate-safe"]);
}

#[test]
fn only_yes_restores() {
    answer_all(&["db", "restore", "older"]);
}

#[test]
fn the_question_says_what_will_happen_to_which_database() {
    let project = project();
    let mut terminal = Terminal::start(project.command(["db", "migrate-safe"]));
    terminal.wait_for(QUESTION).send(ESCAPE);
    terminal.exit_code();
    let screen = terminal.screen();
    let path = project.sqlite_path().display().to_string();
    let before = screen.split(QUESTION).next().unwrap_or_default();
    assert!(
        before.contains(&path) && before.contains("2 second"),
        "{screen}"
    );

    let mut terminal = Terminal::start(project.command(["db", "restore", "latest"]));
    terminal.wait_for(QUESTION).send(ESCAPE);
    terminal.exit_code();
    let screen = terminal.screen();
    let before = screen.split(QUESTION).next().unwrap_or_default();
    assert!(
        before.contains(&path) && before.contains("_older"),
        "{screen}"
    );
    // The row that the restore would lose.
    let loss = before
        .lines()
        .any(|line| line.split_whitespace().collect::<Vec<_>>() == ["first", "0", "1"]);
    assert!(loss, "{screen}");
}

#[test]
fn the_question_comes_before_pg_dump() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let bin = PgBin::logging(cluster);
    let database = cluster.create_database("asked");
    let project = Project::new()
        .migration("1_first.sql", "CREATE TABLE first (id INTEGER);")
        .database_url(&database.url())
        .env("PG_BIN", bin.path());
    let mut terminal = Terminal::start(project.command(["db", "migrate-safe"]));
    terminal.wait_for(QUESTION);
    assert_eq!(bin.log(), "");
    terminal.send("yes").send(ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert!(bin.log().contains("pg_dump\n"), "{}", bin.log());
    let password = crate::cluster::PASSWORD;
    assert!(
        !terminal.screen().contains(password),
        "{}",
        terminal.screen()
    );
}

#[test]
fn nothing_is_asked_when_nothing_is_pending() {
    let project = Project::new().migration("1_first.sql", "CREATE TABLE first (id INTEGER);");
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    let mut terminal = Terminal::start(project.command(["db", "migrate-safe"]));
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert!(
        !terminal.screen().contains(QUESTION),
        "{}",
        terminal.screen()
    );
}

#[test]
fn a_yes_on_the_command_line_asks_nothing() {
    for (arguments, rows) in [
        (&["db", "migrate-safe", "--yes"][..], "1"),
        (&["db", "restore", "older", "--yes"], "0"),
        (&["db", "restore", "older", "--force"], "0"),
    ] {
        let project = project();
        let mut terminal = Terminal::start(project.command(arguments));
        assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
        assert!(
            !terminal.screen().contains(QUESTION),
            "{}",
            terminal.screen()
        );
        assert_eq!(project.sqlite("SELECT count(*) FROM first"), [rows]);
    }
}

#[test]
fn the_picker_restores_what_was_picked() {
    let project = project();
    project.run(["db", "backup", "newer"]).expect_code(0);
    project.sqlite("INSERT INTO first VALUES (2)");
    // The second line: `older` under `newer`, then `newer` under the safety backup that the first
    // restore took.
    for (picked, rows) in [("_older", "0"), ("_newer", "1")] {
        let files = project.vault_files().len();
        let mut terminal = Terminal::start(project.command(["db", "restore"]));
        terminal
            .wait_for(PICKER)
            .wait_for("_older")
            .send(DOWN)
            .send(ENTER);
        terminal
            .wait_for(picked)
            .wait_for(QUESTION)
            .send("yes")
            .send(ENTER);
        assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
        assert_eq!(project.sqlite("SELECT count(*) FROM first"), [rows]);
        assert_eq!(project.vault_files().len(), files + 2);
    }
}

#[test]
fn leaving_the_picker_changes_nothing() {
    let project = project();
    let (database, vault) = (database_bytes(&project), project.vault_files());
    for (key, code) in [(ESCAPE, 3), ("q", 3), (CTRL_C, 130)] {
        let mut terminal = Terminal::start(project.command(["db", "restore"]));
        terminal.wait_for(PICKER).wait_for("_older").send(key);
        assert_eq!(terminal.exit_code(), code, "{key:?}\n{}", terminal.screen());
        assert_eq!(database_bytes(&project), database);
        assert_eq!(project.vault_files(), vault);
    }
}

#[test]
fn the_picker_has_nothing_to_offer_in_an_empty_vault() {
    let project = Project::new();
    let mut terminal = Terminal::start(project.command(["db", "restore"]));
    assert_eq!(terminal.exit_code(), 4, "{}", terminal.screen());
    assert!(
        terminal.screen().contains("has no backup of"),
        "{}",
        terminal.screen()
    );
}

/// Without a terminal nobody is asked, nobody is waited for, and nothing is a yes.
#[test]
fn without_a_terminal_there_is_no_question() {
    const AT_ONCE: Duration = Duration::from_secs(15);
    let project = project();
    project.write("answer", "yes\n");
    let (database, vault) = (database_bytes(&project), project.vault_files());
    for (verb, code) in [
        (&["migrate-safe"][..], 3),
        (&["restore", "latest"], 3),
        (&["restore"], 2),
    ] {
        let arguments = [&["db"], verb].concat();
        for input in [None, Some("yes\n")] {
            let began = Instant::now();
            let output = exec::run(&mut project.command(&arguments), input).expect_code(code);
            assert!(began.elapsed() < AT_ONCE, "{output}");
            assert!(!output.stderr.contains(QUESTION), "{output}");
        }
        let answer = File::open(project.path().join("answer")).expect("open the answer");
        let output = project
            .command(&arguments)
            .stdin(answer)
            .output()
            .expect("run the tool");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(database_bytes(&project), database);
        assert_eq!(project.vault_files(), vault);
    }
}

/// Half a terminal is none: the answer would come from a file, or nobody would see the question.
#[test]
fn a_terminal_on_one_side_only_is_none() {
    let project = project();
    project.write("answer", "yes\n");
    let (database, vault) = (database_bytes(&project), project.vault_files());
    for script in [
        "\"$0\" db migrate-safe <answer",
        "echo yes | \"$0\" db migrate-safe",
        "\"$0\" db restore latest <answer",
        "yes yes | \"$0\" db restore latest",
        "\"$0\" db migrate-safe 2>/dev/null",
    ] {
        let tool = project.command([""; 0]);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", script])
            .arg(tool.get_program())
            .current_dir(project.path());
        for (name, value) in tool.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let mut terminal = Terminal::start(shell);
        assert_eq!(terminal.exit_code(), 3, "{script}\n{}", terminal.screen());
        assert_eq!(database_bytes(&project), database, "{script}");
        assert_eq!(project.vault_files(), vault, "{script}");
    }
}

/// Where stdout is a pipe, as in `… --json | jq`, a person is still there to answer.
#[test]
fn stdout_need_not_be_a_terminal() {
    let project = project();
    let mut command = project.command(["db", "migrate-safe", "--json"]);
    let document = File::create(project.path().join("document")).expect("create a file");
    let (mut master, mut child) = raw::start(&mut command, Some(Stdio::from(document)));
    raw::read_until(&mut master, QUESTION);
    raw::send(&mut master, "yes\r");
    raw::read_to_end(&mut master);
    assert_eq!(raw::exit_code(&mut child), 0);
    let document = fs::read(project.path().join("document")).expect("read the document");
    let document: serde_json::Value = serde_json::from_slice(&document).expect("one document");
    assert_eq!(document["outcome"], "migrated");
}
