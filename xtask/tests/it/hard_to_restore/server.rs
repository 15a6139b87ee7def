//! The backup is good, and the server is not as it was: what it lacks is named, and nothing changes.

use crate::cluster::{Cluster, PASSWORD};
use crate::exec;
use crate::lost_answers::end_session_with_lock;
use crate::pg_bin::PgBin;
use crate::setup::{Case, create_role, says};

#[test]
fn a_tablespace_that_is_gone() {
    let Some(case) = Case::postgres("no_tablespace") else {
        return;
    };
    let database = case.server.as_ref().expect("a server");
    let space = format!("{}_space", database.name());
    // The server makes the folder itself, where its own user may write.
    database.psql(&format!(
        "COPY (SELECT 1) TO PROGRAM 'mkdir {}/{space}';
         CREATE TABLESPACE {space} LOCATION '{0}/{space}';",
        database.cluster().socket().display()
    ));
    case.query(&format!(
        "CREATE TABLE t (id INT) TABLESPACE {space}; INSERT INTO t VALUES (1);"
    ));
    let id = case.backup();
    case.query("ALTER TABLE t SET TABLESPACE pg_default; DELETE FROM t;");
    database.psql(&format!("DROP TABLESPACE {space};"));
    let refused = case.project.run(["db", "restore", &id, "--yes"]);
    let named = [space.as_str(), "lacks a tablespace", "CREATE TABLESPACE"];
    says(&refused.expect_code(3), &named);
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["0"]);
}

/// A crash in the middle of DROP DATABASE leaves one that nobody can enter.
#[test]
fn an_invalid_database_of_a_cut_restore_is_dropped() {
    let Some(case) = Case::postgres("invalid") else {
        return;
    };
    case.query("CREATE TABLE t (id INT);");
    case.backup();
    let database = case.server.as_ref().expect("a server");
    let left = format!("{}_restore_20260101000000", database.name());
    database.psql(&format!("CREATE DATABASE {left};"));
    database.psql(&format!(
        "UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{left}';"
    ));
    let restored = case.restore("latest");
    assert!(
        restored["warnings"].to_string().contains(&left),
        "{restored:#}"
    );
    let found = format!("SELECT count(*) FROM pg_database WHERE datname = '{left}';");
    assert_eq!(case.query(&found), ["0"]);
}

/// Somebody else may migrate from then on: what they write would be lost.
#[test]
fn a_lock_that_is_lost_during_the_restore_refuses_it() {
    let cases = [
        (
            Case::postgres("lost_restore_lock"),
            "pg_restore",
            "--dbname=",
        ),
        (
            Case::owner("lost_restore_lock").map(|(case, _)| case),
            "psql",
            "--file=-",
        ),
    ];
    for (case, program, wanted) in cases {
        let Some(case) = case else { return };
        case.query("CREATE TABLE t (id INT); INSERT INTO t VALUES (1);");
        let id = case.backup();
        case.query("INSERT INTO t VALUES (2);");
        let cluster = Cluster::get_or_skip().expect("a cluster");
        let slow = format!(
            "case \"$*\" in *{wanted}*) touch \"$(dirname \"$0\")/waits\"
               until [ -e \"$(dirname \"$0\")/go\" ]; do sleep 0.02; done ;; esac"
        );
        let bin = PgBin::logging(cluster).real(cluster, program, &slow);
        let mut command = case.project.command(["db", "restore", &id, "--yes"]);
        let running = exec::start(command.env("PG_BIN", bin.path()), None);
        bin.wait_for("waits");
        let admin = Case::of(cluster.database(case.server.as_ref().expect("one").name()));
        end_session_with_lock(&admin);
        std::fs::write(bin.path().join("go"), "").expect("let it go on");
        let refused = running.finish().expect_code(3);
        says(&refused, &["advisory lock was lost"]);
        assert_eq!(case.query("SELECT id FROM t ORDER BY id;"), ["1", "2"]);
        case.restore(&id);
        assert_eq!(case.query("SELECT id FROM t;"), ["1"]);
    }
}

/// All of a database in one transaction takes a lock for each table, index and sequence.
#[test]
fn a_server_with_few_locks() {
    let settings = "-c max_locks_per_transaction=10 -c max_connections=20 -c fsync=off";
    let Some(cluster) = Cluster::own_or_skip(settings) else {
        return;
    };
    let admin = cluster.create_database("few_locks");
    let name = admin.name().to_owned();
    create_role(&admin, "few_owner");
    admin.psql(&format!("ALTER DATABASE {name} OWNER TO few_owner;"));
    let owner = Case::of(admin.as_role("few_owner", PASSWORD));
    let more_tables = |part: u32| {
        owner.query(&format!(
            "DO $$ BEGIN FOR n IN 1..100 LOOP
               EXECUTE format('CREATE TABLE t_{part}_%s (id INT PRIMARY KEY)', n);
             END LOOP; END $$;"
        ))
    };
    (0..2).for_each(|part| drop(more_tables(part)));
    owner.query("INSERT INTO t_0_1 VALUES (1);");
    let id = owner.backup();
    owner.query("DELETE FROM t_0_1;");
    let refused = owner.project.run(["db", "restore", &id, "--yes"]);
    says(
        &refused.expect_code(3),
        &["has not locks enough", "max_locks_per_transaction"],
    );
    assert_eq!(
        owner.query("SELECT count(*) FROM t_0_1;"),
        ["0"],
        "rolled back"
    );
    (2..16).for_each(|part| drop(more_tables(part)));
    let refused = owner.project.run(["db", "backup"]);
    says(
        &refused.expect_code(3),
        &["has not locks enough", "max_locks_per_transaction"],
    );
    let admin = Case {
        project: owner.project.database_url(&admin.url()),
        server: Some(admin),
    };
    let forced = ["db", "restore", &id, "--force"];
    admin.project.run(forced).expect_code(0);
    assert_eq!(admin.query("SELECT id FROM t_0_1;"), ["1"]);
}
