//! Which database a backup is of: not any that happens to be at the other end of the URL.

use std::fs;

use crate::project::Project;
use crate::setup::{Case, hinted_command, says, text};

const MINE: &str = "CREATE TABLE mine (id BIGINT NOT NULL PRIMARY KEY);";
const OTHER: &str = "CREATE TABLE other (id BIGINT NOT NULL PRIMARY KEY);";

/// Restores the backup `id` of `mine` into `other`: refused, then forced.
fn restore_into_another(id: &str, mine: &Case, other: &Case) {
    let run = |arguments: &[&str]| {
        let mut command = other.project.command(["db", "restore"]);
        command.args(arguments).arg("--backups");
        crate::exec::run(command.arg(mine.project.vault()), None)
    };
    let refused = run(&[id, "--yes"]).expect_code(3);
    says(&refused, &["is of another database"]);
    let hinted = hinted_command(&refused);
    let vault = mine.project.vault().display().to_string();
    assert_eq!(
        hinted,
        ["db", "--backups", &vault, "restore", id, "--force"]
    );
    assert_eq!(other.query("SELECT count(*) FROM other;"), ["0"]);
    says(&run(&["latest", "--yes"]).expect_code(4), &["no backup of"]);
    assert_eq!(mine.project.vault_files().len(), 2, "no safety backup yet");

    let forced = run(&[id, "--force", "--json"]).expect_code(0).json();
    assert_eq!(text(&forced, "/restored"), id);
    assert_eq!(other.query("SELECT count(*) FROM mine;"), ["0"]);
    // `latest` of a shared vault is still each database's own.
    let of_mine = mine.project.json(["db", "status"]);
    assert_eq!(text(&of_mine, "/latest/id"), id);
}

#[test]
fn a_backup_of_another_database_needs_force() {
    for (mine, other) in Case::each("mine").into_iter().zip(Case::each("other")) {
        mine.query(MINE);
        other.query(OTHER);
        let id = mine.backup();
        restore_into_another(&id, &mine, &other);
    }
}

/// No force makes a SQLite file out of a PostgreSQL dump.
#[test]
fn a_backup_of_another_engine_is_never_restored() {
    let Some(server) = Case::postgres("engine") else {
        return;
    };
    let file = Case::sqlite();
    file.query(MINE);
    server.query(OTHER);
    for (from, to, table) in [(&file, &server, "other"), (&server, &file, "mine")] {
        let id = from.backup();
        let mut command = to.project.command(["db", "restore", &id, "--force"]);
        command.arg("--backups").arg(from.project.vault());
        let refused = crate::exec::run(&mut command, None).expect_code(3);
        says(&refused, &["SQLite database", "PostgreSQL database"]);
        let count = format!("SELECT count(*) FROM {table};");
        assert_eq!(to.query(&count), ["0"]);
    }
}

/// A project folder that was moved as a whole is the same project, with the same database.
#[test]
fn a_moved_file_keeps_its_backups() {
    let case = Case::sqlite();
    case.query(MINE);
    let id = case.backup();
    let moved = Project::new();
    fs::rename(case.project.sqlite_path(), moved.sqlite_path()).expect("move the database");
    fs::rename(case.project.vault(), moved.vault()).expect("move the vault");
    moved.sqlite("DROP TABLE mine;");
    let restored = moved.json(["db", "restore", "latest", "--yes"]);
    assert_eq!(text(&restored, "/restored"), id);
    assert_eq!(moved.sqlite("SELECT count(*) FROM mine;"), ["0"]);
}

/// Two names of one file are one database.
#[test]
fn a_link_to_the_file_is_the_same_database() {
    let case = Case::sqlite();
    case.query(MINE);
    let id = case.backup();
    let link = case.project.path().join("link.db");
    std::os::unix::fs::symlink(case.project.sqlite_path(), &link).expect("link to the database");
    case.query("DROP TABLE mine;");
    let url = "sqlite://link.db";
    let restored = case
        .project
        .json(["db", "restore", "latest", "--yes", "--database-url", url]);
    assert_eq!(text(&restored, "/restored"), id);
    assert!(link.is_symlink(), "the link is still one");
    assert_eq!(case.query("SELECT count(*) FROM mine;"), ["0"]);
}

#[test]
fn a_missing_file_that_was_named_is_not_made() {
    let project = Project::new()
        .migration("1_mine.sql", MINE)
        .database_url("sqlite://database/ap.db");
    for arguments in [
        &["db", "migrate-safe", "--yes"][..],
        &["db", "backup"],
        &["db", "status"],
    ] {
        let refused = project.run(arguments).expect_code(3);
        says(&refused, &["does not exist", "?mode=rwc"]);
    }
    assert!(!project.path().join("database/ap.db").exists());
    let url = "sqlite://database/ap.db?mode=rwc";
    project
        .run(["db", "migrate-safe", "--yes", "--database-url", url])
        .expect_code(0);
    assert!(project.path().join("database/ap.db").exists());
}
