//! Migrations that reach into the platform's part, of which no backup holds anything.

use super::Supabase;
use crate::setup::says;

/// What a migration does, and what is said of it.
const TOUCHES: [(&str, &str); 9] = [
    (
        "DELETE FROM auth.users WHERE email = 'a@example.org';",
        "auth.users: its rows, which are supabase's, in no backup and not in the rehearsal",
    ),
    (
        "DELETE FROM profiles p USING auth.users u WHERE u.id = p.id AND u.email = 'a@example.org';",
        "auth.users: its rows",
    ),
    (
        "DELETE FROM profiles WHERE name IN (SELECT email FROM members);",
        "auth.users: its rows",
    ),
    (
        "-- no-transaction\nUPDATE auth.users SET email = upper(email);",
        "auth.users: its rows",
    ),
    (
        "TRUNCATE auth.refresh_tokens;",
        "auth.refresh_tokens: its rows",
    ),
    (
        "INSERT INTO storage.objects VALUES (gen_random_uuid(), 'mine');",
        "storage.objects: its rows",
    ),
    (
        "DROP SCHEMA extensions CASCADE;",
        "extensions.pgcrypto: the extension, which is supabase's and in no backup, is dropped",
    ),
    (
        "DROP FUNCTION auth.uid() CASCADE;",
        "auth.uid: the function, which is supabase's and in no backup, is dropped",
    ),
    (
        "ALTER TABLE auth.users ALTER COLUMN email DROP NOT NULL;",
        "auth.users: the column email, which is supabase's and in no backup, is changed",
    ),
];

#[test]
fn what_a_migration_does_to_the_platforms_part_must_be_named() {
    let Some(supabase) = Supabase::or_skip("supabase_touched") else {
        return;
    };
    let before = supabase.platform();
    let migration = "migrations/1_touch.sql";
    for (sql, said) in TOUCHES {
        supabase.case.project.write(migration, sql);
        let output = supabase.run(&["migrate-safe", "--yes"]).expect_code(3);
        says(&output, &["nothing was changed", said, "--accept-loss "]);
    }
    assert_eq!(supabase.platform(), before);
    assert_eq!(supabase.users(), "a@example.org b@example.org");
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
    let (first, _) = TOUCHES[0];
    supabase
        .case
        .project
        .write(migration, format!("-- expect-loss: auth.users\n{first}"));
    supabase.run(&["migrate-safe", "--yes"]).expect_code(0);
    assert_eq!(supabase.users(), "b@example.org");
}

/// What only adds to it, or mentions it, reads and changes nothing there.
#[test]
fn what_hangs_on_the_platforms_part_passes() {
    let Some(supabase) = Supabase::or_skip("supabase_hangs") else {
        return;
    };
    supabase.case.project.write(
        "migrations/1_hang.sql",
        "CREATE TABLE posts (author UUID REFERENCES auth.users);\n\
         CREATE TABLE notes (id INT, author UUID);\n\
         INSERT INTO notes VALUES (1, NULL), (2, NULL);\n\
         ALTER TABLE notes ADD FOREIGN KEY (author) REFERENCES auth.users;\n\
         ALTER TABLE orders ADD COLUMN by UUID REFERENCES auth.users ON DELETE SET NULL;\n\
         CREATE VIEW emails AS SELECT email FROM auth.users;\n\
         CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';\n\
         CREATE TRIGGER seen AFTER UPDATE ON auth.users FOR EACH ROW EXECUTE FUNCTION seen();\n\
         CREATE FUNCTION gone() RETURNS void LANGUAGE sql AS 'DELETE FROM auth.users';\n\
         CREATE POLICY mine ON storage.objects FOR SELECT USING (owner = auth.uid());\n\
         DROP TRIGGER on_auth_user_created ON auth.users;\n\
         ALTER TABLE profiles DROP CONSTRAINT profiles_id_fkey;\n",
    );
    let receipt = ["migrate-safe", "--plan", "receipt.json", "--json"];
    let document = supabase.run(&receipt).expect_code(0).json();
    let losses = &document["rehearsal"]["effect"]["losses"];
    assert_eq!(losses.as_array().map(Vec::len), Some(0), "{document:#}");
}

/// Fails on the live database only, once another file is committed.
fn half_way(supabase: &Supabase, first: &str) -> crate::exec::Output {
    let project = &supabase.case.project;
    project.write("migrations/1_first.sql", first);
    let name = supabase.admin.name();
    let second = format!(
        "DO $$ BEGIN IF current_database() = '{name}' THEN RAISE 'only here'; END IF; END $$;"
    );
    project.write("migrations/2_second.sql", &second);
    let alone = [
        "migrate-safe",
        "--yes",
        "--exclusive",
        "--on-failure",
        "restore",
    ];
    supabase.run(&alone)
}

#[test]
fn what_is_turned_back_is_said_to_be_so_but_for_the_platforms_part() {
    let Some(supabase) = Supabase::or_skip("supabase_turned") else {
        return;
    };
    let output = half_way(&supabase, "CREATE TABLE posts (id INT);").expect_code(3);
    says(
        &output,
        &["as it was before, but for what is supabase's, which the migrations did not touch"],
    );
    let first = "-- expect-loss: auth.users\nDELETE FROM auth.users WHERE email LIKE 'nobody%';";
    let output = half_way(&supabase, first).expect_code(5);
    says(
        &output,
        &[
            "as it was before, but for what is supabase's: that is as the migrations left it",
            "look at what they did to auth, extensions, storage, vault",
        ],
    );
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
}
