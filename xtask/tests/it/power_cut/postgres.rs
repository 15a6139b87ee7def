//! What a restore into a PostgreSQL server leaves when it is cut: databases beside the live one,
//! in every state; and where the live name leads while a restore runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection, Row};

use crate::cluster::{Cluster, Database};
use crate::compat;
use crate::damage::number;
use crate::exec;
use crate::pg_bin::PgBin;
use crate::setup::{Case, says, text};

/// What the server says to who has waited for the swap; there is another database under the name.
const RENAMED: &str = "it seems to have just been dropped or renamed";

/// How the tool marks what it builds.
const MARK: &str = "xtask-db: being restored; may be dropped when no session uses it";

const FILL: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                    INSERT INTO t SELECT n, 'new' FROM generate_series(1, 300) n;";
const CHANGE: &str = "UPDATE t SET name = 'old'; DELETE FROM t WHERE id > 200;
                      CREATE TABLE late (id BIGINT);";
const ASK: &str = "SELECT count(*), min(name), max(name), to_regclass('late') IS NULL FROM t;";
const OLD: &str = "200|old|old|f";
const NEW: &str = "300|new|new|t";

/// One test at a time: each of their restores would clear away what the other one looks at.
static QUIET: Mutex<()> = Mutex::new(());

fn started(cluster: Option<&'static Cluster>, name: &str) -> Option<(Case, Database)> {
    let case = Case::of(cluster?.create_database(name));
    case.query(FILL);
    case.backup();
    case.query(CHANGE);
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id BIGINT);");
    let database = case.server.clone().expect("a server");
    assert_eq!(database.psql(ASK), OLD);
    Some((case, database))
}

fn maintenance(database: &Database) -> Database {
    database.cluster().database("postgres")
}

/// The databases beside this one, without its name.
fn beside(database: &Database) -> Vec<String> {
    let name = database.name();
    let ask = format!(
        "SELECT substr(datname, {} + 1) FROM pg_database
         WHERE starts_with(datname, '{name}_') ORDER BY datname;",
        name.len()
    );
    maintenance(database)
        .psql(&ask)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Databases as restores leave them that end between two steps, and some that are none of theirs.
fn leave(database: &Database) -> Vec<String> {
    let name = database.name();
    let restore = |second: u32| format!("{name}_restore_202601230000{second:02}");
    let mark = |second| format!("COMMENT ON DATABASE {} IS '{MARK}';", restore(second));
    let create = |second| format!("CREATE DATABASE {} TEMPLATE template0;", restore(second));
    let copy = |second| format!("CREATE DATABASE {} TEMPLATE {name};", restore(second));
    let there = maintenance(database);
    // Created; marked; filled in part; whole and compared, and not yet swapped.
    there.psql(&format!("{}\n{}", create(1), create(2)));
    there.psql(&format!("{}\n{}\n{}", mark(2), create(3), mark(3)));
    let part = there.cluster().database(&restore(3));
    part.psql("CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1);");
    there.psql(&format!("{}\n{}", copy(4), mark(4)));
    // Kept by a restore that was done; somebody's, who happened to take such a name; and whole but
    // for the mark, as after a swap that was undone by hand.
    let kept = format!("{name}_before_20260123000005");
    there.psql(&format!("CREATE DATABASE {kept} TEMPLATE {name};"));
    there.psql(&format!(
        "ALTER DATABASE {kept} WITH ALLOW_CONNECTIONS false;"
    ));
    there.psql(&copy(6));
    there.psql(&format!(
        "{}\nCOMMENT ON DATABASE {} IS 'mine';",
        create(7),
        restore(7)
    ));
    (1..=4).map(restore).collect()
}

#[test]
fn what_a_cut_restore_left_is_dropped_by_the_next_and_by_nobody_else() {
    let _alone = QUIET.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((case, database)) = started(Cluster::quiet_or_skip(), "cut_restore") else {
        return;
    };
    let theirs = leave(&database);
    let all = beside(&database);
    assert_eq!(all.len(), 7, "{all:?}");
    // One that is being built by somebody who is still there.
    let alive = format!("{}_restore_20260123000008", database.name());
    let there = maintenance(&database);
    there.psql(&format!("CREATE DATABASE {alive} TEMPLATE template0;"));
    there.psql(&format!("COMMENT ON DATABASE {alive} IS '{MARK}';"));
    let runtime = compat::runtime();
    let entered = database.cluster().database(&alive);
    let mut session = runtime.block_on(compat::connect(&entered));
    let named = sqlx::raw_sql("SET application_name = 'xtask-db 4711'").execute(&mut session);
    runtime
        .block_on(named)
        .expect("call it a session of the tool");
    let all = beside(&database);
    let status = case.project.json(["db", "status"]);
    for name in &theirs {
        let named = status["left_beside"].to_string();
        assert!(named.contains(name), "{name}: {named}");
    }

    for verb in [
        &["list"][..],
        &["status"],
        &["verify"],
        &["backup"],
        // A rehearsal drops them as well.
        &["migrate-safe", "--yes", "--no-rehearse"],
    ] {
        case.project
            .run([&["db"][..], verb].concat())
            .expect_code(0);
        assert_eq!(beside(&database), all, "{verb:?} is no restore");
        assert_eq!(database.psql(ASK), OLD);
    }
    let first = case.project.json(["db", "list"])["backups"].clone();
    let oldest = first
        .as_array()
        .and_then(|list| list.last())
        .expect("a backup");
    let restored = case.restore(text(oldest, "/manifest/id"));
    assert_eq!(database.psql(ASK), NEW);
    let kept = text(&restored, "/kept_database");
    let kept = kept
        .strip_prefix(database.name())
        .expect("its own name first");
    let mut expected: Vec<_> = all.clone();
    let suffix = |name: &String| name.strip_prefix(database.name()).map(str::to_owned);
    let gone: Vec<_> = theirs.iter().filter_map(suffix).collect();
    expected.retain(|name| !gone.contains(name));
    expected.push(kept.to_owned());
    expected.sort();
    assert_eq!(beside(&database), expected);
    runtime.block_on(session.close()).expect("end the session");
    let settings = "SELECT datallowconn, shobj_description(oid, 'pg_database') IS NULL
                    FROM pg_database WHERE datname = current_database();";
    assert_eq!(database.psql(settings), "t|t", "no mark on the live one");
    case.restore("latest");
    assert!(
        !beside(&database).contains(&alive.replace(database.name(), "")),
        "nobody is in it"
    );
}

/// At the moments in which the tool waits for a program: no signal handler runs, nothing is undone.
#[test]
fn a_restore_that_is_killed_leaves_the_database_and_is_done_again() {
    let _alone = QUIET.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((case, database)) = started(Cluster::quiet_or_skip(), "killed_restore") else {
        return;
    };
    let cluster = database.cluster();
    for wanted in ["--format=custom", "--dbname="] {
        let program = if wanted == "--dbname=" {
            "pg_restore"
        } else {
            "pg_dump"
        };
        let bin = PgBin::logging(cluster).gated(cluster, program, wanted);
        let mut command = case.project.command(["db", "restore", "latest", "--yes"]);
        let running = exec::start(command.env("PG_BIN", bin.path()), None);
        bin.wait_for(&format!("{program}.waits"));
        running.signal(rustix::process::Signal::KILL);
        bin.open(program);
        running.finish().expect_code(128 + 9);
        assert_eq!(database.psql(ASK), OLD);
        for verb in ["list", "status", "verify", "backup"] {
            case.project.run(["db", verb]).expect_code(0);
        }
        let left = if program == "pg_dump" { 0 } else { 1 };
        assert_eq!(beside(&database).len(), left);
    }
    let oldest = case.project.json(["db", "list"])["backups"].clone();
    let oldest = oldest
        .as_array()
        .and_then(|list| list.last())
        .expect("a backup");
    wait_for_no_sessions(&database);
    let restored = case.restore(text(oldest, "/manifest/id"));
    assert_eq!(database.psql(ASK), NEW);
    let kept = text(&restored, "/kept_database").replace(database.name(), "");
    assert_eq!(beside(&database), [kept], "what was half built is gone");
}

/// In the middle of the one transaction: whoever runs `psql` is gone, and so is the transaction.
#[test]
fn a_restore_in_place_that_is_killed_is_rolled_back() {
    let Some((case, admin)) = Case::owner("killed_in_place") else {
        return;
    };
    case.query(FILL);
    case.backup();
    case.query(CHANGE);
    let cluster = admin.cluster();
    for (program, wanted) in [("psql", "--file=-"), ("pg_restore", "--single-transaction")] {
        let bin = PgBin::logging(cluster).gated(cluster, program, wanted);
        let mut command = case.project.command(["db", "restore", "latest", "--yes"]);
        let running = exec::start(command.env("PG_BIN", bin.path()), None);
        bin.wait_for(&format!("{program}.waits"));
        running.signal(rustix::process::Signal::KILL);
        bin.open(program);
        running.finish().expect_code(128 + 9);
        assert_eq!(case.query(ASK), [OLD], "{program}");
        for verb in ["list", "status", "verify"] {
            case.project.run(["db", verb]).expect_code(0);
        }
    }
    let again = case
        .project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(0);
    says(
        &again,
        &["removed what a crashed run left behind: .restore-"],
    );
    assert_eq!(case.query(ASK), [NEW]);
}

/// The server notices a killed client when it next talks to it.
#[track_caller]
fn wait_for_no_sessions(database: &Database) {
    let ask = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE starts_with(datname, '{}_restore_');",
        database.name()
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    while maintenance(database).psql(&ask) != "0" {
        assert!(
            Instant::now() < deadline,
            "a session of the dead restore is still there"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An error with its detail.
fn words(error: &sqlx::Error) -> String {
    let detail = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
        .and_then(|error| error.detail());
    format!("{error}: {}", detail.unwrap_or_default())
}

/// What the live name led to, again and again until told to stop.
fn answers(database: &Database, stop: &AtomicBool) -> Vec<Result<String, String>> {
    let runtime = compat::runtime();
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = runtime.block_on(async {
            let mut session = PgConnection::connect(&database.url_tcp()).await?;
            let row = sqlx::query(
                "SELECT count(*), min(name), max(name), to_regclass('late') IS NULL FROM t",
            );
            let row = row.fetch_one(&mut session).await?;
            let (rows, min): (i64, String) = (row.get(0), row.get(1));
            let (max, is_new): (String, bool) = (row.get(2), row.get(3));
            let is_new = if is_new { "t" } else { "f" };
            session.close().await?;
            Ok(format!("{rows}|{min}|{max}|{is_new}"))
        });
        answers.push(answer.map_err(|error| words(&error)));
        std::thread::sleep(Duration::from_millis(1));
    }
    answers
}

/// Whether the server knows the name at all, from one session that nothing disturbs.
fn names(database: &Database, stop: &AtomicBool) -> Vec<i64> {
    let runtime = compat::runtime();
    let mut session = runtime.block_on(compat::connect(&maintenance(database)));
    let mut counts = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let ask = "SELECT count(*) FROM pg_database WHERE datname = $1 AND datallowconn";
        let count = sqlx::query_scalar(ask).bind(database.name());
        let count = runtime.block_on(count.fetch_one(&mut session));
        counts.push(count.expect("ask for the name"));
        std::thread::sleep(Duration::from_micros(200));
    }
    counts
}

/// A client never sees a database that is not whole. While the names change it may be cut; and one
/// that connects in that moment waits, and is then told that the database that it had found under
/// the name was renamed: it has to come again, and there is always one to come to.
#[test]
fn the_name_leads_to_a_whole_database_at_every_moment() {
    let Some((case, database)) = started(Cluster::get_or_skip(), "name") else {
        return;
    };
    let backup = case.project.json(["db", "list"])["backups"][0].clone();
    let backup = text(&backup, "/manifest/id").to_owned();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| answers(&database, &stop)))
            .collect();
        let naming = scope.spawn(|| names(&database, &stop));
        for _ in 0..number("XTASK_DB_ROUNDS", 1) {
            case.restore(&backup);
            let undo = case.project.json(["db", "list"])["backups"][0].clone();
            assert_eq!(text(&undo, "/manifest/reason"), "pre-restore");
            case.restore(text(&undo, "/manifest/id"));
        }
        stop.store(true, Ordering::Relaxed);
        let counts = naming.join().expect("the names");
        assert!(counts.len() > 100, "asked {} times", counts.len());
        assert!(
            counts.iter().all(|count| *count == 1),
            "the name led nowhere"
        );
        for asked in asking {
            let answers = asked.join().expect("the answers");
            let (answered, cut): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
            let answered: Vec<String> = answered.into_iter().filter_map(Result::ok).collect();
            let strange = answered
                .iter()
                .find(|answer| *answer != OLD && *answer != NEW);
            assert_eq!(strange, None);
            assert!(
                answered.iter().any(|answer| answer == OLD),
                "the old one was there"
            );
            assert!(
                answered.iter().any(|answer| answer == NEW),
                "the new one was there"
            );
            let is_cut = |error: &String| {
                [
                    "terminating connection",
                    "closed",
                    "reset",
                    "broken pipe",
                    "eof",
                    RENAMED,
                ]
                .iter()
                .any(|words| error.to_lowercase().contains(words))
            };
            let strange = cut
                .iter()
                .filter_map(|cut| cut.as_ref().err())
                .find(|e| !is_cut(e));
            assert_eq!(strange, None);
        }
    });
}
