//! What all databases of a server share, before and after a migration on a scratch
//! database: what a rehearsal changed of it would be in the way of the live run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use sqlx::PgConnection;

use super::REACHES;
use crate::engine::postgres::{Postgres, connect};
use crate::values::failure::Failure;
use crate::values::words::on_one_line;

/// By what it is and the server's own mark of it: what a person calls it, and a text that
/// differs when it was written.
pub struct Shared(BTreeMap<(String, String), (String, String)>);

/// As this session sees it; what is about the scratch database itself goes away with it. The
/// passwords of roles are not for every role to read, but who writes them holds a lock.
pub async fn read(session: &mut PgConnection, scratch: &str) -> Result<Shared> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "WITH own AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = $1) \
         SELECT 'role', r.oid::text, concat('role ', r.rolname), concat_ws(',', r.rolname, r.rolsuper, \
             r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, \
             r.rolbypassrls, r.rolconnlimit, extract(epoch FROM r.rolvaliduntil)) \
           FROM pg_catalog.pg_roles r \
         UNION ALL SELECT 'roles', '', 'pg_authid', count(*)::text \
           FROM pg_catalog.pg_locks l \
           WHERE l.pid = pg_backend_pid() AND l.granted AND l.mode = 'RowExclusiveLock' \
             AND l.relation = 'pg_catalog.pg_authid'::regclass \
         UNION ALL SELECT 'member', concat_ws(',', m.roleid, m.member, m.grantor), \
             concat('membership of ', member.rolname, ' in ', role.rolname), m.xmin::text \
           FROM pg_catalog.pg_auth_members m \
             LEFT JOIN pg_catalog.pg_roles member ON member.oid = m.member \
             LEFT JOIN pg_catalog.pg_roles role ON role.oid = m.roleid \
         UNION ALL SELECT 'database', d.oid::text, concat('database ', d.datname), d.xmin::text \
           FROM pg_catalog.pg_database d WHERE d.oid NOT IN (SELECT oid FROM own) \
         UNION ALL SELECT 'setting', concat_ws(',', s.setdatabase, s.setrole), \
             concat('settings of ', coalesce(d.datname, r.rolname)), s.xmin::text \
           FROM pg_catalog.pg_db_role_setting s \
             LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
           WHERE s.setdatabase NOT IN (SELECT oid FROM own) \
         UNION ALL SELECT 'tablespace', t.oid::text, concat('tablespace ', t.spcname), t.xmin::text \
           FROM pg_catalog.pg_tablespace t \
         UNION ALL SELECT 'comment', concat_ws(',', c.classoid, c.objoid), \
             'comment on a role, database or tablespace', c.xmin::text \
           FROM pg_catalog.pg_shdescription c WHERE c.objoid NOT IN (SELECT oid FROM own)",
    )
    .bind(scratch)
    .fetch_all(session)
    .await
    .context("cannot look at what the databases of the server share")?;
    let rows = rows.into_iter();
    let by_mark = rows.map(|(what, mark, name, version)| ((what, mark), (name, version)));
    Ok(Shared(by_mark.collect()))
}

impl Shared {
    /// What of it the transaction of `ours` has changed, by name. Others change it as well:
    /// theirs is what they can see themselves, before this transaction is committed.
    pub async fn changed_by(
        &self,
        ours: &mut PgConnection,
        postgres: &Postgres,
        scratch: &str,
    ) -> Result<Vec<String>> {
        let (Shared(then), Shared(now)) = (self, read(&mut *ours, scratch).await?);
        let all = then.keys().chain(now.keys());
        let mut changed: Vec<_> = all.filter(|key| then.get(key) != now.get(key)).collect();
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let mut other = connect::connect_to(&postgres.url, None).await?.session;
        let Shared(of_others) = read(&mut other, scratch).await?;
        // What others made and took away between the two questions is not there any more.
        let Shared(again) = read(ours, scratch).await?;
        changed.retain(|key| then.get(key) == of_others.get(key) && now.get(key) == again.get(key));
        let named = |key| now.get(key).or_else(|| then.get(key));
        let names = changed.into_iter().filter_map(named);
        let mut names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// What of it is another one now, after a migration that committed by itself. Others change it
    /// as well, and who it was cannot be told: only what `sql` or a function names is laid at its door.
    pub async fn left_by(
        &self,
        session: &mut PgConnection,
        scratch: &str,
        sql: &str,
    ) -> Result<Vec<String>> {
        let (Shared(then), Shared(now)) = (self, read(&mut *session, scratch).await?);
        let all: BTreeSet<_> = then.keys().chain(now.keys()).collect();
        let changed = all.into_iter().filter(|key| then.get(key) != now.get(key));
        let named = changed.filter_map(|key| now.get(key).or_else(|| then.get(key)));
        let mut names: Vec<String> = named.map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return Ok(names);
        }
        let mut code: Vec<String> = sqlx::query_scalar(
            "SELECT lower(p.prosrc) FROM pg_catalog.pg_proc p \
               JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'",
        )
        .fetch_all(session)
        .await
        .context("cannot read the functions of the scratch database")?;
        code.push(sql.to_lowercase());
        names.retain(|name| {
            let last = name.rsplit(' ').next().unwrap_or(name).to_lowercase();
            code.iter().any(|code| code.contains(&last))
        });
        names.dedup();
        Ok(names)
    }
}

/// Of what was not taken back.
pub fn left_behind(version: i64, left: &[String]) -> Failure {
    Failure::refused(format!(
        "migration {version} commits by itself, and its rehearsal has changed what all databases of \
         the server share, where its live run would meet it; the live database is as it was: {}",
        on_one_line(&left.join(", "))
    ))
    .hint(format!("undo that by hand first (DROP ROLE …); then {REACHES}"))
}

pub fn refusal(version: i64, changed: &[String]) -> Failure {
    Failure::refused(format!(
        "migration {version} changes what all databases of the server share, and so would its \
         rehearsal; it was taken back, and nothing was changed: {}",
        on_one_line(&changed.join(", "))
    ))
    .hint(REACHES)
}

/// Of one that gets to its end in no transaction of ours.
pub fn unwatched(version: i64) -> Failure {
    Failure::refused(format!(
        "the rehearsal of migration {version} failed in the transaction in which it could be taken \
         back, and without one it would be for real; nothing was changed"
    ))
    .hint(format!(
        "mend the migration (what needs to run in no transaction begins with `-- no-transaction`); \
         or, where only the rehearsal stumbles over this: {REACHES}"
    ))
}
