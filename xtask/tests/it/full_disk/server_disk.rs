//! The server's own disk is full, for tables or for the write-ahead log: a file system that the
//! kernel itself calls full.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::small::Small;
use crate::cluster::Cluster;
use crate::exec;
use crate::setup::{Case, says};

const LARGE: &str =
    "CREATE TABLE large AS SELECT x, repeat('x', 900) FROM generate_series(1, 21000) x;";
const DATABASES: &str = "SELECT datname FROM pg_database ORDER BY 1;";

/// Less than the table of the backup needs, more than the rest of a new database.
const LEFT_FOR_TABLES_KIB: u64 = 16 << 10;
/// Not even one more segment.
const LEFT_FOR_LOG_KIB: u64 = 8 << 10;

#[test]
fn no_space_for_tables_restores_and_migrates_nothing() {
    let Some((case, cluster, disk, id)) = on_small_disk("base", 200 << 10) else {
        return;
    };
    let (before, all) = (case.contents(), case.query(DATABASES));
    disk.blow_up(LEFT_FOR_TABLES_KIB);

    let failed = case.project.run(["db", "restore", &id, "--yes"]);
    says(&failed, &["was not restored", "No space left on device"]);
    assert_eq!(failed.code, 1, "{failed}");
    assert_eq!(case.contents(), before, "{failed}");
    assert_eq!(case.query(DATABASES), all, "half of it is left\n{failed}");

    case.project.write("migrations/1_large.sql", LARGE);
    let rehearsed = case.project.run(["db", "migrate-safe", "--yes"]);
    says(&rehearsed, &["No space left on device"]);
    assert_eq!(case.query(DATABASES), all, "a scratch is left\n{rehearsed}");
    let failed = case
        .project
        .run(["db", "migrate-safe", "--yes", "--no-rehearse"]);
    says(
        &failed,
        &[
            "No space left on device",
            "committed: none; not committed: 1",
        ],
    );
    assert_eq!(failed.code, 5, "{failed}");
    assert_eq!(case.query("SELECT to_regclass('large') IS NULL;"), ["t"]);

    disk.let_air_out();
    comes_back(&case, &id);
    cluster.kill(Signal::QUIT);
}

#[test]
fn no_space_for_the_log_ends_the_server_and_loses_nothing() {
    let Some((case, cluster, disk, id)) = on_small_disk("pg_wal", 200 << 10) else {
        return;
    };
    let (before, all) = (case.contents(), case.query(DATABASES));
    disk.blow_up(LEFT_FOR_LOG_KIB);

    // The server panics: of what it was doing, no more can be said than that it did not come to a
    // swap, and that the database is as it was.
    let failed = case.project.run(["db", "restore", &id, "--yes"]);
    says(&failed, &["was not restored"]);
    assert_eq!(failed.code, 1, "{failed}");

    disk.let_air_out();
    start_unless_it_lives(&case, cluster, &disk);
    assert_eq!(case.contents(), before, "{failed}");
    let left: Vec<String> = case.query(DATABASES);
    let left = left.iter().filter(|name| !all.contains(name));
    let status = case.project.run(["db", "status"]).expect_code(0);
    for name in left {
        assert!(
            format!("{status}").contains(name),
            "{name} is not named\n{status}"
        );
    }
    comes_back(&case, &id);
    assert!(
        case.query(DATABASES).len() <= all.len() + 1,
        "only what was kept"
    );
    cluster.kill(Signal::QUIT);
}

/// A backup of a large table, a database without it, and a server of which a part lies on a file
/// system of this size.
fn on_small_disk(part: &str, kib: u32) -> Option<(Case, &'static Cluster, Small, String)> {
    if !rustix::process::geteuid().is_root() {
        exec::say("SKIPPED: only root can start a server where only it sees the disk");
        return None;
    }
    let cluster = Cluster::own_or_skip("")?;
    let case = Case::of(cluster.create_database("full"));
    case.query(LARGE);
    let id = case.backup();
    case.query("DROP TABLE large; CREATE TABLE small AS SELECT 1 AS id;");
    case.query("CHECKPOINT;");
    cluster.kill(Signal::QUIT);

    let place = cluster.socket().join("data").join(part);
    let copy = cluster.socket().join("copy");
    let copied = |from: &Path, to: &Path| {
        let mut cp = Command::new("cp");
        cp.args(["--archive", "--no-target-directory"])
            .arg(from)
            .arg(to);
        cp
    };
    exec::run(&mut copied(&place, &copy), None).expect_code(0);
    let disk = Small::over_folder(cluster.socket(), place.clone(), kib)?;
    exec::run(&mut disk.command(&copied(&copy, &place)), None).expect_code(0);
    start(cluster, &disk);
    Some((case, cluster, disk, id))
}

/// As the user that may run a server, where the small file system is.
fn start(cluster: &'static Cluster, disk: &Small) {
    let (server, owner) = cluster.start_command();
    let (user, group) = owner.expect("root gives the server to somebody");
    let mut as_owner = Command::new("setpriv");
    as_owner
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"));
    as_owner
        .args(["--clear-groups", "--"])
        .arg(server.get_program());
    as_owner.args(server.get_args());
    exec::run(&mut disk.command(&as_owner), None).expect_code(0);
}

/// A server that has no space for its log recovers, or gives up.
fn start_unless_it_lives(case: &Case, cluster: &'static Cluster, disk: &Small) {
    let server = case.server.as_ref().expect("a case on a server");
    let pid_file = cluster.socket().join("data/postmaster.pid");
    let deadline = Instant::now() + exec::LIMIT;
    while exec::run(&mut server.psql_command(), Some("SELECT 1;")).code != 0 {
        assert!(
            Instant::now() < deadline,
            "the server neither lives nor ends"
        );
        if !pid_file.exists() {
            return start(cluster, disk);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn comes_back(case: &Case, id: &str) {
    case.project.run(["db", "verify", "--all"]).expect_code(0);
    case.restore(id);
    assert_eq!(case.query("SELECT count(*) FROM large;"), ["21000"]);
}
