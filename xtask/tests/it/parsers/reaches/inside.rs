//! What stays in the database is not named: words in strings, comments, names and columns.

use std::fs;

use xtask_db::parsers::EngineKind::{self, Postgresql, Sqlite};

use super::finds;
use crate::project::workspace_root;

const BOTH: &[&str] = &[
    "",
    ";;;",
    "-- CREATE ROLE r\n/* COMMIT; */",
    "SELECT 'CREATE ROLE r; COMMIT; it''s DROP DATABASE x' AS \"COMMIT; BEGIN\"",
    "CREATE TABLE \"role\" (\"begin\" text, \"pg_notify\" int, \"DROP DATABASE x\" text)",
    "INSERT INTO t (a) VALUES ('; COMMIT; ATTACH ''x'' AS y; --'), ('\\'), ('/*')",
    "SELECT CASE WHEN a THEN 'COMMIT' ELSE 'END' END FROM t",
    "SAVEPOINT s; ROLLBACK TO s; ROLLBACK TO SAVEPOINT s; RELEASE s;",
    "SELECT version FROM _sqlx_migrations",
    "INSERT INTO log SELECT count(*) FROM _sqlx_migrations",
    "CREATE TABLE t (_sqlx_migrations int, load_extension text, dblink text)",
    "SELECT t._sqlx_migrations, pg_notify, load_extension FROM t",
    "UPDATE t SET pg_notify = 'x', _sqlx_migrations = 2 WHERE cron = 3",
    "CREATE VIEW v AS SELECT * FROM t",
    "WITH a AS (SELECT 1) DELETE FROM b WHERE id IN (SELECT * FROM a)",
    "DROP TABLE IF EXISTS a; ALTER TABLE b RENAME TO c; CREATE UNIQUE INDEX i ON t (a)",
    "EXPLAIN SELECT 1",
];

const OF_POSTGRES: &[&str] = &[
    "CREATE INDEX i ON http (a); COPY http (a) FROM STDIN; ANALYZE http (a); CREATE TABLE dblink (a int); WITH dblink (a) AS (SELECT 1) SELECT 1",
    "SELECT $$ COMMIT; CREATE ROLE r $$, $a$ $b$ DROP DATABASE x; $b$ $a$, E'\\'; COMMIT; --', U&'\\0027; COMMIT'",
    "/* /* */ CREATE ROLE r; */ SELECT 1",
    "SELECT 1 +-- it's\n 2, a@-- COMMIT;'\n b, 3 /* ' */",
    "SELECT $1, a::text, b[1:2], '{}'::jsonb ? 'x', c #>> '{d}', e <-> f, 1e5, .5, 0x1F, 1_000",
    "CREATE RULE r AS ON DELETE TO t DO INSTEAD (UPDATE t SET gone = true; SELECT 1)",
    "CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION f(a text DEFAULT 'CREATE ROLE r') RETURNS trigger LANGUAGE plpgsql AS \
     $$ DECLARE r record; BEGIN <<x>> LOOP EXIT x; END LOOP; IF a THEN RETURN NEW; END IF; RETURN CASE WHEN b THEN 1 END; END; $$",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT a.end AS case FROM a; SELECT CASE WHEN x THEN 1 END; END; SELECT 1",
    "CREATE FUNCTION app.pg_notify(text) RETURNS void LANGUAGE sql AS $$ SELECT 1 $$",
    "DROP FUNCTION dblink_own(text); GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app; COMMENT ON FUNCTION pg_notify(text, text) IS 'x'",
    "CREATE TRIGGER t BEFORE UPDATE OR TRUNCATE ON books FOR EACH ROW EXECUTE FUNCTION touch()",
    "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a EXECUTE PROCEDURE f(); CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
    "GRANT SELECT, INSERT (a, b) ON ALL TABLES IN SCHEMA public TO app; GRANT SELECT ON database TO app; REVOKE ALL ON role, database.x FROM app",
    "GRANT USAGE ON FOREIGN SERVER far TO app; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app",
    "ALTER TABLE t OWNER TO app; ALTER TABLE ALL IN TABLESPACE fast SET TABLESPACE slow; REINDEX TABLE database; REINDEX INDEX CONCURRENTLY system",
    "COPY books FROM STDIN; COPY (SELECT 'TO') TO STDOUT WITH (FORMAT csv)",
    "CREATE EXTENSION IF NOT EXISTS pgcrypto; CREATE EXTENSION \"uuid-ossp\" SCHEMA public; DROP EXTENSION dblink; CREATE LANGUAGE plperl",
    "CREATE TYPE mood AS ENUM ('sad', 'COMMIT'); ALTER TYPE mood ADD VALUE 'x'; CREATE DOMAIN d AS text CHECK (VALUE ~ '^[''\"]')",
    "CREATE MATERIALIZED VIEW m AS SELECT 1; REFRESH MATERIALIZED VIEW CONCURRENTLY m; CREATE SEQUENCE s; SELECT setval('s', 3), nextval('s')",
    "DROP SERVER far; DROP USER MAPPING FOR app SERVER far; DROP FOREIGN TABLE f; CREATE FOREIGN DATA WRAPPER w",
    "SET search_path = public; SET LOCAL lock_timeout = '5s'; RESET ALL; SHOW all; VACUUM FULL books; ANALYZE; LOCK TABLE books IN EXCLUSIVE MODE",
    "PREPARE p (int) AS SELECT $1; EXECUTE p(1); DEALLOCATE p; DECLARE c CURSOR FOR SELECT 1; FETCH c; CLOSE c; LISTEN x; UNLISTEN *",
    "CREATE POLICY p ON books USING (true); CREATE STATISTICS s ON a, b FROM t; CREATE PUBLICATION p FOR TABLE t; CALL p(); CLUSTER books",
    "CREATE SCHEMA IF NOT EXISTS s AUTHORIZATION app; CREATE SCHEMA t CREATE TABLE u (id int) CREATE INDEX ON u (id) GRANT SELECT ON u TO app",
    "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET x = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "SELECT * FROM books FOR UPDATE OF books; INSERT INTO a VALUES (1) ON CONFLICT DO UPDATE SET b = 2; TABLE books; VALUES (1); (SELECT 1)",
    "DO $$ BEGIN ALTER TYPE mood ADD VALUE 'x'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    "DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables LOOP EXECUTE format('ALTER TABLE %I ADD x int', t); \
     EXECUTE 'DROP INDEX ' || quote_ident(t); END LOOP; END $$",
    "\u{feff}SELECT 1",
];

const OF_SQLITE: &[&str] = &[
    "CREATE TRIGGER t AFTER INSERT ON a WHEN CASE new.x WHEN 1 THEN 1 ELSE 0 END BEGIN\n UPDATE b SET c = CASE WHEN 1 THEN 2 END;\n DELETE FROM d; END; SELECT 1",
    "CREATE TEMP TRIGGER IF NOT EXISTS t INSTEAD OF DELETE ON v BEGIN SELECT RAISE(ABORT, 'COMMIT; END;'); END",
    "CREATE TABLE trigger (a); SELECT 1; CREATE INDEX trigger ON t (a);",
    "CREATE TABLE [it's; COMMIT] (`a\"; COMMIT ``` text, [b;] int)",
    "/* /* */ SELECT 1; -- \r COMMIT '\n SELECT $a$, :b, @c, ?1, #d, x'ab', e, n, '\\', b",
    "SELECT 1 /* never ends; COMMIT; '",
    "PRAGMA foreign_keys = OFF; PRAGMA main.journal_mode = WAL; PRAGMA user_version = 3; PRAGMA writable_schema(1); PRAGMA temp_store_directory",
    "CREATE VIRTUAL TABLE s USING fts5(body, tokenize = 'porter'); CREATE VIRTUAL TABLE IF NOT EXISTS r USING rtree(id, a, b)",
    "INSERT OR REPLACE INTO t VALUES (1); REPLACE INTO t VALUES (1); UPDATE OR IGNORE t SET a = 1; VACUUM; VACUUM main; REINDEX; ANALYZE",
    "SELECT load_extension FROM t; CREATE TABLE readfile (a); INSERT INTO edit (a) VALUES (1)",
    "\u{feff}SELECT 1; ROLLBACK TRANSACTION TO s",
];

#[test]
fn statements_that_stay_in_the_database() {
    for sql in BOTH.iter().chain(OF_POSTGRES) {
        finds(Postgresql, sql, &[]);
    }
    for sql in BOTH.iter().chain(OF_SQLITE) {
        finds(Sqlite, sql, &[]);
    }
}

/// What the contract tests make of PostgreSQL and SQLite is understood, all of it.
#[test]
fn real_files_are_understood() {
    let read = |folder: &str, engine: EngineKind| {
        let folder = workspace_root().join(folder);
        let files = fs::read_dir(&folder).expect("list a folder");
        let paths = files.map(|file| file.expect("list a folder").path());
        let mut files = 0;
        for path in paths.filter(|path| path.extension().is_some_and(|end| end == "sql")) {
            let sql = fs::read_to_string(&path).expect("read SQL");
            // What psql does with a line is not SQL: one of them runs what a query returns.
            let line = |line: &str| match line.strip_prefix('\\') {
                Some("gexec") => ";\n".to_owned(),
                Some(_) => "\n".to_owned(),
                None => format!("{line}\n"),
            };
            let sql: String = sql.lines().map(line).collect();
            let found = super::found(&sql, engine);
            let unknown = found
                .iter()
                .find(|reach| reach.kind == xtask_db::parsers::ReachKind::Unknown);
            assert_eq!(unknown, None, "{}", path.display());
            files += 1;
        }
        assert!(files > 4, "{files} in {}", folder.display());
    };
    read("xtask/tests/it/contract/postgres", Postgresql);
    read("xtask/tests/it/contract/sqlite", Sqlite);
    read("migrations", Postgresql);
    read("migrations", Sqlite);
}
