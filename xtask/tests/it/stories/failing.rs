//! Migrations that stop half-way: what is committed is said, and the way back can be pasted.

use crate::exec::Output;
use crate::project::Project;
use crate::setup::{Case, hinted_command, says, versions};

const MIGRATIONS: &[(&str, &str)] = &[
    (
        "2_good.sql",
        "CREATE TABLE good (id BIGINT NOT NULL PRIMARY KEY);",
    ),
    (
        "3_bad.sql",
        "CREATE TABLE half (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO nowhere VALUES (1);",
    ),
    (
        "4_later.sql",
        "CREATE TABLE later (id BIGINT NOT NULL PRIMARY KEY);",
    ),
];

fn started(name: &str) -> Vec<Case> {
    let mut cases = Case::each(name);
    for case in &mut cases {
        // A rehearsal would find it out before.
        case.project = std::mem::replace(&mut case.project, Project::new()).unrehearsed();
        case.project.write(
            "migrations/1_base.sql",
            "CREATE TABLE base (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO base VALUES (1);",
        );
        case.migrate();
    }
    cases
}

/// Pastes the hint's command, with the `yes` that a script cannot type.
#[track_caller]
fn follow_hint(case: &Case, failed: &Output) {
    let mut command = hinted_command(failed);
    assert_eq!(command[..2], ["db", "restore"], "{failed}");
    command.push("--yes".to_owned());
    case.project.run(&command).expect_code(0);
}

#[test]
fn a_failing_migration_names_what_is_committed_and_the_way_back() {
    for case in started("failing") {
        let before = case.contents();
        for (file, sql) in MIGRATIONS {
            case.project.write(format!("migrations/{file}"), sql);
        }
        let failed = case.project.run(["db", "migrate-safe", "--yes"]);
        let failed = failed.expect_code(5);
        says(&failed, &["committed: 2; not committed: 3, 4", "nowhere"]);
        let status = case.project.json(["db", "status"]);
        assert_eq!(versions(&status["applied"]), [1, 2], "{status:#}");
        let tables = status["tables"].as_array().expect("a list of tables");
        let has = |name: &str| tables.iter().any(|table| table["name"] == name);
        assert!(has("good") && !has("half") && !has("later"), "{tables:?}");

        follow_hint(&case, &failed);
        assert_eq!(case.contents()[0], before[0]);
        assert_eq!(case.contents()[1], before[1]);

        case.project
            .write("migrations/3_bad.sql", "CREATE TABLE half (id BIGINT);");
        assert_eq!(versions(&case.migrate()["applied"]), [2, 3, 4]);
    }
}

#[test]
fn the_first_of_them_may_fail_too() {
    for case in started("failing_first") {
        case.project.write(
            "migrations/2_bad.sql",
            "INSERT INTO nowhere SELECT 'COMMIT'; -- COMMIT",
        );
        let before = case.contents();
        let failed = case.project.run(["db", "migrate-safe", "--yes"]);
        let failed = failed.expect_code(5);
        says(&failed, &["committed: none; not committed: 2"]);
        // The word alone ends no transaction.
        assert!(!failed.stderr.contains("a part of it"), "{failed}");
        assert_eq!(case.contents(), before);
    }
}

/// The error document of a script holds the same: code, causes and the command.
#[test]
fn the_json_of_a_failure_has_the_way_back() {
    for case in started("failing_json") {
        case.project
            .write("migrations/2_bad.sql", "INSERT INTO nowhere VALUES (1);");
        let failed = case.project.run(["db", "migrate-safe", "--yes", "--json"]);
        let document = failed.expect_code(5).json();
        assert_eq!(document["error"]["exit_code"], 5);
        let id = case.project.json(["db", "list"])["backups"][0]["manifest"]["id"].clone();
        let hint = crate::setup::text(&document, "/error/hint");
        assert!(hint.contains(id.as_str().expect("an id")), "{hint}");
    }
}

/// Without a transaction the statements before the failing one stay; only the restore takes them back.
#[test]
fn a_migration_without_a_transaction_fails_part_way() {
    for case in started("no_transaction") {
        let before = case.contents();
        // SQLite commits every statement by itself; PostgreSQL takes what is sent at once as one.
        let commit = case.server.as_ref().map_or("", |_| "COMMIT;");
        case.project.write(
            "migrations/2_bare.sql",
            format!(
                "-- no-transaction\n\
                 CREATE TABLE half (id BIGINT NOT NULL PRIMARY KEY);\n{commit}\n\
                 INSERT INTO nowhere VALUES (1);"
            ),
        );
        let failed = case.project.run(["db", "migrate-safe", "--yes"]);
        let failed = failed.expect_code(5);
        says(
            &failed,
            &[
                "committed: none; not committed: 2",
                "2 does not run in one transaction, and a part of it may be in the database",
            ],
        );
        assert_eq!(case.query("SELECT count(*) FROM half;"), ["0"], "the part");
        follow_hint(&case, &failed);
        assert_eq!(case.contents()[0], before[0]);
        assert_eq!(case.contents()[1], before[1]);
    }
}

/// sqlx begins the transaction, and the file ends it: said before, and when the rest fails.
#[test]
fn a_migration_that_ends_its_transaction_fails_part_way() {
    for case in started("own_commit") {
        let before = case.contents();
        case.project.write(
            "migrations/2_own.sql",
            "CREATE TABLE half (id BIGINT NOT NULL PRIMARY KEY);\n/* so */ commit;\n\
             INSERT INTO nowhere VALUES (1);",
        );
        let failed = case.project.run(["db", "migrate-safe", "--yes"]);
        let failed = failed.expect_code(5);
        says(
            &failed,
            &[
                "note: 2 line 2: COMMIT (ends sqlx's transaction",
                "2 does not run in one transaction, and a part of it may be in the database",
            ],
        );
        assert_eq!(case.query("SELECT count(*) FROM half;"), ["0"], "the part");
        follow_hint(&case, &failed);
        assert_eq!(case.contents()[0], before[0]);
        assert_eq!(case.contents()[1], before[1]);
    }
}

/// A plan that cannot be is refused before a backup is taken for it.
#[test]
fn a_missing_migrations_folder_is_refused_before_anything() {
    let case = Case::sqlite();
    std::fs::remove_dir(case.project.path().join("migrations")).expect("remove the folder");
    let refused = case.project.run(["db", "migrate-safe", "--yes"]);
    says(&refused.expect_code(3), &["migrations", "--source"]);
    assert!(!case.project.sqlite_path().exists());
}
