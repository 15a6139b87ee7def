//! A rehearsal does nothing beyond its scratch database, unless somebody says so.

use super::{cases, migrate};
use crate::cluster::Cluster;
use crate::setup::{Case, says};

#[test]
fn what_a_scratch_database_cannot_undo_is_not_rehearsed_beside() {
    let Some(mut case) = Case::postgres("reaching") else {
        return;
    };
    let role = format!(
        "{}_reporting",
        case.server.as_ref().expect("a server").name()
    );
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}';");
    case.project = case.project.migration(
        "1_role.sql",
        &format!("CREATE TABLE a (id int);\nCREATE ROLE {role};"),
    );
    let refused = migrate(&case, &[]).expect_code(3);
    says(
        &refused,
        &[
            &format!("1 line 2: CREATE ROLE {role}"),
            "restoring will not undo this",
            "SCRATCH_DATABASE_URL",
            "--rehearse-reaching",
        ],
    );
    assert_eq!(case.query(&roles), ["0"]);

    // The same cluster under another name is not another server.
    let same = case
        .server
        .as_ref()
        .expect("a server")
        .cluster()
        .create_database("same");
    case.project = case.project.env("SCRATCH_DATABASE_URL", same.url_tcp());
    migrate(&case, &[]).expect_code(3);
    assert_eq!(case.query(&roles), ["0"]);

    let Some(other) = Cluster::own_or_skip("") else {
        return;
    };
    let away = other.create_database("away");
    case.project = case.project.env("SCRATCH_DATABASE_URL", away.url());
    migrate(&case, &[]).expect_code(0);
    assert_eq!(
        case.query(&roles),
        ["1"],
        "a rehearsal did not make the live run fail"
    );
    away.psql(&format!("DROP ROLE {role};"));
    case.query(&format!("DROP ROLE {role};"));
}

#[test]
fn a_file_beside_is_not_attached_twice_without_a_word() {
    let case = cases(
        "",
        "ATTACH 'beside.db' AS beside; CREATE TABLE beside.t (id INTEGER);",
    )
    .remove(0);
    says(
        &migrate(&case, &[]).expect_code(3),
        &["2 line 1: ATTACH", "--rehearse-reaching"],
    );
    assert!(!case.project.path().join("beside.db").exists());
}

/// With a COMMIT of its own it runs as it would on the live database.
#[test]
fn a_migration_that_commits_itself_is_rehearsed_as_it_will_run() {
    let Some(mut case) = Case::postgres("commits") else {
        return;
    };
    case.project = case.project.migration(
        "1_commits.sql",
        "CREATE TABLE a (id int); COMMIT; BEGIN; INSERT INTO a VALUES (1);",
    );
    let document = case.migrate();
    assert_eq!(document["rehearsal"]["migrations"][0]["version"], 1);
    assert_eq!(case.query("SELECT count(*) FROM a;"), ["1"]);
}

#[test]
fn a_migration_that_deletes_its_own_history_is_found_out() {
    for case in cases(
        "bookkeeping",
        "DELETE FROM _sqlx_migrations WHERE version = 1;",
    ) {
        let refused = migrate(&case, &[]).expect_code(3);
        says(&refused, &["this is where sqlx keeps its history"]);
        assert_eq!(case.query("SELECT count(*) FROM _sqlx_migrations;"), ["1"]);
    }
}
