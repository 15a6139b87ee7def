//! Who owns what in a database, as far as a restore that may not make everything needs it.

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::connect;
use super::toc::{entry_of, is_extension, is_schema, shown, some_of};
use super::{Postgres, platform};
use crate::values::failure::Failure;
use crate::values::platform::Platform;

pub struct Owners {
    /// All roles, longest name first, and whether we may act as each.
    roles: Vec<(String, bool)>,
    /// Extensions that are there, and whether we may act as their owner.
    extensions: Vec<(String, bool)>,
    /// The schemas that those of others are in.
    schemas: Vec<String>,
    /// Extensions that this role may create.
    creatable: Vec<String>,
    /// Of ours, those that stay, for they hold tables of the platform.
    pub kept_publications: Vec<String>,
}

impl Owners {
    pub async fn read(postgres: &Postgres, platform: Option<&Platform>) -> Result<Owners> {
        let mut connected = connect::connect(&postgres.url).await?;
        let roles = sqlx::query_as(
            "SELECT rolname::text, pg_has_role(current_user, oid, 'USAGE') FROM pg_roles \
             ORDER BY length(rolname) DESC",
        )
        .fetch_all(&mut connected.session)
        .await
        .context("cannot list the roles")?;
        let extensions = sqlx::query_as(
            "SELECT extname::text, pg_has_role(current_user, extowner, 'USAGE') FROM pg_extension",
        )
        .fetch_all(&mut connected.session)
        .await
        .context("cannot list the extensions")?;
        let schemas = sqlx::query_scalar(
            "SELECT DISTINCT n.nspname::text FROM pg_extension e \
             JOIN pg_namespace n ON n.oid = e.extnamespace \
             WHERE NOT pg_has_role(current_user, e.extowner, 'USAGE')",
        )
        .fetch_all(&mut connected.session)
        .await
        .context("cannot list the schemas of extensions")?;
        let creatable = sqlx::query_scalar(if connected.server_major >= 13 {
            "SELECT DISTINCT name::text FROM pg_available_extension_versions WHERE NOT superuser \
             OR trusted OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        } else {
            "SELECT DISTINCT name::text FROM pg_available_extension_versions WHERE NOT superuser \
             OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        })
        .fetch_all(&mut connected.session)
        .await
        .context("cannot list the extensions that may be created")?;
        let kept_publications = match platform {
            Some(platform) => platform::publications(&mut connected, platform).await?,
            None => Vec::new(),
        };
        Ok(Owners {
            roles,
            extensions,
            schemas,
            creatable,
            kept_publications,
        })
    }

    /// An entry ends with its owner.
    pub fn is_theirs(&self, line: &str) -> bool {
        let line = line.trim_end();
        if entry_of(line).is_none() {
            return false;
        }
        let mut theirs = self.extensions.iter().filter(|(_, is_ours)| !is_ours);
        if theirs.any(|(name, _)| is_extension(line, name)) {
            return true;
        }
        let ends_with = |name: &str| line.strip_suffix(name).is_some_and(|l| l.ends_with(' '));
        let owner = self.roles.iter().find(|(name, _)| ends_with(name));
        owner.is_some_and(|(_, is_ours)| !is_ours)
    }

    /// A schema that stays, whosever it is, because an extension of another role is in it.
    pub fn holds_theirs(&self, line: &str) -> bool {
        let mut schemas = self.schemas.iter();
        schemas.any(|schema| is_schema(line, schema))
    }

    pub fn is_kept_publication(&self, line: &str) -> bool {
        let words = shown(line);
        let publication = words.strip_prefix("PUBLICATION - ");
        entry_of(line).is_some()
            && publication.is_some_and(|publication| {
                let mut kept = self.kept_publications.iter();
                kept.any(|name| {
                    let owner = publication.strip_prefix(name.as_str());
                    let owner = owner.and_then(|owner| owner.strip_prefix(' '));
                    owner.is_some_and(|owner| self.roles.iter().any(|(role, _)| role == owner))
                })
            })
    }

    pub fn may_create(&self, extension: &str) -> bool {
        self.creatable.iter().any(|name| name == extension)
    }

    /// Extensions of the platform that are no longer there and that this role cannot create.
    pub fn given_up(&self, platform: &Platform) -> Vec<String> {
        let is_there = |wanted: &str| self.extensions.iter().any(|(name, _)| name == wanted);
        let names = platform.extensions.iter().map(|extension| &extension.name);
        let gone = names.filter(|name| !is_there(name) && !self.may_create(name));
        gone.cloned().collect()
    }
}

/// Whether somebody else's object of a dump is there: by its number, or by what the dump's list
/// calls it, for an upgrade of the server gives new numbers, and so does who makes it anew.
pub async fn is_there(
    session: &mut PgConnection,
    (catalogue, object): (i64, i64),
    words: &str,
) -> Result<bool> {
    let described: Option<String> =
        sqlx::query_scalar("SELECT pg_describe_object($1::bigint::oid, $2::bigint::oid, 0)")
            .bind(catalogue)
            .bind(object)
            .fetch_one(&mut *session)
            .await
            // Before version 14 a missing object is an error.
            .unwrap_or(None);
    if described.is_some() {
        return Ok(true);
    }
    sqlx::query_scalar(NAMED)
        .bind(catalogue)
        .bind(words)
        .fetch_one(session)
        .await
        .context("cannot look for what other roles own")
}

/// As `pg_restore --list` ends a line: schema, name, owner; parts of a table after its name.
const NAMED: &str = "\
WITH relations AS (SELECT c.oid, n.nspname || ' ' || c.relname AS name, \
    pg_catalog.pg_get_userbyid(c.relowner) AS owner \
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace), \
named(of, words) AS ( \
  SELECT 'pg_catalog.pg_class'::regclass, name || ' ' || owner FROM relations \
  UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass, name || ' ' || conname || ' ' || owner \
    FROM pg_catalog.pg_constraint JOIN relations r ON r.oid = conrelid \
  UNION ALL SELECT 'pg_catalog.pg_trigger'::regclass, name || ' ' || tgname || ' ' || owner \
    FROM pg_catalog.pg_trigger JOIN relations r ON r.oid = tgrelid \
  UNION ALL SELECT 'pg_catalog.pg_rewrite'::regclass, name || ' ' || rulename || ' ' || owner \
    FROM pg_catalog.pg_rewrite JOIN relations r ON r.oid = ev_class \
  UNION ALL SELECT 'pg_catalog.pg_policy'::regclass, name || ' ' || polname || ' ' || owner \
    FROM pg_catalog.pg_policy JOIN relations r ON r.oid = polrelid \
  UNION ALL SELECT 'pg_catalog.pg_attrdef'::regclass, name || ' ' || attname || ' ' || owner \
    FROM pg_catalog.pg_attrdef JOIN relations r ON r.oid = adrelid \
    JOIN pg_catalog.pg_attribute ON attrelid = adrelid AND attnum = adnum \
  UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, n.nspname || ' ' || proname || '(' || \
      pg_catalog.oidvectortypes(proargtypes) || ') ' || pg_catalog.pg_get_userbyid(proowner) \
    FROM pg_catalog.pg_proc JOIN pg_catalog.pg_namespace n ON n.oid = pronamespace \
  UNION ALL SELECT 'pg_catalog.pg_type'::regclass, \
      n.nspname || ' ' || typname || ' ' || pg_catalog.pg_get_userbyid(typowner) \
    FROM pg_catalog.pg_type JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace \
  UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, \
      '- ' || nspname || ' ' || pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace) \
SELECT EXISTS (SELECT FROM named \
  WHERE of::bigint = $1 AND right($2, length(words) + 1) = ' ' || words)";

/// `pg_dump` writes these down so that only a superuser can say them again.
pub async fn grants_by_others(
    session: &mut PgConnection,
    left_out: &[String],
) -> Result<Option<String>> {
    let grants: Vec<String> = sqlx::query_scalar(GRANTS_BY_OTHERS)
        .bind(left_out)
        .fetch_all(session)
        .await
        .context("cannot look for grants by other roles")?;
    let what = "grants that others than the owner have given, which only a superuser can restore";
    let line = format!("{what}: {}", some_of(&grants));
    Ok((!grants.is_empty()).then_some(line))
}

/// Whatever way a restore goes, it stops there, with nothing changed.
pub fn explain_grants(error: anyhow::Error) -> anyhow::Error {
    let said = "set session authorization";
    if !error.chain().any(|cause| cause.to_string().contains(said)) {
        return error;
    }
    let what = "the backup holds grants that others than the owner have given, which only a superuser can restore";
    error.context(Failure::refused(what).hint("restore as an administrator"))
}

const GRANTS_BY_OTHERS: &str = "\
SELECT DISTINCT format('%s (by %s)', \
  pg_catalog.pg_describe_object(o.classid, o.objid, o.objsubid), pg_catalog.pg_get_userbyid(a.grantor)) \
FROM ( \
  SELECT 'pg_catalog.pg_class'::regclass AS classid, oid AS objid, 0 AS objsubid, relowner AS owner, \
    relacl AS acl, relnamespace AS schema FROM pg_catalog.pg_class \
  UNION ALL SELECT 'pg_catalog.pg_class'::regclass, c.oid, attnum, relowner, attacl, relnamespace \
    FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class c ON c.oid = attrelid WHERE attacl IS NOT NULL \
  UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid, 0, proowner, proacl, pronamespace FROM pg_catalog.pg_proc \
  UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid, 0, typowner, typacl, typnamespace FROM pg_catalog.pg_type \
  UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, oid, 0, nspowner, nspacl, oid FROM pg_catalog.pg_namespace \
  UNION ALL SELECT 'pg_catalog.pg_language'::regclass, oid, 0, lanowner, lanacl, 0 FROM pg_catalog.pg_language \
  UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl, 0 \
    FROM pg_catalog.pg_foreign_data_wrapper \
  UNION ALL SELECT 'pg_catalog.pg_foreign_server'::regclass, oid, 0, srvowner, srvacl, 0 \
    FROM pg_catalog.pg_foreign_server \
  UNION ALL SELECT 'pg_catalog.pg_largeobject'::regclass, oid, 0, lomowner, lomacl, 0 \
    FROM pg_catalog.pg_largeobject_metadata \
) AS o CROSS JOIN aclexplode(o.acl) AS a \
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.schema \
JOIN pg_catalog.pg_roles me ON me.rolname = current_user \
WHERE a.grantor <> o.owner AND a.grantor <> me.oid AND NOT me.rolsuper \
  AND pg_has_role(current_user, o.owner, 'USAGE') \
  AND coalesce(n.nspname::text <> ALL($1) AND n.nspname::text !~ '^pg_' AND n.nspname <> 'information_schema', true) \
ORDER BY 1";
