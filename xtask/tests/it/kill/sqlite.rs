//! The tool is killed on SQLite, with either journal.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::{Arena, Dice, VERBS, rounds};
use crate::setup::{Case, sha256};

const FILL: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 6000)
                    INSERT INTO t SELECT x, 'row ' || x || ' ' || hex(randomblob(100)) FROM n;";

/// The schema, the rows of every table and what SQLite itself has to say of the file.
fn state(case: &Case) -> Vec<String> {
    let mut lines = case.query(
        "SELECT type, name, sql FROM sqlite_schema ORDER BY name; PRAGMA integrity_check;
         SELECT version, description, success, hex(checksum) FROM _sqlx_migrations ORDER BY 1;",
    );
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> '_sqlx_migrations' ORDER BY 1;";
    for table in case.query(tables) {
        let rows = case.query(&format!("SELECT * FROM \"{table}\" ORDER BY 1;"));
        let digest = sha256(rows.join("\n").as_bytes());
        lines.push(format!("{table}: {} rows, {digest}", rows.len()));
    }
    lines
}

fn survives(mode: &str) {
    let mut dice = Dice::new();
    let case = Case::sqlite();
    case.query(&format!("PRAGMA journal_mode = {mode};"));
    let mut arena = Arena::new(case, FILL, state);
    let mut ends = BTreeMap::<_, u64>::new();
    for round in 0..rounds(9) {
        let verb = VERBS[usize::try_from(round % 3).expect("an index")];
        let kill = |running: &mut crate::exec::Running, _: &mut Dice| {
            running.signal_group(Signal::KILL);
        };
        let (output, allowed) = arena.run(&mut dice, verb, false, state, kill);
        let round = format!("{mode}, round {round}, {verb:?}");
        let end = arena.is_sound(&round, &output, &allowed, state);
        *ends.entry((verb, output.code, end)).or_default() += 1;
        assert_eq!(arena.case.query("PRAGMA journal_mode;"), [mode], "{round}");
    }
    println!("{mode}: {ends:?}");
    let killed = ends.keys().any(|(_, code, _)| *code == 137);
    assert!(killed, "no run was killed before its end");
}

#[test]
fn the_tool_on_sqlite_in_wal_mode() {
    survives("wal");
}

#[test]
fn the_tool_on_sqlite_with_a_rollback_journal() {
    survives("delete");
}
