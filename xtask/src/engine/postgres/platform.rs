//! A database on somebody's platform: what of it is theirs, and how that hangs together with what a
//! dump holds.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::connect::Connected;
use super::dump::members;
use super::inspect::begin_in;
use super::select::{self, Held, KeyRow};
use super::toc::some_of;
use super::{Postgres, connect, fingerprint};
use crate::engine::TablesOrder;
use crate::values::database_url::PostgresUrl;
use crate::values::failure::Failure;
use crate::values::kind::ForeignKey;
use crate::values::manifest::Manifest;
use crate::values::platform::{Attached, Extension, IN_THE_USERS_NAME, Platform, Profile};
use crate::values::verified_dump::VerifiedDump;

/// Of the platform's schemas, those that a dump does without: what is asked for by name is in it.
pub async fn schemas(session: &mut PgConnection, postgres: &Postgres) -> Result<Vec<String>> {
    let kind = &postgres.selection.kind;
    match kind.schemas.is_empty() && kind.tables.is_empty() {
        true => {
            let there = there(session, &postgres.left_out).await?;
            let ours = ours(session, &there).await?;
            Ok(without(there, &ours))
        }
        false => Ok(Vec::new()),
    }
}

/// From now on nothing is about what is this platform's.
pub fn leave_out(postgres: &mut Postgres, profile: Profile) -> Result<()> {
    let schemas = profile.schemas().iter().map(ToString::to_string).collect();
    let left_out = narrowed(&postgres.url, schemas);
    postgres.left_out = postgres.runtime.block_on(left_out)?;
    postgres.profile = profile;
    Ok(())
}

/// Of a profile's schemas, all but those that are the user's own. Where nobody answers, whatever
/// asks next says so.
async fn narrowed(url: &PostgresUrl, schemas: Vec<String>) -> Result<Vec<String>> {
    if schemas.is_empty() {
        return Ok(schemas);
    }
    let asked = async {
        let mut connected = connect::visit(url, None).await?;
        ours(&mut connected.session, &schemas).await
    };
    Ok(match asked.await {
        Ok(ours) => without(schemas, &ours),
        Err(_) => schemas,
    })
}

/// What a restore of this backup leaves alone: what the backup does without, and what else the
/// platform has made since; not what is in the backup.
pub async fn left_by(url: &PostgresUrl, manifest: &Manifest) -> Result<Vec<String>> {
    let Some(platform) = &manifest.platform else {
        return Ok(Vec::new());
    };
    let is_in_it = |schema: &String| manifest.tables.iter().any(|t| t.schema == *schema);
    let all = platform.all_schemas().into_iter();
    let (then, since): (Vec<_>, Vec<_>) = all.partition(|s| platform.schemas.contains(s));
    let since = narrowed(url, since).await?.into_iter();
    let since = since.filter(|schema| !is_in_it(schema));
    Ok(then.into_iter().chain(since).collect())
}

fn without(schemas: Vec<String>, ours: &[String]) -> Vec<String> {
    let is_theirs = |schema: &String| !ours.contains(schema);
    schemas.into_iter().filter(is_theirs).collect()
}

/// Of these, the ones that the role has made, and in which it has made all tables. A role that may
/// act as any other one made none in particular.
async fn ours(session: &mut PgConnection, schemas: &[String]) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT n.nspname::text FROM pg_catalog.pg_namespace n \
         JOIN pg_catalog.pg_roles me ON me.oid = n.nspowner \
         WHERE n.nspname::text = ANY($1) AND n.nspname::text <> ALL($2) \
           AND me.rolname = current_user AND NOT me.rolsuper \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid \
             AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relowner <> me.oid) \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' \
             AND d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid)",
    )
    .bind(schemas)
    .bind(IN_THE_USERS_NAME)
    .fetch_all(session)
    .await
    .context("cannot ask whose the platform's schemas are")
}

/// Of these schemas, in order.
pub async fn there(session: &mut PgConnection, schemas: &[String]) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname::text = ANY($1) ORDER BY 1",
    )
    .bind(schemas)
    .fetch_all(session)
    .await
    .context("cannot look for the platform's schemas")
}

/// What the backup takes for granted and the database does not have; one line each. It may have
/// been given up by the platform since, and nothing need refer to it.
pub async fn lacks(url: &PostgresUrl, platform: &Platform) -> Result<Vec<String>> {
    let mut connected = connect::connect(url).await?;
    let there = there(&mut connected.session, &platform.schemas).await?;
    let missing = platform.schemas.iter().filter(|s| !there.contains(s));
    let profile = &platform.profile;
    let line = |schema| {
        format!(
            "the database lacks the schema `{schema}`, which is {profile}'s and not in the backup"
        )
    };
    Ok(missing.map(line).collect())
}

/// Why a restore in place failed at the platform's part, with a next step.
pub fn explanation(dump: &VerifiedDump, said: &str) -> Option<Failure> {
    let platform = dump.manifest().platform.as_ref()?;
    let profile = &platform.profile;
    let mut keys = platform.foreign_keys.iter();
    if said.contains("23503") && keys.any(|key| said.contains(&key.name)) {
        let what = format!(
            "the backup refers to a row of {profile}'s that is no longer there; nothing was changed"
        );
        let hint = "make that row there again, with the same key, then run the command again";
        return Some(Failure::refused(what).hint(hint));
    }
    if said.contains("XD001") {
        let what = format!(
            "something in the part that is {profile}'s, or of other roles, depends on what this role owns"
        );
        let hint = "drop that first, and make it again after the restore";
        return Some(Failure::refused(what).hint(hint));
    }
    said.contains("XD003").then(|| {
        let what = format!(
            "what was on a table of {profile}'s cannot be put there again; nothing was changed"
        );
        Failure::refused(what)
            .hint("grant the role what it lacks, or drop it there before the restore")
    })
}

/// Of single tables, which are taken from where the platform's have no rows; one line each.
pub fn keys_left(order: &TablesOrder) -> Vec<String> {
    let platform = order.scratch.dump.manifest().platform.iter();
    let keys = platform.flat_map(|platform| &platform.foreign_keys);
    let is_asked = |key: &&ForeignKey| {
        let mut tables = order.tables.iter();
        tables.any(|table| table.schema == key.schema && table.name == key.table)
    };
    let line = |key: &ForeignKey| {
        format!(
            "the foreign key `{}` of `{}` to `{}` does not come along",
            key.name, key.table, key.refers_to
        )
    };
    keys.filter(is_asked).map(line).collect()
}

/// In the moment of the dump. What a restore will leave as it is, although a user made it, is said.
pub async fn read(
    session: &mut PgConnection,
    snapshot: &str,
    profile: Profile,
    schemas: &[String],
    held: &Held,
) -> Result<(Platform, Option<String>)> {
    let context = "cannot ask what hangs together with the platform's part";
    let begin = begin_in(Some(snapshot)) + "; " + fingerprint::SETTINGS;
    session
        .execute(AssertSqlSafe(begin))
        .await
        .context(context)?;
    let read = in_snapshot(session, profile, schemas, held)
        .await
        .context(context);
    session.execute("COMMIT").await.context(context)?;
    read
}

async fn in_snapshot(
    session: &mut PgConnection,
    profile: Profile,
    schemas: &[String],
    held: &Held,
) -> Result<(Platform, Option<String>)> {
    let keys: Vec<KeyRow> = sqlx::query_as(FOREIGN_KEYS)
        .bind(held.relations())
        .bind(schemas)
        .fetch_all(&mut *session)
        .await?;
    let extensions: Vec<(String, String)> = sqlx::query_as(EXTENSIONS)
        .bind(schemas)
        .fetch_all(&mut *session)
        .await?;
    let filled = members::theirs(session, schemas).await?;
    let extension = |(name, schema): (String, String)| Extension {
        tables: members::of(&filled, &name),
        name,
        schema,
    };
    let major: i32 =
        sqlx::query_scalar("SELECT current_setting('server_version_num')::int / 10000")
            .fetch_one(&mut *session)
            .await?;
    let major = major.unsigned_abs();
    let stays: Vec<String> = sqlx::query_scalar(STAYS)
        .bind(schemas)
        .fetch_all(&mut *session)
        .await?;
    let platform = Platform {
        profile: profile.to_string(),
        schemas: schemas.to_vec(),
        foreign_keys: keys.into_iter().map(select::foreign_key).collect(),
        triggers: attached(session, TRIGGERS, schemas).await?,
        policies: attached(session, POLICIES, schemas).await?,
        publications: attached(session, &published(major), schemas).await?,
        extensions: extensions.into_iter().map(extension).collect(),
    };
    let warning = (!stays.is_empty()).then(|| {
        format!(
            "in the schemas of the platform, where a restore leaves all as it is, are yours and not \
             in the backup: {}",
            some_of(&stays)
        )
    });
    Ok((platform, warning))
}

/// Of the role, those that hold tables of the platform and that the backup knows as such, or that
/// hold nothing else: what makes them anew could not put these tables there.
pub async fn publications(connected: &mut Connected, platform: &Platform) -> Result<Vec<String>> {
    let known: Vec<&str> = (platform.publications.iter())
        .map(|table| table.name.as_str())
        .collect();
    // Whole schemas came with version 15.
    let no_schemas = match connected.server_major >= 15 {
        true => {
            "NOT EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid)"
        }
        false => "true",
    };
    let question = format!(
        "SELECT p.pubname::text FROM pg_catalog.pg_publication p \
         JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid \
         JOIN pg_catalog.pg_class c ON c.oid = r.prrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE pg_has_role(current_user, p.pubowner, 'USAGE') GROUP BY p.oid, p.pubname \
         HAVING (bool_and(n.nspname::text = ANY($1)) AND {no_schemas}) \
           OR (bool_or(n.nspname::text = ANY($1)) AND p.pubname::text = ANY($2)) ORDER BY 1"
    );
    sqlx::query_scalar(AssertSqlSafe(question))
        .bind(platform.all_schemas())
        .bind(known)
        .fetch_all(&mut connected.session)
        .await
        .context("cannot list the publications")
}

async fn attached(
    session: &mut PgConnection,
    question: &str,
    schemas: &[String],
) -> Result<Vec<Attached>> {
    let question = AssertSqlSafe(question.to_owned());
    let rows: Vec<(String, String, String, String, Option<String>)> = sqlx::query_as(question)
        .bind(schemas)
        .fetch_all(session)
        .await?;
    let attached = |(schema, table, name, definition, state)| Attached {
        schema,
        table,
        name,
        definition,
        state,
    };
    Ok(rows.into_iter().map(attached).collect())
}

const FOREIGN_KEYS: &str = "\
SELECT k.oid::bigint, n.nspname::text, c.relname::text, k.conname::text, rn.nspname || '.' || r.relname \
FROM pg_catalog.pg_constraint k \
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
JOIN pg_catalog.pg_class r ON r.oid = k.confrelid \
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid::bigint = ANY($1) \
  AND rn.nspname::text = ANY($2) ORDER BY 2, 3, 4";

/// `tgparentid` came with version 13. Those of the platform call functions of its own.
pub const TRIGGERS: &str = "\
SELECT n.nspname::text, c.relname::text, t.tgname::text, pg_catalog.pg_get_triggerdef(t.oid), \
  CASE WHEN t.tgenabled <> 'O' THEN format('ALTER TABLE %I.%I %s TRIGGER %I', n.nspname, c.relname, \
    CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, \
    t.tgname) END \
FROM pg_catalog.pg_trigger t \
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid \
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace \
WHERE n.nspname::text = ANY($1) AND fn.nspname::text <> ALL($1) AND fn.nspname !~ '^pg_' \
  AND NOT t.tgisinternal AND coalesce(pg_catalog.to_jsonb(t)->>'tgparentid', '0') = '0' \
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e') \
ORDER BY 1, 2, 3";

/// Those that go with what they mention, when that is dropped.
pub const POLICIES: &str = "\
SELECT n.nspname::text, c.relname::text, p.polname::text, \
  format('CREATE POLICY %I ON %I.%I AS %s FOR %s TO %s', p.polname, n.nspname, c.relname, \
    CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, \
    CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' \
      WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, \
    (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' \
       ELSE quote_ident(pg_catalog.pg_get_userbyid(r)) END, ', ') FROM unnest(p.polroles) AS r)) \
  || coalesce(' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')', '') \
  || coalesce(' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''), \
  NULL::text \
FROM pg_catalog.pg_policy p \
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
WHERE n.nspname::text = ANY($1) AND EXISTS (SELECT FROM pg_catalog.pg_depend d, \
    pg_catalog.pg_identify_object(d.refclassid, d.refobjid, 0) AS o \
  WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid AND d.refobjid >= 16384 \
    AND o.schema <> ALL($1) AND o.schema !~ '^pg_') \
ORDER BY 1, 2, 3";

/// Tables of the platform in publications of the role. Columns and conditions came with version 15.
pub fn published(major: u32) -> String {
    let narrowed = match major >= 15 {
        true => {
            "coalesce((SELECT format(' (%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)) \
                   FROM pg_catalog.pg_attribute a \
                   WHERE a.attrelid = c.oid AND a.attnum = ANY(r.prattrs)), '') \
                 || coalesce(' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid) || ')', '')"
        }
        false => "''",
    };
    format!(
        "SELECT n.nspname::text, c.relname::text, p.pubname::text, \
           format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', p.pubname, n.nspname, c.relname) || {narrowed}, \
           format('ALTER PUBLICATION %I SET (publish = %L', p.pubname, concat_ws(', ', \
             CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END, \
             CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END)) \
           || coalesce(', publish_via_partition_root = ' || (pg_catalog.to_jsonb(p)->>'pubviaroot'), '') || ')' \
         FROM pg_catalog.pg_publication_rel r \
         JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid \
         JOIN pg_catalog.pg_class c ON c.oid = r.prrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname::text = ANY($1) AND pg_has_role(current_user, p.pubowner, 'USAGE') \
         ORDER BY 1, 2, 3"
    )
}

const EXTENSIONS: &str = "\
SELECT e.extname::text, n.nspname::text FROM pg_catalog.pg_extension e \
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
WHERE e.oid >= 16384 AND (n.nspname::text = ANY($1) \
  OR NOT pg_has_role(current_user, e.extowner, 'USAGE')) ORDER BY 1";

/// A platform has no policies of its own on tables that it gives to users, and its triggers call
/// what is in the schema of their table. A role that may act as any other one owns nothing in
/// particular.
const STAYS: &str = "\
WITH s AS (SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname::text = ANY($1)), \
me AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT rolsuper), \
own AS (SELECT 'pg_catalog.pg_class'::regclass AS classid, c.oid FROM pg_catalog.pg_class c \
    JOIN s ON s.oid = c.relnamespace JOIN me ON me.oid = c.relowner \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
  UNION ALL SELECT 'pg_catalog.pg_type'::regclass, t.oid FROM pg_catalog.pg_type t \
    JOIN s ON s.oid = t.typnamespace JOIN me ON me.oid = t.typowner \
    WHERE t.typtype IN ('d', 'e', 'r') OR EXISTS (SELECT FROM pg_catalog.pg_class c \
      WHERE c.oid = t.typrelid AND c.relkind = 'c') \
  UNION ALL SELECT 'pg_catalog.pg_trigger'::regclass, t.oid FROM pg_catalog.pg_trigger t \
    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN s ON s.oid = c.relnamespace \
    JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN s w ON w.oid = f.pronamespace \
    WHERE NOT t.tgisinternal AND w.oid <> s.oid \
  UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, f.oid FROM pg_catalog.pg_proc f \
    JOIN s ON s.oid = f.pronamespace JOIN me ON me.oid = f.proowner \
  UNION ALL SELECT 'pg_catalog.pg_policy'::regclass, p.oid FROM pg_catalog.pg_policy p \
    JOIN pg_catalog.pg_class c ON c.oid = p.polrelid JOIN s ON s.oid = c.relnamespace \
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d, \
        pg_catalog.pg_identify_object(d.refclassid, d.refobjid, 0) AS o \
      WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid \
        AND d.refobjid >= 16384 AND o.schema <> ALL($1) AND o.schema !~ '^pg_')) \
SELECT pg_catalog.pg_describe_object(own.classid, own.oid, 0) FROM own \
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
  WHERE d.classid = own.classid AND d.objid = own.oid AND (d.deptype = 'e' \
    OR (d.deptype IN ('a', 'i') AND own.classid = 'pg_catalog.pg_class'::regclass))) ORDER BY 1";
