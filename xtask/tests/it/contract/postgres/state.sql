-- The whole content of a database as records of section and line, for two states to be compared.
--
-- Nothing in here depends on oids, on the order of columns or rows, or on how often an expression
-- has been parsed and printed: a dump prints `x IN (…)` once, and the restored check prints
-- another way from then on.
\pset recordsep_zero
\pset fieldsep '\x1f'
SET default_transaction_read_only = off;
SET search_path = '';
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'iso_8601';
SET bytea_output = 'hex';
SET extra_float_digits = 3;
SET row_security = off;

-- An expression without casts, parentheses and spaces: what differs between two printings of it.
CREATE FUNCTION pg_temp.canonical(expression TEXT) RETURNS TEXT LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(expression,
        '::("char"|character varying|double precision|bit varying|(timestamp|time)(\(\d\))? with(out)? time zone|("[^"]+"|\w+)(\.("[^"]+"|\w+))?)(\([0-9,]+\))?(\[\])*',
        '', 'g'), '[()\s]+', '', 'g')
$$;
-- Grants with the built-in ones spelled out, in one order.
CREATE FUNCTION pg_temp.grants(acl aclitem[], kind "char", owner OID) RETURNS TEXT LANGUAGE sql AS $$
    SELECT string_agg(item::text, ' ' ORDER BY item::text COLLATE "C") FROM unnest(coalesce(acl, acldefault(kind, owner))) AS item
$$;
-- Options are a set; a dump sorts them.
CREATE FUNCTION pg_temp.options(options TEXT[]) RETURNS TEXT[] LANGUAGE sql AS $$
    SELECT array_agg(option ORDER BY option COLLATE "C") FROM unnest(options) AS option
$$;
CREATE FUNCTION pg_temp.is_ours(namespace OID) RETURNS BOOLEAN LANGUAGE sql AS $$
    SELECT nspname !~ '^pg_' AND nspname <> 'information_schema' FROM pg_namespace WHERE oid = namespace
$$;

SELECT 'database', to_jsonb(d) - '{oid,datdba,datacl,datfrozenxid,datminmxid,datlastsysoid,dattablespace,datcollversion}'::text[],
    pg_get_userbyid(datdba), pg_temp.grants(datacl, 'd', datdba), shobj_description(oid, 'pg_database')
FROM pg_database d WHERE datname = current_database();
SELECT 'database', 'settings', setrole::regrole, setconfig
FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database();

SELECT 'schemas', nspname, nspowner::regrole, pg_temp.grants(nspacl, 'n', nspowner)
FROM pg_namespace WHERE pg_temp.is_ours(oid);

SELECT 'extensions', extname, extversion, extnamespace::regnamespace FROM pg_extension;

-- One line for everything that has a name, of whatever kind.
SELECT 'objects', o.type, o.identity
FROM (
    SELECT 'pg_type'::regclass AS class, oid FROM pg_type
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc
    UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
    UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
    UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion
    UNION ALL SELECT 'pg_language'::regclass, oid FROM pg_language
    UNION ALL SELECT 'pg_transform'::regclass, oid FROM pg_transform
    UNION ALL SELECT 'pg_am'::regclass, oid FROM pg_am
    UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
    UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser
    UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite
) AS every (class, oid), pg_identify_object(every.class, every.oid, 0) AS o
WHERE every.oid >= 16384 AND o.identity !~ '^pg_(toast|temp)';

SELECT 'relations', c.oid::regclass, c.relkind, c.relpersistence, c.relowner::regrole,
    CASE WHEN relkind NOT IN ('i', 'I', 'c') THEN pg_temp.grants(relacl, CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, relowner) END,
    relrowsecurity, relforcerowsecurity, relreplident, relispopulated, reloptions, amname,
    pg_get_expr(relpartbound, c.oid), pg_get_partkeydef(c.oid),
    (SELECT array_agg(inhparent::regclass ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = c.oid),
    CASE WHEN reloftype <> 0 THEN reloftype::regtype END
FROM pg_class c LEFT JOIN pg_am ON pg_am.oid = relam
WHERE pg_temp.is_ours(relnamespace) AND relkind <> 't';

SELECT 'columns', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
    pg_temp.canonical(pg_get_expr(adbin, adrelid)), CASE WHEN attcollation <> 0 THEN attcollation::regcollation END,
    attstorage, to_jsonb(a) ->> 'attcompression', attstattarget, attislocal, attinhcount, attoptions, pg_temp.options(attfdwoptions),
    (SELECT string_agg(item::text, ' ' ORDER BY item::text COLLATE "C") FROM unnest(attacl) AS item)
FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE pg_temp.is_ours(relnamespace) AND relkind NOT IN ('S', 't') AND attnum > 0 AND NOT attisdropped;

-- The children of a foreign key's constraint on partitions get their names by chance.
SELECT 'constraints', conname, CASE WHEN conrelid <> 0 THEN conrelid::regclass::text ELSE contypid::regtype::text END,
    contype, condeferrable, condeferred, convalidated, conislocal, coninhcount, contype = 'c' AND connoinherit,
    pg_temp.canonical(pg_get_constraintdef(oid))
FROM pg_constraint WHERE pg_temp.is_ours(connamespace) AND NOT (contype = 'f' AND conparentid <> 0);

SELECT 'indexes', indexrelid::regclass, indisvalid, indisclustered, indisreplident, pg_temp.canonical(pg_get_indexdef(indexrelid))
FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE pg_temp.is_ours(relnamespace);

SELECT 'triggers', tgrelid::regclass, tgname, tgenabled, pg_temp.canonical(pg_get_triggerdef(oid))
FROM pg_trigger WHERE NOT tgisinternal;
SELECT 'triggers', evtname, evtevent, evtenabled, evtfoid::regproc, evttags, evtowner::regrole FROM pg_event_trigger;

SELECT 'views', c.oid::regclass, pg_temp.canonical(pg_get_viewdef(c.oid))
FROM pg_class c WHERE relkind IN ('v', 'm') AND pg_temp.is_ours(relnamespace);
SELECT 'views', ev_class::regclass, pg_temp.canonical(pg_get_ruledef(oid)), ev_enabled
FROM pg_rewrite WHERE rulename <> '_RETURN' AND oid >= 16384;

SELECT 'policies', polrelid::regclass, polname, polcmd, polpermissive,
    (SELECT array_agg(role::regrole ORDER BY role::regrole::text) FROM unnest(polroles) AS role),
    pg_temp.canonical(pg_get_expr(polqual, polrelid)), pg_temp.canonical(pg_get_expr(polwithcheck, polrelid))
FROM pg_policy;
SELECT 'policies', 'default', defaclrole::regrole, CASE WHEN defaclnamespace <> 0 THEN defaclnamespace::regnamespace END,
    defaclobjtype, (SELECT string_agg(item::text, ' ' ORDER BY item::text COLLATE "C") FROM unnest(defaclacl) AS item)
FROM pg_default_acl;

SELECT 'types', t.oid::regtype, typowner::regrole, pg_temp.grants(typacl, 'T', typowner), typtype, typnotnull, typdefault,
    CASE WHEN typbasetype <> 0 THEN format_type(typbasetype, typtypmod) END,
    (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
    (SELECT (rngsubtype::regtype, rngsubopc) IS NOT NULL FROM pg_range WHERE rngtypid = t.oid)
FROM pg_type t WHERE pg_temp.is_ours(typnamespace) AND t.oid >= 16384;

SELECT 'functions', p.oid::regprocedure, proowner::regrole, pg_temp.grants(proacl, 'f', proowner),
    CASE WHEN prokind <> 'a' THEN
        CASE WHEN prosrc = '' THEN pg_temp.canonical(pg_get_functiondef(p.oid)) ELSE pg_get_functiondef(p.oid) END
    END,
    (SELECT (aggtransfn, agginitval) FROM pg_aggregate WHERE aggfnoid = p.oid)
FROM pg_proc p
WHERE pg_temp.is_ours(pronamespace) AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e');

SELECT 'server', 'statistics', pg_get_statisticsobjdef(oid), stxowner::regrole FROM pg_statistic_ext;
SELECT 'server', 'publication', to_jsonb(p) - '{oid,pubowner}'::text[], pubowner::regrole FROM pg_publication p;
SELECT 'server', 'published', to_jsonb(t) FROM pg_publication_tables t;
SELECT 'server', 'foreign server', srvname, srvowner::regrole, pg_temp.options(srvoptions), pg_temp.grants(srvacl, 'S', srvowner) FROM pg_foreign_server;
SELECT 'server', 'user mapping', srvname, usename, pg_temp.options(umoptions) FROM pg_user_mappings;
SELECT 'server', 'foreign table', ftrelid::regclass, pg_temp.options(ftoptions) FROM pg_foreign_table;

SELECT 'comments', o.type, o.identity, description
FROM pg_description, pg_identify_object(classoid, objoid, objsubid) AS o
WHERE objoid >= 16384;

SELECT 'sequences', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle,
    (SELECT refobjid::regclass || '.' || attname
     FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
     WHERE classid = 'pg_class'::regclass AND objid = seqrelid AND deptype IN ('a', 'i') AND refobjsubid > 0)
FROM pg_sequence;
SELECT format('SELECT ''sequences'', %L, last_value, is_called FROM %s', seqrelid::regclass, seqrelid::regclass)
FROM pg_sequence
\gexec

SELECT 'large objects', oid, lomowner::regrole, pg_temp.grants(lomacl, 'L', lomowner), obj_description(oid, 'pg_largeobject'),
    length(lo_get(oid)), md5(lo_get(oid))
FROM pg_largeobject_metadata;

-- Rows of root tables only: restored rows may be in another partition (hash by an enum). A writer
-- may be at work in its own tables.
SELECT format('SELECT %L, %L, ROW(%s)::text FROM %s %s', 'rows of ' || c.oid::regclass,
    (SELECT string_agg(quote_ident(attname), ',' ORDER BY attname COLLATE "C") FROM pg_attribute
     WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
    (SELECT string_agg(quote_ident(attname) || '::text', ',' ORDER BY attname COLLATE "C") FROM pg_attribute
     WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
    CASE relkind WHEN 'r' THEN 'ONLY' END, c.oid::regclass)
FROM pg_class c
WHERE pg_temp.is_ours(relnamespace) AND relkind IN ('r', 'p', 'm') AND NOT relispartition AND relispopulated
    AND relname NOT IN ('writer_left', 'writer_right')
\gexec
