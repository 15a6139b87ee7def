//! A passphrase: from a file, from a command, typed by a person, for a backup and for an SSH key.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::Pair;
use super::keys::ssh_key;
use crate::exec;
use crate::exec::is_missing;
use crate::project::Project;
use crate::pty::{ENTER, Terminal};
use crate::setup::{Case, says, text};

const PASSPHRASE: &str = "correct horse battery staple";

fn passphrase_file(project: &Project, text: &str) -> String {
    project.write("passphrase.txt", text);
    project.path().join("passphrase.txt").display().to_string()
}

#[test]
fn a_passphrase_from_a_file_or_a_command() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let file = passphrase_file(&case.project, &format!("{PASSPHRASE}\n"));
    let taken = case
        .project
        .json(["db", "backup", "--passphrase-file", &file]);
    let encryption = &taken["backup"]["dump"]["encryption"];
    assert_eq!(
        *encryption,
        json!({"method": "age", "passphrase": true, "decrypted": true})
    );
    case.query("INSERT INTO t VALUES (2);");

    let id = text(&taken, "/backup/id");
    let refused = case
        .project
        .run(["db", "restore", id, "--yes"])
        .expect_code(4);
    says(
        &refused,
        &[
            "there is no key at hand; it is for a passphrase",
            "--passphrase-file FILE",
        ],
    );
    let wrong = [
        "db",
        "restore",
        id,
        "--yes",
        "--passphrase-command",
        "echo wrong",
    ];
    let refused = case.project.run(wrong).expect_code(4);
    says(&refused, &["no key at hand opens it"]);
    let command = format!("printf '%s' '{PASSPHRASE}'");
    let right = [
        "db",
        "restore",
        id,
        "--yes",
        "--passphrase-command",
        &command,
    ];
    case.project.run(right).expect_code(0);
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["1"]);
    let list = case.project.run(["db", "list"]).expect_code(0);
    assert!(list.stdout.contains("a passphrase"), "{list}");
}

#[test]
fn a_passphrase_that_is_none_is_refused_before_anything_happens() {
    let project = Project::new();
    for bad in ["", "\n", "two\nlines\n"] {
        let file = passphrase_file(&project, bad);
        let refused = project
            .run(["db", "backup", "--passphrase-file", &file])
            .expect_code(2);
        says(
            &refused,
            &["is no passphrase: it must be one line, and not empty"],
        );
    }
    for (command, code) in [("exit 3", 3), ("echo s3cret >&2; false", 3), ("true", 2)] {
        let refused = project.run(["db", "backup", "--passphrase-command", command]);
        let refused = refused.expect_code(code);
        assert!(!refused.stderr.contains("s3cret"), "{refused}");
    }
    project
        .run(["db", "backup", "--passphrase-file", "missing"])
        .expect_code(2);
    let both = project
        .env("XTASK_DB_PASSPHRASE_FILE", "passphrase.txt")
        .env("XTASK_DB_PASSPHRASE_COMMAND", "true");
    let refused = both.run(["db", "backup"]).expect_code(2);
    says(&refused, &["are both set"]);
    both.run(["db", "config"]).expect_code(0);
    assert!(both.vault_files().is_empty());
}

/// All that it starts ends with the run, and it is not told what it has no use for.
#[test]
fn a_command_that_does_not_end_is_ended() {
    let project = Project::new()
        .env("DATABASE_URL", "sqlite:app.db")
        .env("OFFSITE_URL", "file:///nowhere");
    let line = "env > seen; sleep 600 & echo $! > pid; wait";
    let running = exec::start(
        &mut project.command(["db", "backup", "--passphrase-command", line]),
        None,
    );
    let pid = project.path().join("pid");
    let deadline = Instant::now() + Duration::from_secs(20);
    let number = loop {
        let text = fs::read_to_string(&pid).unwrap_or_default();
        match text.trim().parse::<i32>() {
            Ok(number) => break number,
            Err(_) => assert!(Instant::now() < deadline, "it was not begun"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    running.signal(Signal::TERM);
    running.finish().expect_code(130);
    let sleeper = std::path::PathBuf::from(format!("/proc/{number}"));
    let deadline = Instant::now() + Duration::from_secs(5);
    while sleeper.exists() {
        assert!(Instant::now() < deadline, "it still sleeps");
        std::thread::sleep(Duration::from_millis(20));
    }
    let seen = fs::read_to_string(project.path().join("seen")).expect("read what it saw");
    assert!(seen.contains("PATH="), "{seen}");
    for name in ["DATABASE_URL", "OFFSITE_URL"] {
        assert!(!seen.contains(name), "{seen}");
    }
}

#[test]
fn a_person_is_asked_for_the_passphrase_and_ci_is_not() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let file = passphrase_file(&case.project, PASSPHRASE);
    case.project
        .json(["db", "backup", "--passphrase-file", &file]);
    case.query("INSERT INTO t VALUES (2);");

    let restore = ["db", "restore", "latest", "--yes"];
    let mut terminal = Terminal::start(case.project.command(restore));
    terminal.wait_for("passphrase").send(PASSPHRASE).send(ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert!(
        !terminal.screen().contains(PASSPHRASE),
        "{}",
        terminal.screen()
    );
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["1"]);
    // What it replaced is for the same passphrase, and was opened with it.
    assert_opened(&terminal, &case);
    let files = case.project.vault_files();
    let plain = files.iter().filter(|name| name.ends_with(".zst"));
    assert_eq!(plain.count(), 0, "{files:?}");
    let kept = files.iter().find(|name| name.ends_with("pre-restore.json"));
    let kept = kept.expect("a safety backup").trim_end_matches(".json");
    let with = ["db", "drill", kept, "--passphrase-file", &file];
    case.project.run(with).expect_code(0);

    let mut terminal = Terminal::start(case.project.command(restore));
    terminal
        .wait_for("passphrase")
        .send("something else")
        .send(ENTER);
    assert_eq!(terminal.exit_code(), 4, "{}", terminal.screen());

    let mut command: Command = case.project.command(restore);
    command.env("CI", "true");
    let mut terminal = Terminal::start(command);
    assert_eq!(terminal.exit_code(), 4, "{}", terminal.screen());
}

/// The newest backup, a safety one, was decrypted when it was read back, and nobody is said to be shut out.
#[track_caller]
fn assert_opened(terminal: &Terminal, case: &Case) {
    let screen = terminal.screen();
    assert!(!screen.contains("nobody here"), "{screen}");
    let list = case.project.json(["db", "list"]);
    let newest = &list["backups"][0]["manifest"];
    assert_eq!(newest["reason"], "pre-restore", "{newest:#}");
    assert_eq!(newest["dump"]["encryption"]["decrypted"], true);
}

/// Of two passphrases, the one that is set is the new one; the old one is typed.
#[test]
fn a_passphrase_that_has_leaked_is_replaced() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let file = passphrase_file(&case.project, PASSPHRASE);
    case.project
        .json(["db", "backup", "--passphrase-file", &file]);
    case.project.write("new.txt", "another one");
    let rekey = ["db", "rekey", "latest", "--passphrase-file", "new.txt"];
    case.project.run(rekey).expect_code(4);
    let mut terminal = Terminal::start(case.project.command(rekey));
    terminal.wait_for("passphrase").send(PASSPHRASE).send(ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    let drill = |file: &str| {
        let drill = ["db", "drill", "--passphrase-file", file];
        case.project.run(drill)
    };
    drill("new.txt").expect_code(0);
    drill(&file).expect_code(4);
}

#[test]
fn an_ssh_key_with_a_passphrase_opens_with_it() {
    if is_missing("ssh-keygen") {
        return;
    }
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let public = ssh_key(&case.project, "ed25519", "id", PASSPHRASE);
    let file = passphrase_file(&case.project, PASSPHRASE);
    let to = ["--recipient", &public, "--identity", "id"];
    let taken = case
        .project
        .run([&["db", "backup"], &to[..]].concat())
        .expect_code(0);
    says(
        &taken,
        &[
            "nobody here can restore it",
            "the SSH key at hand has a passphrase",
        ],
    );
    let refused = case.project.run(["db", "drill", "--identity", "id"]);
    let refused = refused.expect_code(4);
    says(
        &refused,
        &["the SSH key at hand has a passphrase", " drill "],
    );
    assert!(
        refused.stderr.contains("--passphrase-file FILE"),
        "{refused}"
    );
    let drill = [
        "db",
        "drill",
        "--identity",
        "id",
        "--passphrase-file",
        &file,
    ];
    case.project.run(drill).expect_code(0);
    let mut terminal = Terminal::start(case.project.command(&drill[..4]));
    terminal.wait_for("passphrase").send(PASSPHRASE).send(ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
}

/// A database with an encrypted backup, whose SSH key has a passphrase; the file with that.
fn with_a_closed_key() -> (Case, String) {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let public = ssh_key(&case.project, "ed25519", "id", PASSPHRASE);
    case.project
        .run(["db", "backup", "--recipient", &public])
        .expect_code(0);
    let file = passphrase_file(&case.project, PASSPHRASE);
    (case, file)
}

#[test]
fn what_a_restore_replaces_is_tested_with_a_key_whose_passphrase_is_typed() {
    if is_missing("ssh-keygen") {
        return;
    }
    let (case, _) = with_a_closed_key();
    let restore = ["db", "restore", "latest", "--yes", "--identity", "id"];
    let mut terminal = Terminal::start(case.project.command(restore));
    terminal.wait_for("passphrase").send(PASSPHRASE).send(ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert_opened(&terminal, &case);
}

/// What it becomes is tested with the key that opened it.
#[test]
fn a_backup_is_rekeyed_with_a_key_whose_passphrase_is_typed() {
    if is_missing("ssh-keygen") {
        return;
    }
    let (case, _) = with_a_closed_key();
    let more = Pair::new();
    let add = ["db", "rekey", "--add-recipient", &more.public];
    let with = [&add[..], &["--identity", "id"]].concat();
    let mut terminal = Terminal::start(case.project.command(with));
    terminal.wait_for("passphrase").send(PASSPHRASE).send(ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    let list = case.project.json(["db", "list"]);
    assert!(more.opens(text(&list, "/backups/0/path").as_ref()));
}

#[test]
fn the_passphrase_of_a_key_is_not_taken_for_one_of_backups() {
    if is_missing("ssh-keygen") {
        return;
    }
    let (case, file) = with_a_closed_key();
    let with = ["--identity", "id", "--passphrase-file", &file];
    let restore = [&["db", "restore", "latest", "--yes"], &with[..]].concat();
    let restored = case.project.json(restore);
    let list = case.project.json(["db", "list"]);
    let kept = text(&restored, "/safety_backup");
    let backups = list["backups"].as_array().expect("a list");
    let kept = backups.iter().find(|one| one["manifest"]["id"] == *kept);
    let kept = &kept.expect("the safety backup")["manifest"]["dump"]["encryption"];
    assert_eq!(kept["passphrase"], json!(null), "{kept:#}");
    assert_eq!(kept["recipients"].as_array().map(Vec::len), Some(1));

    let new = Project::new();
    let public = ssh_key(&new, "ed25519", "id", PASSPHRASE);
    let words = passphrase_file(&new, PASSPHRASE);
    let with = [
        "db",
        "backup",
        "--identity",
        "id",
        "--passphrase-file",
        &words,
    ];
    let refused = new.run(with).expect_code(2);
    let said = ["the passphrase opens the SSH key", "--recipient none"];
    says(&refused, &said);
    assert!(new.vault_files().is_empty());
    new.run([&with[..], &["--recipient", &public]].concat())
        .expect_code(0);
}

/// One that opens nothing is an old one of the key, and becomes nobody's backup's.
#[test]
fn a_wrong_passphrase_of_a_key_is_not_taken_for_one_of_backups() {
    if is_missing("ssh-keygen") {
        return;
    }
    let (case, _) = with_a_closed_key();
    case.project.write("old.txt", "what it was before");
    let with = ["--identity", "id", "--passphrase-file", "old.txt"];
    let taken = case.project.run([&["db", "backup"], &with[..]].concat());
    let taken = taken.expect_code(0);
    says(&taken, &["they are encrypted as before, for ssh-ed25519"]);
    let list = case.project.json(["db", "list"]);
    for backup in list["backups"].as_array().expect("a list") {
        let encryption = &backup["manifest"]["dump"]["encryption"];
        assert_eq!(encryption["recipients"].as_array().map(Vec::len), Some(1));
    }

    let new = Project::new();
    ssh_key(&new, "ed25519", "id", PASSPHRASE);
    new.write("old.txt", "what it was before");
    let refused = new.run([&["db", "backup"], &with[..]].concat());
    let said = [
        "the passphrase does not open the SSH key",
        "leave `--identity`",
    ];
    says(&refused.expect_code(2), &said);
    assert!(new.vault_files().is_empty());
    // It may be that of backups: whoever says so is believed.
    new.json(["db", "backup", "--passphrase-file", "old.txt"]);
    let refused = new.run([&["db", "backup"], &with[..]].concat());
    says(&refused.expect_code(3), &["leave `--identity`"]);
    new.run([&["db", "drill"], &with[..]].concat())
        .expect_code(0);
}
