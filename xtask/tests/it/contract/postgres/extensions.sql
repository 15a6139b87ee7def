-- Extensions with types, operators and configuration of their own, some outside of `public`.
CREATE SCHEMA extensions;
CREATE EXTENSION pgcrypto SCHEMA extensions;
CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION btree_gist;
CREATE EXTENSION btree_gin;
CREATE EXTENSION "uuid-ossp";
CREATE EXTENSION tablefunc;
CREATE EXTENSION unaccent;

CREATE TABLE accounts (
    id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    name CITEXT UNIQUE,
    attributes extensions.hstore,
    path ltree,
    secret BYTEA DEFAULT extensions.gen_random_bytes(8)
);
INSERT INTO accounts (name, attributes, path, secret)
SELECT 'User' || n, extensions.hstore(ARRAY['a', 'b"c'], ARRAY[n::text, NULL]), ('top.n' || n % 3 || '.leaf' || n)::ltree,
       extensions.digest(n::text, 'sha256')
FROM generate_series(1, 50) AS n;
CREATE INDEX accounts_by_attribute ON accounts USING gin (attributes extensions.gin_hstore_ops);
CREATE INDEX accounts_by_path ON accounts USING gist (path);
CREATE INDEX accounts_like ON accounts USING gin ((name::text) gin_trgm_ops);
CREATE TABLE rooms (room INTEGER, during TSTZRANGE, EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO rooms SELECT n, tstzrange('2026-01-01 00:00+00', '2026-01-02 00:00+00') FROM generate_series(1, 5) AS n;
CREATE VIEW loud AS SELECT upper(name::text) AS name FROM accounts WHERE name = 'USER7';
CREATE DOMAIN short_name AS citext CHECK (length(VALUE::text) < 9);
COMMENT ON EXTENSION citext IS 'our own words';

-- The change.
DROP EXTENSION ltree CASCADE;
DROP EXTENSION tablefunc;
CREATE EXTENSION intarray;
ALTER EXTENSION pg_trgm SET SCHEMA extensions;
UPDATE accounts SET name = name || '!', attributes = attributes OPERATOR(extensions.||) 'new=>1';
DELETE FROM rooms WHERE room > 2;
DROP VIEW loud;
