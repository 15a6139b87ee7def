-- Partitions of every kind, nested ones, and the one that cannot be restored leaf by leaf:
-- hash by an enum, whose hash depends on the oid of the label.
CREATE TYPE region AS ENUM ('north', 'east', 'south', 'west', 'middle');

CREATE TABLE by_enum (region region NOT NULL, id BIGINT NOT NULL, note TEXT, PRIMARY KEY (region, id))
    PARTITION BY HASH (region);
CREATE TABLE by_enum_0 PARTITION OF by_enum FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE by_enum_1 PARTITION OF by_enum FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE by_enum_2 PARTITION OF by_enum FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO by_enum
SELECT label, id, 'note ' || id FROM unnest(enum_range(NULL::region)) AS label, generate_series(1, 40) AS id;

CREATE TABLE measurements (taken_at TIMESTAMPTZ NOT NULL, sensor INTEGER NOT NULL, value NUMERIC(8, 3))
    PARTITION BY RANGE (taken_at);
CREATE TABLE measurements_2025 PARTITION OF measurements
    FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2026-01-01 00:00+00') PARTITION BY LIST (sensor);
CREATE TABLE measurements_2025_odd PARTITION OF measurements_2025 FOR VALUES IN (1, 3, 5);
CREATE TABLE measurements_2025_even PARTITION OF measurements_2025 FOR VALUES IN (2, 4, NULL);
CREATE TABLE measurements_rest PARTITION OF measurements DEFAULT;
INSERT INTO measurements
SELECT '2025-01-01 00:00+00'::timestamptz + make_interval(hours => 23 * n), n % 5 + 1, n / 7.0
FROM generate_series(0, 500) AS n;
CREATE INDEX measurements_by_sensor ON measurements (sensor, taken_at DESC);
ALTER TABLE measurements_2025_odd ALTER COLUMN value SET DEFAULT 1.5;

-- Attached later, with its columns in another order than the root's.
CREATE TABLE events (id BIGINT NOT NULL, kind TEXT NOT NULL, at DATE NOT NULL, PRIMARY KEY (id, kind))
    PARTITION BY LIST (kind);
CREATE TABLE events_click (at DATE NOT NULL, kind TEXT NOT NULL, id BIGINT NOT NULL,
    CHECK (kind IN ('click', 'tap')), PRIMARY KEY (id, kind));
ALTER TABLE events ATTACH PARTITION events_click FOR VALUES IN ('click', 'tap');
CREATE TABLE events_other PARTITION OF events DEFAULT;
INSERT INTO events SELECT n, (ARRAY['click', 'tap', 'key', 'drag'])[n % 4 + 1], DATE '2026-01-01' + n
FROM generate_series(1, 60) AS n;

CREATE TABLE event_notes (id BIGINT NOT NULL, kind TEXT NOT NULL, note TEXT,
    FOREIGN KEY (id, kind) REFERENCES events (id, kind) ON UPDATE CASCADE ON DELETE CASCADE);
INSERT INTO event_notes SELECT id, kind, 'seen' FROM events WHERE id % 3 = 0;

CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.note := coalesce(NEW.note, 'stamped');
    RETURN NEW;
END $$;
CREATE TRIGGER stamp BEFORE INSERT ON by_enum FOR EACH ROW EXECUTE FUNCTION stamp();

-- The change.
ALTER TYPE region ADD VALUE 'outside' BEFORE 'north';
ALTER TABLE measurements DETACH PARTITION measurements_rest;
DROP TABLE measurements_2025_even;
CREATE TABLE measurements_2027 PARTITION OF measurements
    FOR VALUES FROM ('2027-01-01 00:00+00') TO ('2028-01-01 00:00+00');
INSERT INTO measurements VALUES ('2027-06-01 00:00+00', 9, 99.5);
DELETE FROM events WHERE kind = 'key';
UPDATE events SET kind = 'tap' WHERE kind = 'click' AND id < 20;
UPDATE by_enum SET region = 'middle', id = id + 1000 WHERE region = 'west';
ALTER TABLE event_notes ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody';
DROP TRIGGER stamp ON by_enum;
