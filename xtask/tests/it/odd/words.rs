//! Words of the command line: labels that would leave the vault, folders that look like options.

use std::process::Command;

use super::{NAMES, assert_nothing_ran};
use crate::exec;
use crate::project::Project;
use crate::setup::{Case, says};

/// Everything that is no plain word is refused by its name, before anything is made.
#[test]
fn a_label_that_is_no_plain_word_is_wrong_usage() {
    let long = "l".repeat(300);
    let more = [
        "", ".", "../x", "/etc/x", "a/b", "a\\b", ".hidden", "_x", &long, "é", "a b", "a\u{0}",
    ];
    let fits = |label: &&&str| !label.contains('\0') && !["select"].contains(*label);
    for label in NAMES.iter().chain(&more).filter(fits) {
        let project = Project::new();
        let output = project.run(["db", "backup", "--", label]).expect_code(2);
        let shown: String = label
            .chars()
            .map(|c| {
                if c.is_control() && c != '\n' || c == '\u{202e}' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        // What follows a line break stands apart, so that it forges no line.
        let shown = shown.replace('\n', "\n  ");
        says(
            &output,
            &[
                &format!("`{shown}` is no label"),
                "\nhint: cargo xtask db backup ",
            ],
        );
        assert!(
            !project.vault().exists() && !project.sqlite_path().exists(),
            "{label:?}"
        );
        // What the hint offers is taken.
        let hinted = crate::setup::hinted_command(&output);
        project.run(&hinted).expect_code(0);
        assert_nothing_ran(&project.path());
    }
}

/// Not text at all, and NUL that no argument can hold.
#[test]
fn a_label_that_is_no_text_is_wrong_usage() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new();
    let label = OsStr::from_bytes(b"a\xff\xfeb");
    project
        .run([OsStr::new("db"), OsStr::new("backup"), label])
        .expect_code(2);
    assert!(!project.vault().exists());
}

/// Options, not labels: without `--` they are refused as well.
#[test]
fn a_label_that_looks_like_an_option_is_none() {
    let project = Project::new();
    for label in ["-rf", "--force", "--yes", "-"] {
        project.run(["db", "backup", label]).expect_code(2);
    }
    assert!(!project.vault().exists());
}

/// The same as an id: nothing is found, nothing outside of the vault is looked at.
#[test]
fn a_backup_of_an_odd_name_is_not_found() {
    let project = Project::new();
    project.run(["db", "backup"]).expect_code(0);
    let files = project.vault_files();
    for name in NAMES.iter().chain(&["../backups/", "/etc/passwd", "é"]) {
        for verb in [&["restore", "--yes"][..], &["verify"]] {
            let output = project.run([&["db"], verb, &["--", name]].concat());
            assert_eq!(output.code, 4, "{name:?}\n{output}");
        }
    }
    assert_eq!(project.vault_files(), files);
    assert_nothing_ran(&project.path());
}

/// A vault, a migrations folder and a project of any name; and the commands that are shown for
/// them are pasted into a shell and work on the same vault.
#[test]
fn folders_of_any_name_and_the_commands_that_name_them() {
    for name in NAMES.iter().filter(|name| !["..", "."].contains(*name)) {
        let case = Case::sqlite();
        let project = &case.project;
        let vault = project.path().join(name);
        std::fs::create_dir_all(project.path().join(format!("{name} m"))).expect("make a folder");
        project.write(format!("{name} m/1_a.sql"), "CREATE TABLE t (id INTEGER);");
        let flags = [format!("--backups={name}"), format!("--source={name} m")];
        let with = |verb: &[&str]| {
            let flags = flags.iter().map(String::as_str);
            let words: Vec<&str> = ["db"]
                .into_iter()
                .chain(flags)
                .chain(verb.iter().copied())
                .collect();
            project.run(words)
        };
        with(&["migrate-safe", "--yes"]).expect_code(0);
        assert!(vault.is_dir(), "{name:?}");
        assert_eq!(case.query("SELECT count(*) FROM t"), ["0"]);
        let asked = with(&["restore", "latest"]).expect_code(3);
        if name.chars().any(|c| c.is_control() || c == '\u{202e}') {
            // Shown in a form that no terminal obeys, and so not fit for pasting.
            continue;
        }
        let (_, hint) = asked
            .stderr
            .split_once("\nhint: cargo xtask ")
            .expect("a command");
        let tool = project.command([""; 0]);
        let mut shell = Command::new("/bin/sh");
        shell
            .arg("-c")
            .arg(format!("\"$0\" {hint}"))
            .arg(tool.get_program());
        shell.current_dir(project.path());
        for (variable, value) in tool.get_envs() {
            match value {
                Some(value) => shell.env(variable, value),
                None => shell.env_remove(variable),
            };
        }
        exec::run(&mut shell, None).expect_code(0);
        let tables = case.query("SELECT count(*) FROM sqlite_schema WHERE name = 't'");
        assert_eq!(tables, ["0"], "{name:?}: restored from its own vault");
        assert_nothing_ran(&project.path());
    }
}

/// sqlx takes a version below zero, so it can be named as well.
#[test]
fn a_target_version_below_zero() {
    let project = Project::new()
        .migration("-5_early.sql", "CREATE TABLE early (id INTEGER);")
        .migration("1_late.sql", "CREATE TABLE late (id INTEGER);");
    let done = project.json(["db", "migrate-safe", "--yes", "--target-version", "-5"]);
    assert_eq!(crate::setup::versions(&done["applied"]), [-5]);
    for version in ["-", "--", "1e3", "9223372036854775808", "\u{1b}[31m1"] {
        let output = project.run(["db", "migrate-safe", "--yes", "--target-version", version]);
        assert_eq!(output.code, 2, "{output}");
    }
}
