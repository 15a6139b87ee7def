//! Where others could still write, nothing is begun.

use std::time::{Duration, Instant};

use super::{EXCLUSIVE, FIRST, SETTING, cases, everybody_is_in, on_postgres};
use crate::exec::{self, LIMIT};
use crate::setup::{Case, create_role, says};

#[test]
fn a_role_that_may_not_shut_others_out_is_refused() {
    let Some(case) = on_postgres("not_the_owner", "CREATE TABLE seen (id INT);") else {
        return;
    };
    let admin = case.server.as_ref().expect("a server");
    let role = format!("{}_app", admin.name());
    create_role(admin, &role);
    admin.psql(&format!(
        "GRANT CREATE ON SCHEMA public TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"
    ));
    let app = admin.as_role(&role, crate::cluster::PASSWORD);
    let mut command = case.project.command(EXCLUSIVE);
    command.env("DATABASE_URL", app.url());
    let refused = exec::run(&mut command, None).expect_code(3);
    says(&refused, &["this role may not shut others out", "hint: "]);
    assert_eq!(case.query(SETTING), ["none"]);
}

/// The owner of a database sees of another role's session little more than that it is there.
#[test]
fn a_session_that_cannot_be_ended_is_refused_and_named() {
    let Some((mut case, admin)) = Case::owner("not_to_be_ended") else {
        return;
    };
    case.project = case.project.migration("1_first.sql", FIRST);
    let session = exec::start(&mut admin.psql_command(), Some("SELECT pg_sleep(60);"));
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep';",
        admin.name()
    );
    while admin.psql(&asleep) != "1" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = case.project.run(EXCLUSIVE).expect_code(3);
    says(
        &refused,
        &["others cannot be shut out", "which this role may not end"],
    );
    assert_eq!(case.query(SETTING), ["none"]);
    admin.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database();");
    session.finish();
    case.project.run(EXCLUSIVE).expect_code(0);
}

#[test]
fn what_ends_the_transaction_is_refused_on_sqlite() {
    let case = cases("vacuum", "-- no-transaction\nVACUUM;").remove(0);
    let refused = case.project.run(EXCLUSIVE).expect_code(3);
    says(&refused, &["migration 2 does not run in one transaction"]);
    assert_eq!(
        case.query("SELECT max(version) FROM _sqlx_migrations;"),
        ["1"]
    );
}

/// What can write without a session that could be ended.
#[test]
fn writers_that_are_no_sessions_are_refused_and_named() {
    let Some(case) = on_postgres("no_sessions", "CREATE TABLE seen (id INT);") else {
        return;
    };
    let database = case.server.as_ref().expect("a server");
    let name = database.name();
    create_role(database, &format!("{name}_writer"));
    let own = |value: &str| {
        format!(
            "ALTER ROLE {name}_writer IN DATABASE {name} SET default_transaction_read_only = {value};"
        )
    };
    for (begin, end, said) in [
        (
            format!("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{name}';"),
            format!("ROLLBACK PREPARED '{name}';"),
            format!("the prepared transaction {name}"),
        ),
        (
            format!(
                "CREATE SUBSCRIPTION {name} CONNECTION 'host=/nowhere' PUBLICATION p \
                 WITH (connect = false, slot_name = 's'); ALTER SUBSCRIPTION {name} ENABLE;"
            ),
            format!(
                "ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); \
                 DROP SUBSCRIPTION {name};"
            ),
            format!("the subscription {name}"),
        ),
        // Only in this database: another test would be refused as well.
        (
            own("'OFF'"),
            format!("ALTER ROLE {name}_writer IN DATABASE {name} RESET ALL;"),
            format!("the role {name}_writer, which has a setting of its own"),
        ),
        (
            own("f"),
            format!("ALTER ROLE {name}_writer IN DATABASE {name} RESET ALL;"),
            format!("the role {name}_writer, which has a setting of its own"),
        ),
    ] {
        case.query(&begin);
        let refused = case.project.run(EXCLUSIVE).expect_code(3);
        case.query(&end);
        says(&refused, &["others cannot be shut out", &said, "hint: "]);
        assert_eq!(case.query("SELECT to_regclass('seen') IS NULL;"), ["t"]);
    }
    everybody_is_in(&case);
    case.project.run(EXCLUSIVE).expect_code(0);
}

/// A session has read its settings before anybody can see it.
#[test]
fn a_session_that_is_only_starting_is_waited_for_and_ended() {
    let Some(case) = on_postgres(
        "starting",
        "CREATE TABLE seen AS SELECT count(*) AS n FROM t;",
    ) else {
        return;
    };
    let database = case.server.as_ref().expect("a server");
    let mut command = database.psql_command();
    command.env("PGOPTIONS", "-c post_auth_delay=6");
    let session = exec::start(
        &mut command,
        Some("SELECT pg_sleep(5); INSERT INTO t VALUES (77);"),
    );
    let starting = format!(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.objid \
         WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass \
           AND l.mode = 'RowExclusiveLock' AND d.datname = '{}';",
        database.name()
    );
    let postgres = database.cluster().database("postgres");
    let deadline = Instant::now() + LIMIT;
    while postgres.psql(&starting) == "0" {
        assert!(Instant::now() < deadline, "it does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    case.project.run(EXCLUSIVE).expect_code(0);
    assert_ne!(session.finish().code, 0, "it was not ended");
    assert_eq!(case.query("SELECT count(*) FROM t WHERE id = 77;"), ["0"]);
    everybody_is_in(&case);
}

/// It may be all that knows who is shut out of what.
#[test]
fn a_mark_that_cannot_be_read_is_refused_with_what_to_do() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    case.backup();
    let mark = case.project.vault().join(".exclusive");
    std::fs::write(&mark, "{\"at\":").expect("damage it");
    for verb in [&["db", "backup"][..], &["db", "migrate-safe", "--yes"]] {
        let refused = case.project.run(verb).expect_code(3);
        says(
            &refused,
            &[
                "cannot understand `.exclusive`",
                "hint: ",
                "RESET default_transaction_read_only",
                &format!("rm {}", mark.display()),
            ],
        );
    }
    std::fs::remove_file(mark).expect("as it was said");
    case.backup();
}
