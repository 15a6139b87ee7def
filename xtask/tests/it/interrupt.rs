//! Ctrl-C and SIGTERM, sent to the tool alone, wherever it is: code 130, no child left, no staged
//! file, the database as the last line says, and the next run works.

mod jobs;
mod rehearsal;
mod statistics;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, Database};
use crate::exec::{self, Output, Running};
use crate::pg_bin::PgBin;
use crate::project::Project;
use crate::terminal::raw;

const SIGNALS: [Signal; 2] = [Signal::INT, Signal::TERM];

/// What a signal may take: far less than any limit that the tool waits for on its own.
const PROMPTLY: Duration = Duration::from_secs(4);

const UNTOUCHED: &str = "interrupted: the database is as it was\n";
const CHANGED: &str = "interrupted: the database may have been changed, see above\n";

/// Writes down its process, as which the last program goes on.
const NOTE_PID: &str = "echo $$ >\"$(dirname \"$0\")/pid.new\"; mv \"$(dirname \"$0\")/pid.new\" \"$(dirname \"$0\")/pid\"";

/// A program that does a part of its work and then nothing more, when it is called with `wanted`
/// among its arguments, and all of it otherwise.
fn blocking(cluster: &Cluster, program: &str, wanted: &str, part: &str) -> PgBin {
    let real = cluster.bin().join(program);
    let real = real.display();
    let body = format!(
        "case \"$*\" in *{wanted}*) ;; *) exec '{real}' \"$@\" ;; esac
         {part}\n{NOTE_PID}\nexec sleep 1000"
    );
    PgBin::logging(cluster).script(cluster, program, &body)
}

fn is_running(bin: &PgBin) -> bool {
    let pid = fs::read_to_string(bin.wait_for("pid")).expect("read the pid");
    Path::new("/proc").join(pid.trim()).exists()
}

fn project() -> Project {
    Project::new()
        .migration("1_first.sql", "CREATE TABLE first (id INTEGER);")
        .migration("2_second.sql", "CREATE TABLE second (id INTEGER);")
}

/// The first migration applied, a row in its table, one backup.
fn filled(cluster: &'static Cluster, name: &str) -> (Database, Project) {
    let database = cluster.create_database(name);
    let project = project().database_url(&database.url());
    let first = ["db", "migrate-safe", "--yes", "--target-version", "1"];
    project.run(first).expect_code(0);
    database.psql("INSERT INTO first VALUES (1)");
    project.run(["db", "backup", "good"]).expect_code(0);
    database.psql("INSERT INTO first VALUES (2)");
    (database, project)
}

/// Signals the tool and expects that it ends soon, in the way that an interrupted run ends.
#[track_caller]
fn interrupt(running: Running, signal: Signal, last_line: &str) -> Output {
    let began = Instant::now();
    running.signal(signal);
    let output = running.finish().expect_code(130);
    assert!(
        began.elapsed() < PROMPTLY,
        "{:?}\n{output}",
        began.elapsed()
    );
    assert!(output.stderr.ends_with(last_line), "{output}");
    output
}

#[track_caller]
fn start(project: &Project, arguments: &[&str], bin: &PgBin) -> Running {
    let mut command = project.command(arguments);
    exec::start(command.env("PG_BIN", bin.path()), None)
}

/// No `.….partial` folder, nothing half published.
#[track_caller]
fn assert_vault(project: &Project, before: &[String]) {
    assert_eq!(project.vault_files(), before);
}

#[test]
fn while_pg_dump_runs() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (database, project) = filled(cluster, "while_pg_dump_runs");
    let vault = project.vault_files();
    let verbs: [&[&str]; 3] = [
        &["db", "backup"],
        &["db", "migrate-safe", "--yes"],
        &["db", "restore", "good", "--yes"],
    ];
    for (verb, signal) in verbs
        .iter()
        .flat_map(|verb| SIGNALS.map(|signal| (verb, signal)))
    {
        let bin = blocking(
            cluster,
            "pg_dump",
            "--format=custom",
            "printf 'PGDMP and so on'",
        );
        let running = start(&project, verb, &bin);
        assert!(is_running(&bin));
        interrupt(running, signal, UNTOUCHED);
        assert!(!is_running(&bin), "{verb:?}");
        assert_vault(&project, &vault);
        assert_eq!(database.psql("SELECT count(*) FROM first;"), "2");
    }
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
}

/// A child that does not listen is ended by the second Ctrl-C; the next run clears up.
#[test]
fn a_second_signal_ends_a_deaf_child() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (_, project) = filled(cluster, "deaf");
    let vault = project.vault_files();
    let bin = blocking(cluster, "pg_dump", "--format=custom", "trap '' TERM INT");
    let running = start(&project, &["db", "backup"], &bin);
    assert!(is_running(&bin));
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        running.signal(Signal::INT);
    }
    running.finish().expect_code(130);
    let deadline = Instant::now() + PROMPTLY;
    while is_running(&bin) {
        assert!(Instant::now() < deadline, "the child is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
    project.run(["db", "backup"]).expect_code(0);
    assert_eq!(project.vault_files().len(), vault.len() + 2);
}

fn scratch_databases(database: &Database) -> String {
    let name = database.name();
    let cluster = database.cluster().database("postgres");
    cluster.psql(&format!(
        "SELECT datname FROM pg_database WHERE datname LIKE '{name}\\_%';"
    ))
}

#[test]
fn while_pg_restore_runs() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (database, project) = filled(cluster, "while_pg_restore_runs");
    // More than a pipe holds, so that the tool cannot hand it all over and wait for the end.
    database.psql("CREATE TABLE large AS SELECT n, md5(n::text) FROM generate_series(1, 9000) n");
    project.run(["db", "backup", "large"]).expect_code(0);
    for (id, signal) in ["good", "large"].into_iter().zip(SIGNALS) {
        let bin = blocking(
            cluster,
            "pg_restore",
            "--dbname=",
            "head -c 1000 >/dev/null",
        );
        let verb = ["db", "restore", id, "--yes"];
        let running = start(&project, &verb, &bin);
        assert!(is_running(&bin));
        interrupt(running, signal, UNTOUCHED);
        assert!(!is_running(&bin));
        assert_eq!(scratch_databases(&database), "");
        assert_eq!(database.psql("SELECT count(*) FROM first;"), "2");
        let is_staged = |name: &String| name.starts_with('.');
        assert!(
            !project.vault_files().iter().any(is_staged),
            "{:?}",
            project.vault_files()
        );
    }
    project
        .run(["db", "restore", "good", "--yes"])
        .expect_code(0);
    assert_eq!(database.psql("SELECT count(*) FROM first;"), "1");
}

/// The way of a role that may not create databases: one transaction in the live one.
#[test]
fn while_a_restore_in_place_runs() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let admin = cluster.create_database("in_place");
    let role = format!("owner of {}", admin.name());
    admin.psql(&format!(
        "CREATE ROLE \"{role}\" LOGIN PASSWORD 'secret';
         ALTER DATABASE \"{}\" OWNER TO \"{role}\"; ALTER SCHEMA public OWNER TO \"{role}\";",
        admin.name()
    ));
    let database = admin.as_role(&role, "secret");
    let project = project().database_url(&database.url());
    database.psql("CREATE TABLE t AS SELECT 1");
    project.run(["db", "backup", "good"]).expect_code(0);
    database.psql("INSERT INTO t VALUES (2)");
    let programs = [("psql", "--file=-"), ("pg_restore", "--single-transaction")];
    for ((program, wanted), signal) in programs.into_iter().zip(SIGNALS) {
        let bin = blocking(cluster, program, wanted, "head -c 100 >/dev/null");
        let running = start(&project, &["db", "restore", "good", "--yes"], &bin);
        assert!(is_running(&bin));
        interrupt(running, signal, UNTOUCHED);
        assert!(!is_running(&bin));
        assert_eq!(database.psql("SELECT count(*) FROM t;"), "2", "{program}");
    }
    project
        .run(["db", "restore", "good", "--yes"])
        .expect_code(0);
    assert_eq!(database.psql("SELECT count(*) FROM t;"), "1");
}

/// The statement that the server works on, which must begin and end within a bounded time.
#[track_caller]
fn wait_for_sleep(database: &Database, wanted: &str) {
    let sleeping = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = '{}' AND query LIKE '%pg_sleep(1000)%';",
        database.name()
    );
    let admin = database.cluster().database("postgres");
    let deadline = Instant::now() + Duration::from_secs(30);
    while admin.psql(&sleeping) != wanted {
        assert!(
            Instant::now() < deadline,
            "not {wanted} sessions that sleep"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn while_a_migration_runs_on_postgresql() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    for (signal, sql, committed) in [
        (
            Signal::INT,
            "CREATE TABLE slow (); SELECT pg_sleep(1000);",
            "f",
        ),
        (
            Signal::TERM,
            "-- no-transaction\nSELECT pg_sleep(1000)",
            "f",
        ),
    ] {
        let database = cluster.create_database("slow");
        let project = project().database_url(&database.url()).unrehearsed();
        project.write("migrations/3_slow.sql", sql);
        let arguments = ["db", "migrate-safe", "--yes"];
        let running = exec::start(&mut project.command(arguments), None);
        wait_for_sleep(&database, "1");
        let output = interrupt(running, signal, CHANGED);
        let said = "committed: 1, 2; not committed: 3";
        assert!(output.stderr.contains(said), "{output}");
        assert!(output.stderr.contains("hint: "), "{output}");
        // Nothing goes on behind our back.
        wait_for_sleep(&database, "0");
        let slow = database.psql("SELECT to_regclass('slow') IS NOT NULL;");
        assert_eq!(slow, committed);

        project.write("migrations/3_slow.sql", "CREATE TABLE quick (id INTEGER);");
        project.run(arguments).expect_code(0);
        let applied = "SELECT string_agg(version::text, ',') FROM _sqlx_migrations;";
        assert_eq!(database.psql(applied), "1,2,3");
    }
}

#[test]
fn while_a_migration_runs_on_sqlite() {
    for signal in SIGNALS {
        let project = project().unrehearsed();
        let slow = "CREATE TABLE slow (id INTEGER);
            INSERT INTO slow WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
            SELECT max(i) FROM n;";
        project.write("migrations/3_slow.sql", slow);
        let arguments = ["db", "migrate-safe", "--yes"];
        let running = exec::start(&mut project.command(arguments), None);
        running.wait_for_line("applied 2 ");
        let output = interrupt(running, signal, CHANGED);
        let said = "committed: 1, 2; not committed: 3";
        assert!(output.stderr.contains(said), "{output}");
        let tables = "SELECT name FROM sqlite_schema WHERE name = 'slow'";
        assert_eq!(project.sqlite(tables), [""; 0]);

        project.write("migrations/3_slow.sql", "CREATE TABLE quick (id INTEGER);");
        project.run(arguments).expect_code(0);
        let applied = "SELECT version FROM _sqlx_migrations";
        assert_eq!(project.sqlite(applied), ["1", "2", "3"]);
    }
}

/// A backup waits for a migration that is under way; a person need not.
#[test]
fn while_it_waits_for_the_vault() {
    let project = project();
    project.sqlite("CREATE TABLE t (i)");
    project.run(["db", "backup"]).expect_code(0);
    let vault = project.vault_files();
    let lock = File::create(project.vault().join(".lock")).expect("open the lock");
    lock.lock().expect("take the lock");
    for signal in SIGNALS {
        let running = exec::start(&mut project.command(["db", "backup", "--verbose"]), None);
        running.wait_for_line("vault: ");
        std::thread::sleep(Duration::from_millis(200));
        interrupt(running, signal, UNTOUCHED);
        assert_vault(&project, &vault);
    }
    drop(lock);
    project.run(["db", "backup"]).expect_code(0);
}

/// Another process holds the database itself.
#[test]
fn while_it_waits_for_sqlite() {
    let project = project();
    project.sqlite("CREATE TABLE t (i)");
    let holder = rusqlite::Connection::open(project.sqlite_path()).expect("open the database");
    holder
        .execute_batch("BEGIN EXCLUSIVE")
        .expect("hold the database");
    for signal in SIGNALS {
        let running = exec::start(&mut project.command(["db", "backup", "--verbose"]), None);
        running.wait_for_line("vault: ");
        std::thread::sleep(Duration::from_millis(200));
        interrupt(running, signal, UNTOUCHED);
        assert_vault(&project, &[]);
    }
    drop(holder);
    project.run(["db", "backup"]).expect_code(0);
}

/// `kill`, while the question waits on a terminal.
#[test]
fn while_the_question_waits() {
    for signal in SIGNALS {
        let project = project();
        project.sqlite("CREATE TABLE t (i)");
        let mut command = project.command(["db", "migrate-safe"]);
        let (mut master, mut child) = raw::start(&mut command, None);
        raw::read_until(&mut master, "type `yes`");
        kill_process(Pid::from_child(&child), signal).expect("send a signal");
        let said = raw::read_to_end(&mut master);
        assert_eq!(raw::exit_code(&mut child), 130);
        let said = String::from_utf8_lossy(&said).replace('\r', "");
        assert!(said.ends_with(UNTOUCHED), "{said}");
        assert_vault(&project, &[]);
        project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    }
}
