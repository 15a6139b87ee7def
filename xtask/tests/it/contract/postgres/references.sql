-- Foreign keys that no order of loading satisfies, and constraints that the rows do not satisfy.
CREATE TABLE departments (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, head INTEGER NOT NULL);
CREATE TABLE employees (
    id INTEGER PRIMARY KEY,
    department INTEGER NOT NULL REFERENCES departments (id) ON UPDATE CASCADE,
    boss INTEGER REFERENCES employees (id) ON DELETE SET NULL,
    badge TEXT,
    UNIQUE NULLS NOT DISTINCT (department, badge)
);
ALTER TABLE departments ADD CONSTRAINT head_works_here
    FOREIGN KEY (head) REFERENCES employees (id) DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO departments SELECT n, 'Department ' || n, n * 10 FROM generate_series(1, 8) AS n;
INSERT INTO employees SELECT n, (n - 1) / 10 + 1, CASE WHEN n > 1 THEN n / 2 END, 'badge ' || n
FROM generate_series(1, 80) AS n;
COMMIT;

CREATE TABLE legacy (id INTEGER, amount INTEGER, employee INTEGER);
INSERT INTO legacy SELECT n, -n, n * 7 FROM generate_series(1, 20) AS n;
ALTER TABLE legacy ADD CONSTRAINT amount_above_zero CHECK (amount > 0) NOT VALID;
ALTER TABLE legacy ADD CONSTRAINT known_employee FOREIGN KEY (employee) REFERENCES employees (id) NOT VALID;

-- A check that reads another table, which is still empty while this one is being loaded.
CREATE TABLE limits (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO limits VALUES ('most', 100);
CREATE FUNCTION within_limit(amount INTEGER) RETURNS boolean LANGUAGE sql STABLE
    AS $$ SELECT coalesce(amount <= (SELECT value FROM public.limits WHERE name = 'most'), true) $$;
CREATE TABLE bookings (
    id INTEGER PRIMARY KEY,
    amount INTEGER CHECK (within_limit(amount)),
    state VARCHAR(10) CHECK (state IN ('new', 'done')),
    during TSRANGE NOT NULL,
    EXCLUDE USING gist (during WITH &&)
);
INSERT INTO bookings SELECT n, n, 'new', tsrange('2026-01-01'::timestamp + n * interval '1 day', '2026-01-02'::timestamp + n * interval '1 day')
FROM generate_series(1, 50) AS n;
CREATE UNIQUE INDEX bookings_one_of_a_kind ON bookings (lower(state), (amount % 100)) INCLUDE (id) WHERE state = 'new';
CREATE INDEX bookings_desc ON bookings (amount DESC NULLS LAST);
ALTER TABLE bookings CLUSTER ON bookings_desc;
ALTER TABLE employees REPLICA IDENTITY FULL;
COMMENT ON CONSTRAINT head_works_here ON departments IS 'checked at commit';
COMMENT ON INDEX bookings_desc IS 'largest first';

-- The change.
ALTER TABLE departments DROP CONSTRAINT head_works_here;
TRUNCATE employees CASCADE;
INSERT INTO departments VALUES (99, 'New', 0);
UPDATE limits SET value = 1;
DELETE FROM bookings WHERE id > 25;
ALTER TABLE legacy DROP CONSTRAINT amount_above_zero;
ALTER TABLE bookings ADD CONSTRAINT in_department FOREIGN KEY (id) REFERENCES departments (id) NOT VALID;
CREATE TABLE new_children (id INTEGER PRIMARY KEY, department INTEGER NOT NULL REFERENCES departments (id));
CREATE VIEW department_names AS SELECT name FROM departments;
DROP INDEX bookings_one_of_a_kind;
