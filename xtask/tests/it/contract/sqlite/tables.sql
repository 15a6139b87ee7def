-- Every kind of table, and the settings in the file's header.
PRAGMA journal_mode = WAL;
PRAGMA user_version = 4711;
PRAGMA application_id = 252006;
CREATE TABLE plain (a, b TEXT, c BLOB);
INSERT INTO plain VALUES (1, 'one', x'00ff'), ('text in a', 2, NULL), (9223372036854775807, -0.0, zeroblob(3)), (1e999, 'nul' || char(0) || 'after', ''), (NULL, NULL, NULL);
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE UNIQUE);
INSERT INTO counted (name) VALUES ('a'), ('b'), ('c');
DELETE FROM counted WHERE id = 3;
CREATE TABLE keyed (name TEXT, part INTEGER, value, PRIMARY KEY (part DESC, name)) WITHOUT ROWID;
WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 500)
INSERT INTO keyed SELECT 'key ' || n, n % 7, n * 1.5 FROM n;
CREATE TABLE strict (id INTEGER PRIMARY KEY, amount REAL NOT NULL, any ANY, body BLOB) STRICT;
INSERT INTO strict VALUES (1, 1, '001', x'01'), (2, 2.5, 1, NULL);
CREATE TABLE computed (
    width REAL, height REAL,
    area REAL GENERATED ALWAYS AS (width * height) STORED,
    label TEXT AS ('w' || width) VIRTUAL,
    CHECK (width > 0)
);
INSERT INTO computed (width, height) VALUES (2, 3), (4.5, 5);
CREATE INDEX computed_by_label ON computed (label);
CREATE INDEX some_keys ON keyed (lower(name), value DESC) WHERE part > 3;
CREATE TABLE "Table ""quoted"" name" ("Column ""one""" INTEGER, "order" TEXT, [a.b] TEXT, `c'd` TEXT);
INSERT INTO "Table ""quoted"" name" VALUES (1, '; DROP TABLE plain; --', 'x', '%s $1 {}');
CREATE TABLE "таблица 😀" ("имя" TEXT, "日本語" TEXT);
INSERT INTO "таблица 😀" VALUES ('Вася', '東京'), ('line
break', char(9));
ANALYZE;

-- The change.
PRAGMA user_version = 1;
PRAGMA application_id = 0;
DROP TABLE strict;
ALTER TABLE plain RENAME COLUMN b TO renamed;
ALTER TABLE computed ADD COLUMN depth REAL DEFAULT 1;
UPDATE plain SET c = randomblob(20);
INSERT INTO counted (name) VALUES ('z');
DELETE FROM keyed WHERE part = 2;
DROP INDEX some_keys;
CREATE TABLE extra (id INTEGER PRIMARY KEY, counted INTEGER REFERENCES counted (id));
CREATE VIEW extra_view AS SELECT * FROM extra;
DROP TABLE "таблица 😀";
