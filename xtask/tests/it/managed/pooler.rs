//! A pooler is recognised before it can lend our session to others.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Database, PASSWORD, SUPERUSER, unprivileged_user};
use crate::exec;
use crate::project::Project;
use crate::setup::{Case, says};

/// None of these is asked: nobody is there, and the answer comes at once.
#[test]
fn known_ones_are_refused_by_name() {
    let known = [
        (
            "aws-0-eu-central-1.pooler.supabase.com:6543",
            "db.PROJECT.supabase.co",
        ),
        ("db.abcdefgh.supabase.co:6543", "db.PROJECT.supabase.co"),
        (
            "ep-cool-name-123456-pooler.eu-central-1.aws.neon.tech",
            "ep-cool-name-123456.eu-central-1.aws.neon.tech",
        ),
        (
            "EP-X-POOLER.c-2.us-east-2.aws.neon.tech:5432",
            "ep-x.c-2.us-east-2.aws.neon.tech",
        ),
        (
            "shop.proxy-abc123.eu-west-1.rds.amazonaws.com",
            "the instance or of the cluster",
        ),
    ];
    let (_case, file) = exported();
    let verbs: [&[&str]; 9] = [
        &["diff", "latest", "--rows", "t"],
        &["import", &file, "--replace", "--yes"],
        &["export", "-o", "other.ndjson"],
        &[
            "restore",
            "latest",
            "--only",
            "t",
            "--into-schema",
            "x",
            "--yes",
        ],
        &["backup"],
        &["migrate-safe", "--yes"],
        &["restore", "latest", "--yes"],
        &["restore", "--undo", "--yes"],
        &["drill"],
    ];
    for (host, direct) in known {
        let project = Project::new()
            .migration("1_init.sql", "CREATE TABLE t (id BIGINT);")
            .database_url(&format!("postgres://me:{}@{host}/shop", "secret"));
        for verb in verbs {
            let output = project.run([&["db"], verb].concat()).expect_code(3);
            says(&output, &[direct, "hint: ", "XTASK_DB_THROUGH_POOLER=true"]);
            assert!(!output.stderr.contains("secret"), "{output}");
        }
        assert_eq!(project.vault_files(), [""; 0]);
        assert!(!project.path().join("other.ndjson").exists());
    }
}

/// Rows for a table `t`, and the project that they lie in.
fn exported() -> (Case, String) {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (3);");
    let export = ["db", "export", "-o", "t.ndjson"];
    case.project.run(export).expect_code(0);
    let file = case.project.path().join("t.ndjson");
    let file = file.to_str().expect("a UTF-8 path").to_owned();
    (case, file)
}

/// The same for what a backup is restored into.
#[test]
fn a_pooler_is_not_restored_into() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id BIGINT);");
    let id = case.backup();
    let url = "postgres://me@ep-x-pooler.eu-central-1.aws.neon.tech/shop";
    for more in [&["--force"][..], &["--yes", "--only", "t"]] {
        let command = [&["db", "restore", &id, "--into", url], more].concat();
        let output = case.project.run(command).expect_code(3);
        says(&output, &["ep-x.eu-central-1.aws.neon.tech"]);
    }
}

/// A name that only looks alike, and the session mode that keeps its word.
#[test]
fn others_are_asked_and_not_refused_by_name() {
    let others = [
        "aws-0-eu-central-1.pooler.supabase.com.invalid:5432",
        "ep-cool-name-123456.eu-central-1.aws.neon.tech.invalid",
        "shop.abc123.eu-west-1.rds.amazonaws.com.invalid",
        "pooler.invalid:6543",
    ];
    for host in others {
        let project = Project::new().database_url(&format!("postgres://me@{host}/shop"));
        let output = project.run(["db", "backup"]).expect_code(1);
        says(&output, &["cannot connect"]);
    }
}

/// A real one, in front of the tests' own server.
struct PgBouncer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    fn start_or_say(database: &Database, mode: &str) -> Option<Self> {
        let places = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path).chain(places);
        let Some(program) = folders.find(|f| f.join("pgbouncer").is_file()) else {
            exec::skip("no program `pgbouncer` found");
            return None;
        };
        let cluster = database.cluster();
        let listener = TcpListener::bind("127.0.0.1:0").expect("find a free port");
        let port = listener.local_addr().expect("the port").port();
        drop(listener);
        let folder = tempfile::Builder::new()
            .prefix("xtask-db-bouncer-")
            .tempdir_in("/tmp");
        let folder = folder.expect("create a folder");
        let ini = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port={} user={SUPERUSER} password='{}'\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\nignore_startup_parameters = extra_float_digits,options\n",
            cluster.socket().display(),
            cluster.port(),
            PASSWORD.replace('\'', "''")
        );
        fs::write(&ini, text).expect("write the pooler's settings");
        let mut command = Command::new(program.join("pgbouncer"));
        command
            .arg(&ini)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some((user, group)) = unprivileged_user() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("chown");
            command.uid(user).gid(group);
        }
        let child = command.spawn().expect("start pgbouncer");
        let deadline = Instant::now() + exec::LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self {
            child,
            port,
            _folder: folder,
        })
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn one_that_lends_sessions_out_is_known_by_what_it_does() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("pooled");
    let name = database.name();
    database.psql(&format!(
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1);
         ALTER DATABASE \"{name}\" SET statement_timeout = '17s';
         ALTER DATABASE \"{name}\" SET lock_timeout = '7s';"
    ));
    let Some(pooler) = PgBouncer::start_or_say(&database, "transaction") else {
        return;
    };
    // Taken on the direct way; a table of its rows is compared with a scratch database.
    let mut project = Project::new()
        .migration("1_more.sql", "INSERT INTO t VALUES (2);")
        .database_url(&database.url());
    project.run(["db", "backup"]).expect_code(0);
    let vault = project.vault_files();
    project = project.database_url(&database.url_through(pooler.port));
    let (_case, file) = exported();
    let verbs: [&[&str]; 9] = [
        &["import", &file, "--replace", "--yes"],
        &["export", "-o", "other.ndjson"],
        &["diff", "latest", "--rows", "t"],
        &["backup"],
        &["migrate-safe", "--yes"],
        &["status"],
        &["diff", "latest"],
        &["prune", "--dry-run"],
        &["prune", "--kept"],
    ];
    for verb in verbs {
        let output = project.run([&["db"], verb].concat()).expect_code(3);
        says(
            &output,
            &[
                "lends sessions out for a transaction",
                "name the server itself",
            ],
        );
    }
    assert_eq!(database.psql("SELECT id FROM t"), "1");
    assert_eq!(project.vault_files(), vault);
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(database.psql(locks), "0");
    // Where nothing is held, nothing is asked.
    project.run(["db", "list"]).expect_code(0);
    let named = project.run(["db", "verify", "latest"]).expect_code(0);
    says(&named, &["going by the name alone"]);
    // What is lent to others next is as it was: their limits, and no statement of ours.
    let mut pooled = database.psql_command();
    pooled.arg(format!("--dbname={}", database.url_through(pooler.port)));
    let limits = "SELECT current_setting('statement_timeout') || current_setting('lock_timeout')
        || (SELECT count(*) FROM pg_prepared_statements)";
    let said = exec::run(&mut pooled, Some(limits)).expect_code(0);
    assert_eq!(said.stdout, "17s7s0\n");
}

/// What keeps a session for whoever has it is as good as the server.
#[test]
fn one_that_keeps_sessions_is_let_pass() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("kept");
    database.psql("CREATE TABLE t (id int); INSERT INTO t VALUES (1);");
    let Some(pooler) = PgBouncer::start_or_say(&database, "session") else {
        return;
    };
    let project = Project::new().database_url(&database.url_through(pooler.port));
    project.run(["db", "backup"]).expect_code(0);
}

/// By somebody who knows better; the name is then all that is known of it.
#[test]
fn a_setting_goes_on_all_the_same() {
    let Some(case) = Case::postgres("through") else {
        return;
    };
    let project = Project::new()
        .database_url("postgres://me@ep-x-pooler.invalid/shop")
        .env("XTASK_DB_THROUGH_POOLER", "true");
    let output = project.run(["db", "backup"]).expect_code(1);
    says(&output, &["cannot connect"]);
    case.query("CREATE TABLE t (id int);");
    case.project
        .write("database/db.toml", "[postgres]\nthrough_pooler = true\n");
    case.backup();
}
