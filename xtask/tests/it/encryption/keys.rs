//! No key, another key, an SSH key, somebody else's file in the place of a key.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{Pair, adopt, cases, dump_of, shell};
use crate::exec;
use crate::exec::is_missing;
use crate::project::Project;
use crate::setup::{Case, hinted_command, says, text};

/// Everything that opens a dump, none of which may do anything when it stays closed.
fn opening(case: &Case) -> [Vec<&'static str>; 4] {
    let place: &[&str] = match case.server {
        Some(_) => &["--into-schema", "rescued"],
        None => &["--into", "sqlite:rescued.db"],
    };
    [
        vec!["restore", "latest", "--yes"],
        [&["restore", "latest", "--yes", "--only", "t"], place].concat(),
        vec!["drill"],
        vec!["diff", "latest", "--rows", "t"],
    ]
}

/// The same project for somebody who has other keys, or none.
fn without_key(case: &Case) -> Vec<(&'static str, String)> {
    vec![
        ("XTASK_DB_IDENTITY", String::new()),
        (
            "XTASK_DB_RECIPIENTS",
            case.project.path().display().to_string(),
        ),
    ]
}

#[test]
fn no_key_and_another_key_are_two_things_and_change_nothing() {
    for (case, pair) in cases("no_key") {
        let id = case.backup();
        case.query("INSERT INTO t VALUES (3, 'Alan');");
        let other = Pair::new().file(&case.project, "other.txt");
        for verb in opening(&case) {
            let files = case.project.vault_files();
            let mut command = case.project.command([&["db"], &verb[..]].concat());
            for (name, _) in without_key(&case) {
                command.env_remove(name);
            }
            let output = exec::run(&mut command, None).expect_code(4);
            says(
                &output,
                &[
                    "it is encrypted, and there is no key at hand",
                    &pair.public[..12],
                ],
            );
            let hint = hinted_command(&output).join(" ");
            assert!(
                hint.ends_with("--identity FILE") && hint.contains(verb[0]),
                "{output}"
            );

            let mut command = case.project.command([&["db"], &verb[..]].concat());
            command.env("XTASK_DB_IDENTITY", &other);
            let output = exec::run(&mut command, None).expect_code(4);
            says(
                &output,
                &["no key at hand opens it", "\nhint: name another key"],
            );
            assert_eq!(case.project.vault_files(), files, "{verb:?}");
            assert_eq!(case.query("SELECT count(*) FROM t;"), ["3"]);
            assert!(!case.project.path().join("rescued.db").exists());
        }
        // With the key, the tables come.
        let only = [&["db"], &opening(&case)[1][..]].concat();
        case.project.run(only).expect_code(0);
        // To verify takes no key at all.
        let mut verify = case.project.command(["db", "verify", &id]);
        verify
            .env_remove("XTASK_DB_IDENTITY")
            .env_remove("XTASK_DB_RECIPIENTS");
        exec::run(&mut verify, None).expect_code(0);
    }
}

#[test]
fn a_backup_without_the_key_at_hand_says_that_nobody_here_can_restore_it() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let pair = Pair::new();
    let taken = case
        .project
        .run(["db", "backup", "--recipient", &pair.public])
        .expect_code(0);
    let said = "note: nobody here can restore it: it is encrypted for";
    assert_eq!(taken.stderr.matches(said).count(), 1, "{taken}");
    let list = case.project.json(["db", "list"]);
    let encryption = &list["backups"][0]["manifest"]["dump"]["encryption"];
    assert_eq!(encryption["decrypted"], false, "{list:#}");
    let status = case.project.run(["db", "status"]).expect_code(0);
    assert!(
        status
            .stdout
            .contains("never decrypted: no key was at hand"),
        "{status}"
    );

    let other = Pair::new().file(&case.project, "other.txt");
    let other = other.to_str().expect("a UTF-8 path");
    let taken = [
        "db",
        "backup",
        "--recipient",
        &pair.public,
        "--identity",
        other,
    ];
    let files = case.project.vault_files();
    let refused = case.project.run(taken).expect_code(3);
    says(
        &refused,
        &["nobody here could restore", "the keys at hand are others"],
    );
    assert_eq!(case.project.vault_files(), files);
    let verified = case.project.run(["db", "verify"]).expect_code(0);
    let shown = "; matched, not decrypted)";
    assert!(verified.stdout.contains(shown), "{verified}");
    let verified = case.project.json(["db", "verify"]);
    let whom = text(&verified, "/verified/0/encrypted_for");
    assert!(
        pair.public.starts_with(whom.trim_end_matches('…')),
        "{whom}"
    );
}

#[test]
fn no_migration_without_a_key_for_the_rehearsal() {
    for (case, pair) in cases("no_rehearsal_key") {
        case.project
            .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
        let migrate = |more: &[&str]| {
            let arguments = [&["db", "migrate-safe", "--yes"], more].concat();
            let mut command = case.project.command(arguments);
            command.env_remove("XTASK_DB_IDENTITY");
            exec::run(&mut command, None)
        };
        let refused = migrate(&[]).expect_code(3);
        says(
            &refused,
            &[
                "could not restore the one that it takes; nothing was changed",
                "--identity FILE",
                "--no-rehearse",
            ],
        );
        assert!(
            case.project.vault_files().is_empty(),
            "no backup for nothing"
        );
        migrate(&["--no-rehearse", "--on-failure", "restore"]).expect_code(3);
        let done = migrate(&["--no-rehearse"]).expect_code(0);
        says(&done, &["note: nobody here can restore it"]);
        let dump = case.project.vault_files();
        let dump = dump
            .iter()
            .find(|name| name.ends_with(".age"))
            .expect("a dump");
        assert!(pair.opens(&case.project.vault().join(dump)));
    }
}

/// Makes an SSH key; its public line.
pub fn ssh_key(project: &Project, kind: &str, name: &str, passphrase: &str) -> String {
    let line = format!("ssh-keygen -q -t {kind} -N '{passphrase}' -C 'ada@example.com' -f {name}");
    shell(project, &line).expect_code(0);
    let public = fs::read_to_string(project.path().join(format!("{name}.pub")));
    public.expect("read a public key").trim().to_owned()
}

#[test]
fn ssh_keys_are_keys() {
    if is_missing("ssh-keygen") {
        return;
    }
    for kind in ["ed25519", "rsa -b 2048"] {
        let case = Case::sqlite();
        case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
        let public = ssh_key(&case.project, kind, "id", "");
        case.project
            .write("recipients.txt", format!("# who may\n\n{public}\n"));
        let to = ["--recipients-file", "recipients.txt", "--identity", "id"];
        let taken = case.project.json([&["db", "backup"], &to[..]].concat());
        let encryption = &taken["backup"]["dump"]["encryption"];
        let written = text(encryption, "/recipients/0");
        assert!(
            public.starts_with(written) && !written.contains("ada@"),
            "{written}"
        );
        assert_eq!(encryption["decrypted"], true, "{kind}");
        let fingerprint = shell(&case.project, "ssh-keygen -l -f id.pub")
            .expect_code(0)
            .stdout;
        let fingerprint = fingerprint
            .split_whitespace()
            .nth(1)
            .expect("a fingerprint");
        let list = case.project.run(["db", "list"]).expect_code(0).stdout;
        let shown = &fingerprint[.."SHA256:".len() + 12];
        assert!(list.contains(shown), "{fingerprint} in {list}");

        case.query("INSERT INTO t VALUES (2);");
        let restore = ["db", "restore", "latest", "--yes", "--identity", "id"];
        case.project.run(restore).expect_code(0);
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["1"]);
    }
}

/// What stands in the wrong place is named by its place and never repeated.
#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    let project = Project::new();
    let pair = Pair::new();
    let secret = fs::read_to_string(pair.file(&project, "secret.txt")).expect("read a key");
    let secret = secret.lines().last().expect("a key").to_owned();
    let wrong = pair.public.replacen(&pair.public[20..21], "b", 1);
    let cut = &pair.public[..40];
    for recipient in [
        secret.as_str(),
        cut,
        &wrong,
        "age1yubikey1qwertyuiop",
        "ssh-ed25519 AAAA",
        "Ada",
    ] {
        let refused = project
            .run(["db", "backup", "--recipient", recipient])
            .expect_code(2);
        assert!(!refused.stderr.contains(&secret), "{refused}");
        says(&refused, &["a recipient cannot be used: "]);
    }
    project.write("list.txt", format!("{}\n{secret}\n", pair.public));
    let refused = project
        .run(["db", "backup", "--recipients-file", "list.txt"])
        .expect_code(2);
    says(&refused, &["line 2: it is a secret key"]);
    project.write("list.txt", "# nobody\n");
    let refused = project
        .run(["db", "backup", "--recipients-file", "list.txt"])
        .expect_code(2);
    says(&refused, &["it names nobody"]);
    for flag in ["--identity", "--recipients-file", "--passphrase-file"] {
        let refused = project.run(["db", "backup", flag, &secret]).expect_code(2);
        assert!(!refused.stderr.contains(&secret[20..]), "{refused}");
        says(&refused, &["a secret key stands where a file was expected"]);
    }
    for (content, said) in [
        (pair.public.as_str(), "it is a public key"),
        ("", "it holds no `AGE-SECRET-KEY-1…`"),
        ("# x\nAGE-SECRET-KEY-1Q", "line 2 is no"),
        ("age-encryption.org/v1\n", "it is encrypted itself"),
    ] {
        project.write("id.txt", content);
        let refused = project
            .run(["db", "drill", "--identity", "id.txt"])
            .expect_code(2);
        says(&refused, &[said]);
    }
    assert!(project.vault_files().is_empty());
}

/// The same of what stands in a variable, where a path was meant.
#[test]
fn a_secret_in_the_place_of_a_path_is_not_repeated() {
    let pair = Pair::new();
    let other = Project::new();
    let secret = fs::read_to_string(pair.file(&other, "secret.txt")).expect("read a key");
    let secret = secret.lines().last().expect("a key");
    let ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk";
    for name in [
        "XTASK_DB_IDENTITY",
        "XTASK_DB_RECIPIENTS_FILE",
        "XTASK_DB_PASSPHRASE_FILE",
    ] {
        for (value, tells) in [(secret, &secret[20..]), (ssh, "b3BlbnNz")] {
            let project = Project::new().env(name, value);
            for verb in ["backup", "config", "list"] {
                let refused = project.run(["db", verb]).expect_code(2);
                says(&refused, &["a secret key stands where a file was expected"]);
                assert!(!refused.stderr.contains(tells), "{name}: {refused}");
                assert!(!refused.stdout.contains(tells), "{name}: {refused}");
            }
        }
    }
    // A passphrase looks like any name of a file.
    let project = Project::new().env("XTASK_DB_PASSPHRASE_FILE", "hunter2-and-more");
    let by_flag = ["db", "backup", "--passphrase-file", "hunter2-and-more"];
    for refused in [project.run(["db", "backup"]), Project::new().run(by_flag)] {
        let refused = refused.expect_code(2);
        says(
            &refused,
            &["`XTASK_DB_PASSPHRASE_FILE` names cannot be read"],
        );
        assert!(!refused.stderr.contains("hunter2"), "{refused}");
    }
    for config in [&["db", "config"][..], &["db", "config", "--json"]] {
        let shown = project.run(config).expect_code(0);
        assert!(!shown.stdout.contains("hunter2"), "{shown}");
        assert!(shown.stdout.contains("(hidden: there is no such file)"));
        project.write("hunter2-and-more", "it is a file");
        let shown = project.run(config).expect_code(0);
        assert!(shown.stdout.contains("hunter2-and-more"), "{shown}");
        fs::remove_file(project.path().join("hunter2-and-more")).expect("remove it");
    }
}

/// A secret that is missing in CI arrives as an empty text, and must not turn encryption off.
#[test]
fn an_empty_variable_is_refused() {
    for name in [
        "XTASK_DB_RECIPIENTS",
        "XTASK_DB_RECIPIENTS_FILE",
        "XTASK_DB_IDENTITY",
        "XTASK_DB_PASSPHRASE_FILE",
        "XTASK_DB_PASSPHRASE_COMMAND",
    ] {
        let project = Project::new().env(name, "");
        let refused = project.run(["db", "backup"]).expect_code(2);
        says(&refused, &[name, "is set, and empty"]);
    }
}

/// Several recipients, in each of the ways to name them: each of them can open it.
#[test]
fn each_of_several_recipients_opens_it() {
    let case = Case::sqlite();
    let pairs = [Pair::new(), Pair::new(), Pair::new()];
    let [a, b, c] = &pairs;
    let file = format!("{}\n{}\n", c.public, a.public);
    case.project.write("team.txt", file);
    let to = [
        "--recipient",
        &a.public,
        "--recipient",
        &b.public,
        "--recipients-file",
        "team.txt",
    ];
    let taken = case.project.json([&["db", "backup"], &to[..]].concat());
    let recipients = &taken["backup"]["dump"]["encryption"]["recipients"];
    assert_eq!(*recipients, json!([a.public, b.public, c.public]));
    assert!(pairs.iter().all(|pair| pair.opens(&dump_of(&taken))));
    let both = format!("{}, {}", a.public, b.public);
    let project = adopt(case.project, a).env("XTASK_DB_RECIPIENTS", both);
    let taken = project.json(["db", "backup"]);
    let opened = pairs.iter().map(|pair| pair.opens(&dump_of(&taken)));
    assert_eq!(opened.collect::<Vec<_>>(), [true, true, false]);
    let mode = dump_of(&taken)
        .metadata()
        .expect("a dump")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
