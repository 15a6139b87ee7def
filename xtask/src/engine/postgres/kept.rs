//! Databases that a swap replaced and kept: found by name and mark, looked
//! into, swapped back.
//!
//! The mark is in the comment, before the database's own: the swap sets it in
//! its one transaction, an owner who is no superuser may set it too, and it
//! says to anybody who lists the databases what this one is. Undo puts the
//! comment back as it was. It holds the whole name, of which a long one has
//! only a part in the name of the kept database.

use anyhow::{Context, Result};
use chrono::NaiveDateTime;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::connect::{self, Connected, quoted};
use super::swap::{self, Newcomer};
use super::target::{self, Target};
use super::{Postgres, inspect, left_beside, lock, restore};
use crate::engine::{Aside, KeptDatabase, Restored, SwapBack};
use crate::values::database::Contents;
use crate::values::failure::Failure;
use crate::values::words::on_one_line;

/// The comment of a kept database, which begins with our mark.
pub fn comment_of(live: &str, own: Option<&str>) -> String {
    // One that was renamed back by hand carries the mark of that time.
    let own = own.and_then(|own| own_comment(live, own).unwrap_or(Some(own)));
    match own {
        Some(own) => format!("{}\n{own}", mark(live)),
        None => mark(live),
    }
}

fn mark(live: &str) -> String {
    let live = quoted(live);
    format!("xtask-db: kept; this was the database {live} until a restore or an undo replaced it")
}

/// The comment that it had before it was marked; `None` when the mark is not there.
fn own_comment<'a>(live: &str, comment: &'a str) -> Option<Option<&'a str>> {
    let rest = comment.strip_prefix(&mark(live))?;
    match rest {
        "" => Some(None),
        rest => rest.strip_prefix('\n').map(Some),
    }
}

struct Found {
    kept: KeptDatabase,
    /// What it was before it was kept.
    comment: Option<String>,
}

/// The names of those that are ours, for who looks at all that is beside.
pub async fn names(target: &mut Target) -> Result<Vec<String>> {
    let found = found(target).await?;
    Ok(found.into_iter().map(|found| found.kept.name).collect())
}

/// Newest first. Of databases that this role does not own it could swap none back.
async fn found(target: &mut Target) -> Result<Vec<Found>> {
    let rows: Vec<(String, String, Option<i64>)> = sqlx::query_as(
        "SELECT d.datname::text, shobj_description(d.oid, 'pg_database'), \
           CASE WHEN has_database_privilege(d.oid, 'CONNECT') \
             THEN pg_database_size(d.oid) END \
         FROM pg_database d WHERE d.datname ~ '_[0-9]{14}$' AND left(d.datname, -14) = $1 \
           AND shobj_description(d.oid, 'pg_database') IS NOT NULL \
           AND pg_has_role(current_user, d.datdba, 'USAGE') ORDER BY d.datname DESC",
    )
    .bind(left_beside::before_time(
        &target.database,
        left_beside::BEFORE,
    ))
    .fetch_all(&mut target.maintenance.session)
    .await
    .context("cannot look for databases that were kept")?;
    let one = |(name, comment, size): (String, String, Option<i64>)| {
        let time = &name[name.len() - left_beside::TIME_BYTES..];
        let since = NaiveDateTime::parse_from_str(time, "%Y%m%d%H%M%S").ok()?;
        let comment = own_comment(&target.database, &comment)?.map(str::to_owned);
        let kept = KeptDatabase {
            name,
            since: since.and_utc(),
            size_bytes: size.map(i64::unsigned_abs),
        };
        Some(Found { kept, comment })
    };
    Ok(rows.into_iter().filter_map(one).collect())
}

impl Aside for Postgres {
    fn list(&mut self) -> Result<Vec<KeptDatabase>> {
        self.runtime.block_on(async {
            let mut target = target::target(&self.url).await?;
            let found = found(&mut target).await?;
            Ok(found.into_iter().map(|found| found.kept).collect())
        })
    }

    fn look_into(&mut self, kept: &KeptDatabase) -> Result<SwapBack> {
        let mut target = self.runtime.block_on(target::target(&self.url))?;
        require_right(&target)?;
        let prepared = restore::refuse_prepared_transactions(&mut target);
        self.runtime.block_on(prepared)?;
        // Half of it must not be left to a signal.
        let entered = self
            .runtime
            .block_on_to_the_end(enter(self, &mut target, &kept.name));
        let contents = self.runtime.block_on(contents(self, entered?))?;
        let (database, session) = (target.database, &mut target.maintenance.session);
        self.runtime.block_on(async {
            let mut sessions = target::sessions(session, &database).await?;
            sessions.extend(target::sessions(session, &kept.name).await?);
            let warnings = target::slots(session, &database).await?;
            Ok(SwapBack {
                contents,
                sessions,
                warnings,
            })
        })
    }

    fn swap_back(&mut self, kept: &KeptDatabase) -> Result<Restored> {
        let mut target = self.runtime.block_on(target::target(&self.url))?;
        let all = self.runtime.block_on(found(&mut target))?;
        let found = the_one(all, kept)?;
        let name = left_beside::free_name(&mut target, left_beside::BEFORE);
        let name = self.runtime.block_on(name)?;
        let name = target.now.as_ref().map(|_| name.as_str());
        lock::require(&self.runtime, lock::session(&mut self.lock))?;
        // Our own session in the database is one that a rename would wait for.
        if let Some(lock) = self.lock.take() {
            self.runtime
                .block_on(async { Ok(lock.session.close().await?) })?;
        }
        let newcomer = Newcomer {
            name: &kept.name,
            comment: found.comment.as_deref(),
            guard: None,
            was_kept: true,
        };
        let swap = async {
            may_write(&mut target.maintenance.session).await?;
            swap::swap(&self.url, &mut target, newcomer, name).await
        };
        // Bounded, and half of it must not be left to a signal.
        let kept = self.runtime.block_on_to_the_end(swap)?;
        Ok(Restored {
            kept,
            warnings: Vec::new(),
        })
    }

    fn remove(&mut self, kept: &KeptDatabase) -> Result<()> {
        self.runtime.block_on(async {
            let mut target = target::target(&self.url).await?;
            let all = found(&mut target).await?;
            let kept = the_one(all, kept)?.kept;
            remove(&mut target.maintenance.session, &kept.name).await
        })
    }
}

fn the_one(all: Vec<Found>, kept: &KeptDatabase) -> Result<Found, Failure> {
    let found = all.into_iter().find(|found| found.kept.name == kept.name);
    found.ok_or_else(|| {
        Failure::refused(format!(
            "the kept database `{}` is no longer there",
            on_one_line(&kept.name)
        ))
    })
}

/// Without the force that ends sessions: who is in there wants something of it.
async fn remove(session: &mut PgConnection, name: &str) -> Result<()> {
    may_write(session).await?;
    let sessions = target::sessions(session, name).await?;
    if !sessions.is_empty() {
        return Err(Failure::refused(format!(
            "the kept database `{}` is used: {}",
            on_one_line(name),
            sessions.join("; ")
        ))
        .hint("end these sessions, then run the command again")
        .into());
    }
    let is_template: bool =
        sqlx::query_scalar("SELECT datistemplate FROM pg_database WHERE datname = $1")
            .bind(name)
            .fetch_one(&mut *session)
            .await
            .context("cannot ask for it once more")?;
    let name = quoted(name);
    if is_template {
        // As the live one was, and for nobody now.
        let sql = format!("ALTER DATABASE {name} IS_TEMPLATE false");
        session.execute(AssertSqlSafe(sql)).await?;
    }
    let dropped = session.execute(AssertSqlSafe(format!("DROP DATABASE {name}")));
    let dropped = dropped.await;
    dropped.with_context(|| format!("cannot drop the kept database {}", on_one_line(&name)))?;
    Ok(())
}

fn require_right(target: &Target) -> Result<()> {
    if target.can_create {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the role `{}` may not rename the database `{}`, and a kept database is swapped back by name",
        target.maintenance.user, target.database
    ))
    .hint("run the command as a role with CREATEDB that owns the database, or as an administrator")
    .into())
}

/// The role or the server may be read-only by default.
async fn may_write(session: &mut PgConnection) -> Result<()> {
    session
        .execute("SET default_transaction_read_only = off")
        .await?;
    Ok(())
}

/// A session in a database that takes no connections: it is opened for the
/// moment in which that begins. Killed in between, it stays open, which no
/// undo minds.
async fn enter(postgres: &Postgres, target: &mut Target, name: &str) -> Result<Connected> {
    let session = &mut target.maintenance.session;
    may_write(session).await?;
    allow_connections(session, name, true).await?;
    let entered = connect::connect_to(&postgres.url, Some(name)).await;
    allow_connections(session, name, false).await?;
    entered
}

async fn allow_connections(session: &mut PgConnection, name: &str, allow: bool) -> Result<()> {
    let sql = format!(
        "ALTER DATABASE {} WITH ALLOW_CONNECTIONS {allow}",
        quoted(name)
    );
    let altered = session.execute(AssertSqlSafe(sql)).await;
    altered.with_context(|| format!("cannot open or close the kept database `{name}`"))?;
    Ok(())
}

async fn contents(postgres: &Postgres, mut kept: Connected) -> Result<Contents> {
    let (table, left_out) = (&postgres.bookkeeping.table, &postgres.left_out);
    let contents = inspect::contents(&mut kept.session, table, false, left_out).await;
    let contents = contents.context("cannot count what the kept database holds")?;
    kept.session.close().await?;
    Ok(contents)
}
