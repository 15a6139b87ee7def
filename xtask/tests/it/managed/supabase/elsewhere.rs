//! Every other verb: what the platform writes all the time is nobody's business.

use std::fs;

use super::Supabase;
use crate::setup::says;

#[test]
fn an_export_is_of_the_users_tables() {
    let Some(supabase) = Supabase::or_skip("supabase_export") else {
        return;
    };
    let file = supabase.case.project.path().join("rows.ndjson");
    let to = file.to_str().expect("UTF-8");
    supabase.run(&["export", "-o", to]).expect_code(0);
    let text = fs::read_to_string(&file).expect("read the export");
    assert!(
        text.contains("profiles") && !text.contains("refresh_tokens"),
        "{text}"
    );
    supabase
        .case
        .query("DELETE FROM orders; DELETE FROM profiles;");
    supabase.run(&["import", to, "--yes"]).expect_code(0);
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
}

/// In place others could write meanwhile, unless they are shut out; what is the platform's is not
/// brought back.
#[test]
fn a_failed_migration_is_turned_back_with_nobody_else_writing() {
    let Some(supabase) = Supabase::or_skip("supabase_failed") else {
        return;
    };
    let write = |file: &str, sql: &str| {
        let file = format!("migrations/{file}.sql");
        let project = &supabase.case.project;
        project.write(file, format!("-- no-transaction\n{sql}\n"));
    };
    write(
        "1_half",
        "INSERT INTO auth.refresh_tokens SELECT 'more', id FROM auth.users LIMIT 1;",
    );
    write(
        "2_half",
        "SELECT 1 / (SELECT count(*) - 3 FROM auth.refresh_tokens);",
    );
    let before = supabase.platform();
    let alone = [
        "migrate-safe",
        "--yes",
        "--no-rehearse",
        "--exclusive",
        "--on-failure",
        "restore",
    ];
    let output = supabase.run(&alone).expect_code(5);
    says(
        &output,
        &[
            "division by zero",
            "was restored, and the",
            "is as it was before, but for what is supabase's: that is as the migrations left it",
        ],
    );
    assert_eq!(supabase.platform(), before);
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
    let left = "SELECT count(*), to_regclass('_sqlx_migrations') IS NULL FROM auth.refresh_tokens";
    assert_eq!(supabase.admin.psql(left), "3|t");
    write("1_half", "SELECT 1;");
    let others = alone.into_iter().filter(|word| *word != "--exclusive");
    let output = supabase.run(&others.collect::<Vec<_>>()).expect_code(5);
    says(
        &output,
        &["this role can only restore in place, and others could write meanwhile"],
    );
}

/// Single tables come without the keys to what is not in the backup.
#[test]
fn single_tables_come_beside() {
    let Some(supabase) = Supabase::or_skip("supabase_only") else {
        return;
    };
    supabase.run(&["backup", "--fingerprint"]).expect_code(0);
    supabase
        .case
        .query("DELETE FROM orders; DELETE FROM profiles;");
    let only = [
        "restore",
        "latest",
        "--only",
        "profiles",
        "--into-schema",
        "old",
        "--yes",
    ];
    let output = supabase.run(&only).expect_code(0);
    says(
        &output,
        &["the foreign key `profiles_id_fkey` of `profiles` to `auth.users` does not come along"],
    );
    assert_eq!(
        supabase
            .admin
            .psql("SELECT string_agg(name, ' ' ORDER BY id) FROM old.profiles"),
        "a@example.org b@example.org"
    );
    let keys = "SELECT conname, contype FROM pg_constraint WHERE conrelid = 'old.profiles'::regclass AND contype <> 'n'";
    assert_eq!(supabase.admin.psql(keys), "profiles_pkey|p");
}
