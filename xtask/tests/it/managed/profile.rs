//! Which platform a database is on: said, or known by the host.

use serde_json::Value;

use crate::project::Project;
use crate::setup::{Case, says};

#[track_caller]
fn setting(project: &Project, more: &[&str]) -> (Value, Value) {
    let document = project.json([&["db", "config"], more].concat());
    let settings = document["settings"].as_array().expect("settings");
    let found = settings.iter().find(|s| s["setting"] == "postgres.profile");
    let found = found.expect("the profile");
    (found["value"].clone(), found["from"].clone())
}

fn pair(value: &str, from: &str) -> (Value, Value) {
    (value.into(), from.into())
}

#[test]
fn a_platform_is_known_by_its_hosts() {
    let hosts = [
        ("db.abcdefgh.supabase.co", "supabase"),
        ("AWS-0-eu-central-1.pooler.supabase.com:5432", "supabase"),
        ("ep-cool-name-123456.eu-central-1.aws.neon.tech", "neon"),
        (
            "ep-cool-name.us-east-1.postgres.vercel-storage.com",
            "vercel",
        ),
        ("shop.abc123.eu-west-1.rds.amazonaws.com", "rds"),
        ("a.neon.tech,b.neon.tech", "neon"),
    ];
    for (host, profile) in hosts {
        let project = Project::new().database_url(&format!("postgres://me@{host}/shop"));
        assert_eq!(setting(&project, &[]), pair(profile, "host"));
        // What somebody says counts more.
        assert_eq!(
            setting(&project, &["--profile", "none"]),
            pair("none", "flag")
        );
        let shown = project.run(["db", "config"]).expect_code(0);
        assert!(shown.stdout.contains("by the host"), "{shown}");
    }
    let others = [
        "supabase.co.invalid",
        "notsupabase.co",
        "a.neon.tech,b.invalid",
        "blob.vercel-storage.com",
        "localhost",
    ];
    for host in others {
        let project = Project::new().database_url(&format!("postgres://me@{host}/shop"));
        assert_eq!(
            setting(&project, &[]),
            (Value::Null, "default".into()),
            "{host}"
        );
    }
}

#[test]
fn it_is_said_like_any_other_setting() {
    let project = Project::new();
    assert_eq!(setting(&project, &[]), (Value::Null, "default".into()));
    project.write("database/db.toml", "[postgres]\nprofile = \"neon\"\n");
    assert_eq!(setting(&project, &[]), pair("neon", "file"));
    let project = project.env("XTASK_DB_PROFILE", "Supabase");
    assert_eq!(setting(&project, &[]), pair("Supabase", "environment"));
    assert_eq!(
        setting(&project, &["--profile", "rds"]),
        pair("rds", "flag")
    );
    let output = project
        .run(["db", "config", "--profile", "supabas"])
        .expect_code(2);
    says(
        &output,
        &[
            "`--profile` cannot be used",
            "`none`, `supabase`, `neon`, `vercel`, `rds`",
            "is `supabase` meant?",
        ],
    );
    let output = project
        .run(["db", "config", "--profile", "hunter2@x"])
        .expect_code(2);
    assert!(!output.stderr.contains("hunter2"), "{output}");
}

/// SQLite has no platform.
#[test]
fn it_means_nothing_for_sqlite() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1);");
    let taken = case.project.json(["db", "backup", "--profile", "supabase"]);
    assert!(taken["backup"]["platform"].is_null(), "{taken}");
    assert_eq!(taken["backup"]["format"], 1);
    case.restore("latest");
}

/// A platform that has nothing in the database, or nothing yet, takes nothing out of a backup.
#[test]
fn where_the_platform_owns_nothing_a_backup_is_as_any_other() {
    for profile in ["rds", "neon", "vercel", "supabase"] {
        let Some((case, admin)) = Case::owner(&format!("owns_nothing_{profile}")) else {
            return;
        };
        admin.psql(&format!(
            "GRANT ALL ON SCHEMA public TO {}_owner;",
            admin.name()
        ));
        case.query("CREATE TABLE t (id int); INSERT INTO t VALUES (1);");
        let taken = case.project.json(["db", "backup", "--profile", profile]);
        assert!(taken["backup"]["platform"].is_null(), "{taken}");
        assert_eq!(taken["backup"]["format"], 1);
        case.query("DELETE FROM t;");
        case.project
            .run(["db", "restore", "latest", "--yes", "--profile", profile])
            .expect_code(0);
        assert_eq!(case.query("SELECT id FROM t"), ["1"]);
    }
}

/// Neon's own sign-in keeps users beside what is the application's.
#[test]
fn on_neon_its_users_stay() {
    let Some((case, admin)) = Case::owner("neon_auth") else {
        return;
    };
    let role = format!("{}_owner", admin.name());
    admin.psql(&format!(
        "CREATE SCHEMA neon_auth; CREATE TABLE neon_auth.users_sync (id text PRIMARY KEY, name text); \
         INSERT INTO neon_auth.users_sync VALUES ('ada', 'Ada'); GRANT ALL ON SCHEMA public TO {role}; \
         GRANT USAGE ON SCHEMA neon_auth TO {role}; GRANT REFERENCES, SELECT ON neon_auth.users_sync TO {role};"
    ));
    case.query("CREATE TABLE notes (author text REFERENCES neon_auth.users_sync); INSERT INTO notes VALUES ('ada');");
    for profile in ["neon", "vercel"] {
        let taken = case.project.json(["db", "backup", "--profile", profile]);
        assert_eq!(
            taken["backup"]["platform"]["schemas"],
            serde_json::json!(["neon_auth"])
        );
        admin.psql(&format!(
            "INSERT INTO neon_auth.users_sync VALUES ('{profile}');"
        ));
        case.query("DELETE FROM notes;");
        case.project
            .run(["db", "restore", "latest", "--yes", "--profile", profile])
            .expect_code(0);
        assert_eq!(case.query("SELECT author FROM notes"), ["ada"]);
    }
    assert_eq!(admin.psql("SELECT count(*) FROM neon_auth.users_sync"), "3");
}

/// A backup of all of it is restored as such, whatever is left out by now: what that drops must be in
/// the safety backup.
#[test]
fn a_backup_from_before_the_profile_is_of_the_platforms_part_too() {
    let Some((case, _)) = Case::owner("neon_late") else {
        return;
    };
    case.query(
        "CREATE SCHEMA neon_auth; CREATE TABLE neon_auth.users (id int); CREATE TABLE t (id int); \
         INSERT INTO neon_auth.users VALUES (1); INSERT INTO t VALUES (1);",
    );
    case.backup();
    case.query("INSERT INTO neon_auth.users VALUES (2);");
    let run = |arguments: &[&str]| {
        let arguments = [&["db", "restore", "--yes", "--profile", "neon"], arguments].concat();
        case.project.run(arguments).expect_code(0)
    };
    let users = || {
        case.query("SELECT id FROM neon_auth.users ORDER BY id")
            .join(" ")
    };
    let output = run(&["latest"]);
    says(
        &output,
        &["\n neon_auth.users                   1         2\n"],
    );
    assert_eq!(users(), "1");
    run(&["--undo"]);
    assert_eq!(users(), "1 2");
}
