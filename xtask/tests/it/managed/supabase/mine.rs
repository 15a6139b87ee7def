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
