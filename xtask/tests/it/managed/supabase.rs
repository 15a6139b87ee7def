//! A server as Supabase runs it: schemas of the platform, of its own roles, and a role of the user's
//! that is no superuser.

mod drill;
mod elsewhere;
mod mine;
mod publications;
mod restore;
mod touched;

use std::sync::OnceLock;

use serde_json::Value;

use crate::cluster::{Cluster, Database, PASSWORD};
use crate::exec::Output;
use crate::setup::{Case, says, text};

const ROLES: &str = "\
CREATE ROLE supabase_admin SUPERUSER;
CREATE ROLE supabase_auth_admin NOINHERIT;
CREATE ROLE supabase_storage_admin NOINHERIT;
CREATE ROLE anon;
CREATE ROLE authenticated;
CREATE ROLE service_role BYPASSRLS;
CREATE ROLE postgres LOGIN CREATEDB CREATEROLE BYPASSRLS;
GRANT anon, authenticated, service_role TO postgres;";

const PLATFORM: &str = include_str!("supabase/platform.sql");
const APPLICATION: &str = include_str!("supabase/application.sql");

pub const ADA: &str = "00000000-0000-0000-0000-00000000000a";
pub const BOB: &str = "00000000-0000-0000-0000-00000000000b";
pub const EVE: &str = "00000000-0000-0000-0000-00000000000e";

/// A project on such a database, for the user's role.
pub struct Supabase {
    pub case: Case,
    /// For the platform itself.
    pub admin: Database,
}

impl Supabase {
    /// With two users, whom the application knows by its trigger.
    pub fn or_skip(name: &str) -> Option<Self> {
        let empty = Self::empty(name)?;
        empty.case.query(APPLICATION);
        for id in [ADA, BOB] {
            empty.sign_up(id);
        }
        Some(empty)
    }

    pub fn empty(name: &str) -> Option<Self> {
        static MADE: OnceLock<()> = OnceLock::new();
        let cluster = Cluster::get_or_skip()?;
        MADE.get_or_init(|| {
            let password = PASSWORD.replace('\'', "''");
            cluster.database("postgres").psql(&format!(
                "{ROLES} ALTER ROLE postgres PASSWORD '{password}';"
            ));
        });
        let admin = cluster.create_database(name);
        admin.psql(&format!(
            "ALTER DATABASE {} OWNER TO postgres; GRANT CREATE ON SCHEMA public TO postgres;",
            admin.name()
        ));
        admin.psql(PLATFORM);
        let mut case = Case::of(admin.as_role("postgres", PASSWORD));
        case.project = case.project.env("XTASK_DB_PROFILE", "supabase");
        Some(Self { case, admin })
    }

    /// As the platform's own service does it.
    pub fn sign_up(&self, id: &str) {
        let who = &id[id.len() - 1..];
        self.admin.psql(&format!(
            "SET ROLE supabase_auth_admin; \
             INSERT INTO auth.users (id, email) VALUES ('{id}', '{who}@example.org');"
        ));
    }

    pub fn users(&self) -> String {
        self.admin
            .psql("SELECT string_agg(email, ' ' ORDER BY id) FROM auth.users")
    }

    pub fn profiles(&self) -> String {
        self.admin
            .psql("SELECT string_agg(name, ' ' ORDER BY id) FROM public.profiles")
    }

    /// What somebody who is signed in sees of the profiles.
    pub fn seen_by(&self, id: &str) -> String {
        self.admin.psql(&format!(
            "SET request.jwt.claim.sub = '{id}'; SET ROLE authenticated; \
             SELECT string_agg(name, ' ' ORDER BY id) FROM public.profiles"
        ))
    }

    /// Everything that is the platform's, and what hangs on it.
    pub fn platform(&self) -> String {
        self.admin.psql(
            "SELECT t.tgname, t.tgenabled, t.tgrelid::regclass FROM pg_trigger t \
               WHERE NOT t.tgisinternal ORDER BY 1; \
             SELECT n.nspname, c.relname, c.oid, c.relowner::regrole FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname IN ('auth', 'storage', 'vault', 'extensions') ORDER BY 1, 2; \
             SELECT oid, proname FROM pg_proc WHERE pronamespace::regnamespace::text IN ('auth', 'extensions') \
               ORDER BY 1; \
             SELECT extname, oid FROM pg_extension ORDER BY 1; SELECT evtname, oid FROM pg_event_trigger; \
             SELECT polname, polrelid::regclass FROM pg_policy ORDER BY 1;",
        )
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.case.project.run([&["db"], arguments].concat())
    }
}

fn tables(document: &Value) -> Vec<String> {
    let tables = document.as_array().expect("tables").iter();
    tables
        .map(|t| format!("{}.{}", text(t, "/schema"), text(t, "/name")))
        .collect()
}

/// The whole day, with the role that a user has.
#[test]
fn a_backup_is_of_what_is_the_users() {
    let Some(supabase) = Supabase::or_skip("supabase_backup") else {
        return;
    };
    let output = supabase
        .run(&["backup", "--fingerprint", "--json"])
        .expect_code(0);
    says(
        &output,
        &["not in it, for it is supabase's: auth, extensions, storage, vault"],
    );
    let manifest = &output.json()["backup"];
    assert_eq!(manifest["format"], 3);
    assert_eq!(
        tables(&manifest["tables"]),
        ["public.orders", "public.profiles"]
    );
    let platform = &manifest["platform"];
    assert_eq!(text(platform, "/profile"), "supabase");
    assert_eq!(platform["schemas"].as_array().map(Vec::len), Some(4));
    assert_eq!(text(platform, "/foreign_keys/0/refers_to"), "auth.users");
    assert_eq!(text(platform, "/foreign_keys/0/name"), "profiles_id_fkey");
    assert_eq!(text(platform, "/triggers/0/name"), "on_auth_user_created");
    let definition = text(platform, "/triggers/0/definition");
    assert!(
        definition.contains("EXECUTE FUNCTION public.handle_new_user()"),
        "{definition}"
    );
    assert_eq!(platform["triggers"].as_array().map(Vec::len), Some(1));
    let extensions = platform["extensions"].as_array().expect("a list").iter();
    let extensions: Vec<&str> = extensions.map(|e| text(e, "/name")).collect();
    assert_eq!(extensions, ["pg_stat_statements", "pgcrypto"]);
    // It is whole: what is asked for in a restore.
    let id = text(manifest, "/id");
    let status = supabase.case.project.json(["db", "status"]);
    assert_eq!(
        tables(&status["tables"]),
        ["public.orders", "public.profiles"]
    );
    let listed = supabase.run(&["list"]).expect_code(0);
    assert!(listed.stdout.contains(id), "{listed}");
    supabase.run(&["verify", "latest"]).expect_code(0);
    let diff = supabase.run(&["diff", "latest", "live"]).expect_code(0);
    assert!(diff.stdout.contains("nothing differs"), "{diff}");
    // The platform writes all the time, and that is nobody's difference.
    supabase
        .admin
        .psql("DELETE FROM auth.refresh_tokens; CREATE TABLE auth.more (id int);");
    let diff = supabase.run(&["diff", "latest", "live"]).expect_code(0);
    assert!(diff.stdout.contains("nothing differs"), "{diff}");
}

/// What the role has in the platform's schemas does not come back, and that is said.
#[test]
fn what_is_the_users_in_schemas_of_the_platform_is_named() {
    let Some(supabase) = Supabase::or_skip("supabase_inside") else {
        return;
    };
    supabase
        .case
        .query("CREATE FUNCTION extensions.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';");
    supabase
        .admin
        .psql("CREATE POLICY everybody ON storage.objects FOR SELECT TO anon USING (true);");
    let output = supabase.run(&["backup"]).expect_code(0);
    says(
        &output,
        &[
            "warning: ",
            "not in the backup: function extensions.mine(); policy everybody on table storage.objects",
        ],
    );
}

/// Without the profile the role cannot read all, which is why there is one.
#[test]
fn without_a_profile_the_platform_is_in_the_way() {
    let Some(supabase) = Supabase::or_skip("supabase_none") else {
        return;
    };
    let output = supabase
        .run(&["backup", "--profile", "none"])
        .expect_code(1);
    says(&output, &["permission denied for"]);
    assert_eq!(supabase.case.project.vault_files(), [""; 0]);
    supabase
        .run(&["backup", "--profile", "neon"])
        .expect_code(1);
    // A name that is chosen is in the dump, whosever it is.
    let output = supabase
        .run(&["backup", "--schema", "auth", "--json"])
        .expect_code(0);
    let manifest = &output.json()["backup"];
    assert!(manifest["platform"].is_null(), "{manifest}");
    assert_eq!(
        tables(&manifest["tables"]),
        ["auth.refresh_tokens", "auth.users"]
    );
}

/// Other kinds do without it as well.
#[test]
fn partial_backups_do_without_the_platform() {
    let Some(supabase) = Supabase::or_skip("supabase_kinds") else {
        return;
    };
    for more in [
        &["--schema-only"][..],
        &["--data-only"],
        &["--exclude-table", "orders"],
        &["--format", "plain"],
    ] {
        let output = supabase
            .run(&[&["backup", "--json"], more].concat())
            .expect_code(0);
        let manifest = &output.json()["backup"];
        assert_eq!(manifest["format"], 3);
        assert_eq!(manifest["platform"]["profile"], "supabase");
        let left_out = &manifest["kind"]["foreign_keys_left_out"];
        assert!(left_out.is_null(), "{left_out}");
        assert!(
            !tables(&manifest["tables"])
                .iter()
                .any(|t| t.starts_with("auth."))
        );
    }
}
