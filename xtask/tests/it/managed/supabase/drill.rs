//! Built beside, on what stands in for the platform's part.

use super::{ADA, EVE, Supabase};
use crate::cluster::{Cluster, PASSWORD};
use crate::setup::{says, text};

/// The day of a user: planned, rehearsed, migrated, and taken back while others signed up.
#[test]
fn a_migration_is_rehearsed_and_taken_back() {
    let Some(supabase) = Supabase::or_skip("supabase_day") else {
        return;
    };
    supabase.case.project.write(
        "migrations/1_bio.sql",
        "-- expect-loss: auth.users\n\
         ALTER TABLE profiles ADD COLUMN bio TEXT;\n\
         ALTER TABLE profiles DROP CONSTRAINT profiles_id_fkey;\n\
         CREATE POLICY own_bio ON profiles FOR UPDATE TO authenticated USING (auth.uid() = id);\n\
         CREATE TABLE posts (author UUID REFERENCES auth.users);\n\
         INSERT INTO posts SELECT id FROM auth.users;\n",
    );
    let before = supabase.platform();
    let output = supabase
        .run(&["migrate-safe", "--yes", "--json"])
        .expect_code(0);
    let document = output.json();
    assert_eq!(document["backup"]["format"], 3);
    let rehearsed = &document["rehearsal"]["migrations"];
    assert_eq!(rehearsed.as_array().map(Vec::len), Some(1), "{document:#}");
    supabase.sign_up(EVE);
    assert_eq!(supabase.admin.psql("SELECT count(*) FROM posts"), "2");
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(
        supabase.users(),
        "a@example.org b@example.org e@example.org"
    );
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
    assert_eq!(supabase.seen_by(ADA), "a@example.org");
    assert_eq!(supabase.platform(), before);
    let key = "SELECT confrelid::regclass FROM pg_constraint WHERE conname = 'profiles_id_fkey'";
    assert_eq!(supabase.admin.psql(key), "auth.users");
    supabase
        .run(&["migrate-safe", "--yes", "--exclusive"])
        .expect_code(0);
}

#[test]
fn what_would_lose_rows_or_fail_is_stopped_before_the_live_database() {
    let Some(supabase) = Supabase::or_skip("supabase_stopped") else {
        return;
    };
    let before = supabase.platform();
    supabase
        .case
        .project
        .write("migrations/1_gone.sql", "DELETE FROM orders;\n");
    let output = supabase.run(&["migrate-safe", "--yes"]).expect_code(3);
    says(&output, &["orders"]);
    // The trigger on a table of the platform needs it.
    supabase.case.project.write(
        "migrations/1_gone.sql",
        "DROP FUNCTION public.handle_new_user();\n",
    );
    let output = supabase.run(&["migrate-safe", "--yes"]);
    assert_ne!(output.code, 0, "{output}");
    says(&output, &["on_auth_user_created", "rehearsal"]);
    assert_eq!(supabase.platform(), before);
    assert_eq!(supabase.admin.psql("SELECT count(*) FROM orders"), "2");
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'supabase_stopped%'";
    assert_eq!(supabase.admin.psql(left), "1");
}

#[test]
fn a_backup_is_drilled_by_one_or_several_sessions() {
    let Some(supabase) = Supabase::or_skip("supabase_drill") else {
        return;
    };
    // Which the role cannot make itself.
    supabase
        .admin
        .psql("CREATE EXTENSION pageinspect SCHEMA public;");
    for more in [&["--fingerprint"][..], &["--jobs", "2"]] {
        let taken = supabase
            .run(&[&["backup", "--json"], more].concat())
            .expect_code(0)
            .json();
        let id = text(&taken, "/backup/id").to_owned();
        // What the platform does meanwhile, and what it takes away, is not in the way.
        supabase.sign_up(EVE);
        let output = supabase.run(&["drill", &id]).expect_code(0);
        let missing = output.stderr.matches("not in the scratch database").count();
        assert_eq!(missing, 2, "{output}");
        says(
            &output,
            &[
                "the extension pageinspect is not in the scratch database",
                "the extension pg_stat_statements is not in the scratch database",
            ],
        );
        supabase.run(&["restore", &id, "--yes"]).expect_code(0);
        assert_eq!(supabase.profiles(), "a@example.org b@example.org");
        supabase
            .admin
            .psql(&format!("DELETE FROM auth.users WHERE id = '{EVE}';"));
    }
}

/// A server of the user's own, with the roles that policies are for.
#[test]
fn another_server_does_as_well() {
    let Some(supabase) = Supabase::or_skip("supabase_scratch") else {
        return;
    };
    let Some(other) = Cluster::quiet_or_skip() else {
        return;
    };
    let url = other.database("postgres").url();
    let drill = |supabase: &Supabase| {
        let mut command = supabase.case.project.command(["db", "drill", "latest"]);
        crate::exec::run(command.env("SCRATCH_DATABASE_URL", &url), None)
    };
    supabase.run(&["backup"]).expect_code(0);
    let output = drill(&supabase);
    assert_ne!(output.code, 0, "{output}");
    says(&output, &["the server lacks a role that the backup needs"]);
    other
        .database("postgres")
        .psql("CREATE ROLE anon; CREATE ROLE authenticated;");
    drill(&supabase).expect_code(0);
}

/// What of the user's needs is no longer there: the error says on what it was built.
#[test]
fn what_the_platform_took_away_is_missed() {
    let Some(supabase) = Supabase::or_skip("supabase_missed") else {
        return;
    };
    supabase.run(&["backup"]).expect_code(0);
    supabase.admin.psql("DROP FUNCTION auth.uid() CASCADE;");
    let output = supabase.run(&["drill", "latest"]);
    assert_ne!(output.code, 0, "{output}");
    says(
        &output,
        &[
            "auth.uid() does not exist",
            "what is supabase's (auth, extensions, storage, vault; the extensions ",
            ", as far as the role can) was made as the live database describes it",
        ],
    );
    assert!(!output.stderr.contains(PASSWORD), "{output}");
}
