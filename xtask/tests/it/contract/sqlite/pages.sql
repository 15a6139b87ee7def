-- A file that is laid out in another way than the default, and laid out again by the change.
PRAGMA page_size = 1024;
PRAGMA auto_vacuum = FULL;
PRAGMA encoding = 'UTF-16le';
PRAGMA journal_mode = DELETE;
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT);
WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
INSERT INTO words SELECT n, 'wörd 😀 ' || n FROM n;
CREATE INDEX words_by_word ON words (word);
DELETE FROM words WHERE id % 3 = 0;

-- The change.
PRAGMA page_size = 8192;
PRAGMA auto_vacuum = NONE;
VACUUM;
UPDATE words SET word = word || '!';
DELETE FROM words WHERE id > 1500;
