//! A rehearsal does nothing beyond its scratch database, unless somebody says so.

use super::{assert_no_scratch, cases, migrate};
use crate::cluster::Cluster;
use crate::exec;
use crate::setup::{Case, says, versions};

#[test]
fn what_a_scratch_database_cannot_undo_is_not_rehearsed_beside() {
    let Some(mut case) = Case::postgres("reaching") else {
        return;
    };
    let role = format!(
        "{}_reporting",
        case.server.as_ref().expect("a server").name()
    );
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}';");
    case.project = case.project.migration(
        "1_role.sql",
        &format!("CREATE TABLE a (id int);\nCREATE ROLE {role};"),
    );
    let refused = migrate(&case, &[]).expect_code(3);
    says(
        &refused,
        &[
            &format!("1 line 2: CREATE ROLE {role}"),
            "restoring will not undo this",
            "SCRATCH_DATABASE_URL",
            "--rehearse-reaching",
        ],
    );
    assert_eq!(case.query(&roles), ["0"]);

    // The same cluster under another name is not another server.
    let same = case
        .server
        .as_ref()
        .expect("a server")
        .cluster()
        .create_database("same");
    case.project = case.project.env("SCRATCH_DATABASE_URL", same.url_tcp());
    migrate(&case, &[]).expect_code(3);
    assert_eq!(case.query(&roles), ["0"]);

    let Some(other) = Cluster::own_or_skip("") else {
        return;
    };
    let away = other.create_database("away");
    case.project = case.project.env("SCRATCH_DATABASE_URL", away.url());
    migrate(&case, &[]).expect_code(0);
    assert_eq!(
        case.query(&roles),
        ["1"],
        "a rehearsal did not make the live run fail"
    );
    away.psql(&format!("DROP ROLE {role};"));
    case.query(&format!("DROP ROLE {role};"));
}

#[test]
fn a_file_beside_is_not_attached_twice_without_a_word() {
    let case = cases(
        "",
        "ATTACH 'beside.db' AS beside; CREATE TABLE beside.t (id INTEGER);",
    )
    .remove(0);
    says(
        &migrate(&case, &[]).expect_code(3),
        &["2 line 1: ATTACH", "--rehearse-reaching"],
    );
    assert!(!case.project.path().join("beside.db").exists());
}

/// With a COMMIT of its own it runs as it would on the live database.
#[test]
fn a_migration_that_commits_itself_is_rehearsed_as_it_will_run() {
    let Some(mut case) = Case::postgres("commits") else {
        return;
    };
    case.project = case.project.migration(
        "1_commits.sql",
        "CREATE TABLE a (id int); COMMIT; BEGIN; INSERT INTO a VALUES (1);",
    );
    let document = case.migrate();
    assert_eq!(document["rehearsal"]["migrations"][0]["version"], 1);
    assert_eq!(case.query("SELECT count(*) FROM a;"), ["1"]);
}

#[test]
fn a_migration_that_deletes_its_own_history_is_found_out() {
    for case in cases(
        "bookkeeping",
        "DELETE FROM _sqlx_migrations WHERE version = 1;",
    ) {
        let refused = migrate(&case, &[]).expect_code(3);
        says(&refused, &["this is where sqlx keeps its history"]);
        assert_eq!(case.query("SELECT count(*) FROM _sqlx_migrations;"), ["1"]);
    }
}

/// What is put together at run time, and functions that were made before, show nothing in the file.
const BY_ITSELF: [(&str, &str); 9] = [
    ("CREATE ROLE {}_new", "role {}_new"),
    ("DROP ROLE {}_b", "role {}_b"),
    ("ALTER ROLE {}_a PASSWORD ''new''", "pg_authid"),
    ("ALTER ROLE {}_a CREATEDB", "role {}_a"),
    ("GRANT {}_a TO {}_b", "membership of {}_b in {}_a"),
    ("ALTER ROLE {}_a SET work_mem = ''5MB''", "settings of {}_a"),
    ("ALTER DATABASE {} SET work_mem = ''5MB''", "settings of {}"),
    ("GRANT CREATE ON DATABASE {} TO {}_a", "database {}"),
    ("COMMENT ON ROLE {}_a IS ''new''", "comment on a role"),
];

#[test]
fn what_does_not_show_in_the_file_is_taken_back_and_refused() {
    let Some(case) = Case::postgres("unseen") else {
        return;
    };
    let name = case.server.as_ref().expect("a server").name().to_owned();
    case.query(
        "CREATE FUNCTION run(sql text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE sql; END $$;",
    );
    case.query(&format!("CREATE ROLE {name}_a; CREATE ROLE {name}_b;"));
    let state = "SELECT r, d.datacl, s.setconfig, m.roleid, \
          (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_authid r \
        LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid \
        LEFT JOIN pg_auth_members m ON m.member = r.oid, pg_database d \
        WHERE r.rolname LIKE current_database() || '%' AND d.datname = current_database() \
        ORDER BY r.rolname;";
    let before = case.query(state);
    for (sql, named) in BY_ITSELF {
        let sql = sql.replace("{}", &name);
        let file = match sql.contains("_new") {
            true => format!("DO $$ DECLARE s text := '{sql}'; BEGIN EXECUTE s; END $$;"),
            false => format!("SELECT run('{sql}');"),
        };
        case.project.write("migrations/1_hidden.sql", &file);
        let refused = migrate(&case, &[]).expect_code(3);
        says(
            &refused,
            &[
                "migration 1 changes what all databases of the server share",
                &named.replace("{}", &name),
                "SCRATCH_DATABASE_URL",
                "--rehearse-reaching",
            ],
        );
        assert_eq!(case.query(state), before, "{file}");
        assert_no_scratch(&case);
    }
    // It is the rehearsal that would be in the way of the live run.
    let file = format!("SELECT run('CREATE ROLE {name}_new');");
    case.project.write("migrations/1_hidden.sql", file);
    migrate(&case, &["--no-rehearse"]).expect_code(0);
    case.query(&format!(
        "DROP ROLE {name}_new; DROP ROLE {name}_b; DROP ROLE {name}_a;"
    ));
}

/// A table, and a function that a trigger of it may call.
fn makes_role(role: &str) -> String {
    format!(
        "CREATE TABLE t (id int); \
         CREATE FUNCTION make_role() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           EXECUTE 'CREATE ROLE {role}'; RETURN NULL; END $$;"
    )
}

/// Behind a savepoint `SET TRANSACTION` may say nothing new: without one it would be for real.
#[test]
fn what_sets_its_own_transaction_is_watched_all_the_same() {
    let Some(case) = Case::postgres("isolated") else {
        return;
    };
    let role = format!("{}_new", case.server.as_ref().expect("a server").name());
    case.query(&format!(
        "{} CREATE TRIGGER makes_role AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION make_role();",
        makes_role(&role)
    ));
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}';");
    let insert = "INSERT INTO t VALUES (1);";
    for begin in [
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
        "SET LOCAL transaction_isolation = 'repeatable read';",
        "SET TRANSACTION READ WRITE, ISOLATION LEVEL READ COMMITTED;",
    ] {
        case.project
            .write("migrations/1_hidden.sql", format!("{begin} {insert}"));
        let refused = migrate(&case, &[]).expect_code(3);
        says(
            &refused,
            &[
                "migration 1 changes what all databases of the server share",
                &format!("role {role}"),
            ],
        );
        assert_eq!(case.query(&roles), ["0"], "{begin}");
    }
    // What can be rehearsed in no transaction of ours is not rehearsed without one.
    let begin = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, DEFERRABLE;";
    case.project
        .write("migrations/1_hidden.sql", format!("{begin} {insert}"));
    let refused = migrate(&case, &[]).expect_code(3);
    says(&refused, &["SCRATCH_DATABASE_URL", "--rehearse-reaching"]);
    assert_eq!(case.query(&roles), ["0"]);
    assert_no_scratch(&case);

    case.project.write(
        "migrations/1_hidden.sql",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; ALTER TABLE t ADD COLUMN more int;",
    );
    let document = case.migrate();
    let locks = document["rehearsal"]["migrations"][0]["locks"].to_string();
    assert!(locks.contains("t: AccessExclusiveLock"), "{document:#}");
}

/// What is put off to the end is done before it is looked at.
#[test]
fn what_a_deferred_trigger_does_is_taken_back_as_well() {
    let Some(mut case) = Case::postgres("deferred_role") else {
        return;
    };
    let role = format!("{}_new", case.server.as_ref().expect("a server").name());
    case.query(&format!(
        "{} CREATE CONSTRAINT TRIGGER makes_role AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED \
           FOR EACH ROW EXECUTE FUNCTION make_role();",
        makes_role(&role)
    ));
    case.project = (case.project).migration("1_put_off.sql", "INSERT INTO t VALUES (1);");
    let refused = migrate(&case, &[]).expect_code(3);
    says(&refused, &[&format!("role {role}"), "SCRATCH_DATABASE_URL"]);
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}';");
    assert_eq!(case.query(&roles), ["0"]);
    assert_no_scratch(&case);
}

/// Nothing can be taken back of a migration that commits by itself.
#[test]
fn what_is_not_understood_and_commits_by_itself_needs_a_word() {
    let Some(mut case) = Case::postgres("unwatched") else {
        return;
    };
    let hidden = "DO $$ DECLARE s text := 'CREATE TABLE a (id int)'; BEGIN EXECUTE s; END $$;";
    case.project = (case.project).migration("1_a.sql", &format!("-- no-transaction\n{hidden}"));
    says(
        &migrate(&case, &[]).expect_code(3),
        &["1 line 2: ", "not understood", "--rehearse-reaching"],
    );
    migrate(&case, &["--rehearse-reaching"]).expect_code(0);
    (case.project).write("migrations/2_b.sql", hidden.replace("TABLE a", "TABLE b"));
    migrate(&case, &[]).expect_code(0);
}

/// It stays, and is not met by the live run.
#[test]
fn what_a_migration_that_commits_by_itself_leaves_is_named() {
    let Some(case) = Case::postgres("left_behind") else {
        return;
    };
    let name = case.server.as_ref().expect("a server").name();
    let role = format!("{name}_new");
    case.query(&format!(
        "CREATE FUNCTION make_role() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
           EXECUTE 'CREATE ROLE {role}'; END $$;"
    ));
    for file in [
        "-- no-transaction\nSELECT make_role();",
        "CREATE TABLE a (id int); COMMIT; SELECT make_role(); BEGIN;",
    ] {
        case.project.write("migrations/1_own.sql", file);
        let refused = migrate(&case, &[]).expect_code(3);
        says(
            &refused,
            &[
                "migration 1 commits by itself",
                &format!("the live database is as it was: role {role}\n"),
                "SCRATCH_DATABASE_URL",
            ],
        );
        assert_eq!(
            versions(&case.project.json(["db", "status"])["pending"]),
            [1]
        );
        case.query(&format!("DROP ROLE {role};"));
        assert_no_scratch(&case);
    }
    let sleep = "-- no-transaction\nSELECT pg_sleep(1);";
    case.project.write("migrations/1_own.sql", sleep);
    let arguments = ["db", "migrate-safe", "--yes"];
    let mut running = exec::start(&mut case.project.command(arguments), None);
    for at in 0.. {
        if running.has_ended() {
            break;
        }
        case.query(&format!("CREATE ROLE {name}_other_{at};"));
    }
    running.finish().expect_code(0);
    case.query(&format!(
        "DO $$ DECLARE r text; BEGIN FOR r IN SELECT rolname FROM pg_roles \
           WHERE starts_with(rolname, '{name}_other') LOOP EXECUTE 'DROP ROLE ' || r; END LOOP; END $$;"
    ));
}

/// Others make roles and databases meanwhile; and what is about the scratch database goes with it.
#[test]
fn what_others_change_meanwhile_is_not_laid_at_its_door() {
    let Some(mut case) = Case::postgres("meanwhile") else {
        return;
    };
    let own = "DO $$ DECLARE a text := 'ALTER DATABASE %I SET work_mem = %L'; \
          b text := 'GRANT CONNECT ON DATABASE %I TO PUBLIC'; \
        BEGIN EXECUTE format(a, current_database(), '5MB'); \
          EXECUTE format(b, current_database()); END $$; SELECT pg_sleep(1);";
    case.project = case.project.migration("1_own.sql", own);
    let arguments = ["db", "migrate-safe", "--yes"];
    let mut running = exec::start(&mut case.project.command(arguments), None);
    let database = case.server.as_ref().expect("a server");
    let role = format!("{}_other", database.name());
    while !running.has_ended() {
        database.psql(&format!(
            "CREATE ROLE {role}; ALTER ROLE {role} SET work_mem = '6MB';"
        ));
        database.psql(&format!("DROP ROLE {role};"));
    }
    running.finish().expect_code(0);
    let settings = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d \
        ON d.oid = s.setdatabase WHERE datname = current_database();";
    assert_eq!(case.query(settings), ["{work_mem=5MB}"]);
}
