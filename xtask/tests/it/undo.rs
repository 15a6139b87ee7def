//! The way back from a restore: what it replaced takes its place again.

mod cut;
mod prune;

use crate::cluster::{Cluster, Database};
use crate::exec;
use crate::pg_bin::PgBin;
use crate::pty::Terminal;
use crate::setup::{Case, says, text};

const CREATE: &str = "CREATE TABLE \"a \"\"t\" (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                      INSERT INTO \"a \"\"t\" VALUES (1, 'one'), (2, 'two');";
const CHANGE: &str = "INSERT INTO \"a \"\"t\" VALUES (3, 'three'); CREATE TABLE late (id BIGINT);";
const ASK: &str = "SELECT count(*) FROM \"a \"\"t\";";
const OLD: [&str; 1] = ["2"];
const NEW: [&str; 1] = ["3"];

/// A backup with [`OLD`], over which [`NEW`] was written.
fn filled(case: &Case) {
    case.query(CREATE);
    case.backup();
    case.query(CHANGE);
}

fn undo(case: &Case) -> serde_json::Value {
    case.project.json(["db", "restore", "--undo", "--yes"])
}

/// Of the kept databases: name, whether one may connect, and the comment.
fn kept(database: &Database) -> Vec<String> {
    let name = database.name().replace('\'', "''");
    let found = database.cluster().database("postgres").psql(&format!(
        "SELECT datname, datallowconn, shobj_description(oid, 'pg_database') FROM pg_database
         WHERE starts_with(datname, '{name}_before_') ORDER BY 1;"
    ));
    found.lines().map(str::to_owned).collect()
}

/// All that hangs on the database by its name.
fn properties(database: &Database) -> String {
    database.psql(
        "SELECT datallowconn, datconnlimit, datdba::regrole, shobj_description(d.oid, 'pg_database'),
                (SELECT string_agg(setconfig::text, ',') FROM pg_db_role_setting WHERE setdatabase = d.oid)
         FROM pg_database d WHERE datname = current_database();",
    )
}

#[test]
fn an_undo_brings_back_what_the_restore_replaced_and_can_be_undone() {
    for case in Case::each("undo Ünï \"code\" 'x'") {
        filled(&case);
        let before = case.contents();
        for _ in 0..2 {
            case.restore("latest");
            assert_eq!(case.query(ASK), OLD);
            let undone = undo(&case);
            assert_eq!(case.query(ASK), NEW, "{undone:#}");
            assert_eq!(case.contents(), before);
            undo(&case);
            assert_eq!(case.query(ASK), OLD, "the undo is undone");
            undo(&case);
            assert_eq!(case.query(ASK), NEW, "and that, too");
        }
        let log = case.project.json(["db", "log"]);
        let last = log["entries"].as_array().and_then(|all| all.last());
        let last = last.expect("an entry");
        assert_eq!(
            (text(last, "/deed"), text(last, "/ending")),
            ("undo", "done")
        );
        assert_eq!(
            case.project.json(["db", "status"])["unfinished"],
            serde_json::Value::Null
        );
    }
}

/// Comment, limit and settings are the user's: the mark is there while it is kept and gone afterwards.
#[test]
fn what_hangs_on_the_database_is_as_it_was() {
    let Some(case) = Case::postgres("undo_properties") else {
        return;
    };
    filled(&case);
    let database = case.server.clone().expect("a server");
    database.psql(&format!(
        "ALTER DATABASE {0} CONNECTION LIMIT 17; ALTER DATABASE {0} SET work_mem = '9MB';
         COMMENT ON DATABASE {0} IS E'it''s mine\\n\\\\ really';
         ALTER DATABASE {0} SET default_transaction_read_only = on;",
        database.name()
    ));
    let before = properties(&database);
    let restored = case.restore("latest");
    assert_ne!(properties(&database), before);
    let name = text(&restored, "/kept_database");
    let found = kept(&database).join("\n");
    let mark = format!(
        "{name}|f|xtask-db: kept; this was the database \"{}\" until",
        database.name()
    );
    assert!(
        found.starts_with(&mark) && found.ends_with("it's mine\n\\ really"),
        "{found}"
    );

    let undone = undo(&case);
    assert_eq!(text(&undone, "/swapped_back"), name);
    assert_eq!(properties(&database), before);
    let found = kept(&database);
    assert_eq!(found.len(), 1, "{found:?}");
    let kept = text(&undone, "/kept_database");
    assert!(
        found[0].starts_with(&format!("{kept}|f|xtask-db: kept;")),
        "{found:?}"
    );
    assert!(
        found[0].ends_with("replaced it"),
        "it has no comment: {found:?}"
    );
}

#[test]
fn rows_are_shown_and_sessions_cut_only_after_a_yes() {
    let Some(case) = Case::postgres("undo_asked") else {
        return;
    };
    filled(&case);
    case.restore("latest");
    let database = case.server.clone().expect("a server");
    let before = kept(&database);
    let runtime = crate::compat::runtime();
    let mut session = runtime.block_on(crate::compat::connect(&database));
    let mut lives = || {
        let asked = sqlx::query("SELECT 1").execute(&mut session);
        runtime.block_on(asked).is_ok()
    };

    let refused = case.project.run(["db", "restore", "--undo"]).expect_code(3);
    says(
        &refused,
        &["--yes", "will be cut: pid", "nothing was changed"],
    );
    let mut terminal = Terminal::start(case.project.command(["db", "restore", "--undo"]));
    terminal.wait_for("anything else stops").send("no\r");
    assert_eq!(terminal.exit_code(), 3);
    let screen = terminal.screen();
    let has = |row: &[&str]| {
        let is_row = |line: &str| line.split_whitespace().collect::<Vec<_>>() == row;
        screen.lines().any(is_row)
    };
    assert!(
        has(&["a", "\"t", "3", "2"]) && has(&["late", "0", "none"]),
        "{screen}"
    );
    assert!(lives(), "nothing was cut");
    assert_eq!(kept(&database), before);

    let mut terminal = Terminal::start(case.project.command(["db", "restore", "--undo"]));
    terminal.wait_for("anything else stops").send("yes\r");
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert!(!lives());
    assert_eq!(case.query(ASK), NEW);
}

#[test]
fn nothing_to_undo_and_wrong_usage_change_nothing() {
    for case in Case::each("undo_nothing") {
        filled(&case);
        let both = case
            .project
            .run(["db", "restore", "latest", "--undo", "--yes"]);
        both.expect_code(2);
        let refused = case
            .project
            .run(["db", "restore", "--undo", "--yes"])
            .expect_code(3);
        says(&refused, &["nothing to undo", "cargo xtask db list"]);
        assert_eq!(case.query(ASK), NEW);
        assert_eq!(case.project.vault_files().len(), 2, "no safety backup");
    }
}

/// Somebody's database with such a name, and one of a database whose name begins alike, are none of ours.
#[test]
fn a_database_without_the_mark_is_not_swapped_in() {
    let Some(case) = Case::postgres("undo_foreign") else {
        return;
    };
    filled(&case);
    let database = case.server.clone().expect("a server");
    let there = database.cluster().database("postgres");
    let name = format!("{}_before_20990123143052", database.name());
    there.psql(&format!("CREATE DATABASE {name};"));
    case.project
        .run(["db", "restore", "--undo", "--yes"])
        .expect_code(3);
    there.psql(&format!(
        "COMMENT ON DATABASE {name} IS 'xtask-db: kept; this was the database \"other\" until a restore or an undo replaced it';"
    ));
    case.project
        .run(["db", "restore", "--undo", "--yes"])
        .expect_code(3);
    case.restore("latest");
    undo(&case);
    assert_eq!(case.query(ASK), NEW);
    there.psql(&format!("DROP DATABASE {name};"));
}

/// A role that may not rename gets its database back from the backup that the restore took.
#[test]
fn a_restore_in_place_is_undone_by_its_safety_backup() {
    let Some((case, _)) = Case::owner("undo_in_place") else {
        return;
    };
    filled(&case);
    case.restore("latest");
    let output = case
        .project
        .run(["db", "restore", "--undo", "--yes"])
        .expect_code(0);
    says(&output, &["no replaced database is kept", "_pre-restore"]);
    assert_eq!(case.query(ASK), NEW);
    undo(&case);
    assert_eq!(case.query(ASK), OLD);
}

/// Swapped, then in place, then one that came to nothing: the last that did something is undone.
#[test]
fn the_last_restore_that_changed_something_is_the_one_that_is_undone() {
    let Some(case) = Case::postgres("undo_order") else {
        return;
    };
    let cluster = Cluster::get_or_skip().expect("a cluster");
    filled(&case);
    case.restore("latest");
    case.query("DELETE FROM \"a \"\"t\";");
    let bin = PgBin::logging(cluster).gated(cluster, "pg_restore", "--dbname=");
    let mut command = case.project.command(["db", "restore", "latest", "--yes"]);
    let running = exec::start(command.env("PG_BIN", bin.path()), None);
    bin.wait_for("pg_restore.waits");
    running.signal(rustix::process::Signal::TERM);
    bin.open("pg_restore");
    running.finish().expect_code(130);
    undo(&case);
    assert_eq!(
        case.query(ASK),
        NEW,
        "not the safety backup of what was interrupted"
    );
    undo(&case);
    assert_eq!(case.query(ASK), ["0"]);
    // What an undo has replaced was dropped by hand: there is no going further back without a word.
    let database = case.server.clone().expect("a server");
    for line in kept(&database) {
        let name = line.split('|').next().unwrap_or_default();
        database.psql(&format!("DROP DATABASE {name};"));
    }
    let refused = case
        .project
        .run(["db", "restore", "--undo", "--yes"])
        .expect_code(3);
    says(&refused, &["not there any more"]);
    assert_eq!(case.query(ASK), ["0"]);
}
