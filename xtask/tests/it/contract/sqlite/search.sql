-- Virtual tables: what they store is in shadow tables, which SQL may not write directly.
CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT, body TEXT);
CREATE VIRTUAL TABLE own_text USING fts5 (title, body, tokenize = 'porter unicode61');
CREATE VIRTUAL TABLE outer_text USING fts5 (title, body, content = 'articles', content_rowid = 'id', prefix = '2 3');
CREATE VIRTUAL TABLE no_text USING fts5 (body, content = '', detail = none);
CREATE VIRTUAL TABLE old_text USING fts4 (body);
CREATE TRIGGER articles_insert AFTER INSERT ON articles BEGIN
    INSERT INTO outer_text (rowid, title, body) VALUES (NEW.id, NEW.title, NEW.body);
END;
CREATE TRIGGER articles_delete AFTER DELETE ON articles BEGIN
    INSERT INTO outer_text (outer_text, rowid, title, body) VALUES ('delete', OLD.id, OLD.title, OLD.body);
END;
WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 400)
INSERT INTO articles SELECT n, 'Title ' || n, 'Größe word' || (n % 17) || ' running runner ' || hex(n) FROM n;
INSERT INTO own_text SELECT title, body FROM articles;
INSERT INTO no_text (rowid, body) SELECT id, body FROM articles;
INSERT INTO old_text SELECT body FROM articles;
DELETE FROM articles WHERE id % 10 = 0;
CREATE VIEW found AS SELECT rowid AS id, title FROM outer_text WHERE outer_text MATCH 'word3';

CREATE VIRTUAL TABLE boxes USING rtree (id, min_x, max_x, min_y, max_y, +name TEXT);
WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
INSERT INTO boxes SELECT n, n, n + 0.5, -n, -n + 2, 'box ' || n FROM n;
CREATE VIRTUAL TABLE whole_boxes USING rtree_i32 (id, min_x, max_x);
INSERT INTO whole_boxes VALUES (1, 5, 10), (2, -3, 3);

-- The change.
DELETE FROM articles WHERE id > 100;
DELETE FROM own_text WHERE rowid < 300;
DROP TABLE no_text;
UPDATE boxes SET name = 'moved', max_x = max_x + 10 WHERE id < 50;
DROP TABLE whole_boxes;
INSERT INTO old_text VALUES ('new');
INSERT INTO own_text (own_text) VALUES ('optimize');
