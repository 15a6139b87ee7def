-- Drops what the current role owns in this database, itself or through a role
-- that it is a member of, and nothing else. The schema `public` stays: a dump
-- takes it for granted. What is in the schemas of `xtask_db_platform` stays as
-- well, whoever owns it; only what a user put on the tables there and what
-- mentions something that is dropped goes with that.
-- Runs inside the transaction of a restore; any error rolls all of it back.
DO $drop$
DECLARE
  owned record;
  gone text;
  statement text;
BEGIN
  CREATE TEMPORARY VIEW xtask_db_theirs AS
    SELECT n.oid FROM pg_catalog.pg_namespace n
    JOIN pg_temp.xtask_db_platform p ON p.schema = n.nspname;

  -- All that has an owner, and what only a superuser makes, which has none.
  CREATE TEMPORARY VIEW xtask_db_all AS
    SELECT 'pg_namespace'::regclass::oid AS classid, oid AS objid, nspowner AS owner FROM pg_catalog.pg_namespace
      WHERE nspname !~ '^pg_'
    UNION ALL SELECT 'pg_class'::regclass, oid, relowner FROM pg_catalog.pg_class
      WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL SELECT 'pg_type'::regclass, oid, typowner FROM pg_catalog.pg_type
    UNION ALL SELECT 'pg_proc'::regclass, oid, proowner FROM pg_catalog.pg_proc
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_catalog.pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner FROM pg_catalog.pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner FROM pg_catalog.pg_opfamily
    UNION ALL SELECT 'pg_collation'::regclass, oid, collowner FROM pg_catalog.pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner FROM pg_catalog.pg_conversion
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner FROM pg_catalog.pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner FROM pg_catalog.pg_ts_dict
    UNION ALL SELECT 'pg_ts_parser'::regclass, oid, 10 FROM pg_catalog.pg_ts_parser
    UNION ALL SELECT 'pg_ts_template'::regclass, oid, 10 FROM pg_catalog.pg_ts_template
    UNION ALL SELECT 'pg_am'::regclass, oid, 10 FROM pg_catalog.pg_am
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxowner FROM pg_catalog.pg_statistic_ext
    UNION ALL SELECT 'pg_language'::regclass, oid, lanowner FROM pg_catalog.pg_language
    UNION ALL SELECT 'pg_extension'::regclass, oid, extowner FROM pg_catalog.pg_extension
    UNION ALL SELECT 'pg_event_trigger'::regclass, oid, evtowner FROM pg_catalog.pg_event_trigger
    UNION ALL SELECT 'pg_publication'::regclass, oid, pubowner FROM pg_catalog.pg_publication
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, fdwowner FROM pg_catalog.pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid, srvowner FROM pg_catalog.pg_foreign_server
    UNION ALL SELECT 'pg_largeobject'::regclass, oid, lomowner FROM pg_catalog.pg_largeobject_metadata;

  -- What the role that the server was made with owns, which may also be us, is nowhere written down.
  CREATE TEMPORARY VIEW xtask_db_owned AS
    SELECT d.classid, d.objid FROM pg_catalog.pg_shdepend d
    WHERE d.refclassid = 'pg_authid'::regclass AND pg_has_role(current_user, d.refobjid, 'USAGE')
      AND d.deptype = 'o'
      AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    UNION ALL
    SELECT a.classid, a.objid FROM xtask_db_all a
    WHERE a.owner = 10 AND a.objid >= 16384 AND pg_has_role(current_user, 10, 'USAGE')
    UNION ALL
    -- A cast is whose its types are.
    SELECT 'pg_cast'::regclass, c.oid FROM pg_catalog.pg_cast c
    JOIN pg_catalog.pg_type s ON s.oid = c.castsource JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
    LEFT JOIN pg_catalog.pg_proc f ON f.oid = c.castfunc
    WHERE c.oid >= 16384
      AND (pg_has_role(current_user, s.typowner, 'USAGE') OR pg_has_role(current_user, t.typowner, 'USAGE'))
      AND NOT EXISTS (SELECT FROM xtask_db_theirs p
        WHERE p.oid IN (s.typnamespace, t.typnamespace, f.pronamespace));

  -- Everything that is not ours, down to columns, and that something could take along: CASCADE must
  -- not reach it.
  CREATE TEMPORARY TABLE xtask_db_not_ours ON COMMIT DROP AS
    WITH RECURSIVE members(classid, objid) AS (
      -- Of our own extensions. Those that any role may create make them in the name of the server's first role.
      SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
        WHERE d.deptype = 'e' AND pg_has_role(current_user, e.extowner, 'USAGE')
          AND e.extnamespace NOT IN (SELECT oid FROM xtask_db_theirs)
      UNION
      SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
        JOIN members m ON d.refclassid = m.classid AND d.refobjid = m.objid
        WHERE d.deptype IN ('i', 'a') AND d.classid IN ('pg_class'::regclass, 'pg_type'::regclass)
    ), relations AS (
      SELECT oid, relnamespace IN (SELECT oid FROM xtask_db_theirs) AS is_platforms FROM pg_catalog.pg_class
      WHERE (NOT pg_has_role(current_user, relowner, 'USAGE') OR relnamespace IN (SELECT oid FROM xtask_db_theirs))
        AND oid >= 16384 AND relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = oid)
    ), everything(classid, objid, objsubid) AS (
      SELECT 'pg_class'::regclass::oid, oid, 0 FROM relations
      UNION ALL
      SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_catalog.pg_attribute
        WHERE attrelid IN (SELECT oid FROM relations) AND attnum > 0 AND NOT attisdropped
      UNION ALL
      SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_catalog.pg_constraint
        WHERE conrelid IN (SELECT oid FROM relations)
      UNION ALL
      -- A key's own triggers go with the key, which may be ours.
      SELECT 'pg_trigger'::regclass, t.oid, 0 FROM pg_catalog.pg_trigger t
        JOIN relations r ON r.oid = t.tgrelid JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
        WHERE NOT t.tgisinternal
          AND (NOT r.is_platforms OR f.pronamespace IN (SELECT oid FROM xtask_db_theirs))
      UNION ALL
      SELECT 'pg_rewrite'::regclass, oid, 0 FROM pg_catalog.pg_rewrite
        WHERE ev_class IN (SELECT oid FROM relations)
      UNION ALL
      SELECT 'pg_policy'::regclass, oid, 0 FROM pg_catalog.pg_policy
        WHERE polrelid IN (SELECT oid FROM relations WHERE NOT is_platforms)
      UNION ALL
      SELECT 'pg_attrdef'::regclass, oid, 0 FROM pg_catalog.pg_attrdef
        WHERE adrelid IN (SELECT oid FROM relations)
      UNION ALL
      SELECT 'pg_default_acl'::regclass, oid, 0 FROM pg_catalog.pg_default_acl
        WHERE NOT pg_has_role(current_user, defaclrole, 'USAGE')
      UNION ALL
      SELECT 'pg_publication_rel'::regclass, r.oid, 0 FROM pg_catalog.pg_publication_rel r
        JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
        WHERE NOT pg_has_role(current_user, p.pubowner, 'USAGE')
      UNION ALL
      -- A dump holds the passwords of one's own only, unless one may see all.
      SELECT 'pg_user_mapping'::regclass, umid, 0 FROM pg_catalog.pg_user_mappings
        WHERE umuser <> 0 AND usename <> current_user
          AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
      UNION ALL
      -- The constructors of our range types belong to the server and go with the type.
      SELECT a.classid, a.objid, 0 FROM xtask_db_all a
        WHERE a.objid >= 16384 AND a.classid <> 'pg_class'::regclass
          AND (NOT pg_has_role(current_user, a.owner, 'USAGE')
            OR (a.classid = 'pg_namespace'::regclass AND a.objid IN (SELECT oid FROM xtask_db_theirs))
            OR (SELECT o.schema FROM pg_catalog.pg_identify_object(a.classid, a.objid, 0) AS o)
              IN (SELECT quote_ident(schema) FROM pg_temp.xtask_db_platform)
            OR a.objid IN (SELECT e.oid FROM pg_catalog.pg_extension e
              WHERE a.classid = 'pg_extension'::regclass AND e.extnamespace IN (SELECT oid FROM xtask_db_theirs)))
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE a.classid = 'pg_proc'::regclass
            AND d.classid = a.classid AND d.objid = a.objid AND d.deptype = 'i')
    )
    SELECT pg_catalog.pg_describe_object(e.classid, e.objid, e.objsubid) AS object, e.*
    FROM everything e
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = e.classid AND m.objid = e.objid)
      AND EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = e.classid AND d.objid = e.objid AND d.objsubid = e.objsubid);
  -- Came with version 15.
  IF to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL THEN
    INSERT INTO xtask_db_not_ours
      SELECT pg_catalog.pg_describe_object('pg_publication_namespace'::regclass, n.oid, 0),
        'pg_publication_namespace'::regclass, n.oid, 0
      FROM pg_catalog.pg_publication_namespace n JOIN pg_catalog.pg_publication p ON p.oid = n.pnpubid
      WHERE NOT pg_has_role(current_user, p.pubowner, 'USAGE');
  END IF;

  -- Schemas first: they take most of the rest with them. Sequences after
  -- tables: one that belongs to a column goes with it.
  FOR owned IN
    SELECT d.classid, d.objid
    FROM xtask_db_owned d
    LEFT JOIN pg_catalog.pg_class c
      ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    WHERE NOT (d.classid = 'pg_namespace'::regclass AND d.objid = coalesce(to_regnamespace('public')::oid, 0))
      -- One that an extension of another role is in stays, as `public` does.
      AND NOT (d.classid = 'pg_namespace'::regclass AND d.objid IN (
        SELECT extnamespace FROM pg_catalog.pg_extension WHERE NOT pg_has_role(current_user, extowner, 'USAGE')))
      AND (c.oid IS NULL OR c.relpersistence <> 't')
      -- A part of something else (a multirange of its range, a sequence of its
      -- identity column, what an extension made) goes with that and cannot go alone.
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend p
        WHERE p.classid = d.classid AND p.objid = d.objid AND p.objsubid = 0 AND p.deptype IN ('i', 'e'))
      AND NOT (d.classid = 'pg_namespace'::regclass AND d.objid IN (SELECT oid FROM xtask_db_theirs))
      AND NOT (d.classid = 'pg_extension'::regclass AND d.objid IN (
        SELECT oid FROM pg_catalog.pg_extension WHERE extnamespace IN (SELECT oid FROM xtask_db_theirs)))
      AND NOT (d.classid = 'pg_publication'::regclass AND d.objid IN (
        SELECT oid FROM pg_catalog.pg_publication JOIN pg_temp.xtask_db_publications ON name = pubname))
      AND coalesce((SELECT o.schema FROM pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS o), '')
        NOT IN (SELECT quote_ident(schema) FROM pg_temp.xtask_db_platform)
    ORDER BY CASE d.classid
      WHEN 'pg_namespace'::regclass THEN 1
      WHEN 'pg_extension'::regclass THEN 2
      WHEN 'pg_class'::regclass THEN CASE WHEN c.relkind = 'S' THEN 4 ELSE 3 END
      ELSE 5 END, d.objid
  LOOP
    SELECT CASE o.type
        WHEN 'large object' THEN format('SELECT pg_catalog.lo_unlink(%s)', owned.objid)
        WHEN 'default acl' THEN NULL -- below
        WHEN 'statistics object' THEN 'DROP STATISTICS ' || o.identity || ' CASCADE'
        WHEN 'composite type' THEN 'DROP TYPE ' || o.identity || ' CASCADE'
        WHEN 'foreign-data wrapper' THEN 'DROP FOREIGN DATA WRAPPER ' || o.identity || ' CASCADE'
        ELSE 'DROP ' || upper(o.type) || ' ' || o.identity || ' CASCADE'
      END
    INTO statement
    FROM pg_catalog.pg_identify_object(owned.classid, owned.objid, 0) AS o
    WHERE EXISTS (
      SELECT FROM xtask_db_owned s WHERE s.classid = owned.classid AND s.objid = owned.objid);
    IF FOUND AND statement IS NOT NULL THEN
      EXECUTE statement;
    END IF;
  END LOOP;

  -- Of publications that stay, the dump says again what is not the platform's.
  FOR statement IN
    SELECT format('ALTER PUBLICATION %I DROP TABLE ONLY %s', k.name, c.oid::regclass)
    FROM pg_temp.xtask_db_publications k JOIN pg_catalog.pg_publication p ON p.pubname = k.name
    JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
    WHERE c.relnamespace NOT IN (SELECT oid FROM xtask_db_theirs)
  LOOP
    EXECUTE statement;
  END LOOP;
  IF to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL THEN
    FOR statement IN
      SELECT format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA %s', k.name, n.pnnspid::regnamespace)
      FROM pg_temp.xtask_db_publications k JOIN pg_catalog.pg_publication p ON p.pubname = k.name
      JOIN pg_catalog.pg_publication_namespace n ON n.pnpubid = p.oid
      WHERE n.pnnspid NOT IN (SELECT oid FROM xtask_db_theirs)
    LOOP
      EXECUTE statement;
    END LOOP;
  END IF;

  -- Default privileges cannot be dropped: they are set back to what the server
  -- begins with, and then the catalogue forgets them.
  FOR owned IN
    SELECT pg_catalog.pg_get_userbyid(d.defaclrole) AS role, n.nspname AS schema, d.defaclobjtype AS kind,
      CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
        WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS objects,
      ARRAY(SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC'
        ELSE quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
        FROM aclexplode(d.defaclacl) AS a) AS grantees
    FROM pg_catalog.pg_default_acl d
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
    WHERE pg_has_role(current_user, d.defaclrole, 'USAGE')
      AND d.defaclnamespace NOT IN (SELECT oid FROM xtask_db_theirs)
  LOOP
    statement := format('ALTER DEFAULT PRIVILEGES FOR ROLE %I', owned.role)
      || CASE WHEN owned.schema IS NULL THEN '' ELSE format(' IN SCHEMA %I', owned.schema) END;
    IF cardinality(owned.grantees) > 0 THEN
      EXECUTE format('%s REVOKE ALL ON %s FROM %s', statement, owned.objects,
        array_to_string(owned.grantees, ', '));
    END IF;
    IF owned.schema IS NULL THEN
      EXECUTE format('%s GRANT ALL ON %s TO %I', statement, owned.objects, owned.role);
      IF owned.kind = 'f' THEN
        EXECUTE statement || ' GRANT EXECUTE ON FUNCTIONS TO PUBLIC';
      ELSIF owned.kind = 'T' THEN
        EXECUTE statement || ' GRANT USAGE ON TYPES TO PUBLIC';
      END IF;
    END IF;
  END LOOP;

  -- Of a schema that stays the dump says again who may use it.
  FOR owned IN
    SELECT DISTINCT n.nspname AS schema, CASE WHEN a.grantee = 0 THEN 'PUBLIC'
      ELSE quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS grantee
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    CROSS JOIN aclexplode(n.nspacl) AS a
    WHERE NOT pg_has_role(current_user, e.extowner, 'USAGE') AND pg_has_role(current_user, n.nspowner, 'USAGE')
      AND n.oid NOT IN (SELECT oid FROM xtask_db_theirs) AND n.nspname <> 'public' AND a.grantee <> n.nspowner
  LOOP
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s CASCADE', owned.schema, owned.grantee);
  END LOOP;

  -- What is dropped depends on nothing any more.
  SELECT string_agg(n.object, ', ') INTO gone
  FROM xtask_db_not_ours n
  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = n.classid AND d.objid = n.objid AND d.objsubid = n.objsubid);
  IF gone IS NOT NULL THEN
    RAISE EXCEPTION 'dropping what % owns would also drop what others own: %', current_user, gone
      USING ERRCODE = 'XD001';
  END IF;
  DROP TABLE xtask_db_not_ours;
  DROP VIEW xtask_db_owned, xtask_db_all, xtask_db_theirs;
END
$drop$;
