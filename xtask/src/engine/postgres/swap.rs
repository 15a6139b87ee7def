//! Two renames in one transaction: the name always leads to a whole database.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::{Either, select};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::connect::{self, SessionId, quoted};
use super::target::{self, MAY_END, Target};
use super::{kept, properties};
use crate::engine::Kept;
use crate::values::database_url::PostgresUrl;
use crate::values::failure::Failure;
use crate::values::words::shell_quoted;

/// The server waits about five seconds for other sessions before a rename gives up.
const TRIES: u32 = 4;
const POLL: Duration = Duration::from_millis(50);

/// What takes the name of the live database.
pub struct Newcomer<'a> {
    pub name: &'a str,
    /// The comment that it has from then on.
    pub comment: Option<&'a str>,
    /// Our session in one that was built: marked and empty of sessions would mean abandoned.
    pub guard: Option<PgConnection>,
    /// By an earlier swap, and closed to connections since then.
    pub was_kept: bool,
}

/// Gives the newcomer the name of the live database, which becomes `kept`,
/// is marked as such and takes no more connections.
pub async fn swap(
    url: &PostgresUrl,
    target: &mut Target,
    newcomer: Newcomer<'_>,
    kept: Option<&str>,
) -> Result<Option<Kept>> {
    let oid = oid_of(target, newcomer.name).await?;
    let id = connect::id_of(&mut target.maintenance.session).await?;
    let statements = statements(target, &newcomer, kept).await?;
    let comment = properties::comment_statement(newcomer.name, newcomer.comment);
    let mut databases = vec![target.database.clone()];
    if newcomer.was_kept {
        databases.push(newcomer.name.to_owned());
    }
    let (name, mut guard) = (newcomer.name, newcomer.guard);

    let maintenance = target.maintenance.database.clone();
    let mut killer = connect::connect_to(url, Some(&maintenance)).await?.session;
    let mut attempt = 1;
    loop {
        let session = &mut target.maintenance.session;
        let steps = (
            databases.as_slice(),
            comment.as_str(),
            statements.as_slice(),
        );
        match rename(session, &mut killer, steps, &mut guard).await {
            Ok(()) => break,
            // The answer may have been lost, and not the swap.
            Err(error) if !connect::is_answer(&error) => {
                return after_lost_answer(url, target, (oid, id), error)
                    .await
                    .map(|()| kept_as(url, &maintenance, kept));
            }
            Err(error) if is_in_use(&error) && attempt < TRIES => {
                if !newcomer.was_kept {
                    guard = Some(connect::connect_to(url, Some(name)).await?.session);
                }
                attempt += 1;
            }
            Err(error) if is_in_use(&error) => {
                return Err(still_in_use(&mut killer, &databases).await?);
            }
            Err(error) => return Err(error).context("cannot swap the restored database in"),
        }
    }
    // Only the helper session; the swap is committed.
    let _ = killer.close().await;
    Ok(kept_as(url, &maintenance, kept))
}

/// Both renames, and what goes with them.
async fn statements(
    target: &mut Target,
    newcomer: &Newcomer<'_>,
    kept: Option<&str>,
) -> Result<Vec<String>> {
    let (live, beside) = (quoted(&target.database), quoted(newcomer.name));
    let mut statements = Vec::new();
    if let Some(kept) = kept {
        let now = properties::read(&mut target.maintenance, &target.database).await?;
        let comment = now.and_then(|now| now.comment);
        let comment = kept::comment_of(&target.database, comment.as_deref());
        statements.push(format!("ALTER DATABASE {live} RENAME TO {}", quoted(kept)));
        statements.push(format!(
            "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false",
            quoted(kept)
        ));
        statements.push(properties::comment_statement(kept, Some(&comment)));
    }
    statements.push(format!("ALTER DATABASE {beside} RENAME TO {live}"));
    if newcomer.was_kept {
        statements.push(format!("ALTER DATABASE {live} WITH ALLOW_CONNECTIONS true"));
    }
    Ok(statements)
}

/// The answer to a COMMIT did not come. Once the session that sent it is gone,
/// a new one knows whether the name leads to the database that was built; asked
/// earlier, it could say no to a COMMIT that is still being carried out.
async fn after_lost_answer(
    url: &PostgresUrl,
    target: &mut Target,
    (oid, id): (i64, SessionId),
    error: sqlx::Error,
) -> Result<()> {
    let unknown = || {
        Failure::after_change(format!(
            "whether the restored database took the place of `{}` cannot be asked",
            target.database
        ))
        .hint("look at the database: cargo xtask db status")
    };
    let maintenance = target.maintenance.database.clone();
    let mut anew = connect::connect_patiently(url, Some(&maintenance))
        .await
        .with_context(unknown)?;
    connect::end_session(&mut anew.session, id)
        .await
        .with_context(unknown)?;
    let found: Option<i64> =
        sqlx::query_scalar("SELECT oid::bigint FROM pg_database WHERE datname = $1")
            .bind(&target.database)
            .fetch_optional(&mut anew.session)
            .await
            .with_context(unknown)?;
    target.maintenance = anew;
    if found == Some(oid) {
        return Ok(());
    }
    Err(error).context("cannot swap the restored database in")
}

fn kept_as(url: &PostgresUrl, maintenance: &str, kept: Option<&str>) -> Option<Kept> {
    kept.map(|kept| Kept {
        name: kept.to_owned(),
        remove_command: format!(
            "psql --dbname={} --command={}",
            shell_quoted(&url.without_password(maintenance)),
            shell_quoted(&format!("DROP DATABASE {}", quoted(kept)))
        ),
    })
}

async fn oid_of(target: &mut Target, database: &str) -> Result<i64> {
    sqlx::query_scalar("SELECT oid::bigint FROM pg_database WHERE datname = $1")
        .bind(database)
        .fetch_one(&mut target.maintenance.session)
        .await
        .with_context(|| format!("cannot look for the restored database `{database}`"))
}

/// All in one transaction. The comment comes first: it locks the new database
/// against being dropped, so that our own session in it can end. While the
/// first rename waits for other sessions to end, new ones queue behind its
/// lock, and the killer ends those that were there before: nobody can slip in
/// between.
async fn rename(
    session: &mut PgConnection,
    killer: &mut PgConnection,
    (databases, comment, statements): (&[String], &str, &[String]),
    guard: &mut Option<PgConnection>,
) -> Result<(), sqlx::Error> {
    session.execute("BEGIN").await?;
    let swapped = async {
        session.execute(AssertSqlSafe(comment.to_owned())).await?;
        if let Some(guard) = guard.take() {
            guard.close().await?;
        }
        for sql in statements {
            let renaming = session.execute(AssertSqlSafe(sql.clone()));
            let killing = std::pin::pin!(end_sessions(killer, databases));
            match select(renaming, killing).await {
                Either::Left((renamed, _)) => renamed?,
                Either::Right((failed, _)) => return Err(failed),
            };
        }
        session.execute("COMMIT").await?;
        Ok(())
    }
    .await;
    if swapped.is_err() {
        // On a connection that is gone there is nothing left to roll back.
        let _ = session.execute("ROLLBACK").await;
    }
    swapped
}

/// Ends the other sessions again and again; returns only with an error.
async fn end_sessions(killer: &mut PgConnection, databases: &[String]) -> sqlx::Error {
    loop {
        // A session that we may not end is left to the rename, which then says so.
        let ended = sqlx::query(AssertSqlSafe(format!(
            "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE a.datname = ANY($1) \
             AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL AND {MAY_END}"
        )))
        .bind(databases)
        .execute(&mut *killer)
        .await;
        if let Err(error) = ended {
            return error;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn is_in_use(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == "55006")
}

async fn still_in_use(killer: &mut PgConnection, databases: &[String]) -> Result<anyhow::Error> {
    let mut sessions = Vec::new();
    for database in databases {
        sessions.extend(target::sessions(killer, database).await?);
    }
    Ok(Failure::refused(format!(
        "database `{}` is used by sessions that this role may not end: {}",
        databases.join("` or `"),
        if sessions.is_empty() {
            "none that can be seen".into()
        } else {
            sessions.join("; ")
        }
    ))
    .hint("stop the programs that use the database, then run the command again")
    .into())
}
