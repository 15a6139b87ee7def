//! What restores kept is listed, and goes when somebody says so; nothing else does.

use super::{ASK, NEW, filled, kept, undo};
use crate::cluster::Database;
use crate::pty::Terminal;
use crate::setup::{Case, says, text};

const PRUNE: [&str; 4] = ["db", "prune", "--kept", "--yes"];

fn started(name: &str) -> Option<(Case, Database)> {
    let case = Case::postgres(name)?;
    filled(&case);
    case.restore("latest");
    let database = case.server.clone().expect("a server");
    Some((case, database))
}

fn names(database: &Database) -> Vec<String> {
    let name = |line: String| line.split('|').next().unwrap_or_default().to_owned();
    kept(database).into_iter().map(name).collect()
}

/// As if it had been replaced then.
fn age(database: &Database, from: &str, time: &str) -> String {
    let to = format!("{}_before_{time}", database.name());
    let (from, quoted) = (from.replace('"', "\"\""), to.replace('"', "\"\""));
    database.psql(&format!(
        "ALTER DATABASE \"{from}\" RENAME TO \"{quoted}\";"
    ));
    to
}

#[test]
fn they_are_listed_with_size_and_age_and_removed_after_a_yes() {
    let Some((case, database)) = started("prune \"Ünï\" 'x'") else {
        return;
    };
    let young = names(&database);
    let status = case.project.json(["db", "status"]);
    assert_eq!(text(&status, "/kept/0/name"), young[0]);
    assert!(
        status["kept"][0]["size_bytes"].as_u64() > Some(1 << 20),
        "{status:#}"
    );
    assert_eq!(status["left_beside"], serde_json::json!([]));
    let shown = case.project.run(["db", "status"]).expect_code(0).stdout;
    assert!(
        shown.contains("kept        `prune") && !shown.contains("db prune"),
        "{shown}"
    );

    let old = age(&database, &young[0], "20250101000000");
    case.query("INSERT INTO \"a \"\"t\" VALUES (3, 'three');");
    case.restore("latest");
    let shown = case.project.run(["db", "status"]).expect_code(0).stdout;
    assert!(
        shown.contains("1 kept database can be removed: cargo xtask db prune --kept"),
        "{shown}"
    );
    let all = names(&database);
    assert_eq!(all.len(), 2);
    let refused = case.project.run(["db", "prune", "--kept"]).expect_code(3);
    says(&refused, &["there is no terminal", "db prune --kept --yes"]);
    let mut command = case.project.command(PRUNE);
    let dry = crate::exec::run(command.arg("--dry-run"), None).expect_code(0);
    says(
        &dry,
        &["2 kept databases", "would be removed", "20250101000000"],
    );
    let mut terminal = Terminal::start(case.project.command(["db", "prune", "--kept"]));
    terminal.wait_for("anything else stops").send("y\r");
    assert_eq!(terminal.exit_code(), 3);
    assert_eq!(names(&database), all, "nothing has gone");

    let arguments = ["db", "prune", "--kept", "--older-than", "7", "--yes"];
    let done = case.project.json(arguments);
    assert_eq!(done["removed"], serde_json::json!([old]));
    assert_eq!(names(&database).len(), 1);
    let log = case
        .project
        .run(["db", "log", "--last", "1"])
        .expect_code(0);
    assert!(
        log.stdout.contains("remove") && log.stdout.contains(&old),
        "{log}"
    );
    undo(&case);
    assert_eq!(case.query(ASK), NEW, "the younger one was whole");
    case.project.run(PRUNE).expect_code(0);
    assert_eq!(names(&database), [""; 0]);
    let nothing = case.project.run(PRUNE).expect_code(0);
    says(&nothing, &["nothing is kept"]);
    assert_eq!(case.query(ASK), NEW);
}

#[test]
fn only_what_a_restore_has_kept_is_removed() {
    let Some((case, database)) = started("prune_foreign") else {
        return;
    };
    let ours = names(&database);
    let name = database.name();
    let theirs = [
        format!("{name}_before_20250101000001"),
        format!("{name}_before_20250101000002"),
        format!("{name}_before_lunch"),
    ];
    for other in &theirs {
        database.psql(&format!("CREATE DATABASE {other};"));
    }
    // Marked, of another database; and closed, as ours are.
    database.psql(&format!(
        "COMMENT ON DATABASE {} IS 'xtask-db: kept; this was the database \"{name}x\" until a restore or an undo replaced it';
         ALTER DATABASE {} WITH ALLOW_CONNECTIONS false;",
        theirs[0], theirs[1]
    ));
    // What was a template is dropped all the same.
    database.psql(&format!("ALTER DATABASE {} IS_TEMPLATE true;", ours[0]));
    let status = case.project.json(["db", "status"]);
    assert_eq!(
        status["left_beside"].as_array().map(Vec::len),
        Some(2),
        "{status:#}"
    );
    let done = case.project.json(PRUNE);
    assert_eq!(done["removed"], serde_json::json!(ours));
    assert_eq!(names(&database), theirs);
    for other in theirs {
        database.psql(&format!("DROP DATABASE {other};"));
    }
}

#[test]
fn one_that_somebody_is_in_stays() {
    let Some((case, database)) = started("prune_used") else {
        return;
    };
    let used = age(&database, &names(&database)[0], "20250101000000");
    database.psql(&format!(
        "ALTER DATABASE {used} WITH ALLOW_CONNECTIONS true;"
    ));
    let runtime = crate::compat::runtime();
    let entered = database.cluster().database(&used);
    let mut session = runtime.block_on(crate::compat::connect(&entered));
    case.restore("latest");
    let before = names(&database);
    let arguments = [&PRUNE[..], &["--json"]].concat();
    let refused = case.project.run(arguments).expect_code(6);
    says(
        &refused,
        &["1 kept database could not be removed", "is used: pid"],
    );
    // What went all the same.
    let gone: Vec<_> = before.iter().filter(|name| **name != used).collect();
    assert_eq!(refused.json()["removed"], serde_json::json!(gone));
    assert_eq!(names(&database), [used]);
    let asked = sqlx::query("SELECT 1").execute(&mut session);
    runtime.block_on(asked).expect("nobody has ended it");
    runtime
        .block_on(sqlx::Connection::close(session))
        .expect("end it");
    case.project.run(PRUNE).expect_code(0);
    assert_eq!(names(&database), [""; 0]);
}

#[test]
fn wrong_usage_and_engines_that_keep_nothing() {
    for case in Case::each("prune_usage") {
        case.project.sqlite("CREATE TABLE t (id INTEGER);");
        case.project
            .run(["db", "prune", "--kept", "--keep-last", "1"])
            .expect_code(2);
        case.project
            .run(["db", "prune", "--older-than", "1"])
            .expect_code(2);
        case.project
            .run(["db", "prune", "--kept", "--older-than", "-1"])
            .expect_code(2);
        let nothing = case.project.run(PRUNE).expect_code(0);
        says(&nothing, &["nothing is kept"]);
        assert!(!case.project.vault().exists(), "nothing was written");
    }
}

/// After a backup, when the policy says both that it is pruned and how long they are kept.
#[test]
fn after_a_backup_they_go_when_the_policy_says_how_long_they_are_kept() {
    let Some((case, database)) = started("prune_kept_after") else {
        return;
    };
    let old = age(&database, &names(&database)[0], "20250101000000");
    case.query("INSERT INTO \"a \"\"t\" VALUES (3, 'three');");
    case.restore("latest");
    let both = names(&database);
    let after = |policy: &str| {
        case.project.write("database/db.toml", policy);
        case.backup();
        names(&database)
    };
    assert_eq!(after("[retention]\nkept_days = 7\n"), both);
    assert_eq!(after("[retention]\nprune_after_backup = true\n"), both);
    let left = after("[retention]\nprune_after_backup = true\nkept_days = 7\n");
    assert_eq!((left.len(), left.contains(&old)), (1, false), "{left:?}");
    undo(&case);
}
