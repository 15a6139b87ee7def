//! What people do with the tool, from the first command to the way back.

mod failing;
mod identity;
mod owner;
mod postgres;
mod sqlite;
mod waits;
mod way_back;
mod writers;

use crate::project::Project;
use crate::setup::{Case, database_digests, says, text, versions};

const ONE: &str = "CREATE TABLE one (id BIGINT NOT NULL PRIMARY KEY);";
const TWO: &str = "CREATE TABLE two (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO two VALUES (2);";
const TEN: &str = "INSERT INTO one VALUES (10);";

/// A fresh clone, nothing configured: the main job is done with one command.
#[test]
fn a_fresh_project_creates_backs_up_and_migrates() {
    let project = Project::new().example_migrations();
    std::fs::remove_dir(project.path().join("database")).expect("remove the empty folder");
    let output = project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    says(&output, &["pending on the SQLite database", "the way back"]);
    assert_eq!(output.stdout, "", "stdout is for data");
    assert_eq!(
        project.sqlite("SELECT sum(revenue_cents) FROM customer_revenue"),
        ["14900"]
    );
    let listed = project.json(["db", "list"]);
    assert_eq!(text(&listed, "/backups/0/manifest/reason"), "pre-migrate");
    project.run(["db", "verify"]).expect_code(0);

    let files = project.vault_files();
    assert_eq!(files.len(), 2, "one dump, one manifest: {files:?}");
    let before = database_digests(&project.sqlite_path());
    let again = project.json(["db", "migrate-safe", "--yes"]);
    assert_eq!(again["outcome"], "nothing-pending");
    assert!(again["backup"].is_null(), "{again:#}");
    assert_eq!(project.vault_files(), files, "nothing to back up for");
    assert_eq!(database_digests(&project.sqlite_path()), before);
}

#[test]
fn the_same_command_migrates_a_server() {
    let Some(case) = Case::postgres("fresh") else {
        return;
    };
    let project = case.project.example_migrations();
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    let database = case.server.expect("a database on the server");
    assert_eq!(
        database.psql("SELECT sum(revenue_cents) FROM customer_revenue"),
        "14900"
    );
    let files = project.vault_files();
    assert_eq!(files.len(), 2, "one dump, one manifest: {files:?}");
    let again = project.json(["db", "migrate-safe", "--yes"]);
    assert_eq!(again["outcome"], "nothing-pending");
    assert_eq!(project.vault_files(), files);
}

/// Nobody to ask, and nobody has said yes.
#[test]
fn without_a_terminal_and_without_yes_nothing_happens() {
    for case in Case::each("unattended") {
        case.project.write("migrations/1_one.sql", ONE);
        let refused = case.project.run(["db", "migrate-safe"]).expect_code(3);
        says(&refused, &["hint: cargo xtask db migrate-safe --yes"]);
        assert_eq!(case.project.vault_files(), [""; 0]);
        case.migrate();
        let before = case.contents();
        let refused = case.project.run(["db", "restore", "latest"]).expect_code(3);
        says(&refused, &["--yes"]);
        assert_eq!(case.contents(), before);
        assert_eq!(case.project.vault_files().len(), 2, "no safety backup");
    }
    let fresh = Project::new().migration("1_one.sql", ONE);
    fresh.run(["db", "migrate-safe"]).expect_code(3);
    assert!(!fresh.sqlite_path().exists(), "a refusal creates nothing");
}

/// Looking at a database that does not exist yet does not create it.
#[test]
fn looking_at_a_missing_file_leaves_it_missing() {
    let project = Project::new().migration("1_one.sql", ONE);
    let planned = project.json(["db", "migrate-safe", "--dry-run"]);
    assert_eq!(planned["outcome"], "planned");
    assert_eq!(versions(&planned["pending"]), [1]);
    let status = project.json(["db", "status"]);
    assert_eq!(versions(&status["pending"]), [1]);
    assert_eq!(
        project.json(["db", "list"])["backups"],
        serde_json::json!([])
    );
    project.run(["db", "verify"]).expect_code(4);
    assert!(!project.sqlite_path().exists());
    assert!(!project.vault().exists(), "not even the vault is made");
}

/// Byte for byte: no bookkeeping table, no change counter, no journal left behind.
#[test]
fn looking_changes_no_byte_of_the_file() {
    let project = Project::new().migration("1_one.sql", ONE);
    for mode in ["delete", "wal"] {
        project.sqlite(&format!(
            "PRAGMA journal_mode = {mode}; CREATE TABLE own_{mode} (id INTEGER);"
        ));
        project.json(["db", "backup"]);
        let before = database_digests(&project.sqlite_path());
        project.json(["db", "migrate-safe", "--dry-run"]);
        for verb in ["status", "list", "verify"] {
            project.json(["db", verb]);
        }
        assert_eq!(
            database_digests(&project.sqlite_path())[0],
            before[0],
            "{mode}"
        );
    }
}

#[test]
fn looking_makes_no_table_on_a_server() {
    let Some(case) = Case::postgres("looking") else {
        return;
    };
    case.project.write("migrations/1_one.sql", ONE);
    case.project.json(["db", "migrate-safe", "--dry-run"]);
    let status = case.project.json(["db", "status"]);
    assert_eq!(versions(&status["pending"]), [1]);
    case.project.json(["db", "list"]);
    case.project.json(["db", "backup"]);
    case.project.json(["db", "verify"]);
    let tables = "SELECT count(*) FROM pg_class WHERE relname IN ('_sqlx_migrations', 'one');";
    assert_eq!(case.query(tables), ["0"]);
}

#[test]
fn the_target_version_is_the_last_one_to_run() {
    for case in Case::each("target") {
        let files = [("1_one.sql", ONE), ("2_two.sql", TWO), ("10_ten.sql", TEN)];
        for (file, sql) in files {
            case.project.write(format!("migrations/{file}"), sql);
        }
        let target = |version: &str| {
            let mut command = case.project.command(["db", "migrate-safe", "--yes"]);
            command.args(["--target-version", version]);
            crate::exec::run(&mut command, None)
        };
        target("2").expect_code(0);
        assert_eq!(
            versions(&case.project.json(["db", "status"])["pending"]),
            [10]
        );
        assert_eq!(case.query("SELECT count(*) FROM one;"), ["0"]);
        let files = case.project.vault_files();
        says(&target("3").expect_code(3), &["target version 3"]);
        says(&target("1").expect_code(3), &["already applied"]);
        says(&target("2").expect_code(0), &["nothing is pending"]);
        assert_eq!(case.project.vault_files(), files);
        target("10").expect_code(0);
        assert_eq!(case.query("SELECT id FROM one;"), ["10"]);
    }
}
