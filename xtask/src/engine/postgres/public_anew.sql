-- What is said of the schema `public` becomes what `pg_dump` takes for granted: it writes down only
-- what differs from that.
DO $public$
DECLARE
  grants aclitem[];
  owner text;
  grantee text;
BEGIN
  SELECT nspacl, quote_ident(pg_catalog.pg_get_userbyid(nspowner)) INTO grants, owner
  FROM pg_catalog.pg_namespace WHERE nspname = 'public' AND pg_has_role(current_user, nspowner, 'USAGE');
  IF FOUND THEN
    FOR grantee IN
      SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
        ELSE quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
      FROM aclexplode(grants) AS a
    LOOP
      EXECUTE format('REVOKE ALL ON SCHEMA public FROM %s CASCADE', grantee);
    END LOOP;
    EXECUTE format('GRANT ALL ON SCHEMA public TO %s', owner);
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    COMMENT ON SCHEMA public IS 'standard public schema';
  END IF;
END
$public$;
