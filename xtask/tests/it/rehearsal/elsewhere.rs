//! Scratch databases on the server of `SCRATCH_DATABASE_URL`, which is one of another version.

use serde_json::json;

use super::{FIRST, migrate};
use crate::cluster::{Cluster, Database};
use crate::setup::{Case, says};

/// A project whose scratch databases are made on the newest server that there is.
fn case(name: &str) -> Option<(Case, Database)> {
    let mut case = Case::postgres(name)?;
    let newest = Cluster::of_major_or_skip(18)?;
    let away = newest.create_database("away");
    case.project = (case.project)
        .migration("1_first.sql", FIRST)
        // They serve the older server as well.
        .env("PG_BIN", newest.bin())
        .env("SCRATCH_DATABASE_URL", away.url());
    Some((case, away))
}

fn names(server: &Database, live: &str) -> String {
    server.psql(&format!(
        "SELECT datname FROM pg_database WHERE starts_with(datname, '{live}') ORDER BY 1;"
    ))
}

#[test]
fn another_major_version_is_said_in_a_rehearsal_and_in_a_drill() {
    let Some((case, away)) = case("elsewhere") else {
        return;
    };
    let live = case.server.as_ref().expect("a server");
    let said = "the scratch database is on PostgreSQL 18";
    let is_same = live.psql("SHOW server_version;").starts_with("18");
    let output = migrate(&case, &[]).expect_code(0);
    assert_eq!(output.stderr.contains(said), !is_same, "{output}");

    case.query("INSERT INTO books VALUES (4, 1, 'w');");
    let id = case.backup();
    let output = case.project.run(["db", "drill"]).expect_code(0);
    assert_eq!(output.stderr.contains(said), !is_same, "{output}");
    assert!(output.stdout.contains(&id), "{output}");
    assert_eq!(names(&away, live.name()), "");
    assert_eq!(names(live, &format!("{}_", live.name())), "");
}

/// A crash leaves it under the live database's own name there; what is somebody's has no mark.
#[test]
fn what_a_crash_left_there_is_dropped_and_what_is_somebodys_is_not() {
    let Some((case, away)) = case("left_away") else {
        return;
    };
    let live = case.server.as_ref().expect("a server").name().to_owned();
    away.psql(&format!("CREATE DATABASE {live};"));
    away.psql(&format!(
        "COMMENT ON DATABASE {live} IS 'xtask-db: being restored; may be dropped when no session uses it';"
    ));
    says(
        &migrate(&case, &[]).expect_code(0),
        &[&format!(
            "removed `{live}`, which a run that was cut short had left"
        )],
    );
    assert_eq!(names(&away, &live), "");

    away.psql(&format!("CREATE DATABASE {live};"));
    away.cluster()
        .database(&live)
        .psql("CREATE TABLE theirs (id int);");
    case.project.write("migrations/2_more.sql", "SELECT 1;");
    migrate(&case, &[]).expect_code(0);
    case.project.run(["db", "drill"]).expect_code(0);
    assert_eq!(names(&away, &live), live);
    let theirs = away.cluster().database(&live);
    assert_eq!(theirs.psql("SELECT count(*) FROM theirs;"), "0");
    away.psql(&format!("DROP DATABASE {live};"));
}

/// Beside the live database, and on another server: none of them would say what it does there.
#[test]
fn publications_and_subscriptions_do_not_come_along() {
    let Some((mut away, _)) = case("published_away") else {
        return;
    };
    let Some(mut beside) = Case::postgres("published") else {
        return;
    };
    for case in [&mut away, &mut beside] {
        case.query(
            "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION ours FOR TABLE t; \
             CREATE SUBSCRIPTION theirs CONNECTION 'host=127.0.0.1 port=1 dbname=nowhere' \
               PUBLICATION p WITH (connect = false, slot_name = NONE, enabled = false);",
        );
        let live = case.server.as_ref().expect("a server");
        let (name, port) = (live.name(), live.cluster().port());
        let look = format!(
            "DO $$ BEGIN \
               IF (current_database() <> '{name}' OR current_setting('port') <> '{port}') AND \
                  (EXISTS (SELECT FROM pg_publication) OR EXISTS (SELECT FROM pg_subscription s \
                     JOIN pg_database d ON d.oid = s.subdbid WHERE datname = current_database())) \
               THEN RAISE EXCEPTION 'they came along'; END IF; END $$;"
        );
        case.project.write("migrations/1_first.sql", &look);
        let document = case.migrate();
        assert_eq!(document["rehearsal"]["migrations"][0]["version"], json!(1));
        case.project.run(["db", "drill"]).expect_code(0);
        assert_eq!(
            case.query(
                "SELECT pubname FROM pg_publication; SELECT count(*) FROM pg_subscription s \
                JOIN pg_database d ON d.oid = s.subdbid WHERE datname = current_database();"
            ),
            ["ours", "1"]
        );
    }
}
