//! Databases that `pg_dump` dumps with code 0 and that `pg_restore` does not bring back: restored
//! right all the same, or refused by name. Each as the superuser, who gets a new database, and as
//! an owner, whose restore is one transaction.

mod refused;
mod server;

use crate::setup::Case;

/// A schema that only the database's own search path leads to.
const APP: &str = "
    CREATE SCHEMA app;
    SET search_path = app;
    CREATE TABLE rate (id INT PRIMARY KEY, factor INT NOT NULL);
    INSERT INTO rate VALUES (1, 10), (2, 20);
";

fn each(name: &str) -> Vec<Case> {
    let superuser = Case::postgres(name);
    let owner = Case::owner(&format!("{name}_owner")).map(|(case, _)| case);
    superuser.into_iter().chain(owner).collect()
}

/// Backs `script` up, destroys it and restores it: `question` has the same answer then. Returns
/// the warnings of the restore.
#[track_caller]
fn comes_back(case: &Case, script: &str, question: &str) -> Vec<String> {
    let database = case.server.as_ref().expect("a server").name();
    case.query(&format!("ALTER DATABASE {database} SET search_path = app;"));
    case.query(&format!("{APP}{script}"));
    let before = case.query(question);
    assert!(!before.is_empty(), "the question has no answer");
    case.backup();
    case.query("DROP SCHEMA app CASCADE; CREATE TABLE public.late (id INT);");
    let restored = case.restore("latest");
    assert_eq!(case.query(question), before);
    let late = "SELECT to_regclass('public.late') IS NULL;";
    assert_eq!(case.query(late), ["t"], "the restore merged");
    let warnings = restored["warnings"].as_array().expect("warnings");
    let text = |warning: &serde_json::Value| warning.as_str().expect("a text").to_owned();
    warnings.iter().map(text).collect()
}

#[test]
fn a_materialized_view_whose_function_needs_a_search_path() {
    let script = "
        CREATE FUNCTION total() RETURNS BIGINT LANGUAGE sql AS 'SELECT sum(factor) FROM rate';
        CREATE MATERIALIZED VIEW app.totals AS SELECT total() AS total;
    ";
    for case in each("matview") {
        let warnings = comes_back(&case, script, "SELECT total FROM app.totals;");
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn an_index_whose_function_needs_a_search_path() {
    let script = "
        CREATE FUNCTION twice(n INT) RETURNS INT IMMUTABLE LANGUAGE sql AS 'SELECT n * 2';
        CREATE FUNCTION scaled(n INT) RETURNS INT IMMUTABLE LANGUAGE plpgsql
            AS 'BEGIN RETURN twice(n); END';
        CREATE INDEX rate_scaled ON rate (scaled(factor));
    ";
    let question = "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index
                    WHERE indexrelid = 'app.rate_scaled'::regclass;";
    for case in each("expression_index") {
        let warnings = comes_back(&case, script, question);
        assert_eq!(warnings, [""; 0]);
    }
}

/// `a_sale` is restored before `rate`, so that every row would be refused.
#[test]
fn a_check_that_reads_another_table() {
    let script = "
        CREATE FUNCTION is_rate(n INT) RETURNS BOOLEAN LANGUAGE sql
            AS 'SELECT EXISTS (SELECT FROM app.rate WHERE id = n)';
        CREATE TABLE a_sale (id INT PRIMARY KEY, rate INT, CONSTRAINT known CHECK (is_rate(rate)));
        COMMENT ON CONSTRAINT known ON a_sale IS 'looks elsewhere';
        INSERT INTO a_sale VALUES (1, 1), (2, 2);
    ";
    let question = "SELECT id, rate FROM app.a_sale ORDER BY id;
        SELECT conname, convalidated, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')
        FROM pg_constraint WHERE conname = 'known';";
    for case in each("check_elsewhere") {
        let warnings = comes_back(&case, script, question);
        assert_eq!(warnings, [""; 0]);
    }
}

/// The beginning of the script is adapted, and the first rows come soon after it.
#[test]
fn rows_that_look_like_the_beginning_of_a_script_are_left_alone() {
    let script = "
        CREATE TABLE a_line (line TEXT);
        INSERT INTO a_line VALUES ('SET transaction_timeout = 0;'),
            ($$SELECT pg_catalog.set_config('search_path', '', false);$$), ('-- Name: a');
        CREATE FUNCTION total() RETURNS BIGINT LANGUAGE sql AS 'SELECT sum(factor) FROM rate';
        CREATE MATERIALIZED VIEW app.totals AS SELECT total() AS total;
    ";
    for case in each("script_lines") {
        let warnings = comes_back(&case, script, "SELECT line FROM app.a_line ORDER BY line;");
        assert_eq!(warnings, [""; 0]);
    }
}

/// Inherited, redefined and partitioned: each constraint is where it was, and once.
#[test]
fn checks_of_parents_and_children() {
    let script = "
        CREATE FUNCTION is_rate(n INT) RETURNS BOOLEAN LANGUAGE sql
            AS 'SELECT EXISTS (SELECT FROM app.rate WHERE id = n)';
        CREATE TABLE a_parent (n INT, CONSTRAINT up CHECK (is_rate(n)));
        CREATE TABLE a_child (CONSTRAINT up CHECK (is_rate(n)),
            CONSTRAINT own CHECK (is_rate(n))) INHERITS (a_parent);
        CREATE TABLE a_loner (CONSTRAINT alone CHECK (is_rate(n)) NO INHERIT) INHERITS (a_parent);
        CREATE TABLE a_log (n INT, CONSTRAINT part CHECK (is_rate(n))) PARTITION BY LIST (n);
        CREATE TABLE a_log_1 PARTITION OF a_log FOR VALUES IN (1);
        INSERT INTO a_child VALUES (1); INSERT INTO a_loner VALUES (2); INSERT INTO a_log VALUES (1);
        CREATE DOMAIN rate_id AS INT CONSTRAINT exists CHECK (is_rate(VALUE));
        CREATE TABLE a_use (n rate_id); INSERT INTO a_use VALUES (2);
    ";
    let question = "
        SELECT conrelid::regclass::text, contypid::regtype::text, conname, convalidated, conislocal,
            coninhcount, connoinherit, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE contype = 'c' AND connamespace = 'app'::regnamespace ORDER BY 1, 2, 3;
        SELECT tableoid::regclass, n FROM app.a_parent ORDER BY 1; SELECT n FROM app.a_log;
        SELECT n FROM app.a_use;";
    for case in each("check_family") {
        let warnings = comes_back(&case, script, question);
        assert_eq!(warnings, [""; 0]);
    }
}

/// The live database has rows that no INSERT would take any more. They come back, and the
/// constraint says of itself that they do not hold it.
#[test]
fn a_check_whose_function_was_changed_later() {
    let script = "
        CREATE FUNCTION is_small(n INT) RETURNS BOOLEAN IMMUTABLE LANGUAGE sql AS 'SELECT n < 100';
        CREATE TABLE a_sale (id INT PRIMARY KEY, CONSTRAINT small CHECK (is_small(id)));
        INSERT INTO a_sale VALUES (1), (50);
        CREATE OR REPLACE FUNCTION is_small(n INT) RETURNS BOOLEAN IMMUTABLE LANGUAGE sql
            AS 'SELECT n < 10';
    ";
    for case in each("check_changed") {
        let warnings = comes_back(&case, script, "SELECT id FROM app.a_sale ORDER BY id;");
        let [warning] = warnings.as_slice() else {
            panic!("not one warning: {warnings:?}");
        };
        let expected =
            "constraint small of TABLE app.a_sale does not hold for the rows of the backup";
        assert!(warning.starts_with(expected), "{warning}");
        let applies = "DO $$ BEGIN INSERT INTO app.a_sale VALUES (60); RAISE 'it was taken';
            EXCEPTION WHEN check_violation THEN NULL; END $$; SELECT count(*) FROM app.a_sale;";
        assert_eq!(case.query(applies), ["2"]);
    }
}

/// It fires for every command of the restore that comes after it.
#[test]
fn an_event_trigger_that_refuses_new_tables() {
    let Some(case) = Case::postgres("event_trigger") else {
        return;
    };
    let script = "
        CREATE FUNCTION no_more() RETURNS event_trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'no more of this'; END $$;
        CREATE EVENT TRIGGER a_guard ON ddl_command_start
            WHEN TAG IN ('CREATE TABLE', 'CREATE INDEX', 'ALTER TABLE', 'COMMENT')
            EXECUTE FUNCTION no_more();
    ";
    let database = case.server.as_ref().expect("a server").name();
    case.query(&format!("ALTER DATABASE {database} SET search_path = app;"));
    case.query(&format!("{APP}{script}"));
    case.backup();
    case.query("ALTER EVENT TRIGGER a_guard DISABLE; DROP TABLE app.rate;");
    case.restore("latest");
    let question = "SELECT evtname, evtenabled FROM pg_event_trigger; SELECT id FROM app.rate;";
    assert_eq!(case.query(question), ["a_guard|O", "1", "2"]);
}
