
-- Brings the constraints back, children first, so that a parent's merges with theirs.
-- One that the rows do not hold (its function was changed since) applies to new rows.
DO $checks$
DECLARE
  kept record;
  statement text;
BEGIN
  FOR kept IN SELECT * FROM pg_temp.xtask_db_checks ORDER BY place DESC LOOP
    statement := pg_catalog.format('ALTER %s ADD CONSTRAINT %I %s',
      kept.relation, kept.name, kept.definition);
    BEGIN
      EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
      EXECUTE statement || ' NOT VALID';
      UPDATE pg_temp.xtask_db_checks SET is_valid = false WHERE place = kept.place;
    END;
    IF kept.comment IS NOT NULL THEN
      EXECUTE pg_catalog.format('COMMENT ON CONSTRAINT %I ON %s IS %L', kept.name,
        CASE WHEN kept.relation LIKE 'DOMAIN %' THEN kept.relation
          ELSE pg_catalog.substr(kept.relation, 7) END, kept.comment);
    END IF;
  END LOOP;
END
$checks$;
SELECT 'xtask-db constraint ' || pg_catalog.translate(name || ' of ' || relation, E'\n\r', '  ')
  FROM pg_temp.xtask_db_checks WHERE NOT is_valid ORDER BY place;
