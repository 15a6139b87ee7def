-- Values larger than any buffer, and enough pages that the copy takes more than a moment.
PRAGMA journal_mode = WAL;
CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT, body BLOB);
INSERT INTO files VALUES
    (1, 'random', randomblob(20000000)),
    (2, 'zero', zeroblob(30000000)),
    (3, 'empty', x''),
    (4, 'text', replace(hex(zeroblob(2000000)), '00', 'longtext'));
WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
INSERT INTO files (name, body) SELECT 'small ' || n, randomblob(n) FROM n;

-- The change.
UPDATE files SET body = randomblob(1000) WHERE id = 1;
DELETE FROM files WHERE id = 2;
INSERT INTO files (name, body) VALUES ('new', randomblob(5000000));
