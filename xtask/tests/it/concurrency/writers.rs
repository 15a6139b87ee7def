//! Writers that never stop, and backup after backup under them.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{ACCOUNTS, SUM, TOTAL, create_accounts, unpacked};
use crate::exec;
use crate::kill::{Dice, number_of};
use crate::project::sqlite_rows;
use crate::setup::{Case, says, text};

const WRITERS: u64 = 3;

fn backups() -> u64 {
    number_of("XTASK_DB_ROUNDS").unwrap_or(4)
}

/// Ends its threads when dropped.
struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    fn on_sqlite(path: &Path) -> Self {
        let (stop, written) = (Arc::default(), Arc::default());
        let mut dice = Dice::new();
        let threads = (0..WRITERS)
            .map(|_| {
                let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
                let (path, seed) = (path.to_owned(), dice.below(u64::MAX));
                std::thread::spawn(move || write(&path, Dice::of(seed), &stop, &written))
            })
            .collect();
        Self {
            stop,
            written,
            threads,
        }
    }

    fn wait_for(&self, more: u64) {
        let wanted = self.written.load(Ordering::SeqCst) + more;
        let deadline = Instant::now() + exec::LIMIT;
        while self.written.load(Ordering::SeqCst) < wanted {
            assert!(Instant::now() < deadline, "the writers do not write");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // Its panic is in the output already.
            let _ = thread.join();
        }
    }
}

/// Moves money, in transactions of two statements.
fn write(path: &Path, mut dice: Dice, stop: &AtomicBool, written: &AtomicU64) {
    let connection = Connection::open(path).expect("open the database");
    let patience = Duration::from_secs(20);
    connection.busy_timeout(patience).expect("set the timeout");
    while !stop.load(Ordering::SeqCst) {
        let (from, to) = (dice.below(ACCOUNTS as u64), dice.below(ACCOUNTS as u64));
        let amount = dice.below(90);
        let move_money = format!(
            "BEGIN IMMEDIATE; UPDATE first SET balance = balance - {amount} WHERE id = {from};
             UPDATE second SET balance = balance + {amount} WHERE id = {to}; COMMIT;"
        );
        match connection.execute_batch(&move_money) {
            Ok(()) => drop(written.fetch_add(1, Ordering::SeqCst)),
            // Another one held the file for too long; the transaction did not begin.
            Err(_) if connection.is_autocommit() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writers that take turns without a pause may keep a reader out for longer than it is willing to
/// wait; it then says so, and the next one may be luckier.
fn backup_in_the_end(case: &Case) -> String {
    const TRIES: u32 = 5;
    for _ in 0..TRIES {
        let output = case.project.run(["db", "backup", "--json"]);
        if output.code == 0 {
            return text(&output.json(), "/backup/id").to_owned();
        }
        says(&output.expect_code(3), &["the database is locked"]);
    }
    panic!("no backup in {TRIES} tries");
}

fn under_writers_on_sqlite(mode: &str) {
    let case = Case::sqlite();
    case.query(&format!("PRAGMA journal_mode = {mode};"));
    create_accounts(&case);
    let filler = "CREATE TABLE filler AS WITH RECURSIVE n(x) AS
        (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000) SELECT x, hex(randomblob(60)) FROM n;";
    case.query(filler);
    let writers = Writers::on_sqlite(&case.project.sqlite_path());
    let mut taken = Vec::new();
    for _ in 0..backups() {
        writers.wait_for(20);
        taken.push(backup_in_the_end(&case));
    }
    writers.wait_for(20);
    drop(writers);
    let mut states = Vec::new();
    for id in taken {
        let copy = Connection::open(unpacked(&case, &id)).expect("open the copy");
        let sum = sqlite_rows(&copy, SUM).expect("sum the copy");
        assert_eq!(sum, [TOTAL.to_string()], "{id}");
        states.push(sqlite_rows(&copy, "SELECT balance FROM first ORDER BY id").expect("rows"));
        case.restore(&id);
        assert_eq!(case.query(SUM), [TOTAL.to_string()], "{id}");
    }
    states.dedup();
    assert!(states.len() > 1, "nobody wrote between the backups");
}

#[test]
fn every_backup_of_sqlite_in_wal_mode_is_of_one_moment() {
    under_writers_on_sqlite("wal");
}

#[test]
fn every_backup_of_sqlite_with_a_rollback_journal_is_of_one_moment() {
    under_writers_on_sqlite("delete");
}

/// Transaction after transaction, inside of the server.
fn psql_writer(case: &Case) -> Child {
    let mut psql = case.server.as_ref().expect("a server").psql_command();
    psql.stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let script = format!(
        "DO $$ DECLARE payer bigint; payee bigint; amount bigint; BEGIN LOOP
           payer := floor(random() * {ACCOUNTS}); payee := floor(random() * {ACCOUNTS});
           amount := random() * 90;
           UPDATE first SET balance = balance - amount WHERE id = payer;
           UPDATE second SET balance = balance + amount WHERE id = payee;
           INSERT INTO entries VALUES (amount);
           COMMIT;
         END LOOP; END $$;"
    );
    exec::spawn_feeding(&mut psql, &script)
}

/// The rows that the manifest says were in a table, in the moment of the dump.
fn counted(case: &Case, id: &str, table: &str) -> String {
    let text = std::fs::read_to_string(case.manifest(id)).expect("read the manifest");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("a manifest");
    let tables = manifest["tables"].as_array().expect("a list of tables");
    let found = tables.iter().find(|entry| entry["name"] == table);
    found.expect("the table")["rows"].to_string()
}

#[test]
fn every_backup_of_a_server_is_of_one_moment() {
    let Some(case) = Case::postgres("one_moment") else {
        return;
    };
    create_accounts(&case);
    case.query("CREATE TABLE filler AS SELECT x, md5(x::text) FROM generate_series(1, 20000) x;");
    case.query("CREATE TABLE entries (amount BIGINT);");
    let mut writers: Vec<Child> = (0..WRITERS).map(|_| psql_writer(&case)).collect();
    let written =
        "SELECT xact_commit > 500 FROM pg_stat_database WHERE datname = current_database();";
    let deadline = Instant::now() + exec::LIMIT;
    while case.query(written) != ["t"] {
        assert!(Instant::now() < deadline, "the writers do not write");
    }
    let taken: Vec<String> = (0..backups()).map(|_| case.backup()).collect();
    for writer in &mut writers {
        assert!(
            writer.try_wait().expect("look at a writer").is_none(),
            "it has stopped"
        );
        writer.kill().expect("end a writer");
        writer.wait().expect("wait for a writer");
    }
    // A server goes on with a loop whose client is gone.
    case.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE 'DO %' AND pid <> pg_backend_pid();",
    );
    let cluster = case.server.as_ref().expect("a server").cluster();
    let mut states = Vec::new();
    for id in taken {
        let copy = cluster.create_database("copy");
        let mut restore = copy.client("pg_restore");
        restore.args(["--exit-on-error", "--dbname", copy.name()]);
        exec::run(restore.arg(unpacked(&case, &id)), None).expect_code(0);
        assert_eq!(copy.psql(SUM), TOTAL.to_string(), "{id}");
        let entries = copy.psql("SELECT count(*) FROM entries;");
        assert_eq!(entries, counted(&case, &id, "entries"), "{id}");
        states.push(copy.psql("SELECT balance FROM first ORDER BY id;"));
    }
    states.dedup();
    assert!(states.len() > 1, "nobody wrote between the backups");
}
