//! What cannot be dumped whole is refused by name, before it is called a backup; what comes back
//! different is said.

use crate::cluster::PASSWORD;
use crate::setup::{Case, create_role, says};

/// No backup is there after it was refused.
#[track_caller]
fn backup_is_refused(case: &Case, parts: &[&str]) {
    let refused = case.project.run(["db", "backup"]).expect_code(1);
    says(&refused, parts);
    let listed = case.project.json(["db", "list"]);
    assert_eq!(listed["backups"], serde_json::json!([]), "{listed:#}");
}

/// The owner itself sees only some of the rows: a dump would hold only those.
#[test]
fn forced_row_level_security() {
    let Some((case, admin)) = Case::owner("forced_rls") else {
        return;
    };
    case.query(
        "CREATE TABLE secret (id INT); INSERT INTO secret VALUES (1), (2);
         ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY;
         CREATE POLICY a_part ON secret USING (id = 1);",
    );
    assert_eq!(case.query("SELECT count(*) FROM secret;"), ["1"]);
    backup_is_refused(&case, &["row-level security", "secret"]);

    let admin = Case::of(admin);
    admin.backup();
    admin.query("DELETE FROM secret WHERE id = 2;");
    admin.restore("latest");
    let question =
        "SELECT id, relforcerowsecurity FROM secret, pg_class WHERE relname = 'secret' ORDER BY 1;";
    assert_eq!(admin.query(question), ["1|t", "2|t"]);
}

#[test]
fn a_table_that_the_role_may_not_read() {
    let Some((case, admin)) = Case::owner("unreadable") else {
        return;
    };
    admin.psql("CREATE TABLE hidden (id INT); INSERT INTO hidden VALUES (1);");
    backup_is_refused(&case, &["permission denied", "hidden"]);
}

#[test]
fn a_large_object_that_the_role_may_not_read() {
    let Some((case, admin)) = Case::owner("unreadable_lo") else {
        return;
    };
    case.query("CREATE TABLE t (id INT);");
    admin.psql("SELECT lo_create(4711);");
    backup_is_refused(&case, &["permission denied", "large object"]);
}

/// Only a superuser's dump has it, and it comes back switched off.
#[test]
fn a_subscription_is_spoken_of() {
    let Some(case) = Case::postgres("subscription") else {
        return;
    };
    case.query(
        "CREATE TABLE t (id INT); INSERT INTO t VALUES (1);
         CREATE SUBSCRIPTION far CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false);",
    );
    case.backup();
    case.query("DELETE FROM t;");
    let restored = case.project.run(["db", "restore", "latest", "--yes"]);
    says(&restored.expect_code(0), &["subscription `far`", "ENABLE"]);
    let question = "SELECT id FROM t; SELECT subname, subenabled FROM pg_subscription
        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database());";
    assert_eq!(case.query(question), ["1", "far|f"]);

    let database = case.server.as_ref().expect("a server");
    let role = format!("{}_reader", database.name());
    create_role(database, &role);
    database.psql(&format!("GRANT pg_read_all_data TO {role};"));
    let reader = Case::of(database.as_role(&role, PASSWORD));
    let taken = reader.project.run(["db", "backup"]).expect_code(0);
    says(
        &taken,
        &["warning: ", "subscription `far`", "not in the dump"],
    );
}

/// A database with a subscription cannot be dropped: neither may that be in the way of the next
/// restore, nor hide why this one failed.
#[test]
fn a_half_restored_database_with_a_subscription_goes_away() {
    let Some(case) = Case::postgres("half_subscribed") else {
        return;
    };
    case.query(
        "CREATE TABLE t (id INT); INSERT INTO t VALUES (1);
         CREATE SUBSCRIPTION far CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false);",
    );
    let id = case.backup();
    let database = case.server.as_ref().expect("a server");
    let left = format!("{}_restore_20260101000000", database.name());
    database.psql(&format!("CREATE DATABASE {left};"));
    let left = database.cluster().database(&left);
    left.psql(
        "CREATE TABLE half (id INT);
         CREATE SUBSCRIPTION far CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false);",
    );
    database.psql(&format!(
        "COMMENT ON DATABASE {} IS 'xtask-db: being restored; may be dropped when no session uses it';",
        left.name()
    ));
    let own = format!("{}_restore_20260202000000", database.name());
    database.psql(&format!("CREATE DATABASE {own};"));
    let own = database.cluster().database(&own);
    own.psql("CREATE TABLE mine (id INT);");
    let status = case.project.json(["db", "status"]);
    let named = |list: &serde_json::Value| list.to_string().contains(left.name());
    let said = |name: &str| {
        let mut lines = status["left_beside"].as_array().expect("lines").iter();
        let line = lines.find(|line| line.to_string().contains(name));
        line.expect("a line").to_string()
    };
    assert!(
        said(left.name()).contains("the next restore drops it"),
        "{status:#}"
    );
    // One that somebody made by hand is left alone.
    assert!(said(own.name()).contains("nothing drops it"), "{status:#}");
    let restored = case.restore(&id);
    assert!(named(&restored["warnings"]), "{restored:#}");
    let found = format!(
        "SELECT count(*) FROM pg_database WHERE datname = '{}';",
        left.name()
    );
    assert_eq!(case.query(&found), ["0"]);
    assert_eq!(own.psql("SELECT count(*) FROM mine;"), "0");
}
