//! A command that is shown is pasted: it must be about the same backup and database, and encrypt for the
//! same people.

use std::process::Command;

use super::keys::ssh_key;
use super::{Pair, adopt, cases};
use crate::cluster::Database;
use crate::exec::is_missing;
use crate::exec::{self, Output};
use crate::project::{Project, sqlite_rows};
use crate::setup::{Case, hinted_command, says};

/// The command of the hint, in a shell, with what its reader fills in.
#[track_caller]
fn pasted(project: &Project, refused: &Output, filled: (&str, &str)) -> Output {
    let nothing: [&str; 0] = [];
    pasted_by(&project.command(nothing), refused, filled)
}

#[track_caller]
fn pasted_by(tool: &Command, refused: &Output, filled: (&str, &str)) -> Output {
    let hint = refused.stderr.split_once("\nhint: ").expect("a hint").1;
    let (_, line) = hint.split_once("cargo xtask ").expect("a command");
    let line = line
        .lines()
        .next()
        .expect("a line")
        .replace(filled.0, filled.1);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("\"$0\" {line}")]);
    exec::run(&mut exec::wrapped(shell, tool), None)
}

fn a_database() -> Case {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    case
}

/// The only dump is for this pair.
#[track_caller]
fn assert_sealed_for(pair: &Pair, project: &Project) {
    let files = project.vault_files();
    let dumps: Vec<_> = files.iter().filter(|name| name.contains(".zst")).collect();
    let [dump] = dumps.as_slice() else {
        panic!("not one dump: {files:?}");
    };
    assert!(dump.ends_with(".age"), "{files:?}");
    assert!(pair.opens(&project.vault().join(dump)));
}

#[test]
fn a_pasted_command_is_for_the_same_people() {
    let (bob, other) = (Pair::new(), Pair::new());
    let ways = [
        ["--recipient", &bob.public],
        ["--recipients-file", "the team.txt"],
    ];
    for to in ways {
        let begun = || {
            let case = a_database();
            case.project
                .write("the team.txt", format!("{}\n", bob.public));
            other.file(&case.project, "other.txt");
            bob.file(&case.project, "bob.txt");
            case
        };
        // The wrong key was named.
        let case = begun();
        let wrong = ["db", "backup", "--identity", "other.txt"];
        let refused = case.project.run([&wrong[..], &to].concat()).expect_code(3);
        pasted(&case.project, &refused, ("FILE", "bob.txt")).expect_code(0);
        assert_sealed_for(&bob, &case.project);

        // There is nobody to ask.
        let case = begun();
        case.project
            .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
        let unasked = ["db", "migrate-safe", "--identity", "bob.txt"];
        let refused = case
            .project
            .run([&unasked[..], &to].concat())
            .expect_code(3);
        pasted(&case.project, &refused, ("", "")).expect_code(0);
        assert_sealed_for(&bob, &case.project);
    }
}

#[test]
fn a_key_of_several_words_is_one_word_of_a_shell() {
    if is_missing("ssh-keygen") {
        return;
    }
    let case = a_database();
    let public = ssh_key(&case.project, "ed25519", "id", "");
    Pair::new().file(&case.project, "other.txt");
    let arguments = ["db", "backup", "--recipient", &public];
    let with = [&arguments[..], &["--identity", "other.txt"]].concat();
    let refused = case.project.run(with).expect_code(3);
    pasted(&case.project, &refused, ("FILE", "id")).expect_code(0);
    let files = case.project.vault_files();
    assert!(files.iter().any(|name| name.ends_with(".age")), "{files:?}");
}

/// It is never shown, and a pasted command that leaves it out must not write in clear.
#[test]
fn where_a_passphrase_belongs_its_reader_fills_it_in() {
    let case = a_database();
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    let secret = "echo 'hunter2 and more'";
    let with = ["db", "migrate-safe", "--passphrase-command", secret];
    let refused = case.project.run(with).expect_code(3);
    assert!(!refused.stderr.contains("hunter2"), "{refused}");
    pasted(&case.project, &refused, ("", "")).expect_code(3);
    assert!(case.project.vault_files().is_empty());
    let quoted = "\"echo 'hunter2 and more'\"";
    pasted(&case.project, &refused, ("COMMAND", quoted)).expect_code(0);
    let files = case.project.vault_files();
    assert!(files.iter().any(|name| name.ends_with(".age")), "{files:?}");
}

/// For nobody is said by hand, and is a part of the command as well.
#[test]
fn for_nobody_stays_for_nobody() {
    let (case, _) = cases("hint_declined").remove(0);
    case.backup();
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    let with = ["db", "migrate-safe", "--recipient", "none"];
    let refused = case.project.run(with).expect_code(3);
    let hint = hinted_command(&refused).join(" ");
    assert!(hint.contains("--recipient none"), "{hint}");
    pasted(&case.project, &refused, ("", "")).expect_code(0);
}

/// Of a text that is no public key nothing is repeated.
#[test]
fn what_is_no_public_key_is_not_repeated() {
    let case = a_database();
    let secret = "AGE-SECRET-KEY-1QQPQ";
    let with = ["db", "restore", "latest", "--recipient", secret];
    let refused = case.project.run(with).expect_code(2);
    assert!(!refused.stderr.contains("1QQPQ"), "{refused}");
    let with = ["db", "verify", "nothing", "--recipient", secret];
    let refused = case.project.run(with).expect_code(4);
    says(&refused, &["\nhint: "]);
    assert!(!refused.stderr.contains("1QQPQ"), "{refused}");
}

/// A run by somebody who has the key and no passphrase, and has not said for whom backups are.
fn unnamed(case: &Case, arguments: &[&str]) -> Output {
    let mut command = case.project.command([&["db"], arguments].concat());
    exec::run(command.env_remove("XTASK_DB_RECIPIENTS"), None)
}

/// The newest backup is for a passphrase, which nobody can know; another one was asked for.
#[test]
fn the_hint_of_a_restore_is_about_the_same_backup() {
    for (case, _) in cases("hint_of_restore") {
        let old = case.backup();
        case.query("INSERT INTO t VALUES (3, 'Alan');");
        case.project.write("words.txt", "correct horse battery");
        let newest = ["backup", "newest", "--passphrase-file", "words.txt"];
        unnamed(&case, &newest).expect_code(0);
        case.query("INSERT INTO t VALUES (4, 'Emmy');");

        let refused = unnamed(&case, &["restore", &old, "--yes"]).expect_code(3);
        says(
            &refused,
            &["the backups before are encrypted for a passphrase"],
        );
        let hint = hinted_command(&refused).join(" ");
        assert_eq!(hint, format!("db restore {old} --passphrase-file FILE"));
        // So that nothing asks, as a script would.
        let filled = ("FILE", "words.txt --yes");
        let nothing: [&str; 0] = [];
        let mut tool = case.project.command(nothing);
        tool.env_remove("XTASK_DB_RECIPIENTS");
        pasted_by(&tool, &refused, filled).expect_code(0);
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["2"]);
    }
}

/// The database of `--into`, and how many rows it has.
fn another(case: &Case) -> (String, Option<Database>) {
    match &case.server {
        None => ("sqlite:database/other.db".to_owned(), None),
        Some(database) => {
            let other = database.cluster().create_database("hint_into_other");
            (other.url(), Some(other))
        }
    }
}

/// A pasted one must not replace the live database.
#[test]
fn the_hint_of_a_restore_into_another_is_about_the_other() {
    for (case, _) in cases("hint_of_into") {
        let old = case.backup();
        let (url, server) = another(&case);
        case.project.write("words.txt", "correct horse battery");
        // The newest backup of the other database is for a passphrase.
        let into = ["restore", &old, "--into", &url, "--yes"];
        unnamed(&case, &into).expect_code(0);
        let there = ["--database-url", &url, "--passphrase-file", "words.txt"];
        unnamed(&case, &[&["backup"], &there[..]].concat()).expect_code(0);
        case.query("INSERT INTO t VALUES (3, 'Alan');");

        let refused = unnamed(&case, &[&into[..], &["--force"]].concat()).expect_code(3);
        let hint = hinted_command(&refused).join(" ");
        let begin = format!("db restore {old} --into ");
        assert!(hint.starts_with(&begin), "{hint}");
        assert!(hint.ends_with("--passphrase-file FILE"), "{hint}");
        let rows = "SELECT count(*) FROM t;";
        assert_eq!(case.query(rows), ["3"]);
        let there = match &server {
            Some(other) => vec![other.psql(rows)],
            None => {
                let file = case.project.path().join("database/other.db");
                let other = rusqlite::Connection::open(file).expect("open the other");
                sqlite_rows(&other, rows).expect("read the other")
            }
        };
        assert_eq!(there, ["2"]);
    }
}

/// On a new server every database is another one.
#[test]
fn a_forced_restore_of_a_closed_backup_is_still_forced_when_it_is_pasted() {
    let pair = Pair::new();
    let mut old = a_database();
    old.project = adopt(old.project, &pair);
    let id = old.backup();
    let new = Case::sqlite();
    std::fs::create_dir_all(new.project.vault()).expect("a vault");
    for name in old.project.vault_files() {
        let to = new.project.vault().join(&name);
        std::fs::copy(old.project.vault().join(&name), to).expect("carry it");
    }
    pair.file(&new.project, "key.txt");
    let other = format!(
        "sqlite:{}",
        new.project.tmp().join("app.db-other").display()
    );
    for into in [&[][..], &["--into", &other]] {
        let forced = [&["db", "restore", &id, "--force"][..], into].concat();
        let refused = new.project.run(forced).expect_code(4);
        pasted(&new.project, &refused, ("FILE", "key.txt")).expect_code(0);
    }
    assert_eq!(new.query("SELECT count(*) FROM t;"), ["1"]);
}
