
-- Puts aside the CHECK constraints that call functions: while rows come in, such a
-- function may look for rows that are not there yet. A parent's constraint takes those
-- that children inherited along; what a child has of its own comes to light then.
CREATE TEMPORARY TABLE xtask_db_checks (
  place serial, relation text, name text, definition text, comment text, is_valid boolean DEFAULT true
);
DO $checks$
DECLARE
  one record;
BEGIN
  LOOP
    SELECT c.conname, pg_catalog.pg_get_constraintdef(c.oid) AS definition,
        pg_catalog.obj_description(c.oid, 'pg_constraint') AS comment,
        CASE WHEN c.conrelid <> 0 THEN 'TABLE ' || c.conrelid::pg_catalog.regclass::text
          ELSE 'DOMAIN ' || pg_catalog.format_type(c.contypid, NULL) END AS relation
      INTO one
      FROM pg_catalog.pg_constraint c
      LEFT JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
      LEFT JOIN pg_catalog.pg_type t ON t.oid = c.contypid
      WHERE c.contype = 'c' AND c.coninhcount = 0 AND c.oid >= 16384
        AND pg_catalog.pg_has_role(current_user, coalesce(r.relowner, t.typowner), 'USAGE')
        AND EXISTS (SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid
            AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass,
              'pg_catalog.pg_operator'::pg_catalog.regclass)
            AND d.refobjid >= 16384)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
          WHERE d.deptype = 'e' AND (d.classid, d.objid) IN (
            ('pg_catalog.pg_class'::pg_catalog.regclass, c.conrelid),
            ('pg_catalog.pg_type'::pg_catalog.regclass, c.contypid)))
      LIMIT 1;
    EXIT WHEN NOT FOUND;
    INSERT INTO pg_temp.xtask_db_checks (relation, name, definition, comment)
      VALUES (one.relation, one.conname, one.definition, one.comment);
    EXECUTE pg_catalog.format('ALTER %s DROP CONSTRAINT %I', one.relation, one.conname);
  END LOOP;
END
$checks$;
