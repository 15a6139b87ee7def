//! `--on-failure restore` does nothing where what others wrote cannot be told, or would be lost.

use std::time::{Duration, Instant};

use super::{RESTORE, bad, cases};
use crate::compat;
use crate::exec::{self, LIMIT};
use crate::setup::{Case, says, versions};

/// What it writes has an older number than the backup, wherever on the server it began.
#[test]
fn a_transaction_that_was_open_before_the_backup_makes_it_unclear() {
    let runtime = compat::runtime();
    for case in cases("was_open", Some("CREATE TABLE good (id BIGINT);")) {
        let Some(live) = &case.server else { continue };
        let mut session = runtime.block_on(compat::connect(live));
        let mut run = |sql: &'static str| {
            let done = runtime.block_on(sqlx::raw_sql(sql).execute(&mut session));
            done.unwrap_or_else(|error| panic!("{sql}: {error}"));
        };
        run("BEGIN; SELECT pg_current_xact_id();");
        let running = exec::start(&mut case.project.command(RESTORE), None);
        running.wait_for_line("applied 2 ");
        run("INSERT INTO t VALUES (7, 'mine'); COMMIT;");
        let failed = running.finish().expect_code(5);
        says(
            &failed,
            &[
                "was not restored: ",
                "cannot be told",
                "t: 2 rows in the backup, 3 now",
            ],
        );
        assert_eq!(case.query("SELECT count(*) FROM t WHERE id = 7;"), ["1"]);
    }
}

/// Others could write while it drops and fills the tables.
#[test]
fn a_role_that_restores_in_place_is_refused() {
    let Some((mut case, admin)) = Case::owner("failed_owner") else {
        return;
    };
    case.project = case.project.migration("1_first.sql", super::FIRST);
    case.migrate();
    (case.project).write("migrations/2_good.sql", "CREATE TABLE good (id BIGINT);");
    case.project.write("migrations/3_bad.sql", bad(&case));
    let failed = case.project.run(RESTORE).expect_code(5);
    says(
        &failed,
        &[
            "was not restored: ",
            "this role can only restore in place, and others could write",
        ],
    );
    let status = case.project.json(["db", "status"]);
    assert_eq!(versions(&status["applied"]), [1, 2]);
    assert_eq!(admin.psql("SELECT count(*) FROM t;"), "2");
}

/// The server goes on for a while with what a killed run was at; the mark says what that was.
#[test]
fn a_run_that_is_killed_in_a_migration_is_marked() {
    for case in cases("killed_in", Some("CREATE TABLE good (id BIGINT);")) {
        let before = case.contents();
        let running = exec::start(&mut case.project.command(RESTORE), None);
        running.wait_for_line("applied 2 ");
        running.signal(rustix::process::Signal::KILL);
        running.finish().expect_code(137);
        let status = case.project.json(["db", "status"]);
        assert_eq!(status["unfinished"]["deed"], "migrate", "{status:#}");
        assert_eq!(status["unfinished"]["versions"], serde_json::json!([2, 3]));
        let id = status["unfinished"]["backup"].as_str().expect("an id");
        let said = case.project.run(["db", "status"]).expect_code(0);
        let way_back = format!("the way back is `cargo xtask db restore {id}`");
        says(
            &said,
            &["a migration (2, 3) of the ", "did not end", &way_back],
        );
        let deadline = Instant::now() + LIMIT;
        let restore = ["db", "restore", id, "--yes"];
        while case.project.run(restore).code != 0 {
            assert!(Instant::now() < deadline, "its lock is never given back");
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(case.contents(), before);
        let status = case.project.json(["db", "status"]);
        assert_eq!(status["unfinished"], serde_json::Value::Null);
    }
}
