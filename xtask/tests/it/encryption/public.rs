//! In a GitHub Actions run of a public repository nothing is written that everybody could read.

use std::fs;

use crate::project::Project;
use crate::setup::{Case, says};

use super::Pair;

fn project(event: &str) -> Project {
    let project = Project::new();
    project.write("event.json", event);
    let path = project.path().join("event.json");
    project
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_PATH", path)
}

const PUBLIC: [&str; 3] = [
    r#"{"repository": {"private": false, "visibility": "public", "name": "shop"}}"#,
    r#"{"repository": {"private": false}}"#,
    // One that contradicts itself.
    r#"{"repository": {"private": true, "visibility": "public"}}"#,
];
const PRIVATE: [&str; 2] = [
    r#"{"repository": {"private": true, "visibility": "private"}}"#,
    r#"{"repository": {"visibility": "internal", "private": true}}"#,
];
const UNKNOWN: [&str; 4] = [
    "{}",
    "[1]",
    "no json",
    r#"{"repository": {"private": "yes"}}"#,
];

#[test]
fn an_unencrypted_backup_of_a_public_repository_is_refused() {
    for event in PUBLIC {
        let project = project(event);
        project.sqlite("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
        project.write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
        for verb in [&["db", "backup"][..], &["db", "migrate-safe", "--yes"]] {
            let refused = project.run(verb).expect_code(3);
            says(
                &refused,
                &[
                    "of a public repository",
                    "--unencrypted-in-public",
                    "--recipient age1",
                ],
            );
        }
        assert!(
            project.vault_files().is_empty(),
            "{:?}",
            project.vault_files()
        );
        assert_eq!(project.sqlite("SELECT count(*) FROM sqlite_schema;"), ["1"]);

        let pair = Pair::new();
        project
            .run(["db", "backup", "--recipient", &pair.public])
            .expect_code(0);
        project
            .run(["db", "backup", "--unencrypted-in-public"])
            .expect_code(0);
        let project = project
            .env("XTASK_DB_UNENCRYPTED_IN_PUBLIC", "true")
            .env("XTASK_DB_RECIPIENTS", "none");
        project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    }
}

#[test]
fn a_private_repository_is_not_in_the_way() {
    for event in PRIVATE {
        let project = project(event);
        let taken = project.run(["db", "backup"]).expect_code(0);
        assert!(!taken.stderr.contains("public"), "{taken}");
    }
}

#[test]
fn an_event_that_does_not_say_is_taken_for_a_public_one() {
    let refused = |project: &Project| {
        let refused = project.run(["db", "backup", "--quiet"]).expect_code(3);
        let says_why = "its event does not say that the repository is private";
        says(&refused, &[says_why, "--unencrypted-in-public"]);
        assert!(project.vault_files().is_empty());
    };
    for event in UNKNOWN {
        refused(&project(event));
    }
    let project = project("{}");
    fs::remove_file(project.path().join("event.json")).expect("lose the event");
    refused(&project);
    project
        .run(["db", "backup", "--unencrypted-in-public"])
        .expect_code(0);
}

/// An export is never encrypted, whatever backups are.
#[test]
fn an_export_is_refused_there() {
    let project = project(PUBLIC[0]);
    project.sqlite("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let recipient = Pair::new().public;
    let export = ["db", "export", "-o", "rows.json", "--recipient", &recipient];
    let refused = project.run(export).expect_code(3);
    says(
        &refused,
        &["of a public repository", "an export is not encrypted"],
    );
    assert!(!project.path().join("rows.json").exists());
    let said = ["db", "export", "-o", "rows.json", "--unencrypted-in-public"];
    project.run(said).expect_code(0);
}

/// So is a plain backup that is fetched.
#[test]
fn a_plain_backup_is_not_fetched_there() {
    let project = project(PUBLIC[0]);
    project.sqlite("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    fs::create_dir(project.path().join("away")).expect("make a place");
    let place = format!("file://{}", project.path().join("away").display());
    let project = project.env("OFFSITE_URL", place);
    project
        .run(["db", "backup", "--unencrypted-in-public"])
        .expect_code(0);
    fs::remove_dir_all(project.vault()).expect("lose the vault");
    let refused = project.run(["db", "pull", "latest"]).expect_code(3);
    says(
        &refused,
        &["of a public repository", "the backup is not encrypted"],
    );
    assert!(project.vault_files().is_empty());
    project
        .run(["db", "pull", "latest", "--unencrypted-in-public"])
        .expect_code(0);
}

/// What is restored from there reads, and its safety backup writes.
#[test]
fn a_restore_there_takes_no_unencrypted_safety_backup() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    case.backup();
    case.query("INSERT INTO t VALUES (2);");
    case.project.write("event.json", PUBLIC[0]);
    let event = case.project.path().join("event.json");
    let project = case
        .project
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_PATH", event);
    project.run(["db", "verify"]).expect_code(0);
    project.run(["db", "drill"]).expect_code(0);
    let refused = project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(3);
    says(&refused, &["of a public repository"]);
    assert_eq!(project.sqlite("SELECT count(*) FROM t;"), ["2"]);
    // `--force` does without a backup that fails, and not without this.
    let forced = ["db", "restore", "latest", "--yes", "--force"];
    let refused = project.run(forced).expect_code(3);
    says(&refused, &["of a public repository"]);
    assert_eq!(project.sqlite("SELECT count(*) FROM t;"), ["2"]);
}
