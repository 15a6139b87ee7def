//! The passphrase of backups, from a file and from a command.

use std::path::PathBuf;

use super::{PASSWORD, Watch, assert_silent, files_that_tell, project};

#[test]
fn every_verb_with_a_passphrase() {
    let watch = Watch::begin();
    let ways = [
        ("XTASK_DB_PASSPHRASE_FILE", "passphrase.txt"),
        ("XTASK_DB_PASSPHRASE_COMMAND", "cat passphrase.txt"),
    ];
    for (variable, value) in ways {
        let project = project().env(variable, value);
        project.write("passphrase.txt", format!("{PASSWORD}\n"));
        project.sqlite("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
        let verbs: [&[&str]; 8] = [
            &["backup", "first"],
            &["list"],
            &["status"],
            &["config"],
            &["migrate-safe", "--yes"],
            &["drill", "first"],
            &["rekey", "first"],
            &["restore", "first", "--yes"],
        ];
        for verb in verbs {
            let arguments = [&["db", "--verbose"], verb].concat();
            let output = project.run(&arguments).expect_code(0);
            assert_silent(&format!("{verb:?}"), &output);
        }
        project.write("wrong.txt", "another one");
        let wrong = ["db", "drill", "--verbose", "--passphrase-file", "wrong.txt"];
        assert_silent("a wrong one", &project.run(wrong).expect_code(4));
        let told = files_that_tell(project.path().parent().expect("a parent"));
        let file: PathBuf = project.path().join("passphrase.txt");
        assert_eq!(told, [file]);
    }
    watch.assert_nothing_seen();
}

/// Where the secret stands in the command itself, it is the user's, and nothing shows it again.
#[test]
fn a_command_that_holds_the_secret_is_not_shown() {
    let quoted = PASSWORD.replace('\'', r"'\''");
    let project = project().env("XTASK_DB_PASSPHRASE_COMMAND", format!("echo '{quoted}'"));
    for verb in [
        &["config"][..],
        &["config", "--json"],
        &["backup"],
        &["log"],
    ] {
        let output = project
            .run([&["db", "--verbose"], verb].concat())
            .expect_code(0);
        assert_silent(&format!("{verb:?}"), &output);
    }
}
