//! Where a scratch database is made, and what becomes of it.

use super::{FIRST, assert_no_scratch, migrate};
use crate::cluster::Cluster;
use crate::setup::{Case, create_role, says, text};

#[test]
fn a_role_that_may_not_create_databases_is_told_what_to_do() {
    let Some((mut case, admin)) = Case::owner("scratch_role") else {
        return;
    };
    case.project = case.project.migration("1_first.sql", FIRST).rehearsed();
    let refused = migrate(&case, &[]).expect_code(3);
    says(
        &refused,
        &[
            "may not create databases",
            "SCRATCH_DATABASE_URL",
            "--no-rehearse",
        ],
    );
    assert_eq!(
        admin.psql("SELECT count(*) FROM pg_tables WHERE tablename = 'books';"),
        "0"
    );
    migrate(&case, &["--no-rehearse"]).expect_code(0);
}

/// In CI, production's role makes a backup and the service container takes the rehearsal.
#[test]
fn a_scratch_server_takes_the_burden() {
    let Some((mut case, _)) = Case::owner("scratch_away") else {
        return;
    };
    let Some(other) = Cluster::own_or_skip("") else {
        return;
    };
    let name = case.server.as_ref().expect("a server").name().to_owned();
    let away = other.create_database("elsewhere");
    // Both stop where the database has another name.
    let by_name = format!(
        "GRANT CONNECT ON DATABASE {name} TO PUBLIC;\n\
         DO $$ BEGIN IF current_database() <> '{name}' THEN \
           RAISE EXCEPTION 'this is %', current_database(); END IF; END $$;"
    );
    case.project = case
        .project
        .migration("1_first.sql", FIRST)
        .migration("2_by_name.sql", &by_name)
        .env("SCRATCH_DATABASE_URL", away.url())
        .rehearsed();
    let document = case.migrate();
    assert_eq!(document["rehearsal"]["migrations"][0]["version"], 1);
    // Its tables belong to a role that is not there.
    case.project = case
        .project
        .migration("3_isbn.sql", "ALTER TABLE books ADD COLUMN isbn TEXT;");
    let document = case.migrate();
    assert_eq!(document["rehearsal"]["migrations"][0]["version"], 3);
    let left = away.psql("SELECT datname FROM pg_database WHERE datname LIKE '%scratch_away%';");
    assert_eq!(left, "", "gone from there");
    assert_no_scratch(&case);
}

/// Where the role may not ask which cluster it is, the same server by another name is not another one.
#[test]
fn another_name_of_the_live_server_is_not_another_server() {
    let Some((mut case, admin)) = Case::owner("scratch_alike") else {
        return;
    };
    let role = format!("{}_owner", admin.name());
    admin.psql(&format!(
        "ALTER ROLE {role} CREATEDB CREATEROLE; \
         REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC;"
    ));
    let same = case.server.as_ref().expect("a server").url_tcp();
    case.project = (case.project)
        .migration("1_role.sql", &format!("CREATE ROLE {role}_new;"))
        .env("SCRATCH_DATABASE_URL", same)
        .rehearsed();
    let refused = migrate(&case, &[]).expect_code(3);
    says(
        &refused,
        &[
            "a rehearsal would do more than its scratch database can undo",
            "--rehearse-reaching",
        ],
    );
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}_new';");
    assert_eq!(admin.psql(&roles), "0");
    case.project.run(["db", "drill"]).expect_code(0);
}

/// A mistake in the URL says nothing of the backup, and shows before one is taken.
#[test]
fn a_scratch_url_of_another_engine_is_wrong_usage() {
    let Some(mut case) = Case::postgres("scratch_engine") else {
        return;
    };
    case.project = (case.project)
        .migration("1_first.sql", FIRST)
        .env("SCRATCH_DATABASE_URL", "sqlite://scratch.db");
    for verb in [&["db", "migrate-safe", "--yes"][..], &["db", "drill"]] {
        let refused = case.project.run(verb).expect_code(2);
        says(
            &refused,
            &["`SCRATCH_DATABASE_URL` is not a PostgreSQL URL"],
        );
    }
    assert!(case.project.vault_files().is_empty());
    // Nor does one that leads nowhere.
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    case.project = case.project.env("SCRATCH_DATABASE_URL", nowhere);
    let failed = migrate(&case, &[]).expect_code(1);
    says(&failed, &["cannot connect to"]);
    assert!(!failed.stderr.contains("does not come back"), "{failed}");
    migrate(&case, &["--no-rehearse"]).expect_code(0);
}

#[test]
fn what_a_crash_left_is_named_and_dropped_by_the_next_run() {
    let Some(mut case) = Case::postgres("scratch_left") else {
        return;
    };
    case.project = case.project.migration("1_first.sql", FIRST);
    let database = case.server.as_ref().expect("a server");
    let left = format!("{}_scratch_20260123143052", database.name());
    let foreign = format!("{}_scratch_20260123143053", database.name());
    database.psql(&format!("CREATE DATABASE {left};"));
    database.psql(&format!(
        "COMMENT ON DATABASE {left} IS 'xtask-db: being restored; may be dropped when no session uses it';"
    ));
    database.psql(&format!("CREATE DATABASE {foreign};"));
    database.psql(&format!(
        "COMMENT ON DATABASE {foreign} IS 'somebody made this';"
    ));
    let status = case.project.run(["db", "status"]).expect_code(0);
    assert!(status.stdout.contains(&format!("`{left}`")), "{status}");

    let output = migrate(&case, &[]).expect_code(0);
    says(&output, &[&format!("removed `{left}`")]);
    let names =
        database.psql("SELECT datname FROM pg_database WHERE datname LIKE '%scratch_left%';");
    assert!(
        !names.contains(&left) && names.contains(&foreign),
        "{names}"
    );
    database.psql(&format!("DROP DATABASE {foreign};"));
}

/// Its own role, who may create databases and is no superuser.
#[test]
fn a_role_with_createdb_rehearses_beside() {
    let Some((mut case, admin)) = Case::owner("scratch_createdb") else {
        return;
    };
    admin.psql(&format!("ALTER ROLE {}_owner CREATEDB;", admin.name()));
    case.project = case.project.migration("1_first.sql", FIRST).rehearsed();
    let document = case.migrate();
    assert_eq!(text(&document, "/outcome"), "migrated");
    assert!(document["rehearsal"].is_object(), "{document:#}");
    assert_no_scratch(&case);
    // What belongs to somebody else cannot be made by this role.
    create_role(&admin, &format!("{}_other", admin.name()));
    admin.psql(&format!("CREATE TABLE theirs (id int); ALTER TABLE theirs OWNER TO {0}_other; GRANT SELECT ON theirs TO {0}_owner;", admin.name()));
    case.project = case.project.migration("2_second.sql", "SELECT 1;");
    let refused = migrate(&case, &[]).expect_code(3);
    says(&refused, &["theirs", "SCRATCH_DATABASE_URL"]);
}

/// As `pg_dump` writes it, and as `sqlx migrate run` fails on it as well.
#[test]
fn a_migration_that_empties_the_search_path_is_told_to_set_it_back() {
    let Some(case) = Case::postgres("search_path") else {
        return;
    };
    let empties = "SELECT pg_catalog.set_config('search_path', '', false);\n\
        CREATE TABLE public.things (id int);\n";
    case.project.write("migrations/1_things.sql", empties);
    let refused = migrate(&case, &[]).expect_code(3);
    says(
        &refused,
        &[
            "without the `search_path` in which sqlx finds its table `_sqlx_migrations`",
            "hint: end the migration with `RESET search_path;`",
        ],
    );
    let resets = format!("{empties}RESET search_path;\n");
    case.project.write("migrations/1_things.sql", &resets);
    migrate(&case, &[]).expect_code(0);
}
