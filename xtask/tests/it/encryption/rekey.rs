//! `db rekey`: for more people, for fewer, for the first time; killed at any moment.

mod again;
mod all;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Pair, adopt, cases, dump_of};
use crate::exec;
use crate::kill::Dice;
use crate::pty::{ENTER, Terminal};
use crate::setup::{Case, says, text};

/// Where the dump of the only backup lies now.
fn only_dump(case: &Case) -> PathBuf {
    let list = case.project.json(["db", "list"]);
    assert_eq!(list["problems"], json!([]), "{list:#}");
    let [backup] = list["backups"].as_array().expect("a list").as_slice() else {
        panic!("not one backup: {list:#}");
    };
    let files = case.project.vault_files();
    assert_eq!(files.len(), 2, "a dump and a manifest: {files:?}");
    text(backup, "/path").into()
}

fn rekey(case: &Case, more: &[&str]) -> Value {
    case.project
        .json([&["db", "rekey", "latest"], more].concat())
}

#[test]
fn recipients_come_and_go() {
    for (case, ada) in cases("rekey") {
        let taken = case.project.json(["db", "backup", "mine"]);
        let before = ada.decrypt(&dump_of(&taken));
        let grace = Pair::new();
        let done = rekey(&case, &["--add-recipient", &grace.public]);
        assert_eq!(done["rekeyed"][0]["changed"], true, "{done:#}");
        let both = only_dump(&case);
        assert_eq!(grace.decrypt(&both), before);
        assert_eq!(ada.decrypt(&both), before);

        // Who is removed needs somebody who stays, to see that it opens.
        let only_ada = ["db", "rekey", "--remove-recipient", &ada.public];
        let refused = case.project.run(only_ada).expect_code(3);
        says(
            &refused,
            &["what it would become cannot be tested", "--identity FILE"],
        );
        let key = grace.file(&case.project, "grace.txt");
        let key = key.to_str().expect("a UTF-8 path");
        let ada_key = case.project.path().join("key.txt");
        let ada_key = ada_key.to_str().expect("a UTF-8 path");
        let keys = ["--identity", key, "--identity", ada_key];
        let done = rekey(
            &case,
            &[&["--remove-recipient", &ada.public], &keys[..]].concat(),
        );
        assert_eq!(
            done["rekeyed"][0]["encryption"]["recipients"],
            json!([grace.public])
        );
        let last = only_dump(&case);
        assert!(!ada.opens(&last));
        assert_eq!(grace.decrypt(&last), before);
        assert!(last.display().to_string().ends_with(".3.age"), "{last:?}");

        let refused = case
            .project
            .run(["db", "restore", "latest", "--yes"])
            .expect_code(4);
        says(&refused, &["no key at hand opens it"]);
        case.query("DELETE FROM t;");
        let id = text(&taken, "/backup/id");
        case.project
            .run(["db", "restore", id, "--yes", "--identity", key])
            .expect_code(0);
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["2"]);
        let log = case.project.json(["db", "log"]);
        let lines = log.to_string();
        assert!(
            lines.contains("\"rekey\"") && lines.contains("before, for age1"),
            "{log:#}"
        );
    }
}

#[test]
fn the_manifest_says_the_same_but_for_the_dump() {
    let (case, _) = cases("rekey_manifest").remove(0);
    let taken = case.project.json(["db", "backup", "mine"]);
    rekey(&case, &["--add-recipient", &Pair::new().public]);
    let list = case.project.json(["db", "list"]);
    let mut now = list["backups"][0]["manifest"].clone();
    let mut then = taken["backup"].clone();
    assert_ne!(now["dump"], then["dump"]);
    for manifest in [&mut now, &mut then] {
        manifest["dump"] = Value::Null;
    }
    assert_eq!(now, then);
    case.project.run(["db", "verify", "--all"]).expect_code(0);
    case.project.run(["db", "drill", "--all"]).expect_code(0);
}

/// Encryption that is adopted later: all backups become what a new one would be.
#[test]
fn plain_backups_are_encrypted_later() {
    for case in Case::each("rekey_plain") {
        case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
        let ids = [case.backup(), case.backup()];
        let pair = Pair::new();
        let case = Case {
            project: adopt(case.project, &pair),
            server: case.server,
        };
        let done = case.project.json(["db", "rekey", "--all"]);
        let changed = done["rekeyed"].as_array().expect("a list");
        assert!(
            changed.iter().all(|done| done["changed"] == true),
            "{done:#}"
        );
        assert_eq!(changed.len(), ids.len());
        let files = case.project.vault_files();
        assert_eq!(files.len(), 4, "{files:?}");
        let plain = files.iter().filter(|name| name.ends_with(".zst"));
        assert_eq!(plain.count(), 0, "{files:?}");
        for id in &ids {
            case.project.run(["db", "drill", id]).expect_code(0);
        }
        // A second time there is nothing to do.
        let done = case.project.json(["db", "rekey", "--all"]);
        let changed = done["rekeyed"].as_array().expect("a list");
        assert!(
            changed.iter().all(|done| done["changed"] == false),
            "{done:#}"
        );
        assert_eq!(case.project.vault_files(), files);
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let (case, pair) = cases("rekey_refused").remove(0);
    case.backup();
    let before = only_dump(&case);
    let other = Pair::new();
    let rekey = |more: &[&str]| {
        case.project
            .run([&["db", "rekey", "latest"], more].concat())
    };
    let refused = rekey(&["--remove-recipient", &other.public]).expect_code(3);
    says(&refused, &["the backup is not encrypted for"]);
    let refused = rekey(&["--remove-recipient", &pair.public]).expect_code(3);
    says(&refused, &["nobody would be left who can open it"]);
    rekey(&["--add-recipient", "Ada"]).expect_code(2);
    let mut stranger = case
        .project
        .command(["db", "rekey", "--add-recipient", &other.public]);
    stranger.env("XTASK_DB_IDENTITY", other.file(&case.project, "other.txt"));
    let refused = exec::run(&mut stranger, None).expect_code(4);
    says(&refused, &["no key at hand opens it"]);
    let mut nobody = case.project.command(["db", "rekey"]);
    nobody.env_remove("XTASK_DB_RECIPIENTS");
    exec::run(&mut nobody, None).expect_code(2);
    assert_eq!(only_dump(&case), before);
    case.project.run(["db", "drill"]).expect_code(0);

    let mut bytes = fs::read(&before).expect("read the dump");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&before, bytes).expect("damage the dump");
    let refused = rekey(&["--add-recipient", &other.public]).expect_code(4);
    says(&refused, &["its SHA-256 is"]);
    assert_eq!(
        only_dump(&case),
        before,
        "a damaged dump is no reason to make another one"
    );
}

/// At every moment there is a backup that verifies and opens; what is too much goes with the next run.
#[test]
fn killed_at_any_moment_there_is_a_backup() {
    let mut dice = Dice::new();
    let (case, pair) = cases("rekey_kill").remove(0);
    case.query("INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
                SELECT i, hex(randomblob(30)) FROM n;");
    let id = case.backup();
    let others: Vec<Pair> = (0..12).map(|_| Pair::new()).collect();
    let mut killed = 0;
    for other in &others {
        let arguments = ["db", "rekey", "latest", "--add-recipient", &other.public];
        let running = exec::start(&mut case.project.command(arguments), None);
        std::thread::sleep(Duration::from_millis(dice.below(500)));
        running.signal(Signal::KILL);
        killed += u32::from(running.finish().code == 137);
        let verified = case.project.json(["db", "verify", &id]);
        assert_eq!(verified["verified"][0]["trusted"], true, "{verified:#}");
        case.project.run(["db", "drill", &id]).expect_code(0);
    }
    assert!(killed > 0, "nothing was killed");
    rekey(&case, &["--add-recipient", &Pair::new().public]);
    pair.decrypt(&only_dump(&case));
}

/// A crash between the new manifest and the removal of the old dump leaves that as an orphan.
#[test]
fn an_old_dump_that_a_crash_left_is_named_and_removed() {
    let (case, _) = cases("rekey_orphan").remove(0);
    let taken = case.project.json(["db", "backup"]);
    let old = dump_of(&taken);
    let bytes = fs::read(&old).expect("read the dump");
    rekey(&case, &["--add-recipient", &Pair::new().public]);
    assert!(!old.exists());
    fs::write(&old, bytes).expect("leave an old dump");
    let list = case.project.json(["db", "list"]);
    let problem = text(&list, "/problems/0/problem");
    assert!(problem.starts_with("an older dump of"), "{problem}");
    let list = case.project.run(["db", "list"]).expect_code(0);
    says(&list, &["an older dump of"]);
    case.project.run(["db", "verify", "--all"]).expect_code(0);
    rekey(&case, &["--add-recipient", &Pair::new().public]);
    only_dump(&case);
}

/// The first rekey of a plain backup was cut short, and is asked for once more.
#[test]
fn the_same_rekey_again_removes_the_plain_dump() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let plain = case.dump(&case.backup());
    let bytes = fs::read(&plain).expect("read the dump");
    let case = Case {
        project: adopt(case.project, &Pair::new()),
        server: None,
    };
    rekey(&case, &[]);
    fs::write(&plain, bytes).expect("leave the plain dump");
    let done = rekey(&case, &[]);
    assert_eq!(done["rekeyed"][0]["changed"], false, "{done:#}");
    assert!(!plain.exists());
    // What remains was matched before.
    let dump = only_dump(&case);
    fs::write(&plain, b"left").expect("leave a dump");
    fs::write(&dump, b"lost").expect("damage the dump");
    case.project.run(["db", "rekey"]).expect_code(4);
    assert!(plain.exists());
}

#[test]
fn with_all_who_is_in_some_of_them_goes_from_those() {
    let (case, ada) = cases("rekey_mixed").remove(0);
    let bob = Pair::new();
    let for_both = |name: &str| {
        let to = ["--recipient", &ada.public, "--recipient", &bob.public];
        let arguments = [&["db", "backup", name], &to[..]].concat();
        dump_of(&case.project.json(arguments))
    };
    let first = for_both("first");
    case.project.json(["db", "backup", "second"]);
    let third = for_both("third");
    let damaged = for_both("damaged");
    let mut bytes = fs::read(&damaged).expect("read the dump");
    bytes[300] ^= 1;
    fs::write(&damaged, bytes).expect("damage the dump");

    let remove = ["db", "rekey", "--all", "--remove-recipient", &bob.public];
    let mut command = case.project.command([&remove[..], &["--json"]].concat());
    let output = exec::run(&mut command, None).expect_code(4);
    says(&output, &["1 of 4 backups could not be opened"]);
    let done = output.json();
    let done = done["rekeyed"].as_array().expect("a list");
    let changed: Vec<_> = done.iter().map(|done| done["changed"].clone()).collect();
    assert_eq!(changed, [false, true, false, true], "{done:#?}");
    let problems = done.iter().filter(|done| !done["problem"].is_null());
    assert_eq!(problems.count(), 1, "{done:#?}");
    for dump in [first, third] {
        assert!(!dump.exists(), "{dump:?} was for Bob");
    }
    // Nobody else can be let in where a passphrase opens it.
    case.project
        .write("words.txt", "correct horse battery staple");
    let sealed = ["db", "backup", "words", "--recipient", "none"];
    case.project.run(sealed).expect_code(0);
    let mut command =
        case.project
            .command(["db", "backup", "sealed", "--passphrase-file", "words.txt"]);
    command.env_remove("XTASK_DB_RECIPIENTS");
    exec::run(&mut command, None).expect_code(0);
    let add = ["db", "rekey", "latest", "--add-recipient", &bob.public];
    let refused = case.project.run(add).expect_code(3);
    says(&refused, &["is for a passphrase", "--recipient age1"]);
}

/// Who is let in to a plain one comes beside those for whom a new one would be.
#[test]
fn a_plain_backup_is_for_those_of_a_new_one_and_who_comes() {
    let (case, ada) = cases("rekey_plain_add").remove(0);
    case.project
        .run(["db", "backup", "--recipient", "none"])
        .expect_code(0);
    let bob = Pair::new();
    rekey(&case, &["--add-recipient", &bob.public]);
    let dump = only_dump(&case);
    assert!(ada.opens(&dump) && bob.opens(&dump));
}

/// It is found by its manifest, and has another dump when it is read.
#[test]
fn a_backup_that_is_rekeyed_while_somebody_chooses_it_is_restored() {
    let (case, _) = cases("rekey_meanwhile").remove(0);
    case.backup();
    case.query("DELETE FROM t;");
    let mut terminal = Terminal::start(case.project.command(["db", "restore", "--yes"]));
    terminal.wait_for("which backup is to be restored?");
    rekey(&case, &["--add-recipient", &Pair::new().public]);
    terminal.send(ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["2"]);
}
