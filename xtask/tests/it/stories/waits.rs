//! Somebody else holds a lock: refused with code 3, after a wait that has an end.
//!
//! All stories run at the same time: each of them is started, and its end is looked at later.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use sqlx::migrate::Migrate;

use super::owner::with_colleague;
use crate::compat;
use crate::exec::{self, Output};
use crate::project::sqlite_rows;
use crate::setup::{Case, database_digests, says};

/// The second half of a story.
type Ending = Box<dyn FnOnce()>;

const MORE: &str = "CREATE TABLE more (id BIGINT);";

#[test]
fn a_lock_of_somebody_else_is_refused_after_a_bounded_wait() {
    let bound = Duration::from_secs(60);
    let began = Instant::now();
    let mut endings = Vec::new();
    for (mode, begin) in [("DELETE", "BEGIN EXCLUSIVE"), ("WAL", "BEGIN IMMEDIATE")] {
        for verb in [&["restore", "latest"][..], &["migrate-safe"]] {
            endings.push(a_held_sqlite_file(mode, begin, verb));
        }
    }
    endings.extend(a_lock_on_a_table_of_the_owner());
    endings.extend(the_lock_of_sqlx());
    endings.into_iter().for_each(|ending| ending());
    assert!(began.elapsed() < bound, "it took {:?}", began.elapsed());
}

/// Held so that nobody may read it, or so that nobody may write.
fn a_held_sqlite_file(mode: &str, begin: &str, verb: &[&str]) -> Ending {
    let case = Case::sqlite();
    case.query(&format!(
        "PRAGMA journal_mode = {mode}; CREATE TABLE t (id INTEGER);"
    ));
    case.query("INSERT INTO t VALUES (1), (2);");
    case.backup();
    case.project.write("migrations/1_more.sql", MORE);
    let before = database_digests(&case.project.sqlite_path());
    // From here on this process must not open the file: closing it would free the lock.
    let holder = Connection::open(case.project.sqlite_path()).expect("open the database");
    sqlite_rows(&holder, begin).expect("lock the database");
    let arguments = [&["db"][..], verb, &["--yes"]].concat();
    let running = exec::start(&mut case.project.command(&arguments), None);
    let story = format!("{begin}, then {verb:?}");
    Box::new(move || {
        let output = running.finish();
        drop(holder);
        let after = database_digests(&case.project.sqlite_path());
        assert_eq!(before[0], after[0], "{story}\n{output}");
        is_refused(&output, &story, &["locked", "\nhint: "]);
        case.restore("latest");
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["2"], "{story}");
    })
}

/// The owner of the database may not end a session of another role.
fn a_lock_on_a_table_of_the_owner() -> Option<Ending> {
    let (case, _, theirs) = with_colleague("foreign_lock")?;
    case.backup();
    case.query("INSERT INTO t VALUES (3, 'three');");
    let mut psql = theirs.psql_command();
    psql.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let script = "BEGIN;\nSELECT count(*) FROM t;\nSELECT pg_sleep(600);\n";
    let mut holder = exec::spawn_feeding(&mut psql, script);
    let mut first = [0; 2];
    let stdout = holder.stdout.as_mut().expect("stdout is piped");
    stdout.read_exact(&mut first).expect("the lock is held");
    assert_eq!(&first, b"3\n");
    let mut command = case.project.command(["db", "restore", "latest", "--yes"]);
    let running = exec::start(&mut command, None);
    Some(Box::new(move || {
        let output = running.finish();
        holder.kill().expect("end the holder");
        holder.wait().expect("wait for the holder");
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["3"], "{output}");
        is_refused(&output, "foreign lock", &["lock timeout", "as it was"]);
    }))
}

/// Held as an application that migrates at its start holds it; its session is named.
fn the_lock_of_sqlx() -> Option<Ending> {
    let case = Case::postgres("sqlx_lock")?;
    case.project.write("migrations/1_more.sql", MORE);
    let runtime = compat::runtime();
    let server = case.server.as_ref().expect("a server");
    let mut holder = runtime.block_on(compat::connect(server));
    runtime.block_on(holder.lock()).expect("take sqlx's lock");
    let pid = sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()");
    let pid = runtime.block_on(pid.fetch_one(&mut holder));
    let pid = format!("pid {}", pid.expect("the holder's pid"));
    let mut command = case.project.command(["db", "migrate-safe", "--yes"]);
    let running = exec::start(&mut command, None);
    Some(Box::new(move || {
        let output = running.finish();
        let parts = ["advisory lock is held by", &pid, crate::cluster::SUPERUSER];
        is_refused(&output, "sqlx's lock", &parts);
        assert_eq!(case.project.vault_files(), [""; 0]);
        let table = "SELECT to_regclass('_sqlx_migrations') IS NULL;";
        assert_eq!(case.query(table), ["t"]);
        runtime
            .block_on(holder.unlock())
            .expect("let go of the lock");
        case.migrate();
    }))
}

#[track_caller]
fn is_refused(output: &Output, story: &str, parts: &[&str]) {
    says(output, parts);
    assert_eq!(output.code, 3, "{story}\n{output}");
}
