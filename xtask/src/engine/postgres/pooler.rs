//! A pooler between here and the server: what a session holds (sqlx's lock, the snapshot of a dump)
//! is somebody else's in the next moment. The direct way is asked for.
//!
//! By name, from what their operators say in public:
//! - Supabase: port 6543 is the transaction mode of its poolers, 5432 of `….pooler.supabase.com` is
//!   the session mode, which holds what it is told and is let pass; directly it is
//!   `db.PROJECT.supabase.co:5432` (supabase.com/docs/guides/database/connecting-to-postgres).
//! - Neon, and Vercel's databases on it: the first part of a pooled host ends in `-pooler`, PgBouncer
//!   in transaction mode; without it, it is the direct one (neon.com/docs/connect/connection-pooling).
//! - RDS Proxy: `NAME.proxy-ID.REGION.rds.amazonaws.com`; directly it is the instance's or the
//!   cluster's own endpoint (docs.aws.amazon.com, "Connecting to a database through RDS Proxy").
//!
//! Any other one by what it does: in transaction mode two sessions of ours share one of the server's.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};

use super::connect;
use crate::values::database_url::{PostgresHost, PostgresUrl};
use crate::values::failure::Failure;

/// A server answers at once. Behind a pooler with one session, the one that has it is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn refuse(url: &PostgresUrl) -> Result<()> {
    refuse_by_name(url)?;
    match look(url).await {
        // What can be restored need not be there.
        Err(error) if connect::is_missing_database(&error) => Ok(()),
        Err(error) if is_anothers_statement(&error) => Err(error.context(lends(url))),
        looked => looked,
    }
}

async fn look(url: &PostgresUrl) -> Result<()> {
    let mut connected = connect::visit(url, None).await?;
    refuse_shared(url, &mut connected.session).await?;
    Ok(connected.session.close().await?)
}

/// A session that has just begun has prepared nothing: a statement of that name, or one that is gone,
/// is that of whoever had the server's session before.
fn is_anothers_statement(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(|error: &sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code());
        matches!(code.as_deref(), Some("42P05" | "26000"))
    })
}

fn lends(url: &PostgresUrl) -> Failure {
    refusal(
        &format!("`{url}` leads through a pooler that lends sessions out for a transaction"),
        "name the server itself",
    )
}

/// Without a word to the server: some poolers would only hang.
fn refuse_by_name(url: &PostgresUrl) -> Result<(), Failure> {
    url.hosts.iter().try_for_each(|host| match known(host) {
        None => Ok(()),
        Some((what, instead)) => Err(refusal(
            &format!("`{url}` leads through {what}"),
            &format!("name the direct one: {instead}"),
        )),
    })
}

/// Which pooler it is, and what is direct.
fn known(host: &PostgresHost) -> Option<(&'static str, String)> {
    let name = host.host.as_deref()?.to_lowercase();
    let is_of = |domain: &str| name.ends_with(domain);
    if host.port == Some(6543) && (is_of(".supabase.com") || is_of(".supabase.co")) {
        return Some((
            "Supabase's pooler in transaction mode",
            "db.PROJECT.supabase.co, port 5432; where there is only IPv4, the pooler's port 5432 \
             (session mode)"
                .into(),
        ));
    }
    let mut parts = name.split('.');
    let (first, second) = (parts.next()?, parts.next().unwrap_or_default());
    if let Some(direct) = first.strip_suffix("-pooler") {
        let rest = &name[first.len()..];
        return Some(("a pooler", format!("{direct}{rest}")));
    }
    let is_rds = is_of(".rds.amazonaws.com") || is_of(".rds.amazonaws.com.cn");
    if is_rds && second.starts_with("proxy-") {
        let instead = "the endpoint of the instance or of the cluster".into();
        return Some(("an RDS Proxy", instead));
    }
    None
}

/// Two sessions at once have two processes of the server; behind a pooler that lends them out for a
/// transaction at a time they meet.
async fn refuse_shared(url: &PostgresUrl, session: &mut PgConnection) -> Result<()> {
    let context = "cannot ask who serves this session";
    let first = pid(session).await.context(context)?;
    let mut other = connect::visit(url, None).await?.session;
    let mut begun = other.begin().await.context(context)?;
    let lent = pid(&mut begun).await.context(context)?;
    let is_shared = lent == first || {
        // The other one still has its own, so this one must have kept what it had.
        let again = tokio::time::timeout(PATIENCE, pid(session)).await;
        !matches!(again, Ok(Ok(again)) if again == first)
    };
    begun.rollback().await.context(context)?;
    other.close().await.context(context)?;
    if !is_shared {
        return Ok(());
    }
    Err(lends(url).into())
}

async fn pid(session: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_backend_pid()")
        .persistent(false)
        .fetch_one(session)
        .await
}

fn refusal(what: &str, instead: &str) -> Failure {
    Failure::refused(format!(
        "{what}: a lock or a snapshot would not outlive a statement; nothing was changed"
    ))
    .hint(format!(
        "{instead}; if it is none, or all of it is yours: XTASK_DB_THROUGH_POOLER=true"
    ))
}
