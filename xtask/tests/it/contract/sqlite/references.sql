-- Circular foreign keys, triggers, views that can be written to.
PRAGMA foreign_keys = ON;
CREATE TABLE departments (id INTEGER PRIMARY KEY, name TEXT, head INTEGER NOT NULL REFERENCES employees (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE employees (id INTEGER PRIMARY KEY, department INTEGER NOT NULL REFERENCES departments (id) ON DELETE CASCADE, boss INTEGER REFERENCES employees (id));
BEGIN;
INSERT INTO departments VALUES (1, 'one', 10), (2, 'two', 20);
INSERT INTO employees VALUES (10, 1, NULL), (11, 1, 10), (20, 2, 10), (21, 2, 20);
COMMIT;
CREATE TABLE audit (at INTEGER PRIMARY KEY, what TEXT);
CREATE TRIGGER renamed AFTER UPDATE OF name ON departments WHEN OLD.name <> NEW.name BEGIN
    INSERT INTO audit (what) VALUES (OLD.name || ' -> ' || NEW.name);
END;
CREATE VIEW staff AS SELECT e.id, d.name FROM employees e JOIN departments d ON d.id = e.department;
CREATE TRIGGER hire INSTEAD OF INSERT ON staff BEGIN
    INSERT INTO employees SELECT NEW.id, d.id, d.head FROM departments d WHERE d.name = NEW.name;
END;
UPDATE departments SET name = 'first' WHERE id = 1;
INSERT INTO staff VALUES (12, 'first');

-- The change.
PRAGMA foreign_keys = ON;
DROP TRIGGER renamed;
DELETE FROM departments WHERE id = 2;
DROP VIEW staff;
CREATE TABLE projects (id INTEGER PRIMARY KEY, employee INTEGER NOT NULL REFERENCES employees (id));
INSERT INTO projects VALUES (1, 10);
CREATE VIEW project_view AS SELECT * FROM projects JOIN employees ON employees.id = employee;
UPDATE employees SET boss = NULL;
