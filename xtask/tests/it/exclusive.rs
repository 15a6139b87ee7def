//! `--exclusive`: nobody else writes from the backup to the last migration, and everybody can again
//! afterwards, however the run ends.

mod cut;
mod refused;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::Database;
use crate::exec::{self, LIMIT};
use crate::setup::{Case, says};

const FIRST: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY);";
const SETTING: &str = "SELECT coalesce(string_agg(c, ','), 'none') FROM pg_db_role_setting, \
    unnest(setconfig) c WHERE setdatabase = (SELECT oid FROM pg_database \
    WHERE datname = current_database()) AND c LIKE 'default_transaction_read_only=%';";

fn cases(name: &str, second: &str) -> Vec<Case> {
    let with_second = |mut case: Case| {
        case.project = case.project.migration("1_first.sql", FIRST);
        case.migrate();
        case.project = case.project.migration("2_second.sql", second);
        case
    };
    Case::each(name).into_iter().map(with_second).collect()
}

fn on_postgres(name: &str, second: &str) -> Option<Case> {
    cases(name, second)
        .into_iter()
        .find(|case| case.server.is_some())
}

/// Nothing is left of a run, neither in the database nor in the vault.
#[track_caller]
fn everybody_is_in(case: &Case) {
    case.query("INSERT INTO t VALUES (8);");
    assert!(!case.project.vault().join(".exclusive").exists());
    if case.server.is_some() {
        assert_eq!(case.query(SETTING), ["none"]);
    }
}

const EXCLUSIVE: [&str; 4] = ["db", "migrate-safe", "--yes", "--exclusive"];

/// Inserts row after row, each through a connection of its own, and counts what was acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(case: &Case) -> Self {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (file, server) = (case.project.sqlite_path(), case.server.clone());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let mut id = 0;
            while !stopped.load(Ordering::SeqCst) {
                id += 1;
                let sql = format!("INSERT INTO t VALUES ({id})");
                let is_written = match &server {
                    Some(database) => psql(database, &sql),
                    None => {
                        let connection = rusqlite::Connection::open(&file).expect("open");
                        // SQLite has no queue: whoever never rests can keep all others out for
                        // longer than anybody waits, on a slow machine.
                        std::thread::sleep(Duration::from_millis(2));
                        connection.execute_batch(&sql).is_ok()
                    }
                };
                count.fetch_add(u64::from(is_written), Ordering::SeqCst);
            }
        });
        Self {
            stop,
            written,
            thread: Some(thread),
        }
    }

    #[track_caller]
    fn wait_for_more(&self) {
        let wanted = self.written.load(Ordering::SeqCst) + 3;
        let deadline = Instant::now() + LIMIT;
        while self.written.load(Ordering::SeqCst) < wanted {
            assert!(Instant::now() < deadline, "nothing can be written");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("the writer does not panic");
        self.written.load(Ordering::SeqCst)
    }
}

fn psql(database: &Database, sql: &str) -> bool {
    let mut psql = database.client("psql");
    psql.args([
        "-XAtq",
        "--set=ON_ERROR_STOP=1",
        "--dbname",
        database.name(),
        "--command",
        sql,
    ]);
    exec::run(&mut psql, None).code == 0
}

fn one(case: &Case, sql: &str) -> u64 {
    case.query(sql)[0].parse().expect("a number")
}

#[test]
fn no_row_is_written_between_the_backup_and_the_migration() {
    for journal in ["delete", "wal"] {
        for case in cases(
            "gapless",
            "CREATE TABLE seen AS SELECT count(*) AS n FROM t;",
        ) {
            if case.server.is_none() {
                case.query(&format!("PRAGMA journal_mode = {journal};"));
            }
            let writer = Writer::start(&case);
            writer.wait_for_more();
            let mut arguments = EXCLUSIVE.to_vec();
            arguments.push("--json");
            let output = case.project.run(arguments).expect_code(0);
            writer.wait_for_more();
            let written = writer.end();
            let tables = output.json()["backup"]["tables"].clone();
            let mut tables = tables.as_array().expect("a list").iter();
            let backed_up = tables.find(|t| t["name"] == "t").expect("t")["rows"].clone();
            assert_eq!(one(&case, "SELECT n FROM seen;"), backed_up, "the gap");
            // A session that is ended just after its COMMIT could not say so any more.
            assert!(
                one(&case, "SELECT count(*) FROM t;") >= written,
                "acknowledged"
            );
        }
    }
}

#[test]
fn the_setting_is_as_before_on_every_way_out_and_in_no_backup() {
    for (second, code) in [
        ("CREATE TABLE seen (id INT);", 0),
        ("INSERT INTO nowhere VALUES (1);", 3),
    ] {
        for value in ["none", "off"] {
            let Some(case) = on_postgres("as_before", second) else {
                return;
            };
            let name = case.server.as_ref().expect("a server").name().to_owned();
            let mut expected = "none".to_owned();
            if value == "off" {
                expected = "default_transaction_read_only=off".to_owned();
                case.query(&format!(
                    "ALTER DATABASE {name} SET default_transaction_read_only = off;"
                ));
            }
            case.project.run(EXCLUSIVE).expect_code(code);
            assert_eq!(case.query(SETTING), [expected.as_str()]);
            let id = case.project.json(["db", "list"])["backups"][0]["manifest"]["id"].clone();
            case.restore(id.as_str().expect("an id"));
            assert_eq!(case.query(SETTING), [expected.as_str()]);
            assert!(!case.project.vault().join(".exclusive").exists());
        }
    }
}

#[test]
fn a_failure_leaves_everything_as_it_was() {
    let second = "INSERT INTO t VALUES (7); INSERT INTO nowhere VALUES (1);";
    for mut case in cases("fails", second) {
        case.project = case.project.unrehearsed();
        let before = case.contents();
        let mut arguments = EXCLUSIVE.to_vec();
        arguments.extend(["--on-failure", "restore"]);
        let failed = case.project.run(arguments).expect_code(3);
        says(
            &failed,
            &["a migration failed", "is as it was before", "nowhere"],
        );
        assert_eq!(case.contents(), before);
        everybody_is_in(&case);
    }
}

/// With rows of its own committed, only `--exclusive` shows that they are not those of others.
#[test]
fn committed_rows_are_ours_when_nobody_else_could_write() {
    for mut case in cases("ours_alone", "INSERT INTO t VALUES (7);") {
        case.project = case.project.unrehearsed();
        case.project
            .write("migrations/3_bad.sql", "INSERT INTO nowhere VALUES (1);");
        let before = case.contents();
        let mut arguments = EXCLUSIVE.to_vec();
        arguments.extend(["--on-failure", "restore"]);
        case.project.run(arguments).expect_code(3);
        assert_eq!(case.contents(), before);
        everybody_is_in(&case);
    }
}

/// A session keeps the setting that it began with: one of a pool would be read-only for ever.
#[test]
fn a_session_that_began_meanwhile_is_ended() {
    let slow = "SELECT pg_sleep(2); CREATE TABLE seen (id INT);";
    let Some(case) = on_postgres("meanwhile", slow) else {
        return;
    };
    let running = exec::start(&mut case.project.command(EXCLUSIVE), None);
    running.wait_for_line("backed up as ");
    let database = case.server.as_ref().expect("a server");
    let mut command = database.psql_command();
    let session = exec::start(&mut command, Some("SELECT pg_sleep(60);"));
    running.finish().expect_code(0);
    assert_ne!(session.finish().code, 0, "it was not ended");
    assert!(psql(database, "INSERT INTO t VALUES (8)"));
}
