-- What only a superuser makes: event triggers, publications, foreign servers, and a database that
-- has more than a plain dump carries (settings, a comment, grants, a connection limit).
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'db.example', dbname 'other');
CREATE USER MAPPING FOR contract_reader SERVER elsewhere OPTIONS (user 'somebody');
CREATE FOREIGN TABLE far_away (id INTEGER, name TEXT) SERVER elsewhere OPTIONS (table_name 'near');
CREATE TABLE published (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO published SELECT n, 'name ' || n FROM generate_series(1, 20) AS n;
CREATE PUBLICATION some_rows FOR TABLE published (id) WHERE (id > 5) WITH (publish = 'insert');
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE TABLE ddl_log (tag TEXT);
CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.ddl_log VALUES (tg_tag); END';
CREATE EVENT TRIGGER log_ddl ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION log_ddl();
CREATE VIEW logged AS SELECT 1 AS one;
ALTER DATABASE :"DBNAME" SET search_path = "$user", public, pg_catalog;
ALTER DATABASE :"DBNAME" SET work_mem = '7MB';
ALTER DATABASE :"DBNAME" SET app.motto = 'it''s "quoted", with commas';
ALTER ROLE contract_reader IN DATABASE :"DBNAME" SET statement_timeout = '90s';
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 77;
COMMENT ON DATABASE :"DBNAME" IS E'production; ''do not drop''\n-- really';
REVOKE TEMPORARY ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CREATE ON DATABASE :"DBNAME" TO contract_writer WITH GRANT OPTION;
ALTER DATABASE :"DBNAME" OWNER TO contract_owner;
ALTER DATABASE :"DBNAME" SET default_transaction_read_only = on;

-- The change.
DROP EVENT TRIGGER log_ddl;
DROP PUBLICATION everything;
DROP SERVER elsewhere CASCADE;
INSERT INTO published VALUES (1000, 'new');
DROP VIEW logged;
CREATE VIEW public.quiet AS SELECT 2 AS two;
