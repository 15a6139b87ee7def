//! What a migration does to a platform's part: a rehearsal has none of its rows, and no backup
//! brings any of it back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::engine::postgres::fingerprint;
use crate::engine::postgres::inspect::begin_in;
use crate::values::effect::Loss;
use crate::values::failure::Failure;
use crate::values::platform::Platform;

/// Schema, name, what of it (`table`, `column email`), and how that is.
type Line = (String, String, String, String);

/// The platform's part of a scratch database.
pub struct Theirs {
    lines: BTreeSet<Line>,
    /// Schema, name, how often it was read or written, and its file; by the table's oid.
    used: BTreeMap<i64, (String, String, i64, i64)>,
}

/// As the session sees it that migrates: what it has used itself stands nowhere else at once.
pub async fn read(session: &mut PgConnection, platform: &Platform) -> Result<Theirs> {
    let context = "cannot look at the platform's part of the scratch database";
    require_counts(session).await?;
    let begin = begin_in(None) + "; " + fingerprint::SETTINGS;
    session
        .execute(AssertSqlSafe(begin))
        .await
        .context(context)?;
    let extensions = platform.extensions.iter().map(|e| e.name.clone());
    let lines: Vec<Line> = sqlx::query_as(LINES)
        .bind(&platform.schemas)
        .bind(extensions.collect::<Vec<_>>())
        .fetch_all(&mut *session)
        .await
        .context(context)?;
    let used: Vec<(i64, String, String, i64, i64)> = sqlx::query_as(USED)
        .bind(&platform.schemas)
        .fetch_all(&mut *session)
        .await
        .context(context)?;
    session.execute("COMMIT").await.context(context)?;
    let used = used
        .into_iter()
        .map(|(oid, schema, name, times, file)| (oid, (schema, name, times, file)));
    Ok(Theirs {
        lines: lines.into_iter().collect(),
        used: used.collect(),
    })
}

/// Without the server's counters nobody knows whether a table was read that has no rows.
async fn require_counts(session: &mut PgConnection) -> Result<()> {
    let counts: bool = sqlx::query_scalar(
        "SELECT pg_catalog.current_setting('track_counts')::bool \
         FROM (SELECT CASE WHEN pg_catalog.current_setting('server_version_num')::int < 150000 \
           THEN pg_catalog.pg_sleep(1) END) AS arrived",
    )
    .fetch_one(session)
    .await
    .context("cannot ask for `track_counts`")?;
    match counts {
        true => Ok(()),
        false => Err(Failure::refused(
            "`track_counts` is off, so a rehearsal cannot tell whether the migrations use tables \
             of the platform",
        )
        .hint("ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()")
        .into()),
    }
}

impl Theirs {
    /// What the live run would change or may depend on, each as a loss that can be named.
    pub fn touched(&self, now: &Theirs, platform: &Platform) -> Vec<Loss> {
        let profile = &platform.profile;
        let mut losses = Vec::new();
        let mut gone: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for (schema, name, what, _) in self.lines.difference(&now.lines) {
            gone.entry((schema, name)).or_default().push(what);
        }
        for ((schema, name), parts) in gone {
            // A column's name is of no interest when its table is gone.
            let whole = parts.iter().find(|part| !part.contains(' ')).copied();
            let part = whole.unwrap_or_else(|| parts[0]);
            let is_there = |line: &Line| line.0 == schema && line.1 == name && line.2 == part;
            let became = match now.lines.iter().any(is_there) {
                true => "changed",
                false => "dropped",
            };
            let what = format!("the {part}, which is {profile}'s and in no backup, is {became}");
            losses.push(loss(schema, name, what));
        }
        for (oid, (schema, name, times, file)) in &self.used {
            let Some((.., times_now, file_now)) = now.used.get(oid) else {
                continue;
            };
            if (times, file) != (times_now, file_now) {
                let what = format!(
                    "its rows, which are {profile}'s, in no backup and not in the rehearsal, are read \
                     or written"
                );
                losses.push(loss(schema, name, what));
            }
        }
        losses
    }
}

fn loss(schema: &str, name: &str, what: String) -> Loss {
    Loss {
        schema: schema.to_owned(),
        table: name.to_owned(),
        column: None,
        what,
    }
}

/// What was there and is as it was has the same line again; what a user puts there adds lines. Of
/// what an extension brings along, the extension says enough.
const LINES: &str = "\
WITH s AS (SELECT oid, nspname::text AS schema FROM pg_catalog.pg_namespace \
    WHERE nspname::text = ANY($1)), \
m AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'), \
r AS (SELECT c.oid, s.schema, c.relname::text AS name, c.relkind, c.relrowsecurity \
  FROM pg_catalog.pg_class c JOIN s ON s.oid = c.relnamespace \
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
    AND ('pg_catalog.pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM m)) \
SELECT 'pg_namespace', schema, 'schema', oid::text FROM s \
UNION ALL SELECT n.nspname::text, e.extname::text, 'extension', concat_ws(' ', e.oid, e.extversion) \
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
  WHERE e.extname::text = ANY($2) OR n.nspname::text = ANY($1) \
UNION ALL SELECT schema, name, CASE relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, \
  concat_ws(' ', oid, relkind, relrowsecurity, \
    CASE WHEN relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(oid) END) FROM r \
UNION ALL SELECT schema, name, concat('column ', a.attname), concat_ws(' ', a.attnum, \
    pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, \
    pg_catalog.pg_get_expr(d.adbin, d.adrelid)) \
  FROM r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid \
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
  WHERE a.attnum > 0 AND NOT a.attisdropped \
UNION ALL SELECT schema, name, concat('constraint ', k.conname), pg_catalog.pg_get_constraintdef(k.oid) \
  FROM r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid \
UNION ALL SELECT schema, name, concat('index ', x.relname), pg_catalog.pg_get_indexdef(x.oid) \
  FROM r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid \
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
UNION ALL SELECT r.schema, name, concat('trigger ', t.tgname), \
    concat_ws(' ', t.tgenabled, pg_catalog.pg_get_triggerdef(t.oid)) \
  FROM r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid \
  JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN s ON s.oid = f.pronamespace \
  WHERE NOT t.tgisinternal \
UNION ALL SELECT s.schema, f.proname::text, 'function', concat_ws(' ', f.oid, f.prosecdef, f.provolatile, \
    f.proconfig, f.prosrc, f.probin, pg_catalog.pg_get_function_result(f.oid)) \
  FROM pg_catalog.pg_proc f JOIN s ON s.oid = f.pronamespace \
  WHERE ('pg_catalog.pg_proc'::regclass, f.oid) NOT IN (SELECT classid, objid FROM m) \
UNION ALL SELECT s.schema, t.typname::text, 'type', concat_ws(' ', t.oid, e.enumlabel) \
  FROM pg_catalog.pg_type t JOIN s ON s.oid = t.typnamespace \
  LEFT JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid \
  WHERE t.typtype IN ('d', 'e', 'r') \
    AND ('pg_catalog.pg_type'::regclass, t.oid) NOT IN (SELECT classid, objid FROM m)";

/// Scans are counted also of what has no rows, and also when a statement deletes or updates; to
/// truncate gives a new file. A key that is only added scans nothing here.
const USED: &str = "\
SELECT c.oid::bigint, n.nspname::text, c.relname::text, \
  (pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) \
    + (SELECT sum(pg_catalog.pg_stat_get_numscans(x.oid) + pg_catalog.pg_stat_get_xact_numscans(x.oid)) \
       FROM (SELECT c.oid UNION ALL SELECT i.indexrelid FROM pg_catalog.pg_index i \
         WHERE i.indrelid = c.oid) AS x))::bigint, \
  coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::bigint \
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
WHERE n.nspname::text = ANY($1) AND c.relkind IN ('r', 'm')";
