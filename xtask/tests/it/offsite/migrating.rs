//! `migrate-safe` and copies: after it, or before the jump.

use super::{copied_to, deeds, has_arrived, no_secret, outcomes};
use crate::s3::S3;
use crate::setup::{Case, says, text};

fn with_a_migration(server: &S3) -> Case {
    let mut case = copied_to(server);
    case.project = case
        .project
        .env("AWS_MAX_RETRIES", "0")
        .migration("1_more.sql", "CREATE TABLE more (id INTEGER);");
    case
}

#[test]
fn a_copy_that_fails_afterwards_is_code_6_and_the_migration_stands() {
    let mut server = S3::start();
    let case = with_a_migration(&server);
    server.kill();
    let output = case.project.run(["db", "migrate-safe", "--yes", "--json"]);
    let output = output.expect_code(6);
    says(&output, &["the database is migrated", "is missing"]);
    no_secret(&output);
    let document = output.json();
    assert_eq!(text(&document, "/outcome"), "migrated");
    assert_eq!(outcomes(&document), ["missing"]);
    assert_eq!(case.query("SELECT count(*) FROM more"), ["0"]);
    server.revive();
    case.project.run(["db", "push"]).expect_code(0);
    has_arrived(&server, &case, text(&document, "/backup/id"));
}

#[test]
fn offsite_first_migrates_only_when_the_copy_has_arrived() {
    let mut server = S3::start();
    let case = with_a_migration(&server);
    let before = std::fs::read(case.project.sqlite_path()).expect("read the database");
    server.kill();
    let arguments = ["db", "migrate-safe", "--offsite-first", "--yes"];
    let refused = case.project.run(arguments).expect_code(3);
    says(
        &refused,
        &["has not arrived off-site; nothing was migrated"],
    );
    let after = std::fs::read(case.project.sqlite_path()).expect("read the database");
    assert!(after == before, "the database was touched");
    server.revive();
    let migrated = case.project.json(arguments);
    assert_eq!(text(&migrated, "/outcome"), "migrated");
    has_arrived(&server, &case, text(&migrated, "/backup/id"));
    let log = case.project.json(["db", "log"]);
    let log = log["entries"].as_array().expect("entries");
    let at = |deed: &str| log.iter().rposition(|entry| entry["deed"] == deed);
    let id = text(&migrated, "/backup/id");
    let copied = log.iter().position(|entry| {
        entry["deed"] == "copy" && entry["ending"] == "done" && entry["backup"] == id
    });
    assert!(copied < at("migrate"), "{log:#?}");
    assert!(copied.is_some() && deeds(&case).contains(&"copy failed".to_owned()));
}

#[test]
fn offsite_first_without_a_place_is_wrong_usage() {
    let case = Case::sqlite();
    case.project
        .write("migrations/1_a.sql", "CREATE TABLE a (id INTEGER);");
    let arguments = ["db", "migrate-safe", "--offsite-first", "--yes"];
    says(
        &case.project.run(arguments).expect_code(2),
        &["no place off-site is known"],
    );
    assert!(!case.project.sqlite_path().exists());
}

/// A disk that is not mounted leaves an empty folder, on the disk of the vault.
#[test]
fn offsite_first_takes_no_folder_on_the_disk_of_the_vault_for_a_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let url = format!("file://{}", folder.path().display());
    let missing = format!("file://{}/missing", folder.path().display());
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    for (url, code, said) in [
        (url, 3, "is on the disk of the vault, and is lost with it"),
        (missing, 2, "mount it, or make the folder"),
    ] {
        case.project = case.project.env("OFFSITE_URL", url);
        let arguments = ["db", "migrate-safe", "--offsite-first", "--yes"];
        says(&case.project.run(arguments).expect_code(code), &[said]);
        assert_eq!(case.project.vault_files(), [""; 0]);
    }
}

#[test]
fn offsite_first_wants_a_copy_at_every_place() {
    let mut server = S3::start();
    let mut case = with_a_migration(&server);
    let folder = super::places::other_disk();
    let urls = format!("file://{} {}", folder.path().display(), server.url("shop"));
    case.project = case.project.env("OFFSITE_URL", urls);
    let before = std::fs::read(case.project.sqlite_path()).expect("read the database");
    server.kill();
    let arguments = ["db", "migrate-safe", "--offsite-first", "--yes"];
    let refused = case.project.run(arguments).expect_code(3);
    says(&refused, &["has not arrived off-site"]);
    let after = std::fs::read(case.project.sqlite_path()).expect("read the database");
    assert!(after == before, "the database was touched");
    server.revive();
    let migrated = case.project.json(arguments);
    assert_eq!(text(&migrated, "/outcome"), "migrated");
}
