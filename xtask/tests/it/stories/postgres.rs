//! Restores into a PostgreSQL server with everything that hangs on a database besides its tables.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Database};
use crate::exec;
use crate::setup::{Case, create_role, says, text};

const CREATE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                      INSERT INTO t VALUES (1, 'one'), (2, 'two');";
const ROWS: &str = "SELECT id, name FROM t ORDER BY id;";
const EXPECTED: [&str; 2] = ["1|one", "2|two"];

/// All that `CREATE DATABASE` and its companions set, and a plain dump leaves out.
fn properties(case: &Case) -> String {
    let name = case.server.as_ref().expect("a server").name();
    let cluster = Cluster::get_or_skip().expect("a cluster");
    cluster.database("postgres").psql(&format!(
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype, datdba::regrole,
                datconnlimit, datistemplate, datallowconn, shobj_description(d.oid, 'pg_database'),
                (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(datacl) a),
                (SELECT string_agg(format('%s %s', setrole::regrole, setconfig), ',' ORDER BY setrole)
                 FROM pg_db_role_setting WHERE setdatabase = d.oid)
         FROM pg_database d WHERE datname = '{name}';"
    ))
}

/// A database that is unlike a new one in everything that can be set.
fn with_properties(name: &str) -> Option<Case> {
    let cluster = Cluster::get_or_skip()?;
    let options = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    let database = cluster.create_database_with(name, options);
    let name = database.name();
    create_role(&database, &format!("{name}_owner"));
    create_role(&database, &format!("{name}_reader"));
    database.psql(&format!(
        "CREATE SCHEMA app; {CREATE} GRANT SELECT ON t TO {name}_reader;
         ALTER DATABASE {name} OWNER TO {name}_owner;
         COMMENT ON DATABASE {name} IS 'it''s the shop';
         REVOKE ALL ON DATABASE {name} FROM PUBLIC;
         GRANT CONNECT ON DATABASE {name} TO {name}_reader;
         ALTER DATABASE {name} CONNECTION LIMIT 42;
         ALTER DATABASE {name} SET search_path = app, public;
         ALTER DATABASE {name} SET work_mem = '7MB';
         ALTER ROLE {name}_reader IN DATABASE {name} SET statement_timeout = '7s';
         ALTER DATABASE {name} SET default_transaction_read_only = on;"
    ));
    Some(Case::of(database))
}

#[test]
fn what_hangs_on_a_database_comes_back() {
    let Some(case) = with_properties("properties") else {
        return;
    };
    let before = properties(&case);
    for part in [
        "LATIN1",
        "it's the shop",
        "42",
        "search_path",
        "7MB",
        "7s",
        "_reader=c/",
    ] {
        assert!(before.contains(part), "no `{part}` in {before}");
    }
    case.backup();
    let name = case.server.as_ref().expect("a server").name();
    let postgres = Cluster::get_or_skip()
        .expect("a cluster")
        .database("postgres");
    postgres.psql(&format!(
        "ALTER DATABASE {name} RESET ALL; ALTER DATABASE {name} CONNECTION LIMIT -1;
         COMMENT ON DATABASE {name} IS 'changed'; GRANT ALL ON DATABASE {name} TO PUBLIC;
         ALTER DATABASE {name} OWNER TO {user};",
        user = crate::cluster::SUPERUSER
    ));
    case.query("DELETE FROM t;");
    assert_ne!(properties(&case), before);
    case.restore("latest");
    assert_eq!(properties(&case), before);
    assert_eq!(case.query(ROWS), EXPECTED);
}

/// As many of them as the database asks for: its settings are there before they are gathered.
#[test]
fn statistics_are_gathered_as_the_database_says() {
    let Some(case) = Case::postgres("statistics") else {
        return;
    };
    let name = case.server.as_ref().expect("a server").name();
    case.query(&format!(
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n;
         ALTER DATABASE {name} SET default_statistics_target = 7;"
    ));
    let id = case.backup();
    let restored = case.restore(&id);
    assert_eq!(restored["warnings"], serde_json::json!([]), "{restored:#}");
    let gathered = "SELECT reltuples, cardinality(histogram_bounds::text::int[])
                    FROM pg_class JOIN pg_stats ON relname = tablename WHERE relname = 't';";
    assert_eq!(case.query(gathered), ["5000|8"]);
}

/// Lost altogether: the restore makes it from nothing, settings, grants and all.
#[test]
fn a_dropped_database_is_restored_from_nothing() {
    let Some(case) = with_properties("dropped") else {
        return;
    };
    let before = properties(&case);
    let id = case.backup();
    let name = case.server.as_ref().expect("a server").name();
    let postgres = Cluster::get_or_skip()
        .expect("a cluster")
        .database("postgres");
    postgres.psql(&format!("DROP DATABASE {name};"));
    case.project.run(["db", "verify"]).expect_code(0);
    let restored = case.restore("latest");
    assert_eq!(text(&restored, "/restored"), id);
    assert!(restored["safety_backup"].is_null(), "{restored:#}");
    assert!(restored["kept_database"].is_null(), "{restored:#}");
    assert_eq!(properties(&case), before);
    assert_eq!(case.query(ROWS), EXPECTED);
    let readers = format!("SELECT has_table_privilege('{name}_reader', 't', 'SELECT');");
    assert_eq!(case.query(&readers), ["t"]);
}

/// A session that sits in the middle of a transaction, until somebody ends it.
fn idle_session(database: &Database) -> Child {
    let mut psql = database.psql_command();
    psql.env("PGAPPNAME", "forgotten console")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = exec::spawn_feeding(
        &mut psql,
        "BEGIN; SELECT * FROM t FOR UPDATE; SELECT pg_sleep(600);",
    );
    let question = "SELECT count(*) FROM pg_stat_activity
                    WHERE application_name = 'forgotten console' AND wait_event = 'PgSleep'
                      AND datname = current_database();";
    wait_until("the console sleeps", || database.psql(question) == "1");
    child
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_forgotten_console_is_named_and_cut() {
    let Some(case) = Case::postgres("console") else {
        return;
    };
    case.query(CREATE);
    case.backup();
    let mut console = idle_session(case.server.as_ref().expect("a server"));
    let output = case.project.run(["db", "restore", "latest", "--yes"]);
    says(
        &output.expect_code(0),
        &["will be cut: pid", "forgotten console"],
    );
    wait_until("the console has ended", || {
        console.try_wait().expect("wait for the console").is_some()
    });
    assert_eq!(case.query(ROWS), EXPECTED);
}

/// Clients that come back the moment they are cut cannot keep the restore from its name, and end up
/// in the restored database.
#[test]
fn a_pool_that_reconnects_in_a_loop_is_cut_too() {
    const CLIENTS: u32 = 3;
    let Some(case) = Case::postgres("pool") else {
        return;
    };
    case.query(CREATE);
    case.backup();
    case.query("UPDATE t SET name = 'changed';");
    let (stop, connected) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let database = case.server.clone().expect("a server");
            let (stop, connected) = (Arc::clone(&stop), Arc::clone(&connected));
            std::thread::spawn(move || {
                let mut last = String::new();
                while !stop.load(Ordering::Relaxed) {
                    let script = "SELECT name FROM t WHERE id = 1;\nSELECT pg_sleep(0.02);";
                    let output = exec::run(&mut database.psql_command(), Some(script));
                    connected.fetch_add(u32::from(output.code == 0), Ordering::Relaxed);
                    last = output.stdout;
                }
                last
            })
        })
        .collect();
    wait_until("the pool runs", || {
        connected.load(Ordering::Relaxed) > CLIENTS
    });
    let restored = case.restore("latest");
    let so_far = connected.load(Ordering::Relaxed);
    wait_until("the pool is back", || {
        connected.load(Ordering::Relaxed) > so_far + 2 * CLIENTS
    });
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let last = client.join().expect("a client of the pool");
        assert_eq!(last.trim(), "one", "it is in the restored database");
    }
    assert!(restored["kept_database"].is_string(), "{restored:#}");
}

/// What a restore cannot end it refuses, before it has taken a safety backup or built anything.
#[test]
fn a_prepared_transaction_is_refused() {
    let Some(case) = Case::postgres("prepared") else {
        return;
    };
    case.query(CREATE);
    case.backup();
    case.query("BEGIN; INSERT INTO t VALUES (3, 'three'); PREPARE TRANSACTION 'left behind';");
    let files = case.project.vault_files();
    let refused = case.project.run(["db", "restore", "latest", "--yes"]);
    says(
        &refused.expect_code(3),
        &["prepared transactions", "left behind"],
    );
    assert_eq!(case.project.vault_files(), files);
    case.query("COMMIT PREPARED 'left behind';");
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["3"]);
    case.restore("latest");
    assert_eq!(case.query(ROWS), EXPECTED);
}
