//! Tables that come into a database, and what goes wrong on the way.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{only, shop};
use crate::cluster::{Cluster, Database};
use crate::exec::{self, LIMIT, Output};
use crate::pg_bin::PgBin;
use crate::proxy::{Cut, Fault, Proxy};
use crate::setup::{Case, says};

const ASK: &str = "SELECT count(*) FROM books;";

/// A database beside the live one that does not exist yet.
fn missing(case: &Case) -> Database {
    let live = case.server.as_ref().expect("a server");
    live.cluster().database(&format!("{}_new", live.name()))
}

fn exists(other: &Database) -> bool {
    let name = other.name().replace('\'', "''");
    let question = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}';");
    other.cluster().database("postgres").psql(&question) == "1"
}

/// Nobody would know of an empty database.
#[test]
fn one_that_is_cut_short_leaves_no_database() {
    let Some(case) = shop("only_killed") else {
        return;
    };
    let (cluster, other) = (Cluster::get_or_skip().expect("a cluster"), missing(&case));
    for (signal, code) in [(Signal::TERM, 130), (Signal::KILL, 137)] {
        let bin = PgBin::logging(cluster).gated(cluster, "pg_restore", "--dbname=");
        let mut command = case
            .project
            .command(["db", "restore", "latest", "--only", "books"]);
        command
            .args(["--yes", "--into", &other.url()])
            .env("PG_BIN", bin.path());
        let running = exec::start(&mut command, None);
        bin.wait_for("pg_restore.waits");
        running.signal(signal);
        bin.open("pg_restore");
        running.finish().expect_code(code);
        assert!(!exists(&other));
    }
    only(&case, "books", &["--into", &other.url(), "--yes"]).expect_code(0);
    assert_eq!(other.psql(ASK), "300");
}

/// An application that finds the new database may make its tables at once.
#[test]
fn a_database_that_somebody_has_moved_into_stays() {
    let Some(case) = shop("only_moved_in") else {
        return;
    };
    let (cluster, other) = (Cluster::get_or_skip().expect("a cluster"), missing(&case));
    let bin = PgBin::logging(cluster).gated(cluster, "pg_dump", "--section=post-data");
    let mut command = case
        .project
        .command(["db", "restore", "latest", "--only", "books"]);
    command
        .args(["--yes", "--into", &other.url()])
        .env("PG_BIN", bin.path());
    let running = exec::start(&mut command, None);
    bin.wait_for("pg_dump.waits");
    other.psql("CREATE TABLE books (theirs int); INSERT INTO books VALUES (7);");
    bin.open("pg_dump");
    let refused = running.finish().expect_code(3);
    let left = [
        "which was made for them, is left",
        "`public.books` by now",
        "as it was",
    ];
    says(&refused, &left);
    assert_eq!(other.psql("SELECT theirs FROM books;"), "7");
}

fn through_a_proxy(case: &Case, other: &Database, fault: Fault) -> (Proxy, exec::Running) {
    let proxy = Proxy::start(other.cluster().port());
    let (after, at) = ("txid_current", "COMMIT");
    proxy.cut(Cut { after, at, fault });
    let url = other.url_through(proxy.port());
    let arguments = [
        "db", "restore", "latest", "--only", "books", "--yes", "--into",
    ];
    let mut command = case.project.command(arguments);
    (proxy, exec::start(command.arg(url), None))
}

#[test]
fn the_answer_to_the_commit_is_lost_and_the_server_is_asked() {
    let late = Fault::Late(Duration::from_millis(300));
    for (fault, code) in [(Fault::After, 0), (Fault::Before, 1), (late, 0)] {
        let Some(case) = shop("only_lost") else {
            return;
        };
        let other = missing(&case);
        let (proxy, running) = through_a_proxy(&case, &other, fault);
        let output = running.finish().expect_code(code);
        assert_eq!(proxy.cuts(), 1, "the COMMIT did not go by\n{output}");
        assert_eq!(exists(&other), code == 0, "{fault:?}\n{output}");
        if code == 0 {
            assert_eq!(other.psql(ASK), "300");
        } else {
            says(&output, &["the database is as it was"]);
        }
    }
}

/// Then nothing is dropped, and nothing is said of what nobody knows.
#[test]
fn a_commit_that_cannot_be_asked_after_may_have_been_done() {
    let Some(case) = shop("only_unknown") else {
        return;
    };
    let other = missing(&case);
    let late = Fault::Late(Duration::from_secs(2));
    let (proxy, running) = through_a_proxy(&case, &other, late);
    let deadline = Instant::now() + LIMIT;
    while proxy.cuts() == 0 {
        assert!(Instant::now() < deadline, "the COMMIT did not go by");
        std::thread::sleep(Duration::from_millis(1));
    }
    let postgres = other.cluster().database("postgres");
    let name = other.name();
    let let_in =
        |is: bool| postgres.psql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {is};"));
    let_in(false);
    let output: Output = running.finish().expect_code(5);
    let_in(true);
    says(
        &output,
        &["whether it was committed cannot be asked", "hint: "],
    );
    assert!(!output.stderr.contains("as it was"), "{output}");
    let is_there = "SELECT to_regclass('books') IS NOT NULL;";
    while other.psql(is_there) != "t" {
        assert!(Instant::now() < deadline, "the COMMIT has not arrived");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(other.psql(ASK), "300");
}

/// They are counted when nothing more is done to them.
#[test]
fn rows_that_the_database_itself_puts_in_are_noticed() {
    let Some(case) = Case::postgres("only_meddled") else {
        return;
    };
    case.query(
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); \
         CREATE TABLE p (id int) PARTITION BY LIST (id); \
         CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1, 99); INSERT INTO p VALUES (1);",
    );
    case.backup();
    let other = missing(&case);
    other
        .cluster()
        .database("postgres")
        .psql(&format!("CREATE DATABASE {};", other.name()));
    other.psql(
        "CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE name text; BEGIN \
           FOR name IN SELECT object_identity FROM pg_event_trigger_ddl_commands() \
             WHERE object_type = 'table' LOOP \
             EXECUTE format('INSERT INTO %s VALUES (99)', name); END LOOP; END $$; \
         CREATE EVENT TRIGGER meddle ON ddl_command_end WHEN TAG IN ('ALTER TABLE') \
           EXECUTE FUNCTION meddle();",
    );
    for name in ["t", "p_1"] {
        let output = only(&case, name, &["--into", &other.url(), "--yes"]).expect_code(4);
        says(
            &output,
            &["rows, the manifest says", "the database is as it was"],
        );
        assert_eq!(
            other.psql(&format!("SELECT to_regclass('{name}') IS NULL;")),
            "t"
        );
    }
}

/// They are the role's own, and still others may read what it makes.
#[test]
fn rights_that_come_by_default_are_said() {
    let Some(case) = shop("only_rights") else {
        return;
    };
    let bring =
        |schema: &str| only(&case, "books", &["--into-schema", schema, "--yes"]).expect_code(0);
    says(&bring("before"), &["nobody else has rights on them"]);
    case.query("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;");
    says(&bring("rescued"), &["others have rights on rescued.books"]);
}

#[test]
fn a_schema_that_is_none_is_refused_without_a_word_of_it() {
    let Some(case) = shop("only_schema_name") else {
        return;
    };
    let url = "postgres://me:hunter2@somewhere/x";
    for schema in [url, ""] {
        let refused = only(&case, "books", &["--into-schema", schema, "--yes"]).expect_code(2);
        says(&refused, &["hint: "]);
        assert!(!refused.stderr.contains("hunter2"), "{refused}");
    }
    let log = case.project.run(["db", "log"]).expect_code(0);
    assert!(!log.stdout.contains("hunter2"), "{log}");
}

/// Names are looked up there first: what is written afterwards would be in no backup.
#[test]
fn the_servers_own_schemas_take_no_table() {
    let Some(case) = shop("only_own_schema") else {
        return;
    };
    let tables = "SELECT count(*) FROM pg_class WHERE relname = 'books';";
    let before = case.query(tables);
    for schema in ["pg_catalog", "pg_toast", "pg_mine", "information_schema"] {
        let refused = only(&case, "books", &["--into-schema", schema, "--yes"]).expect_code(2);
        says(&refused, &["the server's own", "--into-schema rescued"]);
    }
    assert_eq!(case.query(tables), before);
}
