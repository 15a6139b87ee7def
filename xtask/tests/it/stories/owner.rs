//! The owner of a database who may not create another one: in place, in one transaction, and
//! nobody else's things are touched.

mod others;

use crate::cluster::{Database, PASSWORD};
use crate::setup::{Case, create_role, says};

const CREATE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                      INSERT INTO t VALUES (1, 'one'), (2, 'two');";
const ROWS: &str = "SELECT id, name FROM t ORDER BY id;";
const EXPECTED: [&str; 2] = ["1|one", "2|two"];

/// The owner's case, the superuser's view and a third role that may use the schema.
pub fn with_colleague(name: &str) -> Option<(Case, Database, Database)> {
    let (case, admin) = Case::owner(name)?;
    case.query(CREATE);
    let colleague = format!("{}_colleague", admin.name());
    create_role(&admin, &colleague);
    admin.psql(&format!(
        "GRANT USAGE, CREATE ON SCHEMA public TO {colleague};"
    ));
    admin.psql(&format!("GRANT SELECT ON t TO {colleague};"));
    let theirs = admin.as_role(&colleague, PASSWORD);
    Some((case, admin, theirs))
}

#[test]
fn the_restore_is_in_place() {
    let Some((case, admin)) = Case::owner("in_place") else {
        return;
    };
    case.query(CREATE);
    case.backup();
    let oid = "SELECT oid FROM pg_database WHERE datname = current_database();";
    let before = admin.psql(oid);
    case.query("DROP TABLE t; CREATE TABLE late (id BIGINT); CREATE SCHEMA later;");
    let restored = case.restore("latest");
    assert!(restored["kept_database"].is_null(), "{restored:#}");
    assert!(restored["safety_backup"].is_string(), "{restored:#}");
    assert_eq!(case.query(ROWS), EXPECTED);
    assert_eq!(admin.psql(oid), before, "the same database");
    let late = "SELECT to_regclass('late') IS NULL, to_regnamespace('later') IS NULL;";
    assert_eq!(case.query(late), ["t|t"]);
    let beside = format!(
        "SELECT datname FROM pg_database WHERE datname LIKE '{}\\_%';",
        admin.name()
    );
    assert_eq!(admin.psql(&beside), "", "nothing was built beside");
}

/// Extensions come from the administrator, and what the owner built on them is the owner's.
#[test]
fn an_extension_of_the_superuser_stays() {
    let Some((case, admin)) = Case::owner("extension") else {
        return;
    };
    admin.psql("CREATE EXTENSION citext; COMMENT ON EXTENSION citext IS 'ours';");
    case.query("CREATE TABLE t (name CITEXT PRIMARY KEY); INSERT INTO t VALUES ('One');");
    case.backup();
    let extension = "SELECT oid, extowner::regrole, obj_description(oid) FROM pg_extension
                     WHERE extname = 'citext';";
    let before = admin.psql(extension);
    case.query("DELETE FROM t; ALTER TABLE t ADD COLUMN more CITEXT;");
    case.restore("latest");
    assert_eq!(admin.psql(extension), before);
    assert_eq!(case.query("SELECT * FROM t WHERE name = 'oNE';"), ["One"]);
}

#[test]
fn large_objects_come_back_as_they_were() {
    let Some((case, _)) = Case::owner("large_object") else {
        return;
    };
    case.query(&format!(
        "{CREATE} SELECT lo_from_bytea(4711, decode('00ff10', 'hex'));"
    ));
    case.backup();
    case.query(
        "SELECT lo_put(4711, 0, decode('aa', 'hex')); SELECT lo_from_bytea(4712, 'late'::bytea);",
    );
    case.restore("latest");
    let objects = "SELECT oid, encode(lo_get(oid), 'hex') FROM pg_largeobject_metadata;";
    assert_eq!(case.query(objects), ["4711|00ff10"]);
}

/// Somebody else's table, row, function and schema: there before, there after, the very same.
#[test]
fn objects_of_another_role_are_left_alone() {
    let Some((case, admin, theirs)) = with_colleague("left_alone") else {
        return;
    };
    let owner = format!("{}_owner", admin.name());
    theirs.psql(&format!(
        "CREATE TABLE their_notes (id BIGINT NOT NULL PRIMARY KEY, note TEXT);
         INSERT INTO their_notes VALUES (1, 'before');
         CREATE FUNCTION their_answer() RETURNS integer LANGUAGE sql AS 'SELECT 42';
         GRANT SELECT ON their_notes TO {owner};"
    ));
    case.backup();
    let oids = "SELECT 'their_notes'::regclass::oid, 'their_answer()'::regprocedure::oid;";
    let before = admin.psql(oids);
    theirs.psql("INSERT INTO their_notes VALUES (2, 'after');");
    case.query("UPDATE t SET name = 'changed';");
    let refused = case
        .project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(3);
    says(
        &refused,
        &["table `their_notes` of another role has 2 rows, 1 in the backup"],
    );
    case.project
        .run(["db", "restore", "latest", "--force"])
        .expect_code(0);
    assert_eq!(case.query(ROWS), EXPECTED);
    assert_eq!(admin.psql(oids), before, "never dropped");
    let notes = "SELECT note FROM their_notes ORDER BY id;";
    assert_eq!(
        theirs.psql(notes),
        "before\nafter",
        "not the owner's to restore"
    );
}

/// Dropping the owner's table would take somebody else's view with it.
#[test]
fn a_view_of_another_role_on_our_table_stops_the_restore() {
    let Some((case, admin, theirs)) = with_colleague("cascade") else {
        return;
    };
    case.backup();
    theirs.psql("CREATE VIEW their_view AS SELECT name FROM t;");
    admin.psql(&format!(
        "GRANT SELECT ON their_view TO {}_owner;",
        admin.name()
    ));
    case.query("INSERT INTO t VALUES (3, 'three');");
    let before = case.contents();
    let stopped = case.project.run(["db", "restore", "latest", "--yes"]);
    says(&stopped, &["their_view", "the database is as it was"]);
    stopped.expect_code(3);
    assert_eq!(case.contents(), before);
    assert_eq!(theirs.psql("SELECT count(*) FROM their_view;"), "3");
}
