-- Names that break a tool which pastes them into SQL, shells or patterns.
CREATE SCHEMA "Schema with spaces";
CREATE SCHEMA "схема";
CREATE SCHEMA "select";
CREATE TABLE "Schema with spaces"."Table ""quoted"" name" ("Column ""one""" INTEGER PRIMARY KEY, "order" TEXT, "a.b" TEXT);
INSERT INTO "Schema with spaces"."Table ""quoted"" name" SELECT n, 'row ' || n, E'\t' FROM generate_series(1, 12) AS n;
CREATE TABLE "схема"."таблица" ("имя" TEXT, "日本語" TEXT, "😀" INTEGER);
INSERT INTO "схема"."таблица" VALUES ('Вася', '東京', 1), (E'line\nbreak', '', NULL), ('N''owt', '\N', 0);
CREATE TABLE "select"."table" ("from" INTEGER REFERENCES "Schema with spaces"."Table ""quoted"" name", "where" TEXT);
INSERT INTO "select"."table" VALUES (1, '; DROP TABLE x; --'), (2, '$HOME `id` %s %% \copy');
CREATE TABLE "per%cent'apostrophe\backslash" ("a'b" TEXT, "c\d" TEXT, "%s" TEXT, "$1" TEXT, "{}" TEXT);
INSERT INTO "per%cent'apostrophe\backslash" VALUES ('1', '2', '3', '4', '5');
CREATE TABLE "a name of exactly sixty-three bytes, the most that it takes.xyz" (id INTEGER);
INSERT INTO "a name of exactly sixty-three bytes, the most that it takes.xyz" VALUES (1);
CREATE TABLE e00e ("UPPER" INTEGER, "Upper" INTEGER, upper INTEGER);
INSERT INTO e00e VALUES (1, 2, 3);
CREATE TABLE "E00E" (id INTEGER);
CREATE SEQUENCE "Schema with spaces"."seq ""x""" START 5;
SELECT nextval('"Schema with spaces"."seq ""x"""');
CREATE TYPE "select"."Enum type" AS ENUM ('', ' ', 'ключ', '''');
CREATE TABLE "Pairs" (key "select"."Enum type", value TEXT);
INSERT INTO "Pairs" SELECT key, 'of ' || key FROM unnest(enum_range(NULL::"select"."Enum type")) AS key;
CREATE VIEW "select"."View; with -- comment" AS SELECT "имя" AS "имя ""2""" FROM "схема"."таблица";
CREATE FUNCTION "select"."fn ()"("an arg" INTEGER) RETURNS INTEGER LANGUAGE sql AS 'SELECT $1';
COMMENT ON TABLE "схема"."таблица" IS E'комментарий; \\ ''\n-- drop';
CREATE INDEX "Index ""x""" ON "схема"."таблица" (lower("имя"));

-- The change.
DROP SCHEMA "схема" CASCADE;
ALTER SCHEMA "select" RENAME TO "SELECT";
ALTER TABLE "Schema with spaces"."Table ""quoted"" name" RENAME COLUMN "order" TO "group";
DELETE FROM "SELECT"."table" WHERE "from" = 1;
CREATE SCHEMA "brand new";
CREATE TABLE "brand new"."table" (id INTEGER REFERENCES "Schema with spaces"."Table ""quoted"" name");
SELECT nextval('"Schema with spaces"."seq ""x"""');
DROP TABLE "E00E", "Pairs";
