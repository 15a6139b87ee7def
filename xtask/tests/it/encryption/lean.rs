//! The program without encryption: what it refuses, what it can do all the same, and the command that
//! builds the other one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Pair, adopt};
use crate::exec;
use crate::project::{Project, workspace_root};
use crate::setup::{Case, says};

/// Built once for all tests, in a folder of its own: one `target` folder holds one of the two.
pub fn lean_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_xtask"));
        let target = program
            .ancestors()
            .nth(2)
            .expect("the target folder")
            .join("lean");
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "--package",
                "xtask-db",
                "--bin",
                "xtask",
            ])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(workspace_root())
            .output()
            .expect("run cargo");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}");
        assert!(!said.contains("warning"), "the lean build warns:\n{said}");
        target.join("debug/xtask")
    })
}

/// A run of the lean program in this project.
fn lean(project: &Project, arguments: &[&str]) -> exec::Output {
    let like = project.command(arguments);
    let mut command = Command::new(lean_program());
    command.args(like.get_args()).current_dir(project.path());
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    exec::run(&mut command, None)
}

const BUILDS_IT: &str =
    "cargo run --quiet --package xtask-db --features encryption --bin xtask -- db ";

#[test]
fn without_encryption_nothing_is_written_that_was_to_be_encrypted() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    let pair = Pair::new();
    let to: [&str; 2] = ["--recipient", &pair.public];
    for verb in [&["backup"][..], &["migrate-safe", "--yes"], &["rekey"]] {
        let refused = lean(&case.project, &[&["db"], verb, &to].concat()).expect_code(3);
        says(
            &refused,
            &[
                "this program was built without encryption",
                BUILDS_IT,
                verb[0],
                "xtask = \"run",
                // A pasted one is for the same people.
                &format!("-- db --recipient {} {}", pair.public, verb[0]),
            ],
        );
    }
    let project = adopt(case.project, &pair);
    lean(&project, &["db", "backup"]).expect_code(3);
    assert!(project.vault_files().is_empty());
}

#[test]
fn without_encryption_a_vault_can_be_looked_at_and_verified() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let pair = Pair::new();
    let plain = case.backup();
    case.project
        .run(["db", "backup", "--recipient", &pair.public])
        .expect_code(0);
    // It can be opened; what it would replace could not be encrypted as before.
    let restore = ["db", "restore", &plain, "--yes"];
    let refused = lean(&case.project, &restore).expect_code(3);
    says(&refused, &[&format!("{BUILDS_IT}restore {plain}\n")]);
    lean(&case.project, &["db", "verify", "--all"]).expect_code(0);
    let list = lean(&case.project, &["db", "list"]).expect_code(0);
    assert!(list.stdout.contains(&pair.public[..12]), "{list}");
    lean(&case.project, &["db", "status"]).expect_code(0);
    for verb in [
        &["restore", "latest", "--yes"][..],
        &["drill"],
        &["diff", "latest", "--rows", "t"],
    ] {
        let refused = lean(&case.project, &[&["db"], verb].concat()).expect_code(3);
        says(
            &refused,
            &[
                "it is encrypted, and this program was built without encryption",
                BUILDS_IT,
            ],
        );
    }
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["1"]);
    let files = case.project.vault_files();
    let refused = lean(&case.project, &["db", "backup"]).expect_code(3);
    says(
        &refused,
        &["the backups before are encrypted for age1", BUILDS_IT],
    );
    assert_eq!(case.project.vault_files(), files);
    lean(&case.project, &["db", "backup", "--recipient", "none"]).expect_code(0);
}

#[test]
fn without_encryption_all_else_is_as_it_was() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    lean(&case.project, &["db", "backup"]).expect_code(0);
    case.query("INSERT INTO t VALUES (2);");
    lean(&case.project, &["db", "restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["1"]);
}

/// Nor has it copies off-site: what a place needs is built by the command that the hint names.
#[test]
fn without_copies_off_site_the_command_that_builds_them_is_named() {
    let builds = |feature: &str, verb: &str| {
        let run = format!("run --quiet --package xtask-db --features {feature} --bin xtask --");
        [
            format!("hint: cargo {run} db {verb}\n"),
            format!("xtask = \"{run}\""),
        ]
    };
    let folder = tempfile::tempdir().expect("a folder");
    let folder = format!("file://{}", folder.path().display());
    for (feature, url) in [
        ("s3", "s3://bucket/prefix"),
        ("gcs", "gs://bucket/prefix"),
        ("azure", "az://container/prefix"),
        ("offsite", folder.as_str()),
    ] {
        let mut case = Case::sqlite();
        case.query("CREATE TABLE t (id INTEGER);");
        case.project = case.project.env("OFFSITE_URL", url);
        for verb in ["push", "pull latest", "list --offsite", "prune --offsite"] {
            let arguments: Vec<&str> = std::iter::once("db").chain(verb.split(' ')).collect();
            let refused = lean(&case.project, &arguments).expect_code(2);
            let [command, alias] = builds(feature, verb);
            says(&refused, &["built without the feature", &command, &alias]);
        }
        let taken = lean(&case.project, &["db", "backup"]).expect_code(6);
        let [command, alias] = builds(feature, "push");
        says(&taken, &["not copied:", &command, &alias]);
    }
}

/// The rule needs no encryption.
#[test]
fn without_encryption_a_public_repository_is_refused_all_the_same() {
    let project = Project::new();
    let event = r#"{"repository": {"private": false, "visibility": "public"}}"#;
    project.write("event.json", event);
    let path = project.path().join("event.json");
    let project = project
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_PATH", path);
    let refused = lean(&project, &["db", "backup"]).expect_code(3);
    says(&refused, &["of a public repository"]);
    assert!(project.vault_files().is_empty());
    lean(&project, &["db", "backup", "--unencrypted-in-public"]).expect_code(0);
}

#[test]
fn the_lean_program_has_nothing_of_age_in_it() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--locked",
        "--package",
        "xtask-db",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ]);
    let tree = exec::run(tree.current_dir(workspace_root()), None).expect_code(0);
    let has = |name: &str| {
        tree.stdout
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")))
    };
    assert!(has("zstd") && !has("age") && !has("rsa"), "{tree}");
}
