//! Statements of PostgreSQL that reach out.

use xtask_db::parsers::{EngineKind, Migration, reaches};

use super::migration;

#[track_caller]
fn finds(sql: &str, expected: &[&str]) {
    super::finds(EngineKind::Postgresql, sql, expected);
}

const SERVER: &str = r#"
CREATE ROLE reporting LOGIN PASSWORD 'secret' => Server CREATE ROLE reporting
create user "Odd; name" with encrypted password 'secret' => Server CREATE USER "Odd; name"
CREATE GROUP readers => Server CREATE GROUP readers
ALTER ROLE app SET search_path = shop => Server ALTER ROLE app
ALTER USER app PASSWORD 'secret' => Server ALTER USER app
ALTER ROLE ALL IN DATABASE shop RESET ALL => Server ALTER ROLE ALL
DROP ROLE IF EXISTS reporting, other => Server DROP ROLE IF EXISTS reporting
DROP USER reporting => Server DROP USER reporting
GRANT readers TO app WITH ADMIN OPTION => Server GRANT readers TO app WITH ADMIN OPTION
GRANT a, "b" TO c => Server GRANT a, "b" TO c
REVOKE ADMIN OPTION FOR readers FROM app => Server REVOKE ADMIN OPTION FOR readers FROM app
GRANT CONNECT, TEMP ON DATABASE shop TO app => Server GRANT CONNECT, TEMP ON DATABASE shop
REVOKE ALL ON DATABASE shop FROM PUBLIC => Server REVOKE ALL ON DATABASE shop
GRANT CREATE ON TABLESPACE fast TO app => Server GRANT CREATE ON TABLESPACE fast
GRANT SET ON PARAMETER log_statement TO app => Server GRANT SET ON PARAMETER log_statement
CREATE DATABASE other => Server CREATE DATABASE other
ALTER DATABASE shop SET timezone = 'UTC' => Server ALTER DATABASE shop
DROP DATABASE IF EXISTS shop WITH (FORCE) => Server DROP DATABASE IF EXISTS shop
ALTER SYSTEM SET work_mem = '1GB' => Server ALTER SYSTEM SET work_mem
CREATE TABLESPACE fast LOCATION '/ssd' => Server CREATE TABLESPACE fast
ALTER TABLESPACE fast RENAME TO slow => Server ALTER TABLESPACE fast
DROP TABLESPACE IF EXISTS fast => Server DROP TABLESPACE IF EXISTS fast
COMMENT ON DATABASE shop IS 'ours' => Server COMMENT ON DATABASE shop
COMMENT ON ROLE app IS 'ours' => Server COMMENT ON ROLE app
COMMENT ON TABLESPACE fast IS NULL => Server COMMENT ON TABLESPACE fast
SECURITY LABEL FOR anon ON ROLE app IS 'MASKED' => Server SECURITY LABEL ON ROLE app
SECURITY LABEL ON DATABASE shop IS 'x' => Server SECURITY LABEL ON DATABASE shop
REASSIGN OWNED BY old TO new => Server REASSIGN OWNED BY old TO new
DROP OWNED BY old CASCADE => Server DROP OWNED BY old CASCADE
REINDEX DATABASE shop => Server REINDEX DATABASE shop
REINDEX (VERBOSE) SYSTEM shop => Server REINDEX (VERBOSE) SYSTEM shop
COMMIT PREPARED 'left' => Server COMMIT PREPARED
SELECT pg_terminate_backend(pid) FROM pg_stat_activity => Server pg_terminate_backend()
SELECT pg_catalog.pg_reload_conf () => Server pg_catalog.pg_reload_conf()
SELECT * FROM pg_create_logical_replication_slot('s', 'pgoutput') => Server pg_create_logical_replication_slot()
UPDATE pg_database SET datallowconn = false => Server UPDATE pg_database
DELETE FROM ONLY pg_catalog.pg_db_role_setting => Server DELETE FROM pg_catalog.pg_db_role_setting
CREATE SCHEMA s AUTHORIZATION app CREATE TABLE t (id int) GRANT CONNECT ON DATABASE shop TO app => Server GRANT CONNECT ON DATABASE shop
EXPLAIN (ANALYZE, COSTS off) UPDATE pg_authid SET rolsuper = true => Server UPDATE pg_authid
"#;

const OUTSIDE: &str = r#"
COPY books TO '/tmp/books.csv' WITH CSV => Outside COPY books TO a file
COPY public.books (id, "to") FROM '/tmp/x' => Outside COPY public.books FROM a file
COPY (SELECT 1 FROM a) TO PROGRAM 'curl http://x' => Outside COPY (…) TO PROGRAM …
COPY books FROM PROGRAM $$cat$$ => Outside COPY books FROM PROGRAM …
SELECT lo_import('/etc/passwd') => Outside lo_import()
SELECT pg_catalog.lo_export(1, '/tmp/x') => Outside pg_catalog.lo_export()
INSERT INTO t SELECT pg_read_file('x') => Outside pg_read_file()
SELECT 1 WHERE "pg_stat_file"('x') IS NULL => Outside "pg_stat_file"()
SELECT pg_file_write('x', 'y', true) => Outside pg_file_write()
CREATE EXTENSION IF NOT EXISTS dblink => Outside CREATE EXTENSION IF NOT EXISTS dblink
CREATE EXTENSION "postgres_fdw" SCHEMA ext => Outside CREATE EXTENSION "postgres_fdw"
CREATE EXTENSION oracle_fdw => Outside CREATE EXTENSION oracle_fdw
CREATE EXTENSION plpython3u => Outside CREATE EXTENSION plpython3u
SELECT dblink_connect('password=secret') => Outside dblink_connect()
SELECT * FROM ext.dblink('SELECT 1') AS t(a int) => Outside ext.dblink()
SELECT dblink_exec('c', 'DROP TABLE t') => Outside dblink_exec()
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw => Outside CREATE SERVER far
ALTER SERVER far OPTIONS (SET host 'x') => Outside ALTER SERVER far
CREATE USER MAPPING FOR app SERVER far OPTIONS (password 'secret') => Outside CREATE USER MAPPING
CREATE FOREIGN TABLE IF NOT EXISTS s.t (id int) SERVER far => Outside CREATE FOREIGN TABLE IF NOT EXISTS s.t
IMPORT FOREIGN SCHEMA public FROM SERVER far INTO near => Outside IMPORT FOREIGN SCHEMA public
CREATE SUBSCRIPTION sub CONNECTION 'password=secret' PUBLICATION p => Outside CREATE SUBSCRIPTION sub
DROP SUBSCRIPTION IF EXISTS sub => Outside DROP SUBSCRIPTION IF EXISTS sub
NOTIFY changed, 'x' => Outside NOTIFY changed
SELECT pg_notify('changed', 'x') => Outside pg_notify()
LOAD '/tmp/evil.so' => Outside LOAD …
CREATE OR REPLACE PROCEDURAL LANGUAGE plpython3u => Outside CREATE OR REPLACE PROCEDURAL LANGUAGE plpython3u
CREATE LANGUAGE plperlu => Outside CREATE LANGUAGE plperlu
SELECT cron.schedule('nightly', '0 3 * * *', 'VACUUM') => Outside cron.schedule()
DELETE FROM cron.job WHERE jobid = 1 => Outside DELETE FROM cron.job
SELECT net.http_post('http://x') => Outside net.http_post()
CREATE TABLE policy AS SELECT a FROM b JOIN c ON pg_read_file(d) = e => Outside pg_read_file()
CREATE MATERIALIZED VIEW m AS SELECT pg_read_file('x') => Outside pg_read_file()
CREATE OR REPLACE TEMP VIEW m AS SELECT pg_read_file('x') => Outside- pg_read_file()
ALTER TABLE t ADD COLUMN x text DEFAULT pg_read_file('x') => Outside pg_read_file()
DO LANGUAGE plpython3u $$ import os $$ => Outside+ DO LANGUAGE plpython3u
CREATE VIEW v AS SELECT * FROM dblink('x', 'y') AS t(a int) => Outside- dblink()
CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY changed => Outside- NOTIFY changed
CREATE FUNCTION f() RETURNS int AS 'x.so', 'f' LANGUAGE C => Outside- CREATE FUNCTION f LANGUAGE c
"#;

const TRANSACTIONS: &str = r#"
BEGIN => OwnTransaction BEGIN
begin isolation level serializable => OwnTransaction BEGIN ISOLATION LEVEL
START TRANSACTION READ ONLY => OwnTransaction START TRANSACTION READ
COMMIT => OwnTransaction COMMIT
COMMIT AND CHAIN => OwnTransaction COMMIT AND CHAIN
END WORK => OwnTransaction END WORK
ROLLBACK => OwnTransaction ROLLBACK
ABORT => OwnTransaction ABORT
PREPARE TRANSACTION 'x' => OwnTransaction PREPARE TRANSACTION
"#;

const HISTORY: &str = r#"
DELETE FROM _sqlx_migrations WHERE version = 3 => Bookkeeping DELETE FROM _sqlx_migrations
UPDATE ONLY public._sqlx_migrations SET success = true => Bookkeeping UPDATE public._sqlx_migrations
INSERT INTO "_sqlx_migrations" VALUES (1) => Bookkeeping INSERT INTO "_sqlx_migrations"
TRUNCATE a, ONLY b *, _SQLX_migrations => Bookkeeping TRUNCATE _SQLX_migrations
TRUNCATE TABLE _sqlx_migrations => Bookkeeping TRUNCATE TABLE _sqlx_migrations
WITH gone AS (DELETE FROM _sqlx_migrations RETURNING *) SELECT * FROM gone => Bookkeeping DELETE FROM _sqlx_migrations
DROP TABLE IF EXISTS a, _sqlx_migrations CASCADE => Bookkeeping DROP TABLE IF EXISTS _sqlx_migrations
ALTER TABLE _sqlx_migrations ADD COLUMN x int => Bookkeeping ALTER TABLE _sqlx_migrations
ALTER TABLE old RENAME TO _sqlx_migrations => Bookkeeping RENAME TO _sqlx_migrations
CREATE TABLE IF NOT EXISTS _sqlx_migrations (id int) => Bookkeeping CREATE TABLE IF NOT EXISTS _sqlx_migrations
LOCK TABLE _sqlx_migrations => Bookkeeping LOCK TABLE _sqlx_migrations
MERGE INTO _sqlx_migrations USING x ON true WHEN MATCHED THEN DELETE => Bookkeeping MERGE INTO _sqlx_migrations
COPY _sqlx_migrations FROM STDIN => Bookkeeping COPY _sqlx_migrations
DROP SCHEMA IF EXISTS public CASCADE => Bookkeeping DROP SCHEMA IF EXISTS public
CREATE TRIGGER t AFTER INSERT ON _sqlx_migrations EXECUTE FUNCTION f() => Bookkeeping CREATE TRIGGER ON _sqlx_migrations
"#;

const NOT_UNDERSTOOD: &str = r#"
FROBNICATE TABLE books NOW => Unknown FROBNICATE TABLE books NOW
CREATE WIDGET w => Unknown CREATE WIDGET w
ALTER WIDGET w 'secret' => Unknown ALTER WIDGET w
COPY books => Unknown COPY books
DO LANGUAGE plv8 $$ x $$ => Unknown+ DO LANGUAGE plv8
SET standard_conforming_strings = off => Unknown SET standard_conforming_strings
"#;

/// One statement, with one finding in its first line; and again with other spaces, comments and letters.
#[track_caller]
fn each(cases: &str) {
    for case in cases.trim().lines() {
        let (sql, expected) = case
            .split_once(" => ")
            .expect("a statement and what is found");
        finds(sql, &[&format!("1 {expected}")]);
        let behind = format!("SELECT 1; -- it's\nCREATE TABLE t (id int)\n;\n\n{sql};SELECT 2");
        finds(&behind, &[&format!("5 {expected}")]);
        let with_comments = format!("/* a /* b */ ' */{}", sql.replacen(' ', "/**/--'\n\t", 1));
        let kind = expected.split(' ').next();
        let again = super::found(&with_comments, EngineKind::Postgresql);
        assert_eq!(again.len(), 1, "{with_comments}: {again:?}");
        assert_eq!(
            Some(&*format!("{:?}", again[0].kind)),
            kind.map(|k| k.trim_end_matches(['+', '-']))
        );
    }
}

#[test]
fn roles_databases_and_the_server() {
    each(SERVER);
}

#[test]
fn files_programs_and_other_servers() {
    each(OUTSIDE);
}

#[test]
fn transactions() {
    each(TRANSACTIONS);
    // Without sqlx's transaction there is none to end; a prepared one outlives the session.
    let alone = |sql: &str| Migration {
        no_tx: true,
        ..migration(sql)
    };
    let found = |sql| reaches(&alone(sql), EngineKind::Postgresql, super::TABLE);
    assert_eq!(found("-- no-transaction\nBEGIN; SELECT 1; COMMIT;"), []);
    assert_eq!(found("PREPARE TRANSACTION 'x'").len(), 1);
}

#[test]
fn the_history() {
    each(HISTORY);
    let found = |sql, table| reaches(&migration(sql), EngineKind::Postgresql, table).len();
    assert_eq!(found("DELETE FROM books", "books"), 1);
    assert_eq!(found("DELETE FROM shop.books", "shop.books"), 1);
    assert_eq!(found("DELETE FROM other.books", "shop.books"), 0);
    assert_eq!(found("DELETE FROM books", "shop.books"), 1);
    assert_eq!(found("DROP SCHEMA shop", "shop.books"), 1);
    assert_eq!(found("DROP SCHEMA public", "shop.books"), 0);
    assert_eq!(found("DELETE FROM books", "\"Books\""), 0);
    assert_eq!(found("DELETE FROM \"Books\"", "\"Books\""), 1);
}

#[test]
fn what_was_not_understood_is_named() {
    each(NOT_UNDERSTOOD);
    finds(
        "\\copy books from 'x'",
        &["1 Unknown a statement that begins with no word"],
    );
    finds("SELECT 'never ends; CREATE ROLE r", &["1 Unknown SELECT"]);
    finds(
        "SELECT 1;\nSELECT /* never ends; CREATE ROLE r",
        &["2 Unknown SELECT"],
    );
    finds("SELECT (1;\nCREATE ROLE r", &["1 Unknown SELECT"]);
    finds(
        "SELECT 1) FROM t;\nCREATE ROLE r",
        &["1 Unknown SELECT", "2 Server CREATE ROLE r"],
    );
    // One string over two lines, with the escapes of its beginning.
    finds(
        "SELECT E'a'\n'b\\''; CREATE ROLE r; --'",
        &["1 Unknown SELECT"],
    );
}

#[test]
fn code_of_do_runs_and_code_of_functions_waits() {
    finds(
        "DO $$\nBEGIN\n  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'r') THEN\n    CREATE ROLE r;\n  END IF;\nEND $$;",
        &["4 Server+ CREATE ROLE r"],
    );
    finds(
        "DO $do$\nDECLARE x int;\nBEGIN\n  -- CREATE ROLE no;\n  x := 1; RAISE NOTICE 'CREATE ROLE no';\n\
         EXCEPTION WHEN duplicate_object THEN NULL;\nEND $do$;\nNOTIFY done",
        &["8 Outside NOTIFY done"],
    );
    finds(
        "DO $$ BEGIN EXECUTE format($q$ALTER DATABASE %I SET x = 1$q$, current_database()); END $$",
        &["1 Server+ ALTER DATABASE"],
    );
    finds(
        "DO 'BEGIN\nEXECUTE ''CREATE ROLE '' || quote_ident(x); COMMIT; END'",
        &["2 Server+ CREATE ROLE", "2 OwnTransaction+ COMMIT"],
    );
    finds(
        "DO E'BEGIN\\n CREATE ROLE \\x72; END'",
        &["2 Server+ CREATE ROLE r"],
    );
    finds(
        "DO $$ BEGIN EXECUTE stmt; END $$",
        &["1 Unknown+ EXECUTE stmt"],
    );
    finds(
        "DO $$ BEGIN EXECUTE 'CREATE ' || kind; END $$",
        &["1 Unknown+ CREATE"],
    );
    finds(
        "DO $$ BEGIN EXECUTE 'ALTER TABLE ' || t || ' ADD x int'; END $$",
        &[],
    );
    finds(
        "DO $$ BEGIN PERFORM 1; FOR r IN EXECUTE 'SELECT pg_notify(1)' LOOP NULL; END LOOP; END $$",
        &["1 Outside+ pg_notify()"],
    );
    finds(
        "DO $a$ BEGIN EXECUTE $b$ DO $c$ BEGIN DELETE FROM _sqlx_migrations; END $c$ $b$; END $a$",
        &["1 Bookkeeping+ DELETE FROM _sqlx_migrations"],
    );
    finds(
        "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n  \
         PERFORM pg_notify('x', 'y');\n  CREATE ROLE r;\nEND $$;\nSELECT f();",
        &["3 Outside- pg_notify()", "4 Server- CREATE ROLE r"],
    );
    finds(
        "CREATE FUNCTION f() RETURNS text AS 'SELECT pg_read_file(''x'')' LANGUAGE 'sql'",
        &["1 Outside- pg_read_file()"],
    );
    finds(
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\nSELECT CASE WHEN true THEN 1 END;\n\
         SELECT lo_import('x'); END;\nCOMMIT;",
        &["3 Outside- lo_import()", "4 OwnTransaction COMMIT"],
    );
    finds(
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$",
        &[],
    );
    finds(
        "CREATE FUNCTION f() RETURNS text LANGUAGE plv8 AS $$ x $$",
        &["1 Unknown- CREATE FUNCTION f LANGUAGE plv8"],
    );
    let nested = (0..9).rev().fold("CREATE ROLE r".to_owned(), |code, n| {
        format!("DO $q{n}${code}$q{n}$")
    });
    finds(&nested, &["1 Unknown+ code in code in code"]);
}
