//! An undo that is killed, or whose connection is lost: the name leads to one of the two, whole.

use std::time::Duration;

use rustix::process::Signal;

use super::{ASK, NEW, OLD, filled, kept, undo};
use crate::exec;
use crate::project::Project;
use crate::proxy::{Cut, Fault, Proxy};
use crate::setup::Case;

/// Waits in the middle of the transaction, because somebody holds what it needs; then it is killed.
#[test]
fn an_undo_that_is_killed_in_the_middle_changes_nothing_and_is_done_again() {
    let Some(case) = Case::postgres("undo_killed") else {
        return;
    };
    filled(&case);
    case.restore("latest");
    let database = case.server.clone().expect("a server");
    let before = kept(&database);
    let name = before[0].split('|').next().expect("a name").to_owned();
    let there = database.cluster().database("postgres");
    let runtime = crate::compat::runtime();
    let mut holder = runtime.block_on(crate::compat::connect(&there));
    let hold = format!("BEGIN; COMMENT ON DATABASE {name} IS 'held';");
    let held = sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut holder);
    runtime.block_on(held).expect("hold it");

    let arguments = ["db", "restore", "--undo", "--yes"];
    let running = exec::start(&mut case.project.command(arguments), None);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                   AND application_name LIKE 'xtask-db %' AND query LIKE 'COMMENT ON DATABASE%undo_killed%';";
    while there.psql(waits) == "0" {
        std::thread::sleep(Duration::from_millis(10));
    }
    running.signal(Signal::KILL);
    running.finish().expect_code(128 + 9);
    let released = sqlx::raw_sql("ROLLBACK").execute(&mut holder);
    runtime.block_on(released).expect("let go of it");
    let of_tool = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'xtask-db %'
                     AND query LIKE '%undo_killed%';";
    while there.psql(of_tool) != "0" {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(case.query(ASK), OLD);
    assert_eq!(kept(&database), before);
    let status = case.project.run(["db", "status"]).expect_code(0);
    crate::setup::says(&status, &["an undo of the", "did not end"]);
    undo(&case);
    assert_eq!(case.query(ASK), NEW);
    assert_eq!(
        case.project
            .vault_files()
            .iter()
            .filter(|f| f.starts_with('.'))
            .count(),
        0
    );
}

/// The renames go through one session, and then its COMMIT, whose answer does not come.
#[test]
fn the_answer_to_the_undo_is_lost_and_the_server_is_asked() {
    let late = Fault::Late(Duration::from_millis(200));
    for (fault, code) in [(Fault::After, 0), (Fault::Before, 1), (late, 0)] {
        let Some(direct) = Case::postgres("undo_lost") else {
            return;
        };
        filled(&direct);
        let server = direct.server.as_ref().expect("a server");
        let proxy = Proxy::start(server.cluster().port());
        let project = Project::new().database_url(&server.url_through(proxy.port()));
        direct.restore("latest");
        proxy.cut(Cut {
            after: "RENAME TO",
            at: "COMMIT",
            fault,
        });
        let output = project.run(["db", "restore", "--undo", "--yes"]);
        assert_eq!(proxy.cuts(), 1, "the COMMIT did not go by\n{output}");
        std::thread::sleep(Duration::from_millis(300));
        let rows = direct.query(ASK);
        match output.code {
            0 => assert_eq!(rows, NEW, "{fault:?}\n{output}"),
            1 => assert_eq!(rows, OLD, "{fault:?}\n{output}"),
            other => panic!("exit code {other} after {fault:?}\n{output}"),
        }
        if !matches!(fault, Fault::Late(_)) {
            assert_eq!(output.code, code, "{fault:?}\n{output}");
        }
        assert_eq!(kept(server).len(), 1, "{fault:?}\n{output}");
    }
}
