//! A restore while the application writes: what it was told is written must be
//! in the restored database or in the safety backup.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::setup::{Case, text};

/// Ids that only the writer uses.
const FIRST: i64 = 1_000_000;

#[test]
fn no_acknowledged_row_is_lost_in_wal_mode() {
    no_acknowledged_row_is_lost("WAL");
}

#[test]
fn no_acknowledged_row_is_lost_with_a_rollback_journal() {
    no_acknowledged_row_is_lost("DELETE");
}

fn no_acknowledged_row_is_lost(mode: &str) {
    let case = Case::sqlite();
    case.query(&format!(
        "PRAGMA journal_mode = {mode}; CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
         WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000)
         INSERT INTO t SELECT x, hex(randomblob(200)) FROM n;"
    ));
    case.backup();
    let (stop, last) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicI64::new(FIRST)),
    );
    let (stopped, written) = (Arc::clone(&stop), Arc::clone(&last));
    let path = case.project.sqlite_path();
    let writer = thread::spawn(move || write_until(&path, &stopped, &written));
    while last.load(Ordering::SeqCst) < FIRST + 20 {
        thread::sleep(Duration::from_millis(1));
    }
    let restored = case.restore("latest");
    stop.store(true, Ordering::SeqCst);
    let acknowledged = writer.join().expect("the writer");

    let live = ids(&Connection::open(case.project.sqlite_path()).expect("open the database"));
    let safety = case.dump(text(&restored, "/safety_backup"));
    let copy = case.project.tmp().join("safety.db");
    let bytes = std::process::Command::new("zstd")
        .args(["--decompress", "--quiet", "--force", "-o"])
        .arg(&copy)
        .arg(&safety)
        .status()
        .expect("run zstd");
    assert!(bytes.success(), "unpack the safety backup");
    let safe = ids(&Connection::open(&copy).expect("open the safety backup"));
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|id| !live.contains(id) && !safe.contains(id))
        .collect();
    assert!(
        acknowledged.len() >= 20,
        "the writer wrote {}",
        acknowledged.len()
    );
    assert!(
        lost.is_empty(),
        "{} of {} rows are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
}

fn write_until(path: &std::path::Path, stop: &AtomicBool, last: &AtomicI64) -> Vec<i64> {
    let connection = Connection::open(path).expect("open the database");
    connection
        .busy_timeout(Duration::from_secs(20))
        .expect("set the timeout");
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let id = last.load(Ordering::SeqCst) + 1;
        if connection
            .execute("INSERT INTO t VALUES (?1, 'written')", [id])
            .is_ok()
        {
            acknowledged.push(id);
        }
        last.store(id, Ordering::SeqCst);
    }
    acknowledged
}

fn ids(connection: &Connection) -> BTreeSet<i64> {
    let mut statement = connection
        .prepare("SELECT id FROM t WHERE id > ?1")
        .expect("a query");
    let ids = statement
        .query_map([FIRST], |row| row.get(0))
        .expect("rows");
    ids.map(|id| id.expect("an id")).collect()
}
