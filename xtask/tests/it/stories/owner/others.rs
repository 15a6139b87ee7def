//! What else others own, or say, in a database that its owner restores in place.

use crate::setup::{Case, create_role, says};

const CREATE: &str = "\
CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, n int); INSERT INTO app.t VALUES (1, 1); \
CREATE TABLE public.t (id int PRIMARY KEY); \
CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';";

/// Statements that make something and take it away, and what a refusal calls it.
fn theirs(of_server: &str) -> [(&str, &str, &str); 7] {
    [
        (
            "CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION app.watch();",
            "DROP EVENT TRIGGER watching;",
            "event trigger watching",
        ),
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE SELECT ON TABLES FROM PUBLIC;",
            "default privileges on new relations",
        ),
        (
            "CREATE PUBLICATION cdc FOR TABLE public.t;",
            "DROP PUBLICATION cdc;",
            "in publication cdc",
        ),
        (
            "CREATE PUBLICATION cdc FOR TABLES IN SCHEMA app;",
            "DROP PUBLICATION cdc;",
            "in publication cdc",
        ),
        (
            "CREATE STATISTICS app.both ON id, n FROM app.t;",
            "DROP STATISTICS app.both;",
            "statistics object",
        ),
        (
            of_server,
            "DROP USER MAPPING FOR CURRENT_USER SERVER far;",
            "on server far",
        ),
        (
            "CREATE OPERATOR app.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);",
            "DROP OPERATOR app.=== (int, int);",
            "===(integer,integer)",
        ),
    ]
}

/// Each of them would go with what is the owner's, and none could be made again.
#[test]
fn whatever_would_go_with_it_refuses_the_restore() {
    let Some((case, admin)) = Case::owner("would_go") else {
        return;
    };
    case.query(CREATE);
    let owner = format!("{}_owner", admin.name());
    let of_server = format!(
        "ALTER SERVER far OWNER TO {owner}; GRANT USAGE ON FOREIGN DATA WRAPPER w TO {owner}; "
    );
    let of_server = "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w; "
        .to_owned()
        + &of_server
        + "CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (password 'x');";
    for (make, undo, what) in theirs(&of_server) {
        admin.psql(make);
        case.backup();
        let refused = case.project.run(["db", "restore", "latest", "--yes"]);
        says(
            &refused,
            &[
                "would also drop what others own",
                what,
                "the database is as it was",
            ],
        );
        refused.expect_code(3);
        // It is there.
        admin.psql(undo);
    }
    case.backup();
    case.query("DELETE FROM app.t;");
    case.restore("latest");
    assert_eq!(case.query("SELECT * FROM app.t"), ["1|1"]);
}

/// What an extension brings belongs to the role that the server was made with, whoever made it.
#[test]
fn an_extension_that_the_owner_made_is_made_again() {
    let Some((case, admin)) = Case::owner("own_extension") else {
        return;
    };
    case.query(
        "CREATE SCHEMA app; CREATE EXTENSION citext; CREATE EXTENSION hstore SCHEMA app; \
         CREATE TABLE t (name CITEXT PRIMARY KEY, more app.hstore); INSERT INTO t VALUES ('One', 'a=>1');",
    );
    case.backup();
    case.query("DELETE FROM t;");
    case.restore("latest");
    assert_eq!(
        case.query("SELECT name FROM t WHERE name = 'oNE' AND app.exist(more, 'a');"),
        ["One"]
    );
    // What others built on it would not come back.
    admin.psql("CREATE TABLE theirs (name citext);");
    let owner = format!("{}_owner", admin.name());
    admin.psql(&format!("GRANT SELECT ON theirs TO {owner};"));
    let refused = case
        .project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(3);
    says(&refused, &["column name of table theirs"]);
}

/// `public` itself stays, and what is said of it is the backup's.
#[test]
fn grants_and_comment_of_public_go_back() {
    let Some((case, admin)) = Case::owner("public_said") else {
        return;
    };
    let said = "SELECT a.grantee::regrole, a.privilege_type, a.is_grantable, obj_description(n.oid) \
                FROM pg_namespace n, aclexplode(nspacl) AS a WHERE nspname = 'public' ORDER BY 1, 2;";
    let states = [
        "CREATE TABLE t (id int);",
        "GRANT ALL ON SCHEMA public TO pg_monitor; COMMENT ON SCHEMA public IS 'ours';",
        "GRANT USAGE ON SCHEMA public TO pg_monitor WITH GRANT OPTION; \
         REVOKE ALL ON SCHEMA public FROM PUBLIC; COMMENT ON SCHEMA public IS NULL;",
        "GRANT ALL ON SCHEMA public TO PUBLIC, pg_signal_backend; COMMENT ON SCHEMA public IS 'late';",
    ];
    let taken: Vec<(String, String)> = states
        .iter()
        .map(|sql| {
            case.query(sql);
            (case.backup(), admin.psql(said))
        })
        .collect();
    for (id, before) in taken {
        case.restore(&id);
        // A dump tells no comment from an empty one.
        assert_eq!(admin.psql(said), before, "{id}");
    }
}

/// Readable ones are in the dump, in one piece with the owner's before version 17.
#[test]
fn large_objects_of_others_stay_as_they_are() {
    let Some((case, admin)) = Case::owner("their_objects") else {
        return;
    };
    let owner = format!("{}_owner", admin.name());
    admin.psql(&format!(
        "SELECT lo_from_bytea(8, 'x'); GRANT SELECT ON LARGE OBJECT 8 TO {owner};"
    ));
    case.query("CREATE TABLE t (id int); INSERT INTO t VALUES (1);");
    case.backup();
    case.query("DELETE FROM t;");
    case.restore("latest");
    assert_eq!(case.query("SELECT id FROM t"), ["1"]);
    assert_eq!(admin.psql("SELECT lo_get(8)"), "\\x78");

    case.query("SELECT lo_from_bytea(9, 'y');");
    case.backup();
    case.query("SELECT lo_put(9, 0, 'z');");
    let run = case.project.run(["db", "restore", "latest", "--yes"]);
    let is_one_piece =
        admin.psql("SELECT current_setting('server_version_num')::int < 170000") == "t";
    if is_one_piece {
        says(
            &run.expect_code(3),
            &["in one piece with those of others", "hint: "],
        );
        assert_eq!(case.query("SELECT lo_get(9)"), ["\\x7a"]);
    } else {
        run.expect_code(0);
        assert_eq!(case.query("SELECT lo_get(9)"), ["\\x79"]);
    }
    assert_eq!(admin.psql("SELECT lo_get(8)"), "\\x78");
}

/// A dump says them in the other's name.
#[test]
fn grants_by_others_are_named_before_they_are_missed() {
    let Some((case, admin)) = Case::owner("granted_on") else {
        return;
    };
    let other = format!("{}_other", admin.name());
    create_role(&admin, &other);
    case.query(&format!(
        "CREATE TABLE t (id int); GRANT SELECT ON t TO {other} WITH GRANT OPTION; INSERT INTO t VALUES (1);"
    ));
    let quiet = case.project.run(["db", "backup"]).expect_code(0);
    assert!(!quiet.stderr.contains("grants"), "{quiet}");
    admin.psql(&format!(
        "SET ROLE {other}; GRANT SELECT ON t TO pg_monitor;"
    ));
    let taken = case.project.run(["db", "backup"]).expect_code(0);
    says(
        &taken,
        &[
            "warning: grants that others than the owner have given, which only a superuser can restore: ",
            &format!("table t (by {other})"),
        ],
    );
    case.query("DELETE FROM t;");
    let refused = case
        .project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(3);
    says(
        &refused,
        &[
            "only a superuser can restore",
            "the database is as it was",
            "hint: restore as an administrator",
        ],
    );
    assert_eq!(case.query("SELECT count(*) FROM t"), ["0"]);
    admin.psql(&format!("ALTER ROLE {}_owner CREATEDB;", admin.name()));
    for verb in [&["drill", "latest"][..], &["restore", "latest", "--yes"]] {
        let refused = case.project.run([&["db"], verb].concat()).expect_code(3);
        says(
            &refused,
            &[
                "only a superuser can restore",
                "hint: restore as an administrator",
            ],
        );
    }
}

/// An upgrade of the server gives new numbers, and so does who makes the same again.
#[test]
fn what_others_made_anew_is_there() {
    let Some((case, admin)) = Case::owner("made_anew") else {
        return;
    };
    let owner = format!("{}_owner", admin.name());
    let theirs = format!(
        "CREATE SCHEMA theirs; CREATE TABLE theirs.notes (id int PRIMARY KEY, note text DEFAULT 'x' CHECK (note <> '')); \
         CREATE FUNCTION theirs.\"Add\"(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE TYPE theirs.mood AS ENUM ('a'); CREATE VIEW theirs.seen AS SELECT 1 AS one; \
         CREATE POLICY p ON theirs.notes USING (true); CREATE INDEX i ON theirs.notes (note); \
         CREATE RULE r AS ON DELETE TO theirs.notes DO INSTEAD NOTHING; \
         CREATE FUNCTION theirs.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER touched BEFORE INSERT ON theirs.notes FOR EACH ROW EXECUTE FUNCTION theirs.touch(); \
         GRANT USAGE ON SCHEMA theirs TO {owner}; GRANT SELECT ON ALL TABLES IN SCHEMA theirs TO {owner};"
    );
    admin.psql(&theirs);
    case.query("CREATE TABLE t (id int); INSERT INTO t VALUES (1);");
    case.backup();
    case.query("DELETE FROM t;");
    admin.psql(&format!("DROP SCHEMA theirs CASCADE; {theirs}"));
    case.restore("latest");
    assert_eq!(case.query("SELECT id FROM t"), ["1"]);
    // What is another thing by now is not that.
    admin.psql("DROP INDEX theirs.i; DROP FUNCTION theirs.\"Add\"; CREATE FUNCTION theirs.\"Add\"(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';");
    let refused = case
        .project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(3);
    says(
        &refused,
        &[
            "are no longer in the database",
            "INDEX theirs i",
            "FUNCTION theirs Add(integer, text)",
        ],
    );
}
