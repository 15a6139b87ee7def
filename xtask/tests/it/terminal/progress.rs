//! Every long step has a bar on a terminal, and none elsewhere.

use crate::exec;
use crate::pty::{ENTER, Terminal};
use crate::setup::Case;

/// Each step long enough to be drawn, the migration as well.
fn cases() -> Vec<(Case, &'static [&'static str])> {
    let filled = |mut case: Case| {
        let (rows, slow, steps): (_, _, &[&str]) = match case.server {
            Some(_) => (
                "CREATE TABLE t AS SELECT x, sha512(x::text::bytea) FROM generate_series(1, 60000) x;",
                "SELECT pg_sleep(0.3);",
                &["dump [", "verify [", "restore [", "compare ", "rehearse 1 "],
            ),
            None => (
                "PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB);
                 WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 12000)
                 INSERT INTO t SELECT x, randomblob(1000) FROM n;",
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000) \
                 SELECT max(x) FROM n;",
                &["pack [", "verify [", "unpack [", "rehearse 1 "],
            ),
        };
        case.query(rows);
        case.project = case.project.migration("1_slow.sql", slow);
        (case, steps)
    };
    Case::each("progress").into_iter().map(filled).collect()
}

#[test]
fn every_long_step_has_a_bar() {
    for (case, steps) in cases() {
        let mut terminal = Terminal::start(case.project.command(["db", "migrate-safe"]));
        terminal.wait_for("type `yes`").send("yes").send(ENTER);
        for step in steps {
            terminal.wait_for(step);
        }
        assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    }
}

#[test]
fn there_is_none_without_a_terminal_or_when_quiet() {
    for (case, _) in cases() {
        let arguments = ["db", "migrate-safe", "--yes"];
        let output = case.project.run(arguments).expect_code(0);
        let is_drawn = |text: &str| text.contains(['\r', '\x1b']) || text.contains(" [");
        assert!(
            !is_drawn(&output.stderr) && output.stdout.is_empty(),
            "{output}"
        );
        case.project.write("migrations/2_more.sql", "SELECT 1;");
        let mut quiet = case.project.command(arguments);
        quiet.arg("--quiet");
        let mut terminal = Terminal::start(quiet);
        assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
        assert_eq!(terminal.screen(), "");
        exec::run(&mut case.project.command(["db", "log"]), None).expect_code(0);
    }
}
