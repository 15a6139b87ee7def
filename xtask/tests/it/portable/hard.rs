//! Schemas that make an import hard: keys in circles, triggers, cascades, rights.

use super::{export, fingerprints, import};
use crate::setup::{Case, says};

#[test]
fn keys_in_circles_and_of_rows_to_their_own_table() {
    let tables = "
        CREATE TABLE people (id BIGINT PRIMARY KEY, boss BIGINT REFERENCES people (id), team BIGINT);
        CREATE TABLE teams (id BIGINT PRIMARY KEY, lead BIGINT NOT NULL REFERENCES people (id));";
    for case in Case::each("portable_circle") {
        case.query(tables);
        let (key, off) = match case.server {
            None => ("", "PRAGMA foreign_keys = OFF;"),
            Some(_) => (
                "ALTER TABLE people ADD CONSTRAINT in_team FOREIGN KEY (team) REFERENCES teams (id);",
                "SET session_replication_role = replica;",
            ),
        };
        case.query(&format!(
            "{key} {off} INSERT INTO people VALUES (1, 2, 7), (2, 3, 7), (3, NULL, 8);
             INSERT INTO teams VALUES (7, 3), (8, 1);"
        ));
        let before = fingerprints(&case);
        for format in ["ndjson", "csv"] {
            let path = export(&case, format);
            import(&case, &path, &["--replace"]).expect_code(0);
            assert_eq!(fingerprints(&case), before);
        }
        if let Some(server) = &case.server {
            let keys = "SELECT conname, condeferrable, condeferred FROM pg_constraint WHERE contype = 'f' ORDER BY 1;";
            assert_eq!(
                server.psql(keys),
                "in_team|f|f\npeople_boss_fkey|f|f\nteams_lead_fkey|f|f"
            );
        }
        // One that leads nowhere is found, although it waits for the end.
        let path = export(&case, "ndjson");
        let text = std::fs::read_to_string(&path).expect("read it");
        std::fs::write(&path, text.replace("\"boss\": 3", "\"boss\": 33")).expect("edit it");
        let output = import(&case, &path, &["--replace", "--edited"]).expect_code(3);
        says(&output, &["the rows do not fit together", "people"]);
        assert_eq!(fingerprints(&case), before);
    }
}

/// Triggers of the application neither change the rows nor write others, and are as they were.
#[test]
fn triggers_do_not_fire() {
    for case in Case::each("portable_trigger") {
        case.query(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT); CREATE TABLE seen (id BIGINT);
             INSERT INTO t VALUES (1, 1), (2, 2);",
        );
        case.query(match case.server {
            None => {
                "CREATE TRIGGER added AFTER INSERT ON t BEGIN INSERT INTO seen VALUES (new.id); END;
                 CREATE TRIGGER gone AFTER DELETE ON t BEGIN INSERT INTO seen VALUES (-old.id); END;"
            }
            Some(_) => {
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   INSERT INTO public.seen VALUES (0); IF TG_OP = 'INSERT' THEN NEW.n := 9; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER a_changes BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
                 CREATE TRIGGER b_off AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
                 CREATE TRIGGER c_always AFTER DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION f();
                 ALTER TABLE t DISABLE TRIGGER b_off; ALTER TABLE t ENABLE ALWAYS TRIGGER c_always;"
            }
        });
        let path = export(&case, "ndjson");
        let output = import(&case, &path, &["--replace"]).expect_code(0);
        assert_eq!(
            case.query("SELECT id, n FROM t ORDER BY 1;"),
            ["1|1", "2|2"]
        );
        assert_eq!(case.query("SELECT count(*) FROM seen;"), ["0"]);
        says(&output, &["warning: the triggers of `t` did not fire"]);
        assert!(!output.stderr.contains("`seen`"), "{output}");
        if let Some(server) = &case.server {
            let states =
                "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1;";
            assert_eq!(server.psql(states), "a_changes|O\nb_off|D\nc_always|A");
        } else {
            case.query("INSERT INTO t VALUES (3, 3);");
            assert_eq!(case.query("SELECT id FROM seen;"), ["3"]);
        }
    }
}

/// A rule that keeps rows, and a policy that hides them: nothing half done.
#[test]
fn what_keeps_rows_from_being_replaced_is_noticed() {
    let Some(case) = Case::postgres("portable_rule") else {
        return;
    };
    case.query("CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1), (2);");
    let path = export(&case, "ndjson");
    case.query("CREATE RULE kept AS ON DELETE TO t DO INSTEAD NOTHING;");
    let output = import(&case, &path, &["--replace"]).expect_code(3);
    says(
        &output,
        &["the table `t` would hold 4 rows of the 2 in the file"],
    );
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["2"]);
}

/// The owner of a database, who is no superuser, can do all of it.
#[test]
fn the_owner_of_the_tables_is_enough() {
    let Some((case, admin)) = Case::owner("portable_owner") else {
        return;
    };
    let role = format!("{}_owner", admin.name());
    admin.psql(&format!("GRANT ALL ON SCHEMA public TO {role};"));
    case.query(
        "CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, up BIGINT REFERENCES t (id));
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         INSERT INTO t (up) VALUES (NULL), (1), (1);
         CREATE TRIGGER none BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();",
    );
    let path = export(&case, "csv");
    import(&case, &path, &["--replace"]).expect_code(0);
    assert_eq!(
        case.query("SELECT id, up FROM t ORDER BY 1;"),
        ["1|", "2|1", "3|1"]
    );
    // Who may only write to a table is told so, and nothing has changed.
    admin.psql("CREATE TABLE theirs (id BIGINT); INSERT INTO theirs VALUES (1);");
    admin.psql(&format!("GRANT ALL ON theirs TO {role};"));
    admin.psql("CREATE TRIGGER none BEFORE INSERT ON theirs FOR EACH ROW EXECUTE FUNCTION f();");
    let path = export(&case, "ndjson");
    let output = import(&case, &path, &["--replace"]).expect_code(3);
    says(
        &output,
        &[
            "the server does not take `ALTER TABLE",
            "import as the owner of the tables",
        ],
    );
    assert_eq!(admin.psql("SELECT count(*) FROM theirs;"), "1");
    // The same where it may only add.
    admin.psql(&format!(
        "REVOKE UPDATE, DELETE, TRUNCATE ON theirs FROM {role};"
    ));
    let output = import(&case, &path, &["--append", "--table", "theirs"]).expect_code(3);
    says(
        &output,
        &[
            "cannot hold `theirs` against writers",
            "hint: nothing was changed; import as the owner of the tables",
        ],
    );
    assert_eq!(admin.psql("SELECT count(*) FROM theirs;"), "1");
}

/// They hold what the tables held: each is named, also one that asks a view or another of them.
#[test]
fn materialized_views_that_are_stale_are_named() {
    let Some(case) = Case::postgres("portable_stale") else {
        return;
    };
    case.query(
        "CREATE TABLE t (id BIGINT); CREATE TABLE u (id BIGINT); INSERT INTO t VALUES (1), (2);
         CREATE SCHEMA \"S\"; CREATE VIEW v AS SELECT id FROM t;
         CREATE MATERIALIZED VIEW \"S\".first AS SELECT count(*) AS n FROM v;
         CREATE MATERIALIZED VIEW second AS SELECT n + 1 AS n FROM \"S\".first;
         CREATE MATERIALIZED VIEW \"of u\" AS SELECT id FROM u;
         CREATE MATERIALIZED VIEW never AS SELECT id FROM t WITH NO DATA;",
    );
    let path = export(&case, "ndjson");
    let output = import(&case, &path, &["--replace", "--table", "t"]).expect_code(0);
    for view in ["S.first", "second"] {
        let line = format!(
            "warning: the materialized view `{view}` still shows what was there before: REFRESH"
        );
        says(&output, &[&line]);
    }
    let lines = output.stderr.matches("the materialized view `").count();
    assert_eq!(lines, 2, "{output}");
}

/// The rows of a virtual table are its module's; that they are not there is said.
#[test]
fn what_is_left_out_is_said() {
    let case = Case::sqlite();
    case.query("CREATE VIRTUAL TABLE words USING fts5(word); INSERT INTO words VALUES ('x'); CREATE TABLE t (a); INSERT INTO t VALUES (1);");
    let before = fingerprints(&case);
    let output = case
        .project
        .run(["db", "export", "-o", "out.ndjson"])
        .expect_code(0);
    says(
        &output,
        &[
            "warning: left out: the virtual table `words`",
            "exported 1 table, 1 row",
        ],
    );
    import(
        &case,
        &case.project.path().join("out.ndjson"),
        &["--replace"],
    )
    .expect_code(0);
    assert_eq!(fingerprints(&case), before);
}

/// A policy would leave rows out without a word.
#[test]
fn a_policy_that_hides_rows_is_an_error_and_no_filter() {
    let Some((case, admin)) = Case::owner("portable_policy") else {
        return;
    };
    let role = format!("{}_owner", admin.name());
    admin.psql(&format!("GRANT ALL ON SCHEMA public TO {role};"));
    case.query("CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1), (2);");
    let path = export(&case, "ndjson");
    case.query(
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
         CREATE POLICY first_only ON t USING (id = 1);",
    );
    let output = case.project.run(["db", "export", "-o", "some.ndjson"]);
    assert_ne!(output.code, 0, "{output}");
    says(&output, &["row-level security"]);
    assert!(!case.project.path().join("some.ndjson").exists());
    let output = import(&case, &path, &["--append"]);
    assert_ne!(output.code, 0, "{output}");
    assert_eq!(admin.psql("SELECT count(*) FROM t;"), "2");
}
