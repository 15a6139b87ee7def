//! A COMMIT goes out and no answer comes back: what the tool says is what the database is.

use std::time::Duration;

use crate::cluster::{Cluster, Database};
use crate::exec::{self, Output};
use crate::pg_bin::PgBin;
use crate::project::Project;
use crate::proxy::{Cut, Fault, Proxy};
use crate::setup::{Case, says};

const CREATE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                      INSERT INTO t VALUES (1, 'one'), (2, 'two');";
const ROWS: &str = "SELECT id, name FROM t ORDER BY id;";
const OLD: [&str; 2] = ["1|one", "2|two"];
const NEW: [&str; 1] = ["3|three"];

/// The renames of a swap go through this session; then its COMMIT.
const SWAP: [&str; 2] = ["RENAME TO", "COMMIT"];
/// A restore in place asks for its number; then its COMMIT.
const IN_PLACE: [&str; 2] = ["txid_current", "COMMIT;"];

/// A database with [`OLD`] in its backup and [`NEW`] in itself, reached through the proxy by the
/// tool and directly by the test.
fn through_a_proxy(direct: &Case) -> (Project, Proxy) {
    let server = direct.server.as_ref().expect("a server");
    let proxy = Proxy::start(server.cluster().port());
    let project = Project::new().database_url(&server.url_through(proxy.port()));
    direct.query(CREATE);
    project.run(["db", "backup"]).expect_code(0);
    direct.query("DELETE FROM t; INSERT INTO t VALUES (3, 'three');");
    (project, proxy)
}

fn restore_with(direct: &Case, [after, at]: [&'static str; 2], fault: Fault) -> (Output, Project) {
    let (project, proxy) = through_a_proxy(direct);
    proxy.cut(Cut { after, at, fault });
    let output = project.run(["db", "restore", "latest", "--yes"]);
    assert_eq!(proxy.cuts(), 1, "the COMMIT did not go by\n{output}");
    (output, project)
}

/// Databases beside the live one, as a restore names them.
fn beside(database: &Database, purpose: &str) -> Vec<String> {
    let (name, postgres) = (database.name(), database.cluster().database("postgres"));
    let question = format!(
        "SELECT datname FROM pg_database WHERE datname LIKE '{name}\\_{purpose}\\_%' ORDER BY 1;"
    );
    let found = postgres.psql(&question);
    found.lines().map(str::to_owned).collect()
}

/// Done when it was done, and as it was when it was not: never a third thing, and never the other word.
#[track_caller]
fn is_the_truth(direct: &Case, output: &Output, fault: Fault) {
    let server = direct.server.as_ref().expect("a server");
    let rows = direct.query(ROWS);
    match output.code {
        0 => assert_eq!(rows, OLD, "{fault:?}\n{output}"),
        1 => assert_eq!(rows, NEW, "{fault:?}\n{output}"),
        other => panic!("exit code {other} after {fault:?}\n{output}"),
    }
    assert_eq!(beside(server, "restore"), [""; 0], "{fault:?}\n{output}");
}

#[test]
fn the_answer_to_the_swap_is_lost_and_the_server_is_asked() {
    for (fault, code) in [(Fault::After, 0), (Fault::Before, 1)] {
        let Some(direct) = Case::postgres("lost_swap") else {
            return;
        };
        let (output, project) = restore_with(&direct, SWAP, fault);
        assert_eq!(output.code, code, "{fault:?}\n{output}");
        is_the_truth(&direct, &output, fault);
        let kept = beside(direct.server.as_ref().expect("a server"), "before");
        assert_eq!(kept.len(), usize::from(code == 0), "{kept:?}\n{output}");
        project
            .run(["db", "restore", "latest", "--yes"])
            .expect_code(0);
        assert_eq!(direct.query(ROWS), OLD);
    }
}

/// The client is cut off first, and the COMMIT arrives while the tool already asks what became of it.
#[test]
fn a_swap_that_is_committed_after_its_client_was_cut_is_no_failure_that_lies() {
    for wait in [0, 20, 200] {
        let Some(direct) = Case::postgres("late_swap") else {
            return;
        };
        let fault = Fault::Late(Duration::from_millis(wait));
        let (output, project) = restore_with(&direct, SWAP, fault);
        // The COMMIT may still be on its way: what the tool has said must stay true.
        std::thread::sleep(Duration::from_millis(wait + 100));
        is_the_truth(&direct, &output, fault);
        project.run(["db", "backup"]).expect_code(0);
    }
}

#[test]
fn the_answer_to_the_commit_in_place_is_lost_and_the_server_is_asked() {
    let late = Fault::Late(Duration::from_millis(300));
    for (fault, code) in [(Fault::After, 0), (Fault::Before, 1), (late, 0)] {
        let Some((direct, _)) = Case::owner("lost_in_place") else {
            return;
        };
        let (output, _) = restore_with(&direct, IN_PLACE, fault);
        assert_eq!(output.code, code, "{fault:?}\n{output}");
        is_the_truth(&direct, &output, fault);
        if code != 0 {
            says(&output, &["the database is as it was"]);
        }
    }
}

/// What is committed is read when the session is gone: a COMMIT that is still on its way is stopped.
#[test]
fn the_answer_to_a_migration_is_lost_and_its_history_is_true() {
    let faults = [
        Fault::After,
        Fault::Before,
        Fault::Late(Duration::from_millis(300)),
    ];
    for fault in faults {
        let Some(direct) = Case::postgres("lost_migration") else {
            return;
        };
        let (project, proxy) = through_a_proxy(&direct);
        project.write(
            "migrations/1_more.sql",
            "SET application_name = 'mine'; CREATE TABLE more (id BIGINT);",
        );
        proxy.cut(Cut {
            after: "CREATE TABLE more",
            at: "COMMIT",
            fault,
        });
        let project = project.unrehearsed();
        let output = project.run(["db", "migrate-safe", "--yes"]).expect_code(5);
        assert_eq!(proxy.cuts(), 1, "the COMMIT did not go by\n{output}");
        std::thread::sleep(Duration::from_millis(400));
        let is_there = direct.query("SELECT to_regclass('more') IS NOT NULL;");
        let said = match is_there[0].as_str() {
            "t" => "committed: 1; not committed: none",
            _ => "committed: none; not committed: 1",
        };
        says(&output, &[said]);
        let again = project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
        assert_eq!(direct.query("SELECT count(*) FROM more;"), ["0"], "{again}");
    }
}

/// An import asks for its number; then its COMMIT, or a word before it.
fn import_with(direct: &Case, at: &'static str, fault: Fault) -> Output {
    let server = direct.server.as_ref().expect("a server");
    let proxy = Proxy::start(server.cluster().port());
    let project = Project::new().database_url(&server.url_through(proxy.port()));
    direct.query(CREATE);
    let export = ["db", "export", "-o", "t.ndjson"];
    project.run(export).expect_code(0);
    direct.query("DELETE FROM t; INSERT INTO t VALUES (3, 'three');");
    let after = "txid_current";
    proxy.cut(Cut { after, at, fault });
    let output = project.run(["db", "import", "t.ndjson", "--replace", "--yes"]);
    assert_eq!(proxy.cuts(), 1, "`{at}` did not go by\n{output}");
    output
}

#[test]
fn the_answer_to_the_commit_of_an_import_is_lost_and_the_server_is_asked() {
    let late = Fault::Late(Duration::from_millis(100));
    for fault in [Fault::After, Fault::Before, late] {
        let Some(direct) = Case::postgres("lost_import") else {
            return;
        };
        let output = import_with(&direct, "COMMIT", fault);
        std::thread::sleep(Duration::from_millis(200));
        is_the_truth(&direct, &output, fault);
    }
}

/// Nobody can be asked whether it was committed: that is what is said, with what went wrong.
#[test]
fn an_import_whose_commit_nobody_knows_of_is_not_called_untouched() {
    let Some(direct) = Case::postgres("lost_import_server") else {
        return;
    };
    let output = import_with(&direct, "COMMIT", Fault::Gone).expect_code(5);
    says(
        &output,
        &[
            "whether the import was committed cannot be asked",
            "caused by: cannot commit",
            "db restore latest",
        ],
    );
    assert_eq!(direct.query(ROWS), OLD);
    // Before the COMMIT there is nothing to ask.
    let Some(direct) = Case::postgres("lost_import_early") else {
        return;
    };
    let output = import_with(&direct, "COPY \"public\".\"t\"", Fault::Gone).expect_code(1);
    assert_eq!(direct.query(ROWS), NEW, "{output}");
}

pub fn end_session_with_lock(direct: &Case) {
    let ended = direct.query(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database());",
    );
    assert_eq!(ended, ["t"]);
}

/// Whoever takes the lock next may migrate: a migration of ours must not begin then.
#[test]
fn a_lock_that_is_lost_during_the_backup_refuses_the_migration() {
    let Some(case) = Case::postgres("lost_lock") else {
        return;
    };
    let cluster = Cluster::get_or_skip().expect("a cluster");
    case.query(CREATE);
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id BIGINT);");
    let bin = PgBin::logging(cluster).gated(cluster, "pg_dump", "--format=custom");
    let mut command = case.project.command(["db", "migrate-safe", "--yes"]);
    let running = exec::start(command.env("PG_BIN", bin.path()), None);
    bin.wait_for("pg_dump.waits");
    end_session_with_lock(&case);
    bin.open("pg_dump");
    let refused = running.finish().expect_code(3);
    says(&refused, &["advisory lock was lost", "no migration"]);
    let tables = "SELECT to_regclass('more') IS NULL, to_regclass('_sqlx_migrations') IS NULL;";
    assert_eq!(case.query(tables), ["t|t"]);
    case.migrate();
}
