//! Runs migrations on PostgreSQL, as `sqlx migrate run` would.

use anyhow::{Context, Result};
use sqlx::{Connection, Executor, PgConnection, Transaction};

use super::connect::{self, SessionId};
use super::scratch::{shared, touched};
use super::{Postgres, exclusive, lock, survey, target};
use crate::engine::migrate::failed;
use crate::values::failure::Failure;
use crate::values::plan::{Migration, MigrationRan};
use crate::values::platform::Platform;
use crate::values::survey::Rehearsed;

/// How long a migration waits for a table that somebody uses, when nobody has
/// set `lock_timeout`: meanwhile all others who want that table queue behind it.
const LOCK_WAIT: &str = "60s";

struct Session {
    session: PgConnection,
    id: SessionId,
    /// Somebody has said how long to wait for a lock: the user for this run, or
    /// an administrator for the role, the database or the server.
    limits_lock_waits: bool,
}

pub fn migrate(
    postgres: &mut Postgres,
    pending: &[Migration],
    ran: &mut dyn FnMut(MigrationRan),
) -> Result<()> {
    lock::require(&postgres.runtime, lock::session(&mut postgres.lock))?;
    let postgres = &*postgres;
    // A session as the application gets it: its limits and settings apply to migrations.
    let mut to = postgres.runtime.block_on(open(postgres, None))?;
    let done = run(postgres, &mut to, pending, ran);
    if done.is_err() {
        // The server goes on with a statement whose client went away, and a COMMIT
        // whose answer was lost may still be on its way: what the history says
        // afterwards is the truth only when the session is gone. When even that
        // cannot be asked, the history will say so; there is nothing better to do.
        let _ = postgres
            .runtime
            .block_on_to_the_end(end_session(postgres, to.id));
    } else {
        // The migrations are committed or rolled back; a close that fails changes neither.
        let _ = postgres
            .runtime
            .block_on(async { Ok(to.session.close().await?) });
    }
    done.map_err(|error| name_holders(postgres, error))
}

/// An index that is built beside the writers waits for them in a lock, and
/// giving that up leaves a broken index: what runs without a transaction waits
/// as long as it takes, the rest a bounded time.
fn run(
    postgres: &Postgres,
    to: &mut Session,
    pending: &[Migration],
    ran: &mut dyn FnMut(MigrationRan),
) -> Result<()> {
    let mut some_ran = false;
    for some in pending.chunk_by(|one, next| one.no_tx == next.no_tx) {
        if !to.limits_lock_waits {
            let patience = if some[0].no_tx { "0" } else { LOCK_WAIT };
            let limit = limit_lock_waits(&mut to.session, patience);
            postgres.runtime.block_on(limit).map_err(|error| {
                if some_ran {
                    error.context(Failure::after_change("the next migration was not begun"))
                } else {
                    error
                }
            })?;
        }
        let session = &mut to.session;
        let work = crate::engine::migrate::run(session, &postgres.bookkeeping, some, ran);
        postgres.runtime.block_on(work)?;
        some_ran = true;
    }
    Ok(())
}

/// One migration on a scratch database, with what it locked and wrote anew. A migration that
/// commits by itself would end a transaction of ours, and gets none; so does one that fails with
/// it, for there are statements that run in a transaction and not behind a savepoint. What is to
/// be watched never runs without one for that.
pub fn rehearse(
    postgres: &Postgres,
    scratch: (&str, bool),
    platform: Option<&Platform>,
    migration: &Migration,
    commits_itself: bool,
) -> Result<Rehearsed> {
    let one = std::slice::from_ref(migration);
    postgres.runtime.block_on(async {
        let mut ran = None;
        let mut hear = |migration| ran = Some(migration);
        let mut to = open(postgres, Some(scratch.0)).await?;
        if !to.limits_lock_waits {
            limit_lock_waits(&mut to.session, LOCK_WAIT).await?;
        }
        let session = &mut to.session;
        let before = survey::files(session).await?;
        let theirs = match platform {
            Some(platform) => Some((touched::read(session, platform).await?, platform)),
            None => None,
        };
        let mut locks = None;
        if !(migration.no_tx || commits_itself) {
            locks = in_ours(postgres, session, scratch, &before, migration, &mut hear).await?;
        }
        if locks.is_none() {
            let (name, is_watched) = scratch;
            let shared = match is_watched {
                true => Some(shared::read(session, name).await?),
                false => None,
            };
            let bookkeeping = &postgres.bookkeeping;
            crate::engine::migrate::run(session, bookkeeping, one, &mut hear).await?;
            if let Some(shared) = shared {
                let sql = migration.sql.as_str();
                let left = shared.left_by(session, name, sql).await?;
                if !left.is_empty() {
                    return Err(shared::left_behind(migration.version, &left).into());
                }
            }
        }
        let rewritten = before.rewritten(&survey::files(session).await?);
        let touched = match theirs {
            Some((then, platform)) => {
                then.touched(&touched::read(session, platform).await?, platform)
            }
            None => Vec::new(),
        };
        to.session.close().await?;
        let ran = ran.context("the migration did not report that it ran")?;
        Ok(Rehearsed {
            version: ran.version,
            description: ran.description,
            duration_ms: ran.duration_ms,
            locks: locks.unwrap_or_default(),
            rewritten,
            rewritten_by: Vec::new(),
            touched,
        })
    })
}

/// How a transaction of ours begins: behind a savepoint `SET TRANSACTION` may only say what is so.
const BEGINS: [&str; 4] = [
    "BEGIN",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "BEGIN ISOLATION LEVEL READ COMMITTED",
];
/// What PostgreSQL says where a transaction, or a savepoint, is in the way.
const IN_A_TRANSACTION: &str = "25001";

/// Inside of a transaction of ours sqlx's own becomes a savepoint, and the locks can still be
/// seen when it has ended; and what it did to others than the scratch database can be taken
/// back, which is watched where that is asked. `None` when it did not get to its end in it.
async fn in_ours(
    postgres: &Postgres,
    session: &mut PgConnection,
    scratch: (&str, bool),
    before: &survey::Files,
    migration: &Migration,
    hear: &mut dyn FnMut(MigrationRan),
) -> Result<Option<Vec<String>>> {
    let mut first = None;
    for begin in BEGINS {
        let ours = session.begin_with(begin).await?;
        match within(postgres, ours, scratch, before, migration, hear).await? {
            Ok(held) => return Ok(Some(held)),
            Err(error) => {
                let is_in_the_way = has_code(&error, IN_A_TRANSACTION);
                first.get_or_insert(error);
                if !is_in_the_way {
                    break;
                }
            }
        }
    }
    let (_, is_watched) = scratch;
    match first.filter(|_| is_watched) {
        None => Ok(None),
        Some(error) if has_code(&error, IN_A_TRANSACTION) => {
            Err(error.context(shared::unwatched(migration.version)))
        }
        Some(error) => Err(error),
    }
}

/// The second result is the migration's own.
async fn within(
    postgres: &Postgres,
    mut ours: Transaction<'_, sqlx::Postgres>,
    (scratch, is_watched): (&str, bool),
    before: &survey::Files,
    migration: &Migration,
    hear: &mut dyn FnMut(MigrationRan),
) -> Result<Result<Vec<String>>> {
    let one = std::slice::from_ref(migration);
    let shared = match is_watched {
        true => Some(shared::read(&mut ours, scratch).await?),
        false => None,
    };
    let mut done = crate::engine::migrate::run(&mut *ours, &postgres.bookkeeping, one, hear).await;
    if done.is_ok() {
        // As the COMMIT would: what was put off may do what is watched.
        let settled = ours.execute("SET CONSTRAINTS ALL IMMEDIATE").await;
        done = settled.map(drop).map_err(|error| failed(migration, error));
    }
    if let Err(error) = done {
        ours.rollback().await?;
        return Ok(Err(error));
    }
    let held = survey::locks(&mut ours, before).await?;
    if let Some(shared) = shared {
        let changed = shared.changed_by(&mut ours, postgres, scratch).await?;
        if !changed.is_empty() {
            ours.rollback().await?;
            return Err(shared::refusal(migration.version, &changed).into());
        }
    }
    let committed = ours.commit().await.map(|()| held);
    Ok(committed.map_err(|error| failed(migration, error)))
}

async fn limit_lock_waits(session: &mut PgConnection, patience: &str) -> Result<()> {
    sqlx::query("SELECT set_config('lock_timeout', $1, false)")
        .bind(patience)
        .execute(session)
        .await
        .context("cannot limit how long a migration waits for a lock")?;
    Ok(())
}

/// Whether this is what the server said.
fn has_code(error: &anyhow::Error, code: &str) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(|error: &sqlx::Error| {
        let said = error.as_database_error().and_then(|error| error.code());
        said.is_some_and(|said| said == code)
    })
}

/// Who may have held the lock that a migration waited for in vain.
fn name_holders(postgres: &Postgres, error: anyhow::Error) -> anyhow::Error {
    if !has_code(&error, "55P03") {
        return error;
    }
    let asked = postgres.runtime.block_on_to_the_end(async {
        let mut connected = connect::connect(&postgres.url).await?;
        target::sessions(&mut connected.session, &connected.database).await
    });
    let who = match asked {
        Ok(sessions) if sessions.is_empty() => "a session that has just ended".to_owned(),
        Ok(sessions) => sessions.join("; "),
        Err(error) => format!("who that is cannot be asked ({error})"),
    };
    error.context(Failure::after_change(format!(
        "another session holds a lock and did not let go of it in time: {who}"
    )))
}

/// In the live database, or in another one of the server.
async fn open(postgres: &Postgres, database: Option<&str>) -> Result<Session> {
    let mut session = connect::connect_to(&postgres.url, database).await?.session;
    sqlx::query("RESET ALL")
        .execute(&mut session)
        .await
        .context("cannot reset the session")?;
    if let (Some(before), None) = (&postgres.shut, database) {
        exclusive::exempt(&mut session, before).await?;
    }
    let limits_lock_waits = sqlx::query_scalar(
        "SELECT source <> 'default' FROM pg_settings WHERE name = 'lock_timeout'",
    )
    .fetch_one(&mut session)
    .await
    .context("cannot ask how long a migration may wait for a lock")?;
    Ok(Session {
        id: connect::id_of(&mut session).await?,
        session,
        limits_lock_waits,
    })
}

async fn end_session(postgres: &Postgres, id: SessionId) -> Result<()> {
    let mut other = connect::connect_patiently(&postgres.url, None).await?;
    connect::end_session(&mut other.session, id).await
}
