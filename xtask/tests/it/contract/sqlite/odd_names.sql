-- Names that steer a terminal, forge a line, open a comment, or look like an option, a path or a
-- command: of tables, columns, indexes, views and triggers.
CREATE TABLE "-rf" ("-rf" INTEGER PRIMARY KEY, "of -rf" TEXT);
INSERT INTO "-rf" VALUES (1, 'one'), (2, 'row');
CREATE TABLE "--help" ("--help" INTEGER PRIMARY KEY, "of --help" TEXT);
INSERT INTO "--help" VALUES (1, 'one'), (3, 'row');
CREATE TABLE "$(touch pwned)" ("$(touch pwned)" INTEGER PRIMARY KEY, "of $(touch pwned)" TEXT);
INSERT INTO "$(touch pwned)" VALUES (1, 'one'), (4, 'row');
CREATE TABLE "`touch pwned`" ("`touch pwned`" INTEGER PRIMARY KEY, "of `touch pwned`" TEXT);
INSERT INTO "`touch pwned`" VALUES (1, 'one'), (5, 'row');
CREATE TABLE "; touch pwned" ("; touch pwned" INTEGER PRIMARY KEY, "of ; touch pwned" TEXT);
INSERT INTO "; touch pwned" VALUES (1, 'one'), (6, 'row');
CREATE TABLE "%s%n%%" ("%s%n%%" INTEGER PRIMARY KEY, "of %s%n%%" TEXT);
INSERT INTO "%s%n%%" VALUES (1, 'one'), (7, 'row');
CREATE TABLE "{}{0}" ("{}{0}" INTEGER PRIMARY KEY, "of {}{0}" TEXT);
INSERT INTO "{}{0}" VALUES (1, 'one'), (8, 'row');
CREATE TABLE "select" ("select" INTEGER PRIMARY KEY, "of select" TEXT);
INSERT INTO "select" VALUES (1, 'one'), (9, 'row');
CREATE TABLE "UPPER" ("UPPER" INTEGER PRIMARY KEY, "of UPPER" TEXT);
INSERT INTO "UPPER" VALUES (1, 'one'), (10, 'row');
CREATE TABLE "q'u\o\te" ("q'u\o\te" INTEGER PRIMARY KEY, "of q'u\o\te" TEXT);
INSERT INTO "q'u\o\te" VALUES (1, 'one'), (11, 'row');
CREATE TABLE " around " (" around " INTEGER PRIMARY KEY, "of  around " TEXT);
INSERT INTO " around " VALUES (1, 'one'), (12, 'row');
CREATE TABLE "host=x port=1" ("host=x port=1" INTEGER PRIMARY KEY, "of host=x port=1" TEXT);
INSERT INTO "host=x port=1" VALUES (1, 'one'), (13, 'row');
CREATE TABLE "postgres://u:p@h/d?e#f" ("postgres://u:p@h/d?e#f" INTEGER PRIMARY KEY, "of postgres://u:p@h/d?e#f" TEXT);
INSERT INTO "postgres://u:p@h/d?e#f" VALUES (1, 'one'), (14, 'row');
CREATE TABLE "../../up" ("../../up" INTEGER PRIMARY KEY, "of ../../up" TEXT);
INSERT INTO "../../up" VALUES (1, 'one'), (15, 'row');
CREATE TABLE "a\nb\" ("a\nb\" INTEGER PRIMARY KEY, "of a\nb\" TEXT);
INSERT INTO "a\nb\" VALUES (1, 'one'), (16, 'row');
CREATE TABLE "\." ("\." INTEGER PRIMARY KEY, "of \." TEXT);
INSERT INTO "\." VALUES (1, 'one'), (17, 'row');
CREATE TABLE "$1" ("$1" INTEGER PRIMARY KEY, "of $1" TEXT);
INSERT INTO "$1" VALUES (1, 'one'), (18, 'row');
CREATE TABLE "COPY t FROM stdin;" ("COPY t FROM stdin;" INTEGER PRIMARY KEY, "of COPY t FROM stdin;" TEXT);
INSERT INTO "COPY t FROM stdin;" VALUES (1, 'one'), (19, 'row');
CREATE TABLE "/* open" ("/* open" INTEGER PRIMARY KEY, "of /* open" TEXT);
INSERT INTO "/* open" VALUES (1, 'one'), (20, 'row');
CREATE TABLE "*/" ("*/" INTEGER PRIMARY KEY, "of */" TEXT);
INSERT INTO "*/" VALUES (1, 'one'), (21, 'row');
CREATE TABLE "éééééééééééééééééééééééééééééééx" ("éééééééééééééééééééééééééééééééx" INTEGER PRIMARY KEY, "of éééééééééééééééééééééééééééééééx" TEXT);
INSERT INTO "éééééééééééééééééééééééééééééééx" VALUES (1, 'one'), (22, 'row');
CREATE TABLE "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀abc" ("😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀abc" INTEGER PRIMARY KEY, "of 😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀abc" TEXT);
INSERT INTO "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀abc" VALUES (1, 'one'), (23, 'row');
CREATE TABLE "$compare$" ("$compare$" INTEGER PRIMARY KEY, "of $compare$" TEXT);
INSERT INTO "$compare$" VALUES (1, 'one'), (24, 'row');
CREATE TABLE "pg_temp " ("pg_temp " INTEGER PRIMARY KEY, "of pg_temp " TEXT);
INSERT INTO "pg_temp " VALUES (1, 'one'), (25, 'row');
CREATE TABLE "new
line" ("new
line" INTEGER PRIMARY KEY, "of new
line" TEXT);
INSERT INTO "new
line" VALUES (1, 'one'), (26, 'row');
CREATE TABLE "tab	and" ("tab	and" INTEGER PRIMARY KEY, "of tab	and" TEXT);
INSERT INTO "tab	and" VALUES (1, 'one'), (27, 'row');
CREATE TABLE "‮right to left" ("‮right to left" INTEGER PRIMARY KEY, "of ‮right to left" TEXT);
INSERT INTO "‮right to left" VALUES (1, 'one'), (28, 'row');
CREATE TABLE "﻿mark" ("﻿mark" INTEGER PRIMARY KEY, "of ﻿mark" TEXT);
INSERT INTO "﻿mark" VALUES (1, 'one'), (29, 'row');
CREATE TABLE "main.t" ("main.t" INTEGER PRIMARY KEY, "of main.t" TEXT);
INSERT INTO "main.t" VALUES (1, 'one'), (30, 'row');
CREATE TABLE "sqlite" ("sqlite" INTEGER PRIMARY KEY, "of sqlite" TEXT);
INSERT INTO "sqlite" VALUES (1, 'one'), (31, 'row');
CREATE TABLE "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" INTEGER PRIMARY KEY, "of xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" TEXT);
INSERT INTO "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" VALUES (1, 'one'), (32, 'row');
CREATE INDEX "index; new
line" ON "-rf" ("of -rf");
CREATE VIEW "view
.shell touch pwned" AS SELECT "-rf" AS ".shell touch pwned" FROM "-rf";
CREATE TRIGGER "trigger ""; $(touch pwned)" AFTER INSERT ON "-rf" BEGIN INSERT INTO "--help" VALUES (NEW."-rf" + 1000, 'from a trigger'); END;
CREATE VIEW "broken; view" AS SELECT missing FROM nowhere;
INSERT INTO "-rf" VALUES (77, char(27) || '[2J' || char(10, 13));

-- The change.
DROP TABLE "$(touch pwned)";
DROP TRIGGER "trigger ""; $(touch pwned)";
DELETE FROM "new
line";
DROP VIEW "broken; view";
ALTER TABLE "%s%n%%" RENAME TO "late %s";
UPDATE "select" SET "of select" = NULL;
CREATE TABLE "late
-- name" (id INTEGER);
