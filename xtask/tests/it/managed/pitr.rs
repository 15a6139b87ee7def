//! Recovery to a point in time, by the server's own means, to what a manifest says.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, PASSWORD, SUPERUSER, unprivileged_user};
use crate::exec;
use crate::pg_bin::PgBin;
use crate::project::Project;
use crate::setup::{Case, create_role, says, text};

/// Relative to the data folder.
const ARCHIVE: &str =
    "-c archive_mode=on -c archive_command='mkdir -p ../archive && cp %p ../archive/%f'";

/// A program of the server, as the server's own user.
fn program(cluster: &Cluster, name: &str) -> Command {
    let mut command = Command::new(cluster.bin().join(name));
    command.current_dir(cluster.socket());
    if let Some((user, group)) = unprivileged_user() {
        command.uid(user).gid(group);
    }
    command
        .env("PGHOST", cluster.socket())
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", SUPERUSER)
        .env("PGPASSWORD", PASSWORD);
    command
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let deadline = Instant::now() + exec::LIMIT;
    while !is_there() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A second server, from a base backup and the archive of the first one.
struct Recovered<'a> {
    cluster: &'a Cluster,
    data: PathBuf,
    port: u16,
}

impl<'a> Recovered<'a> {
    fn start(cluster: &'a Cluster, base: &Path, target: &str) -> Self {
        fs::write(base.join("recovery.signal"), "").expect("ask for recovery");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("find a free port");
        let port = listener.local_addr().expect("the port").port();
        drop(listener);
        let options = format!(
            "-c port={port} -c max_prepared_transactions=5 -c listen_addresses= -c unix_socket_directories={} -c archive_mode=off \
             -c restore_command='cp ../archive/%f %p' -c {target} -c recovery_target_action=promote",
            cluster.socket().display()
        );
        let mut pg_ctl = program(cluster, "pg_ctl");
        pg_ctl.args(["start", "--wait", "--silent"]);
        pg_ctl.arg(format!("--pgdata={}", base.display()));
        pg_ctl.arg(format!("--log={}/log", base.display()));
        pg_ctl.arg(format!("--options={options}"));
        let output = exec::run(&mut pg_ctl, None);
        let log = fs::read_to_string(base.join("log")).unwrap_or_default();
        assert_eq!(output.code, 0, "{output}\n{log}");
        let recovered = Self {
            cluster,
            data: base.to_owned(),
            port,
        };
        wait_for("the end of the recovery", || {
            recovered.psql("postgres", "SELECT NOT pg_is_in_recovery()") == "t"
        });
        recovered
    }

    fn psql(&self, database: &str, sql: &str) -> String {
        let mut psql = program(self.cluster, "psql");
        psql.env("PGPORT", self.port.to_string());
        psql.args(["-XAtc", sql, "--dbname", database]);
        exec::run(&mut psql, None).stdout.trim_end().to_owned()
    }
}

impl Drop for Recovered<'_> {
    fn drop(&mut self) {
        let mut pg_ctl = program(self.cluster, "pg_ctl");
        pg_ctl.args(["stop", "--silent", "--mode=immediate"]);
        let _ = pg_ctl
            .arg(format!("--pgdata={}", self.data.display()))
            .output();
    }
}

fn base_backup(cluster: &Cluster, name: &str) -> PathBuf {
    let base = cluster.socket().join(name);
    let mut command = program(cluster, "pg_basebackup");
    command
        .args(["--checkpoint=fast", "--no-sync", "--pgdata"])
        .arg(&base);
    exec::run(&mut command, None).expect_code(0);
    base
}

/// Rows that were written between base backup and migration are there, what the migration did is not.
#[test]
fn a_server_recovers_to_just_before_the_migration() {
    let Some(cluster) = Cluster::own_or_skip(ARCHIVE) else {
        return;
    };
    let database = cluster.create_database("recovered");
    database.psql("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2);");
    let bases = ["base_1", "base_2", "base_3"].map(|name| base_backup(cluster, name));
    database.psql("INSERT INTO t VALUES (3);");
    let project = Project::new()
        .migration("1_gone.sql", "DELETE FROM t; CREATE TABLE more (id int);")
        .database_url(&database.url());
    // Others write while the backup is rehearsed.
    let bin = PgBin::logging(cluster).gated(cluster, "pg_restore", "--dbname=");
    let mut command = project.command(["db", "migrate-safe", "--yes", "--json"]);
    command
        .args(["--accept-loss", "t"])
        .env("PG_BIN", bin.path());
    let running = exec::start(&mut command, None);
    bin.wait_for("pg_restore.waits");
    database.psql("INSERT INTO t VALUES (5);");
    bin.open("pg_restore");
    let output = running.finish().expect_code(0);
    let document = output.json();
    let wal = &document["backup"]["wal"];
    let (id, name) = (
        text(&document, "/backup/id"),
        text(wal, "/restore_point/name"),
    );
    assert_eq!(name, id);
    says(&output, &[&format!("restore point `{id}`")]);
    database.psql("INSERT INTO t VALUES (4);");
    let segment = database.psql("SELECT pg_walfile_name(pg_switch_wal())");
    let archived = cluster.socket().join("archive").join(&segment);
    wait_for("the archived log", || archived.exists());

    let (lsn, point) = (text(wal, "/lsn"), text(wal, "/restore_point/lsn"));
    let order = format!("SELECT '{lsn}'::pg_lsn <= '{point}'::pg_lsn");
    assert_eq!(database.psql(&order), "t");
    assert_eq!(wal["timeline"], 1);
    let targets = [
        (format!("recovery_target_name={name}"), "1,2,3|"),
        (format!("recovery_target_lsn={lsn}"), "1,2,3|"),
        (format!("recovery_target_name={name}_begin"), "1,2,3,5|"),
    ];
    for (base, (target, rows)) in bases.iter().zip(targets) {
        let recovered = Recovered::start(cluster, base, &target);
        let ask = "SELECT string_agg(id::text, ',' ORDER BY id), to_regclass('more') FROM t";
        assert_eq!(recovered.psql(database.name(), ask), rows, "{target}");
    }
    assert_eq!(database.psql("SELECT id FROM t"), "4");
}

/// A name is written where the log is kept and the role may; a plain backup writes nothing.
#[test]
fn a_role_that_may_not_leaves_no_name() {
    let Some(cluster) = Cluster::own_or_skip(ARCHIVE) else {
        return;
    };
    let admin = cluster.create_database("named");
    create_role(&admin, "named_owner");
    admin.psql(&format!(
        "ALTER DATABASE {} OWNER TO named_owner;",
        admin.name()
    ));
    let mut case = Case::of(admin.as_role("named_owner", PASSWORD));
    case.project = case.project.unrehearsed();
    let point = |document: &Value| document["backup"]["wal"]["restore_point"].clone();
    let migrate = |case: &Case, number: u32| {
        let file = format!("migrations/{number}_table.sql");
        case.project
            .write(file, format!("CREATE TABLE t_{number} (id int);"));
        case.migrate()
    };
    assert!(point(&migrate(&case, 1)).is_null());
    admin.psql("GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO named_owner;");
    let named = migrate(&case, 2);
    assert_eq!(point(&named)["name"], named["backup"]["id"]);
    assert!(point(&case.project.json(["db", "backup"])).is_null());
}

/// The right can be taken away between the two names: the second one was promised.
#[test]
fn a_second_name_that_cannot_be_written_is_spoken_of() {
    let Some(cluster) = Cluster::own_or_skip(ARCHIVE) else {
        return;
    };
    let admin = cluster.create_database("half_named");
    create_role(&admin, "half_named_owner");
    let function = "EXECUTE ON FUNCTION pg_create_restore_point(text)";
    admin.psql(&format!(
        "ALTER DATABASE {} OWNER TO half_named_owner; GRANT {function} TO half_named_owner;",
        admin.name()
    ));
    let case = Case::of(admin.as_role("half_named_owner", PASSWORD));
    case.project
        .write("migrations/1_t.sql", "CREATE TABLE t (id int);");
    let bin = PgBin::logging(cluster).gated(cluster, "pg_dump", "--format=custom");
    let project = case.project.unrehearsed();
    let mut command = project.command(["db", "migrate-safe", "--yes"]);
    let running = exec::start(command.env("PG_BIN", bin.path()), None);
    bin.wait_for("pg_dump.waits");
    admin.psql(&format!("REVOKE {function} FROM half_named_owner;"));
    bin.open("pg_dump");
    let output = running.finish().expect_code(0);
    says(
        &output,
        &["could not be given the restore point", "_begin`; it has"],
    );
    assert_eq!(admin.psql("SELECT count(*) FROM t;"), "0");
}

/// Where no log is kept, nobody could recover to a name; the position is known all the same.
#[test]
fn without_an_archive_nothing_is_written() {
    let Some(case) = Case::postgres("no_archive") else {
        return;
    };
    case.project
        .write("migrations/1_t.sql", "CREATE TABLE t (id int);");
    let document = case.migrate();
    let wal = &document["backup"]["wal"];
    assert!(text(wal, "/lsn").contains('/'), "{wal}");
    assert!(wal["restore_point"].is_null(), "{wal}");
}
