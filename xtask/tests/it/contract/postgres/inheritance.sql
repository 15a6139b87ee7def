-- Inheritance as it was before partitions: children with more columns, several parents, and dropped
-- columns that make the order of a restored child's columns another one.
CREATE TABLE places (id INTEGER PRIMARY KEY, dropped TEXT, name TEXT NOT NULL DEFAULT 'somewhere', CHECK (id > 0));
CREATE TABLE cities (population BIGINT, country TEXT) INHERITS (places);
CREATE TABLE named (alias TEXT, size INTEGER);
CREATE TABLE capitals (since DATE, name TEXT DEFAULT 'capital') INHERITS (cities, named);
ALTER TABLE places DROP COLUMN dropped;
ALTER TABLE places ADD COLUMN added TEXT DEFAULT 'added later';
CREATE TABLE joined (added TEXT, name TEXT NOT NULL, id INTEGER NOT NULL, own TEXT);
ALTER TABLE joined ADD CONSTRAINT places_id_check CHECK (id > 0);
ALTER TABLE joined INHERIT places;
INSERT INTO places (id, name) SELECT n, 'place ' || n FROM generate_series(1, 10) AS n;
INSERT INTO cities (id, name, population) SELECT n, 'city ' || n, n * 1000 FROM generate_series(11, 20) AS n;
INSERT INTO capitals (id, since, alias) SELECT n, DATE '1900-01-01' + n, 'alias ' || n FROM generate_series(21, 30) AS n;
INSERT INTO joined VALUES ('x', 'joined', 31, 'own');
CREATE TYPE coordinate AS (x DOUBLE PRECISION, y DOUBLE PRECISION);
CREATE TABLE coordinates OF coordinate (x WITH OPTIONS NOT NULL DEFAULT 0, PRIMARY KEY (x, y));
INSERT INTO coordinates SELECT n, -n FROM generate_series(1, 5) AS n;
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;

-- The change.
ALTER TABLE capitals NO INHERIT named;
ALTER TABLE joined NO INHERIT places;
ALTER TABLE places ADD COLUMN more INTEGER DEFAULT 5;
UPDATE places SET name = upper(name);
DELETE FROM ONLY cities WHERE id > 15;
ALTER TYPE coordinate ADD ATTRIBUTE z DOUBLE PRECISION CASCADE;
INSERT INTO no_columns DEFAULT VALUES;
DROP TABLE capitals;
