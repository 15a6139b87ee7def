//! In place, whatever the role may do besides, and nothing of the platform is touched.

use super::{ADA, BOB, EVE, Supabase};
use crate::cluster::Database;
use crate::setup::{hinted_command, says, text};

/// A user who came after the backup stays, and so does all else of the platform.
#[test]
fn only_the_users_part_goes_back() {
    let Some(supabase) = Supabase::or_skip("supabase_restore") else {
        return;
    };
    let before = supabase.platform();
    supabase.run(&["backup", "--fingerprint"]).expect_code(0);
    supabase.sign_up(EVE);
    supabase.case.query(
        "DELETE FROM orders; DROP VIEW members; ALTER TABLE profiles ADD COLUMN more int; \
         CREATE TABLE later (id int); DROP POLICY own ON profiles;",
    );
    assert_eq!(
        supabase.profiles(),
        "a@example.org b@example.org e@example.org"
    );
    let output = supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    says(&output, &["what is supabase's stays as it is", "to undo: "]);
    assert_eq!(
        supabase.users(),
        "a@example.org b@example.org e@example.org"
    );
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
    assert_eq!(supabase.platform(), before);
    assert_eq!(supabase.seen_by(ADA), "a@example.org");
    assert_eq!(
        supabase
            .admin
            .psql("SELECT count(*), to_regclass('later') IS NULL FROM members;"),
        "2|t"
    );
    assert_eq!(
        supabase
            .admin
            .psql("SELECT defaclrole::regrole, defaclobjtype FROM pg_default_acl ORDER BY 1, 2"),
        "supabase_admin|f\nsupabase_admin|r\npostgres|r"
    );
    // The trigger is the one of before, and works.
    supabase
        .admin
        .psql(&format!("DELETE FROM auth.users WHERE id = '{EVE}';"));
    supabase.sign_up(EVE);
    assert_eq!(
        supabase.profiles(),
        "a@example.org b@example.org e@example.org"
    );
    // There is a way back as well.
    supabase.run(&["restore", "--undo", "--yes"]).expect_code(0);
    assert_eq!(supabase.admin.psql("SELECT to_regclass('later')"), "later");
    assert_eq!(
        supabase.users(),
        "a@example.org b@example.org e@example.org"
    );
}

/// A row that a profile belongs to is gone: nothing is changed, and it is said which one it is.
#[test]
fn a_missing_row_of_the_platform_rolls_back() {
    let Some(supabase) = Supabase::or_skip("supabase_gone") else {
        return;
    };
    supabase.run(&["backup"]).expect_code(0);
    supabase
        .admin
        .psql(&format!("DELETE FROM auth.users WHERE id = '{BOB}';"));
    let before = supabase.platform();
    let output = supabase.run(&["restore", "latest", "--yes"]).expect_code(3);
    says(
        &output,
        &[
            "the backup refers to a row of supabase's that is no longer there",
            BOB,
            "rolled back",
        ],
    );
    // A second try cannot mend it.
    assert!(!output.stderr.contains("25001"), "{output}");
    assert_eq!(supabase.profiles(), "a@example.org");
    assert_eq!(supabase.platform(), before);
    supabase.sign_up(BOB);
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
}

/// Disabled triggers come back disabled; those that the manifest does not know go with what they call.
#[test]
fn what_hangs_on_tables_of_the_platform_is_as_it_was() {
    let Some(supabase) = Supabase::or_skip("supabase_hanging") else {
        return;
    };
    supabase.admin.psql(
        "ALTER TABLE auth.users DISABLE TRIGGER on_auth_user_created; \
         ALTER TABLE auth.users OWNER TO postgres; \
         ALTER TABLE storage.objects OWNER TO postgres; \
         CREATE POLICY \"Own files\" ON storage.objects FOR SELECT TO authenticated, anon \
           USING (owner IN (SELECT id FROM public.profiles)) ;",
    );
    let before = supabase.platform();
    supabase.run(&["backup"]).expect_code(0);
    supabase.case.query(
        "CREATE FUNCTION public.later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER later BEFORE UPDATE ON auth.users FOR EACH ROW EXECUTE FUNCTION public.later();",
    );
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.platform(), before);
    assert_eq!(
        supabase
            .admin
            .psql("SELECT cmd, roles, qual FROM pg_policies WHERE policyname = 'Own files'"),
        "SELECT|{anon,authenticated}|(owner IN ( SELECT profiles.id\n   FROM profiles))"
    );
}

/// What somebody has put there since under the same name is not what was backed up.
#[test]
fn what_hangs_there_under_the_same_name_is_replaced() {
    let Some(supabase) = Supabase::or_skip("supabase_renewed") else {
        return;
    };
    // One that stays, because others own what it mentions, is left alone: the role could not drop it.
    supabase.admin.psql(
        "CREATE FUNCTION public.of_admin() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER of_admin BEFORE UPDATE ON auth.users FOR EACH ROW \
           EXECUTE FUNCTION public.of_admin(); \
         ALTER TABLE storage.objects OWNER TO postgres; CREATE TABLE storage.mine (id int); \
         ALTER TABLE storage.mine OWNER TO postgres; \
         CREATE POLICY own ON storage.objects TO authenticated \
           USING (owner IN (SELECT id FROM public.profiles)); \
         CREATE TRIGGER touched BEFORE INSERT ON storage.mine FOR EACH ROW \
           EXECUTE FUNCTION public.handle_new_user();",
    );
    supabase.run(&["backup"]).expect_code(0);
    let hanging = "SELECT roles, qual FROM pg_policies WHERE policyname = 'own' AND schemaname = 'storage'; \
                   SELECT tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger \
                   WHERE tgname IN ('of_admin', 'touched') ORDER BY 1;";
    let before = supabase.admin.psql(hanging);
    supabase.case.query(
        "DROP POLICY own ON storage.objects; CREATE POLICY own ON storage.objects TO anon USING (true); \
         DROP TRIGGER touched ON storage.mine; \
         CREATE TRIGGER touched AFTER UPDATE ON storage.mine FOR EACH ROW \
           EXECUTE FUNCTION suppress_redundant_updates_trigger(); \
         ALTER TABLE storage.mine DISABLE TRIGGER touched;",
    );
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.admin.psql(hanging), before);
}

/// Something else of the platform that would go with what is ours.
#[test]
fn what_would_go_with_it_refuses_the_restore() {
    let Some(supabase) = Supabase::or_skip("supabase_view") else {
        return;
    };
    supabase.run(&["backup"]).expect_code(0);
    supabase
        .admin
        .psql("CREATE VIEW auth.known AS SELECT id FROM public.profiles;");
    let before = supabase.platform();
    let output = supabase.run(&["restore", "latest", "--yes"]).expect_code(3);
    says(&output, &["depends on what this role owns", "auth.known"]);
    assert_eq!(supabase.platform(), before);
}

/// The server's own administrator, who may act as anybody, and so owns everything.
#[test]
fn an_administrator_leaves_the_platform_alone_as_well() {
    let Some(mut supabase) = Supabase::or_skip("supabase_admin") else {
        return;
    };
    let admin: Database = supabase.admin.clone();
    supabase.case.project = supabase.case.project.database_url(&admin.url());
    supabase.case.server = Some(admin);
    supabase
        .admin
        .psql("CREATE TABLE public.of_admin (id int); INSERT INTO of_admin VALUES (1);");
    // These have no owner.
    supabase.admin.psql(
        "CREATE CAST (uuid AS bigint) WITH INOUT; \
         CREATE TEXT SEARCH TEMPLATE public.plain (LEXIZE = dsimple_lexize); \
         CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;",
    );
    let before = supabase.platform();
    supabase.run(&["backup", "--fingerprint"]).expect_code(0);
    supabase.sign_up(EVE);
    supabase.admin.psql(
        "INSERT INTO of_admin VALUES (2); CREATE TABLE later (id int); \
               CREATE CAST (uuid AS integer) WITH INOUT;",
    );
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
    assert_eq!(
        supabase.users(),
        "a@example.org b@example.org e@example.org"
    );
    assert_eq!(
        supabase
            .admin
            .psql("SELECT count(*), to_regclass('later') IS NULL FROM of_admin;"),
        "1|t"
    );
    assert_eq!(
        supabase
            .admin
            .psql("SELECT casttarget::regtype FROM pg_cast WHERE castsource = 'uuid'::regtype"),
        "bigint"
    );
    let (now, kept) = (supabase.platform(), |text: &str| {
        let lines = text
            .lines()
            .filter(|line| !line.contains("pgrst_ddl_watch"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(kept(&now), kept(&before));
    assert!(now.contains("pgrst_ddl_watch"), "{now}");
}

/// A database that the platform has not made.
#[test]
fn another_place_needs_the_platforms_part() {
    let Some(supabase) = Supabase::or_skip("supabase_elsewhere") else {
        return;
    };
    supabase.run(&["backup"]).expect_code(0);
    let cluster = supabase.admin.cluster();
    let missing = cluster
        .database("supabase_not_there")
        .as_role("postgres", crate::cluster::PASSWORD);
    let into = ["restore", "latest", "--yes", "--into", &missing.url()];
    let output = supabase.run(&into).expect_code(3);
    says(
        &output,
        &[
            "does not exist, and the backup lacks the part of it that is supabase's",
            "hint: ",
        ],
    );

    let plain = cluster.create_database("supabase_plain");
    plain.psql(&format!(
        "ALTER DATABASE {} OWNER TO postgres;",
        plain.name()
    ));
    let plain = plain.as_role("postgres", crate::cluster::PASSWORD);
    let output = supabase
        .run(&["restore", "latest", "--yes", "--into", &plain.url()])
        .expect_code(3);
    says(
        &output,
        &["the database lacks the schema `auth`, which is supabase's"],
    );
    // By force it is tried, and fails without a trace.
    let command = hinted_command(&output);
    assert!(command.contains(&"--force".to_owned()), "{output}");
    supabase
        .run(&["restore", "latest", "--force", "--into", &plain.url()])
        .expect_code(1);
    assert_eq!(
        plain.psql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"),
        "0"
    );

    // Another project of the same platform, where the users are.
    let other = Supabase::empty("supabase_other").expect("there is a server");
    other.sign_up(ADA);
    other.sign_up(BOB);
    let into = other.case.server.as_ref().expect("a server").url();
    supabase
        .run(&["restore", "latest", "--yes", "--into", &into])
        .expect_code(0);
    assert_eq!(other.profiles(), "a@example.org b@example.org");
    other.sign_up(EVE);
    assert_eq!(
        other.profiles(),
        "a@example.org b@example.org e@example.org"
    );
}

/// A program that knows nothing of platforms would build it beside and swap it in.
#[test]
fn the_format_keeps_older_programs_away() {
    let Some(supabase) = Supabase::or_skip("supabase_format") else {
        return;
    };
    let taken = supabase.case.project.json(["db", "backup"]);
    assert_eq!(taken["backup"]["format"], 3);
    let id = text(&taken, "/backup/id");
    let path = supabase.case.manifest(id);
    let read = std::fs::read_to_string(&path).expect("read the manifest");
    let mut document: serde_json::Value = serde_json::from_str(&read).expect("JSON");
    document.as_object_mut().expect("fields").remove("platform");
    std::fs::write(&path, crate::setup::sealed(document)).expect("write the manifest");
    let output = supabase.run(&["restore", id, "--yes"]).expect_code(4);
    says(&output, &["its kind is none that this program knows"]);
}

/// A platform goes on: what it makes anew is as good, and what it gives up need not be missed.
#[test]
fn what_the_platform_changes_of_its_own_is_not_in_the_way() {
    let Some(supabase) = Supabase::or_skip("supabase_goes_on") else {
        return;
    };
    let id = supabase.case.backup();
    supabase.admin.psql(
        "DROP EVENT TRIGGER pgrst_ddl_watch; DROP EXTENSION pg_stat_statements; \
         CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.watch(); \
         CREATE EXTENSION pg_stat_statements SCHEMA extensions; \
         ALTER TABLE auth.users ADD COLUMN phone text;",
    );
    supabase.case.query("DELETE FROM orders;");
    let before = supabase.platform();
    supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(supabase.platform(), before);
    assert_eq!(supabase.admin.psql("SELECT count(*) FROM orders"), "2");

    supabase.admin.psql("DROP SCHEMA vault CASCADE;");
    let output = supabase.run(&["restore", &id, "--yes"]).expect_code(3);
    says(
        &output,
        &["the database lacks the schema `vault`, which is supabase's"],
    );
    let command = hinted_command(&output);
    supabase.case.project.run(command).expect_code(0);
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
}

/// Nobody but the platform could make it again, and it does not.
#[test]
fn an_extension_that_the_platform_gave_up_is_an_obstacle_and_no_more() {
    let Some(supabase) = Supabase::or_skip("supabase_given_up") else {
        return;
    };
    supabase.run(&["backup"]).expect_code(0);
    supabase
        .admin
        .psql("COMMENT ON EXTENSION pg_stat_statements IS 'x'; DROP EXTENSION pg_stat_statements;");
    supabase.case.query("DELETE FROM orders;");
    let output = supabase.run(&["restore", "latest", "--yes"]).expect_code(3);
    says(
        &output,
        &["the database lacks the extension `pg_stat_statements`, which is supabase's"],
    );
    let command = hinted_command(&output);
    supabase.case.project.run(command).expect_code(0);
    assert_eq!(supabase.admin.psql("SELECT count(*) FROM orders"), "2");
}

/// A backup of all of it, from before there was a profile, comes back as before.
#[test]
fn a_backup_of_everything_still_is_one() {
    let Some(mut supabase) = Supabase::or_skip("supabase_everything") else {
        return;
    };
    let admin: Database = supabase.admin.clone();
    supabase.case.project = supabase.case.project.database_url(&admin.url());
    supabase
        .run(&["backup", "--profile", "none"])
        .expect_code(0);
    supabase.sign_up(EVE);
    let output = supabase.run(&["restore", "latest", "--yes"]).expect_code(0);
    says(
        &output,
        &["built beside, compared, then swapped in by name"],
    );
    assert_eq!(supabase.users(), "a@example.org b@example.org");
    assert_eq!(supabase.profiles(), "a@example.org b@example.org");
    supabase.run(&["restore", "--undo", "--yes"]).expect_code(0);
    assert_eq!(
        supabase.users(),
        "a@example.org b@example.org e@example.org"
    );
}
