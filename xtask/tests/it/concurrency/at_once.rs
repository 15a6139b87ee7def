//! Ten runs of three verbs at the same time.

use serde_json::Value;

use crate::exec::{self, Running};
use crate::kill::{Dice, number_of};
use crate::project::Project;
use crate::setup::{Case, text};

const MIGRATIONS: [(&str, &str); 3] = [
    (
        "1_base.sql",
        "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
         INSERT INTO t VALUES (1, 'one'), (2, 'two');",
    ),
    ("2_change.sql", "UPDATE t SET name = 'changed';"),
    (
        "3_drop.sql",
        "DELETE FROM t WHERE id = 1; -- expect-loss: t",
    ),
];
const ROWS: &str = "SELECT id, name FROM t ORDER BY id;
                    SELECT version FROM _sqlx_migrations ORDER BY version;";

/// After one, two and three migrations.
const STATES: [&[&str]; 3] = [
    &["1|one", "2|two", "1"],
    &["1|changed", "2|changed", "1", "2"],
    &["2|changed", "1", "2", "3"],
];

fn started(case: &Case) -> String {
    for (file, sql) in MIGRATIONS {
        case.project.write(format!("migrations/{file}"), sql);
    }
    let first = ["db", "migrate-safe", "--yes", "--target-version", "1"];
    case.project.run(first).expect_code(0);
    assert_eq!(case.query(ROWS), STATES[0]);
    case.backup()
}

/// Ten of them in a random order.
fn ten(dice: &mut Dice, projects: &[&Project], backup: &str) -> Vec<(&'static str, Running)> {
    let mut verbs = vec!["backup", "backup", "backup", "backup"];
    verbs.extend(["migrate-safe", "migrate-safe", "migrate-safe"]);
    verbs.extend(["restore", "restore", "restore"]);
    let mut started = Vec::new();
    while !verbs.is_empty() {
        let next = dice.below(verbs.len() as u64);
        let verb = verbs.swap_remove(usize::try_from(next).expect("an index"));
        let arguments = match verb {
            "backup" => vec!["db", verb],
            "migrate-safe" => vec!["db", verb, "--yes"],
            _ => vec!["db", verb, backup, "--yes"],
        };
        let mut command = dice.one_of(projects).command(arguments);
        started.push((verb, exec::start(&mut command, None)));
    }
    started
}

#[track_caller]
fn is_whole(case: &Case, backup: &str) {
    let now = case.query(ROWS);
    assert!(STATES.iter().any(|state| now == *state), "{now:?}");
    let verified = case.project.json(["db", "verify", "--all"]);
    let verified = verified["verified"].as_array().expect("a list");
    let is_trusted = |one: &Value| one["trusted"] == true;
    assert!(verified.iter().all(is_trusted), "{verified:#?}");
    let files = case.project.vault_files();
    assert_eq!(files.len(), 2 * verified.len(), "{files:?}");
    let restored = case.restore(backup);
    assert_eq!(text(&restored, "/restored"), backup);
    assert_eq!(case.query(ROWS), STATES[0]);
}

/// One vault: whoever comes second waits or is told who is at work.
#[test]
fn ten_runs_at_once_end_well_or_name_who_is_at_work() {
    let mut dice = Dice::new();
    for case in Case::each("ten") {
        let backup = started(&case);
        for round in 0..number_of("XTASK_DB_ROUNDS").unwrap_or(2) {
            let mut done = 0;
            for (verb, running) in ten(&mut dice, &[&case.project], &backup) {
                let output = running.finish();
                match output.code {
                    0 => done += 1,
                    3 => {
                        let names = ["is locked by", "advisory lock is held by"];
                        let named = names.iter().any(|name| output.stderr.contains(name));
                        let hinted = output.stderr.contains("\nhint: wait until");
                        assert!(named && hinted, "round {round}, {verb}\n{output}");
                    }
                    code => panic!("round {round}, {verb}: exit code {code}\n{output}"),
                }
            }
            assert!(done > 3, "only {done}");
            is_whole(&case, &backup);
        }
    }
}

/// Two checkouts have two vaults, and only the server between them: a restore cuts the sessions of
/// the other's runs, and what they then say is true.
#[test]
fn two_vaults_on_one_server_leave_one_whole_state() {
    let mut dice = Dice::new();
    let Some(case) = Case::postgres("two_vaults") else {
        return;
    };
    let backup = started(&case);
    let server = case.server.as_ref().expect("a server");
    let other = Project::new().database_url(&server.url());
    for (file, sql) in MIGRATIONS {
        other.write(format!("migrations/{file}"), sql);
    }
    other.run(["db", "backup"]).expect_code(0);
    for entry in std::fs::read_dir(case.project.vault()).expect("list the vault") {
        let from = entry.expect("list the vault").path();
        let to = other.vault().join(from.file_name().expect("a name"));
        std::fs::copy(&from, &to).expect("copy a backup");
    }
    for round in 0..number_of("XTASK_DB_ROUNDS").unwrap_or(2) {
        for (verb, running) in ten(&mut dice, &[&case.project, &other], &backup) {
            let output = running.finish();
            let may_be_cut = match verb {
                "migrate-safe" => [0, 1, 3, 5].contains(&output.code),
                _ => [0, 1, 3].contains(&output.code),
            };
            assert!(may_be_cut, "round {round}, {verb}\n{output}");
        }
        other.run(["db", "verify", "--all"]).expect_code(0);
        is_whole(&case, &backup);
    }
}
