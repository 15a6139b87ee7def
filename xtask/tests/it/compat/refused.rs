//! Histories that sqlx does not go on from: refused before a backup is taken and before a question.

use std::fs;

use sqlx::migrate::MigrateError;

use super::{FILES, folder, sqlx_with, write};
use crate::setup::{Case, says};

/// Both say no, in the plan and for real, and the tool leaves nothing behind.
#[track_caller]
fn is_refused(case: &Case, parts: &[&str]) -> MigrateError {
    let error = sqlx_with(case, None, |_| ()).expect_err("sqlx refuses it too");
    let files = case.project.vault_files();
    let before = case.query("SELECT * FROM _sqlx_migrations ORDER BY version;");
    for how in ["--yes", "--dry-run"] {
        let refused = case.project.run(["db", "migrate-safe", how]).expect_code(3);
        says(&refused, parts);
        says(&refused, &["\nhint: "]);
    }
    assert_eq!(case.project.vault_files(), files, "a backup for nothing");
    let after = case.query("SELECT * FROM _sqlx_migrations ORDER BY version;");
    assert_eq!(after, before);
    let status = case.project.run(["db", "status", "--json"]).expect_code(0);
    let problem = status.json()["problem"].clone();
    assert!(problem.is_string(), "status keeps quiet about it: {status}");
    error
}

fn migrated(name: &str) -> Vec<Case> {
    let cases = Case::each(name);
    for case in &cases {
        write(case, FILES);
        case.migrate();
        write(case, &[("11_more.sql", "CREATE TABLE more (id BIGINT);")]);
    }
    cases
}

#[test]
fn a_changed_migration() {
    for case in migrated("changed") {
        write(
            &case,
            &[(
                "2_first_author.sql",
                "INSERT INTO authors VALUES (1, 'Bob');",
            )],
        );
        let error = is_refused(&case, &["migration 2", "was changed"]);
        assert!(matches!(error, MigrateError::VersionMismatch(2)), "{error}");
        write(&case, FILES);
        case.migrate();
    }
}

#[test]
fn a_missing_migration() {
    for case in migrated("missing") {
        fs::remove_file(folder(&case).join("2_first_author.sql")).expect("lose a file");
        let error = is_refused(&case, &["migration 2", "missing"]);
        assert!(matches!(error, MigrateError::VersionMissing(2)), "{error}");
    }
}

#[test]
fn a_dirty_history() {
    for case in migrated("dirty") {
        case.query("UPDATE _sqlx_migrations SET success = false WHERE version = 10;");
        let error = is_refused(&case, &["migration 10", "dirty"]);
        assert!(matches!(error, MigrateError::Dirty(10)), "{error}");
    }
}

/// sqlx runs both and fails in the middle; there is no reason to let it come to that.
#[test]
fn two_migrations_with_one_version() {
    for case in migrated("twice") {
        write(
            &case,
            &[("011_again.sql", "CREATE TABLE again (id BIGINT);")],
        );
        let files = case.project.vault_files();
        for how in ["--yes", "--dry-run"] {
            let refused = case.project.run(["db", "migrate-safe", how]).expect_code(3);
            says(&refused, &["version 11", "\nhint: "]);
        }
        assert_eq!(case.project.vault_files(), files);
        sqlx_with(&case, None, |_| ()).expect_err("sqlx trips over the second");
    }
}
