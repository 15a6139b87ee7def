-- Large objects live outside of all tables, and a schema-wise dump forgets them.
CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT, content OID);
INSERT INTO documents SELECT n, 'document ' || n, lo_from_bytea(0, decode(repeat(md5(n::text), 20000), 'hex'))
FROM generate_series(1, 8) AS n;
INSERT INTO documents VALUES (100, 'empty', lo_create(0)), (101, 'known', lo_from_bytea(424242, '\x00010203'));
SELECT lo_put(424242, 1000000, 'after a hole');
COMMENT ON LARGE OBJECT 424242 IS 'with a hole';
GRANT SELECT ON LARGE OBJECT 424242 TO PUBLIC;
-- Nothing refers to this one.
SELECT lo_from_bytea(424243, 'nobody''s');

-- The change.
SELECT lo_unlink(content) FROM documents WHERE id IN (1, 2);
SELECT lo_unlink(424243);
SELECT lo_put(424242, 0, 'overwritten');
SELECT lo_put(content, 10, 'patched') FROM documents WHERE id = 3;
REVOKE ALL ON LARGE OBJECT 424242 FROM PUBLIC;
COMMENT ON LARGE OBJECT 424242 IS NULL;
INSERT INTO documents VALUES (200, 'new', lo_from_bytea(424244, 'new'));
