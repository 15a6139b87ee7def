//! Several runs at once, and what dead ones leave behind.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Database;
use crate::exec::{self, Running};
use crate::project::Project;
use crate::setup::{Case, says, text, versions};

/// The key of the lock that a migration waits for and a test holds.
const GATE: &str = "4711";

/// A migration that cannot end before the test lets it.
fn gated_case(name: &str) -> Option<Case> {
    let case = Case::postgres(name)?;
    case.query("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY);");
    case.project.write(
        "migrations/1_gated.sql",
        format!("SELECT pg_advisory_xact_lock({GATE}); ALTER TABLE t ADD COLUMN done BIGINT;"),
    );
    Some(case)
}

/// Holds the gate until its stdin is closed.
struct Gate {
    psql: std::process::Child,
}

impl Gate {
    fn close(database: &Database) -> Self {
        let mut psql = database.psql_command();
        psql.stdin(std::process::Stdio::piped());
        let mut psql = psql.spawn().expect("start psql");
        let stdin = psql.stdin.as_mut().expect("stdin is piped");
        let take = format!("SELECT 1 FROM pg_advisory_lock({GATE}) \\g /dev/null\n");
        std::io::Write::write_all(stdin, take.as_bytes()).expect("ask for the gate");
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
                    AND objid = 4711 AND database =
                        (SELECT oid FROM pg_database WHERE datname = current_database());";
        wait_until("the gate is closed", || database.psql(held) == "1");
        Self { psql }
    }

    fn open(mut self) {
        drop(self.psql.stdin.take());
        assert!(self.psql.wait().expect("wait for psql").success());
    }
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a migration and waits until it stands before the gate.
fn start_gated(case: &Case) -> Running {
    let mut command = case
        .project
        .command(["db", "migrate-safe", "--yes", "--json"]);
    let running = exec::start(&mut command, None);
    let database = case.server.as_ref().expect("a server");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'
                   AND datname = current_database();";
    wait_until("the migration waits", || database.psql(waiting) == "1");
    running
}

fn holder(project: &Project) -> String {
    let lock = fs::read_to_string(project.vault().join(".lock")).expect("read the lock");
    lock.trim().to_owned()
}

/// One wins, and who comes second is told who that is, through the vault and through the server.
#[test]
fn of_two_migrations_one_is_refused() {
    let Some(case) = gated_case("two") else {
        return;
    };
    let database = case.server.clone().expect("a server");
    let gate = Gate::close(&database);
    let first = start_gated(&case);
    let holder = holder(&case.project);
    assert!(
        holder.contains("pid ") && holder.contains("db migrate-safe"),
        "{holder}"
    );
    let files = case.project.vault_files();

    for verb in [&["migrate-safe"][..], &["restore", "latest"]] {
        let second = case.project.run([&["db"][..], verb, &["--yes"]].concat());
        says(&second.expect_code(3), &["is locked by", &holder]);
    }
    // A second checkout has a vault of its own, and the same database.
    let elsewhere = Project::new().database_url(&database.url());
    elsewhere.write("migrations/1_other.sql", "DROP TABLE t;");
    let second = elsewhere
        .run(["db", "migrate-safe", "--yes"])
        .expect_code(3);
    says(
        &second,
        &["sqlx's advisory lock is held by pid", "xtask-db"],
    );
    assert_eq!(elsewhere.vault_files(), [""; 0]);
    assert_eq!(case.project.vault_files(), files);

    gate.open();
    let done = first.finish().expect_code(0).json();
    assert_eq!(versions(&done["applied"]), [1]);
    assert_eq!(case.query("SELECT count(done) FROM t;"), ["0"]);
    let again = case.migrate();
    assert_eq!(again["outcome"], "nothing-pending");
}

/// sqlx's lock is held for the whole of backup and migration, so that sqlx itself has to wait.
#[test]
fn sqlx_waits_for_the_tool() {
    let Some(case) = gated_case("sqlx_waits") else {
        return;
    };
    let database = case.server.clone().expect("a server");
    let gate = Gate::close(&database);
    let first = start_gated(&case);
    let name = database.name().as_bytes();
    let key = 0x3d32_ad9e_i64 * i64::from(crc32fast::hash(name));
    let ask = format!("SELECT pg_try_advisory_lock({key});");
    assert_eq!(database.psql(&ask), "f");
    gate.open();
    first.finish().expect_code(0);
    assert_eq!(database.psql(&ask), "t");
}

/// The kernel's lock ends with its process; the text in the file is only for people.
#[test]
fn what_a_killed_migration_leaves_does_not_matter() {
    let Some(case) = gated_case("killed") else {
        return;
    };
    let database = case.server.clone().expect("a server");
    let gate = Gate::close(&database);
    let first = start_gated(&case);
    first.signal(rustix::process::Signal::KILL);
    first.finish().expect_code(128 + 9);
    assert!(holder(&case.project).contains("pid "), "nobody cleaned up");
    gate.open();
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'xtask-db'
                AND datname = current_database();";
    wait_until("the server notices", || database.psql(left) == "0");
    assert_eq!(versions(&case.migrate()["applied"]), [1]);
    case.project.run(["db", "verify", "--all"]).expect_code(0);
}

/// On SQLite the vault's lock is the only one.
#[test]
fn a_held_lock_refuses_what_changes_and_delays_a_backup() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    case.backup();
    case.project
        .write("migrations/1_one.sql", "CREATE TABLE one (id INTEGER);");
    let path = case.project.vault().join(".lock");
    let lock = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open the lock");
    lock.try_lock().expect("nobody holds it");
    let text = "pid 1, `db restore` of ada@lovelace, since 2026-01-01T00:00:00Z";
    fs::write(&path, text).expect("write the holder");

    let began = Instant::now();
    for verb in [&["migrate-safe"][..], &["restore", "latest"]] {
        let refused = case.project.run([&["db"][..], verb, &["--yes"]].concat());
        says(
            &refused.expect_code(3),
            &["ada@lovelace", "hint: wait until it has ended"],
        );
    }
    assert!(began.elapsed() < Duration::from_secs(20), "refused at once");
    for verb in ["list", "status", "verify"] {
        case.project.run(["db", verb]).expect_code(0);
    }
    assert_eq!(case.project.vault_files().len(), 2);
    let backup = exec::start(&mut case.project.command(["db", "backup"]), None);
    drop(lock);
    backup.finish().expect_code(0);
    assert_eq!(case.project.vault_files().len(), 4);
}

#[test]
fn a_lock_file_of_a_dead_process_does_not_matter() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    case.project
        .write("migrations/1_one.sql", "CREATE TABLE one (id INTEGER);");
    fs::DirBuilder::new()
        .mode(0o700)
        .create(case.project.vault())
        .expect("create the vault");
    let long = "x".repeat(4000);
    let left = format!("pid 999999, `db migrate-safe` of {long}\nand a second line\n");
    case.project.write("database/backups/.lock", left);
    case.migrate();
    assert_eq!(
        holder(&case.project),
        "",
        "and is not left for the next one to wonder"
    );
    case.restore("latest");
}

/// The ids tell seconds, and ten runs take less than ten of them: two must have met.
#[test]
fn ten_backups_at_once_all_publish_and_verify() {
    const RUNS: usize = 10;
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2);");
    let met = (0..5).any(|_| {
        let began = Instant::now();
        let before = ids(&case).len();
        let command = || case.project.command(["db", "backup", "same", "--json"]);
        let started: Vec<_> = (0..RUNS)
            .map(|_| exec::start(&mut command(), None))
            .collect();
        let mut taken: Vec<String> = started
            .into_iter()
            .map(|run| text(&run.finish().expect_code(0).json(), "/backup/id").to_owned())
            .collect();
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), RUNS, "one id for two: {taken:?}");
        assert_eq!(ids(&case).len(), before + RUNS);
        // On a machine that is too busy for it, once more.
        began.elapsed() < Duration::from_secs(RUNS as u64 - 1)
            && taken.iter().any(|id| id.ends_with("_same_2"))
    });
    assert!(met, "no two backups fell into one second");
    let verified = case.project.json(["db", "verify", "--all"]);
    let verified = verified["verified"].as_array().expect("a list");
    assert!(verified.len() >= RUNS && verified.iter().all(|one| one["trusted"] == true));
    let files = case.project.vault_files();
    assert_eq!(
        files.len(),
        2 * verified.len(),
        "something is left over: {files:?}"
    );
}

#[test]
fn two_backups_of_a_server_at_once() {
    let Some(case) = Case::postgres("at_once") else {
        return;
    };
    case.query("CREATE TABLE t (id BIGINT); INSERT INTO t SELECT generate_series(1, 1000);");
    let command = || case.project.command(["db", "backup"]);
    let both = [(); 2].map(|()| exec::start(&mut command(), None));
    for run in both {
        run.finish().expect_code(0);
    }
    assert_eq!(ids(&case).len(), 2);
    case.project.run(["db", "verify", "--all"]).expect_code(0);
}

fn ids(case: &Case) -> Vec<String> {
    let listed = case.project.json(["db", "list"]);
    let backups = listed["backups"].as_array().expect("a list");
    let id = |backup: &Value| text(backup, "/manifest/id").to_owned();
    backups.iter().map(id).collect()
}

/// A folder with a part of a dump, as a killed backup leaves it.
fn left_over(project: &Project, name: &str) -> PathBuf {
    let folder = project.vault().join(name);
    fs::create_dir_all(&folder).expect("create a staging folder");
    fs::write(folder.join("dump"), b"half of a dump").expect("write a part");
    folder
}

#[test]
fn what_a_dead_run_staged_is_removed_and_named() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let dead = left_over(&case.project, ".backup_2026-01-01_000000.partial");
    let alive = left_over(&case.project, ".backup_2026-01-01_000001.partial");
    let lock = File::open(&alive).expect("open the folder");
    lock.try_lock().expect("lock the folder as its owner does");
    let not_ours = case.project.vault().join("notes.partial");
    fs::write(&not_ours, b"somebody's file").expect("write a file");

    for verb in ["list", "status"] {
        case.project.run(["db", verb]).expect_code(0);
    }
    assert!(dead.exists(), "looking removes nothing");
    let taken = case.project.run(["db", "backup"]).expect_code(0);
    says(&taken, &[".backup_2026-01-01_000000.partial"]);
    assert!(!taken.stderr.contains("000001.partial"), "{taken}");
    assert!(!dead.exists());
    assert!(alive.join("dump").exists(), "its owner is still at work");
    assert!(not_ours.exists());
    drop(lock);
    case.backup();
    assert!(!alive.exists(), "now it is a left-over too");
}
