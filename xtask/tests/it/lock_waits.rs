//! A lock on a table that somebody never lets go of: the wait has an end, and the error says for what.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::exec;
use crate::pg_bin::PgBin;
use crate::setup::{Case, says};

const CREATE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO t VALUES (1);";
const SHORT: &str = "-c lock_timeout=1s";

/// What `pg_dump` may wait, cut short: the tool's own limit is a minute.
const SHORTER: &str = "for a; do shift
    [ \"$a\" = --lock-wait-timeout=60s ] && a=--lock-wait-timeout=1s
    set -- \"$@\" \"$a\"; done";

/// A session with a lock on table `t`, until its stdin closes.
struct Holder(Child);

impl Holder {
    fn of(case: &Case, mode: &str) -> Self {
        let mut psql = case.server.as_ref().expect("a server").psql_command();
        psql.env("PGAPPNAME", "forgotten console");
        psql.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut psql = psql.spawn().expect("start psql");
        let stdin = psql.stdin.as_mut().expect("stdin is piped");
        let lock = format!("BEGIN; LOCK TABLE t IN {mode} MODE;\n");
        std::io::Write::write_all(stdin, lock.as_bytes()).expect("lock the table");
        let held = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                    WHERE l.relation = 't'::regclass AND l.granted
                      AND a.application_name = 'forgotten console';";
        let deadline = Instant::now() + exec::LIMIT;
        while case.query(held) != ["1"] {
            assert!(Instant::now() < deadline, "the table is never locked");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(psql)
    }

    fn let_go(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("wait for psql").success());
    }
}

#[test]
fn a_backup_gives_up_waiting_for_a_table_that_stays_locked() {
    let Some(case) = Case::postgres("locked_table") else {
        return;
    };
    case.query(CREATE);
    let holder = Holder::of(&case, "ACCESS EXCLUSIVE");
    let cluster = Cluster::get_or_skip().expect("a cluster");
    let bin = PgBin::logging(cluster).real(cluster, "pg_dump", SHORTER);
    let began = Instant::now();
    let mut command = case.project.command(["db", "backup"]);
    command.env("PG_BIN", bin.path()).env("PGOPTIONS", SHORT);
    let output = exec::run(&mut command, None).expect_code(1);
    assert!(began.elapsed() < Duration::from_secs(15), "{output}");
    assert!(
        bin.log().contains("--lock-wait-timeout=60s"),
        "{}",
        bin.log()
    );
    says(&output, &["no backup was taken", "lock timeout"]);
    assert_eq!(case.project.vault_files(), [""; 0]);
    holder.let_go();
    case.backup();
}

/// Who reads a table keeps a migration from changing it.
#[test]
fn a_migration_gives_up_waiting_for_a_lock_that_never_comes() {
    let Some(case) = Case::postgres("never") else {
        return;
    };
    case.query(CREATE);
    let change = "ALTER TABLE t ADD COLUMN more BIGINT;";
    case.project.write("migrations/1_more.sql", change);
    let holder = Holder::of(&case, "ACCESS SHARE");
    let began = Instant::now();
    let mut command = case.project.command(["db", "migrate-safe", "--yes"]);
    let output = exec::run(command.env("PGOPTIONS", SHORT), None).expect_code(5);
    assert!(began.elapsed() < Duration::from_secs(15), "{output}");
    says(
        &output,
        &[
            "committed: none; not committed: 1",
            "another session holds a lock",
            "application forgotten console",
            "lock timeout",
        ],
    );
    holder.let_go();
    case.migrate();
    assert_eq!(case.query("SELECT count(more) FROM t;"), ["0"]);
}

/// Nobody has said anything: a minute. A word of the user's, of the role's or of the database's own
/// stands, and an index that is built beside the writers waits for them as long as it takes.
#[test]
fn a_migration_waits_a_minute_unless_somebody_says_otherwise() {
    let show = |table: &str| {
        format!("CREATE TABLE {table} AS SELECT current_setting('lock_timeout') AS said;")
    };
    let said = "SELECT said FROM one; SELECT said FROM two; SELECT said FROM three;";
    let by_default = ["1min", "0", "1min"];
    let by_database = ["7s"; 3];
    let by_user = ["9s"; 3];
    for (set, options, expected) in [
        ("SELECT 1;", None, by_default),
        (
            "ALTER DATABASE {} SET lock_timeout = '7s';",
            None,
            by_database,
        ),
        ("SELECT 1;", Some("-c lock_timeout=9s"), by_user),
        ("SELECT 1;", Some("-c lock_timeout=0"), ["0"; 3]),
    ] {
        let Some(case) = Case::postgres("a_minute") else {
            return;
        };
        let server = case.server.as_ref().expect("a server");
        server.psql(&set.replace("{}", server.name()));
        let bare = format!("-- no-transaction\n{}", show("two"));
        case.project.write("migrations/1_one.sql", show("one"));
        case.project.write("migrations/2_two.sql", bare);
        case.project.write("migrations/3_three.sql", show("three"));
        let mut command = case.project.command(["db", "migrate-safe", "--yes"]);
        if let Some(options) = options {
            command.env("PGOPTIONS", options);
        }
        exec::run(&mut command, None).expect_code(0);
        assert_eq!(case.query(said), expected, "{set} {options:?}");
    }
}

/// Also where only the lock of a writer is in the way, before the backup and after it.
#[test]
fn an_import_says_which_table_it_waited_for() {
    let Some(case) = Case::postgres("locked_import") else {
        return;
    };
    case.query(CREATE);
    let export = ["db", "export", "-o", "t.ndjson"];
    case.project.run(export).expect_code(0);
    case.query("UPDATE t SET id = 2;");
    for mode in ["--replace", "--append"] {
        let holder = Holder::of(&case, "ROW EXCLUSIVE");
        let mut command = case
            .project
            .command(["db", "import", "t.ndjson", "--yes", mode]);
        let output = exec::run(command.env("PGOPTIONS", SHORT), None).expect_code(3);
        says(
            &output,
            &[
                "cannot hold `t` against writers",
                "lock timeout",
                "hint: nothing was changed; end the sessions that use the table",
            ],
        );
        holder.let_go();
        assert_eq!(case.query("SELECT id FROM t;"), ["2"]);
    }
}

/// A key of a table to itself is made deferrable, which waits for readers as well.
#[test]
fn an_import_that_waits_for_readers_does_not_blame_the_role() {
    let Some(case) = Case::postgres("locked_reader") else {
        return;
    };
    case.query(CREATE);
    case.query("ALTER TABLE t ADD COLUMN up BIGINT REFERENCES t (id);");
    let export = ["db", "export", "-o", "t.ndjson"];
    case.project.run(export).expect_code(0);
    let holder = Holder::of(&case, "ACCESS SHARE");
    let arguments = ["db", "import", "t.ndjson", "--yes", "--replace"];
    let mut command = case.project.command(arguments);
    let output = exec::run(command.env("PGOPTIONS", SHORT), None).expect_code(3);
    let said = ["ALTER CONSTRAINT", "end the sessions that use the table"];
    says(&output, &said);
    holder.let_go();
    case.project.run(arguments).expect_code(0);
}
