-- Values at the edges of their types, and types that are made of other types.
CREATE DOMAIN code AS TEXT[] CHECK (array_length(VALUE, 1) < 5);
CREATE DOMAIN small AS NUMERIC(1000, 500) CHECK (VALUE IS NULL OR VALUE > -1e400);
CREATE TYPE level AS ENUM ('low', 'high', 'Ünï 😀', ',', '"', '\');
CREATE TYPE span AS RANGE (subtype = TIMESTAMPTZ);
CREATE TYPE inner_pair AS (level level, amount NUMERIC, at TIMESTAMP);
CREATE TYPE outer_pair AS (name TEXT, pair inner_pair, pairs inner_pair[], span span);
CREATE TABLE edges (
    id INTEGER PRIMARY KEY, t TIMESTAMP, tz TIMESTAMPTZ, d DATE, ti TIME, tt TIMETZ, i INTERVAL,
    n NUMERIC, s small, f DOUBLE PRECISION, r REAL, big BIGINT, little SMALLINT, b BYTEA, txt TEXT, c "char"
);
INSERT INTO edges VALUES
    (1, '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '5874897-12-31', '24:00:00', '24:00:00-15:59',
     '178000000 years', repeat('9', 1000)::numeric, 1e499, 1.7976931348623157e308, 3.4028235e38, 9223372036854775807, 32767,
     '', repeat('😀', 5000), 'x'),
    (2, '4713-01-01 00:00:00 BC', '4713-11-24 00:00:00+00 BC', '4713-01-01 BC', '00:00:00', '00:00:00+15:59',
     '-178000000 years', -('0.' || repeat('0', 990) || '1234567890')::numeric, -1e-500, -1.7976931348623157e308, -3.4028235e38,
     -9223372036854775808, -32768, '\x00', '', ''),
    (3, 'infinity', '-infinity', 'infinity', NULL, NULL, NULL, 'NaN', NULL, 'NaN', 'NaN', NULL, NULL,
     decode(repeat('00ff5c0a', 100000), 'hex'), E'\\N', NULL),
    (4, '-infinity', 'infinity', '-infinity', '23:59:59.999999', NULL, '-0.000001 seconds', 'Infinity', NULL, 'Infinity',
     '-Infinity', NULL, NULL, '\x5c2e0a', E'\\.\n\\.\r\n', E'\\377'),
    (5, NULL, '1883-11-18 12:03:57.999999-07:52:58', NULL, NULL, NULL, 'P0Y', '-Infinity', NULL, '-0', '1e-45', NULL, NULL,
     NULL, E'\u0001\u001b[31m\u007f\u0085\u202e', NULL),
    (6, NULL, NULL, NULL, NULL, NULL, NULL, 1.10, 1.10, 5e-324, 1e-45, NULL, NULL, NULL, NULL, NULL);
INSERT INTO edges (id, n) SELECT 100 + n, (10::numeric ^ n) + (10::numeric ^ -n) FROM generate_series(1, 200) AS n;

CREATE TABLE made (
    id INTEGER, code code, pair outer_pair, list outer_pair[], spans span[], many INT4MULTIRANGE, days DATEMULTIRANGE,
    vector TSVECTOR, query TSQUERY, path PATH, snapshot PG_SNAPSHOT, lsn PG_LSN, json JSONB, class REGCLASS, bits BIT(64),
    mac MACADDR8
);
INSERT INTO made VALUES
    (1, '{a,"b,c","d\"e"}',
     ROW('x,"y"', ROW('Ünï 😀', 1.50, 'infinity'), ARRAY[ROW('\', 'NaN', NULL)::inner_pair, NULL], '[-infinity,infinity]'),
     ARRAY[NULL, ROW('', NULL, '{}', 'empty')::outer_pair], ARRAY['(,)', '[2026-01-01 00:00+00,2026-03-29 01:30+01)']::span[],
     '{[1,3),[7,9)}', '{}', 'a:1A fat:2B,4C', 'fat & !cat', '[(0,0),(1e300,-0)]', '10:20:10,14', '16/B374D848',
     '{"a": [1e308, "\u001b", null], "": {}}', 'edges', repeat('10', 32)::bit(64), '08:00:2b:01:02:03:04:05'),
    (2, NULL, ROW(NULL, NULL, NULL, NULL), '[3:3][-2:-1]={{NULL,NULL}}', '{}', NULL, '{(,2026-01-01)}', '', '', '((1,2))',
     NULL, '0/0', 'null', NULL, NULL, NULL);

-- The most columns that a table may have; one row of them fits into a page.
SELECT format('CREATE TABLE wide (%s)', string_agg(format('c%s %s', n, (ARRAY['BOOLEAN', 'SMALLINT', '"char"'])[n % 3 + 1]), ', ' ORDER BY n))
FROM generate_series(1, 1600) AS n
\gexec
SELECT format('INSERT INTO wide VALUES (%s)', string_agg((ARRAY['true', '-1', quote_literal('y')])[n % 3 + 1], ', ' ORDER BY n))
FROM generate_series(1, 1600) AS n
\gexec
INSERT INTO wide (c1600) VALUES (7);
CREATE TABLE nothing ();
INSERT INTO nothing SELECT FROM generate_series(1, 5);

-- The change.
UPDATE edges SET t = 'now', n = n + 1 WHERE id < 6;
DELETE FROM made WHERE id = 2;
ALTER TYPE level RENAME VALUE ',' TO 'comma';
ALTER TABLE wide DROP COLUMN c1600;
UPDATE wide SET c3 = false;
INSERT INTO nothing DEFAULT VALUES;
ALTER DOMAIN small ADD CHECK (VALUE < 1e500);
