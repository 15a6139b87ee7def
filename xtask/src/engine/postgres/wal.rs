//! Where in the server's log a dump stands, for recovery to a point in time: by its own means, from
//! a base backup and archived log, which are not ours.

use anyhow::{Context, Result};
use sqlx::{Executor, PgConnection};

use super::connect;
use crate::values::database_url::PostgresUrl;
use crate::values::manifest::{Manifest, RestorePoint, Wal};

/// Beside the snapshot's own transaction, which an error must not end: some managed servers do not
/// know these functions, and a standby refuses them. All that the dump holds was written before it.
pub async fn position(session: &mut PgConnection) -> Result<Option<Wal>> {
    let context = "cannot ask for the position in the log";
    session.execute("SAVEPOINT wal").await.context(context)?;
    let asked: Result<(String, String), _> = sqlx::query_as(
        "SELECT lsn::text, substr(pg_catalog.pg_walfile_name(lsn), 1, 8) \
         FROM pg_catalog.pg_current_wal_insert_lsn() AS lsn",
    )
    .fetch_one(&mut *session)
    .await;
    session
        .execute("ROLLBACK TO SAVEPOINT wal; RELEASE SAVEPOINT wal")
        .await
        .context(context)?;
    let Ok((lsn, timeline)) = asked else {
        return Ok(None);
    };
    let timeline = u32::from_str_radix(&timeline, 16);
    let timeline = timeline.context(context)?;
    Ok(Some(Wal {
        lsn,
        timeline,
        restore_point: None,
    }))
}

/// A second name, after all that others wrote since the backup; where the first one could be written.
/// A server that refuses it now keeps nobody from migrating: what is to be said of it.
pub async fn mark_beginning(url: &PostgresUrl, backup: &Manifest) -> Option<String> {
    let RestorePoint { name, .. } = backup.wal.as_ref()?.restore_point.as_ref()?;
    let second = format!("{name}{BEGINNING}");
    match mark(url, &second).await {
        Some(_) => None,
        None => Some(format!(
            "the server's log could not be given the restore point `{second}`; it has `{name}`"
        )),
    }
}

/// What the name of that one ends with.
const BEGINNING: &str = "_begin";

/// A name in the log, where the log is kept and the role may write one.
pub async fn mark(url: &PostgresUrl, name: &str) -> Option<RestorePoint> {
    let mut session = connect::connect(url).await.ok()?.session;
    let lsn: Option<String> = sqlx::query_scalar(
        "SELECT CASE WHEN current_setting('archive_mode') <> 'off' \
           AND current_setting('wal_level') <> 'minimal' AND NOT pg_catalog.pg_is_in_recovery() \
           AND has_function_privilege('pg_catalog.pg_create_restore_point(text)', 'EXECUTE') \
         THEN pg_catalog.pg_create_restore_point($1)::text END",
    )
    .bind(name)
    .fetch_one(&mut session)
    .await
    .ok()?;
    let name = name.to_owned();
    lsn.map(|lsn| RestorePoint { name, lsn })
}
