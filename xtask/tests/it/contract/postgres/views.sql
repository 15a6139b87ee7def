-- What computes: views over views, materialized views, rules, triggers, functions, aggregates.
CREATE TABLE sales (id INTEGER PRIMARY KEY, shop VARCHAR(20) NOT NULL, amount NUMERIC(10, 2) NOT NULL, sold_on DATE);
INSERT INTO sales SELECT n, 'shop ' || n % 4, n * 1.25, DATE '2026-01-01' + n % 60 FROM generate_series(1, 300) AS n;
CREATE TABLE audit (id BIGINT GENERATED ALWAYS AS IDENTITY, what TEXT, sale INTEGER);

CREATE VIEW good_sales AS SELECT * FROM sales WHERE shop IN ('shop 1', 'shop 2') AND amount BETWEEN 5 AND 500;
CREATE VIEW best_sales (sale, worth) WITH (security_barrier = true) AS
    SELECT id, amount FROM good_sales WHERE amount > 100 WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW countdown (n) AS VALUES (10) UNION ALL SELECT n - 1 FROM countdown WHERE n > 0;
CREATE MATERIALIZED VIEW totals AS SELECT shop, sum(amount) AS total, count(*) AS sales FROM sales GROUP BY shop;
CREATE UNIQUE INDEX totals_by_shop ON totals (shop);
CREATE MATERIALIZED VIEW best_total AS SELECT max(total) AS total FROM totals;
CREATE MATERIALIZED VIEW not_yet AS SELECT * FROM best_sales WITH NO DATA;

CREATE FUNCTION audit_sale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (what, sale) VALUES (TG_OP, coalesce(NEW.id, OLD.id));
    RETURN NULL;
END $$;
CREATE TRIGGER audit_sale AFTER INSERT OR UPDATE OF amount OR DELETE ON sales
    FOR EACH ROW EXECUTE FUNCTION audit_sale();
CREATE CONSTRAINT TRIGGER audit_later AFTER INSERT ON sales DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.amount > 1000) EXECUTE FUNCTION audit_sale();
CREATE TRIGGER disabled AFTER DELETE ON sales FOR EACH ROW EXECUTE FUNCTION audit_sale();
ALTER TABLE sales DISABLE TRIGGER disabled;
CREATE FUNCTION insert_good_sale() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO sales VALUES (NEW.*); RETURN NEW; END';
CREATE TRIGGER redirect INSTEAD OF INSERT ON good_sales FOR EACH ROW EXECUTE FUNCTION insert_good_sale();
CREATE RULE keep_audit AS ON DELETE TO audit DO INSTEAD NOTHING;
UPDATE sales SET amount = amount + 1 WHERE id <= 10;

CREATE FUNCTION add_up(VARIADIC numbers NUMERIC[] DEFAULT '{}') RETURNS NUMERIC LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7
    AS $$ SELECT coalesce(sum(n), 0) FROM unnest(numbers) AS n $$;
CREATE FUNCTION sales_of(wanted TEXT) RETURNS TABLE (id INTEGER, amount NUMERIC) LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT s.id, s.amount FROM sales s WHERE s.shop = wanted; END;
CREATE PROCEDURE clear_audit() LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT 1';
CREATE AGGREGATE product (DOUBLE PRECISION) (SFUNC = float8mul, STYPE = DOUBLE PRECISION, INITCOND = '1');
CREATE OPERATOR === (LEFTARG = TEXT, RIGHTARG = TEXT, FUNCTION = texteq, COMMUTATOR = ===);
CREATE CAST (sales AS TEXT) WITH INOUT AS ASSIGNMENT;
CREATE TEXT SEARCH CONFIGURATION simple_copy (COPY = simple);
CREATE INDEX sales_by_sum ON sales (add_up(amount, 1));
-- Last, because a dump holds the query and not the rows: a stale view comes back fresh.
REFRESH MATERIALIZED VIEW totals;
REFRESH MATERIALIZED VIEW best_total;
COMMENT ON VIEW good_sales IS 'worth a look';
COMMENT ON TRIGGER audit_sale ON sales IS 'who did it';
COMMENT ON FUNCTION add_up IS 'adds up';

-- The change.
DROP MATERIALIZED VIEW totals CASCADE;
DROP TRIGGER audit_sale ON sales;
ALTER TABLE sales ENABLE TRIGGER disabled;
DROP RULE keep_audit ON audit;
DELETE FROM sales WHERE id % 2 = 0;
CREATE OR REPLACE VIEW good_sales AS SELECT *, 1 AS more FROM sales;
CREATE OR REPLACE FUNCTION add_up(VARIADIC numbers NUMERIC[] DEFAULT '{}') RETURNS NUMERIC LANGUAGE sql IMMUTABLE AS 'SELECT 0.0';
DROP AGGREGATE product (DOUBLE PRECISION);
CREATE TABLE audit_more (sale INTEGER REFERENCES sales (id));
CREATE VIEW audit_view AS SELECT * FROM audit JOIN audit_more USING (sale);
REFRESH MATERIALIZED VIEW not_yet;
