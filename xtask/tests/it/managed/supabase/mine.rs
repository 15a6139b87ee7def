//! What a user has where it looks like the platform's, and the platform's where it looks like a user's.

use super::{Supabase, tables};
use crate::setup::says;

/// A user may take a name that is on the platform's list.
#[test]
fn a_schema_of_the_users_is_the_users_whatever_it_is_called() {
    let Some(supabase) = Supabase::or_skip("supabase_etl") else {
        return;
    };
    supabase.case.query(
        "CREATE SCHEMA etl; CREATE TABLE etl.jobs (id INT); INSERT INTO etl.jobs VALUES (1), (2);",
    );
    let taken = supabase.run(&["backup", "--json"]).expect_code(0).json();
    let manifest = &taken["backup"];
    assert!(
        tables(&manifest["tables"]).contains(&"etl.jobs".to_owned()),
        "{manifest:#}"
    );
    let schemas = manifest["platform"]["schemas"].to_string();
    assert_eq!(schemas, r#"["auth","extensions","storage","vault"]"#);
    let diff = supabase.run(&["diff", "latest", "live"]).expect_code(0);
    assert!(diff.stdout.contains("nothing differs"), "{diff}");
    let (project, migration) = (&supabase.case.project, "migrations/1_gone.sql");
    project.write(migration, "DROP TABLE etl.jobs;");
    let output = supabase.run(&["migrate-safe", "--yes"]).expect_code(3);
    says(&output, &["etl.jobs: the table is dropped, with 2 rows"]);
    supabase.case.query("DROP SCHEMA etl CASCADE;");
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.admin.psql("SELECT count(*) FROM etl.jobs"), "2");
    // Once somebody else has a table in it, it is taken for theirs.
    supabase.admin.psql("CREATE TABLE etl.of_admin (id INT);");
    let taken = supabase.run(&["backup", "--json"]).expect_code(0);
    assert!(
        taken.json()["backup"]["platform"]["schemas"]
            .to_string()
            .contains("etl")
    );
    says(&taken, &["yours and not in the backup: table etl.jobs"]);
}

/// An administrator makes it where the user wants it.
#[test]
fn an_extension_in_a_schema_of_the_users_is_not_in_the_way() {
    let Some(supabase) = Supabase::or_skip("supabase_gis") else {
        return;
    };
    supabase
        .case
        .query("CREATE SCHEMA gis; CREATE TABLE gis.mine (id INT);");
    supabase.admin.psql("CREATE EXTENSION citext SCHEMA gis;");
    supabase.case.query(
        "CREATE TABLE words (word gis.citext); INSERT INTO words VALUES ('a'), ('b'); \
         GRANT USAGE ON SCHEMA gis TO anon;",
    );
    supabase.run(&["backup"]).expect_code(0);
    supabase.run(&["drill", "latest"]).expect_code(0);
    let project = &supabase.case.project;
    project.write(
        "migrations/1_more.sql",
        "CREATE TABLE more (word gis.citext);",
    );
    supabase.run(&["migrate-safe", "--yes"]).expect_code(0);
    supabase
        .case
        .query("DELETE FROM words; DROP TABLE gis.mine;");
    let before = supabase.platform();
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.platform(), before);
    assert_eq!(
        supabase.admin.psql(
            "SELECT string_agg(word, ' ' ORDER BY word), to_regclass('gis.mine'), \
               to_regclass('more') IS NULL, has_schema_privilege('anon', 'gis', 'USAGE'), \
               has_schema_privilege('service_role', 'gis', 'USAGE') FROM words"
        ),
        "a b|gis.mine|t|t|f"
    );
}

/// As `pg_cron` and `pgmq` keep what users put there.
#[test]
fn rows_in_tables_of_extensions_are_said_to_stay() {
    let Some(supabase) = Supabase::or_skip("supabase_cron") else {
        return;
    };
    // One that the user's role cannot make.
    supabase.admin.psql(
        "CREATE EXTENSION pageinspect SCHEMA pg_catalog; \
         CREATE SCHEMA cron; CREATE TABLE cron.job (id INT, command TEXT); \
         CREATE TABLE cron.queue (id INT); CREATE TABLE cron.empty (id INT); \
         GRANT USAGE ON SCHEMA cron TO postgres; GRANT ALL ON ALL TABLES IN SCHEMA cron TO postgres; \
         ALTER EXTENSION pageinspect ADD SCHEMA cron; ALTER EXTENSION pageinspect ADD TABLE cron.job; \
         ALTER EXTENSION pageinspect ADD TABLE cron.queue; \
         ALTER EXTENSION pageinspect ADD TABLE cron.empty; \
         UPDATE pg_extension SET extconfig = ARRAY['cron.job'::regclass::oid], extcondition = ARRAY[''] \
           WHERE extname = 'pageinspect';",
    );
    supabase
        .case
        .query("INSERT INTO cron.job VALUES (1, 'nightly'); INSERT INTO cron.queue VALUES (1);");
    let output = supabase.run(&["backup"]).expect_code(0);
    says(
        &output,
        &[
            "rows in tables of extensions do not come back with a restore: cron.job of pageinspect \
             (in the dump, and left as it is); cron.queue of pageinspect (not in the dump)",
        ],
    );
    assert!(!output.stderr.contains("cron.empty"), "{output}");
    let output = supabase.run(&["drill", "latest"]).expect_code(0);
    says(
        &output,
        &["the extension pageinspect is not in the scratch database"],
    );
    let project = &supabase.case.project;
    project.write("migrations/1_more.sql", "CREATE TABLE more (id INT);");
    supabase.run(&["migrate-safe", "--yes"]).expect_code(0);
    supabase.case.query("UPDATE cron.job SET id = 2;");
    let output = supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    says(&output, &["stays as it is", "TABLE DATA cron job"]);
    assert_eq!(supabase.admin.psql("SELECT id FROM cron.job"), "2");
    // Without a profile it is built anew by a superuser, who has the rows of the one table.
    let all = crate::setup::Case::of(supabase.admin.clone());
    let output = all.project.run(["db", "backup"]).expect_code(0);
    says(&output, &["cron.queue of pageinspect (not in the dump)"]);
    assert!(!output.stderr.contains("cron.job"), "{output}");
}

/// Also what is no table and no function.
#[test]
fn all_that_stays_in_the_platforms_schemas_is_named() {
    let Some(supabase) = Supabase::or_skip("supabase_stays") else {
        return;
    };
    supabase.case.query(
        "CREATE TYPE extensions.mood AS ENUM ('ok'); CREATE SEQUENCE extensions.numbers; \
         CREATE FUNCTION extensions.seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER seen AFTER UPDATE ON auth.users FOR EACH ROW EXECUTE FUNCTION extensions.seen();",
    );
    let output = supabase.run(&["backup"]).expect_code(0);
    says(
        &output,
        &[
            "not in the backup: function extensions.seen(); sequence extensions.numbers; \
             trigger seen on table auth.users; type extensions.mood",
        ],
    );
    assert!(!output.stderr.contains("trigger token"), "{output}");
}

#[test]
fn a_key_that_only_stands_in_is_said_to_be_one() {
    let Some(supabase) = Supabase::or_skip("supabase_key") else {
        return;
    };
    supabase.case.project.write(
        "migrations/1_later.sql",
        "ALTER TABLE profiles ALTER CONSTRAINT profiles_id_fkey DEFERRABLE;",
    );
    let output = supabase.run(&["migrate-safe", "--yes"]).expect_code(3);
    says(
        &output,
        &[
            "the rehearsal has no rows of `auth.users`, and so a condition in place of the foreign key",
            "--no-rehearse",
        ],
    );
}
