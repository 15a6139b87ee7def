//! The server's own disk is full: its backends meet the limit on the size of files and take it for
//! that.

use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::setup::{Case, says};

/// More than a segment of the write-ahead log, which must not be what is missing.
const LIMIT_KIB: u64 = 17 << 10;
const LARGE: &str =
    "CREATE TABLE large AS SELECT x, repeat('x', 900) FROM generate_series(1, 21000) x;";

#[test]
fn a_server_without_space_restores_and_migrates_nothing() {
    let Some(cluster) = Cluster::own_or_skip("") else {
        return;
    };
    let case = Case::of(cluster.create_database("full"));
    case.query(LARGE);
    let id = case.backup();
    case.query("DROP TABLE large; CREATE TABLE small AS SELECT 1 AS id;");
    let before = case.contents();
    let databases = "SELECT datname FROM pg_database ORDER BY 1;";
    let all = case.query(databases);
    // Coming back, it must not need the space once more.
    case.query("CHECKPOINT;");
    cluster.kill(Signal::QUIT);
    cluster.start_again_limited(LIMIT_KIB);

    let failed = case.project.run(["db", "restore", &id, "--yes"]);
    says(&failed, &["was not restored", "could not extend file"]);
    assert_eq!(failed.code, 1, "{failed}");
    assert_eq!(case.contents(), before, "{failed}");
    assert_eq!(case.query(databases), all, "half of it is left\n{failed}");

    case.project.write("migrations/1_large.sql", LARGE);
    let failed = case
        .project
        .run(["db", "migrate-safe", "--yes", "--no-rehearse"]);
    says(
        &failed,
        &["could not extend file", "committed: none; not committed: 1"],
    );
    assert_eq!(failed.code, 5, "{failed}");
    assert_eq!(case.query("SELECT to_regclass('large') IS NULL;"), ["t"]);

    cluster.kill(Signal::QUIT);
    cluster.start_again();
    case.project.run(["db", "verify", "--all"]).expect_code(0);
    case.restore(&id);
    assert_eq!(case.query("SELECT count(*) FROM large;"), ["21000"]);
}
