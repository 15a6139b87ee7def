//! Databases that this tool makes beside the live one: the half-restored and
//! scratch ones of a crash, and those that were replaced and kept.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::connect::{self, Connected, quoted};
use super::target::{self, Target};
use super::{Postgres, kept};
use crate::durable;
use crate::engine::ScratchOrder;
use crate::values::database_url::PostgresUrl;
use crate::values::failure::Failure;

/// PostgreSQL cuts longer names without a word.
const MAX_NAME_BYTES: usize = 63;
pub const TIME_BYTES: usize = 14;

/// The middle of the names of these databases.
pub const RESTORE: &str = "restore";
pub const BEFORE: &str = "before";
pub const SCRATCH: &str = "scratch";

/// From this version on, `DROP DATABASE` can end the sessions that are in it.
const HAS_FORCE: u32 = 13;

/// The comment of a database that is being built. It is how the next run knows
/// that a database was made by this tool and abandoned by a crash.
pub const BEING_BUILT: &str = "xtask-db: being restored; may be dropped when no session uses it";

/// A name such as `shop_restore_20260123143052` that no database has, cut so
/// that its ending is whole. Two restores in one second get two names.
pub async fn free_name(target: &mut Target, purpose: &str) -> Result<String> {
    let taken: Vec<String> = sqlx::query_scalar("SELECT datname::text FROM pg_database")
        .fetch_all(&mut target.maintenance.session)
        .await
        .context("cannot list the databases")?;
    let mut at = Utc::now();
    loop {
        let name = name_beside(&target.database, purpose, at);
        if !taken.contains(&name) {
            return Ok(name);
        }
        at += TimeDelta::seconds(1);
    }
}

fn name_beside(database: &str, purpose: &str, at: DateTime<Utc>) -> String {
    let time = at.format("%Y%m%d%H%M%S");
    format!("{}{time}", before_time(database, purpose))
}

/// `shop_restore_`, from a name that leaves room for the time.
pub fn before_time(database: &str, purpose: &str) -> String {
    let ending = format!("_{purpose}_");
    let mut end = database
        .len()
        .min(MAX_NAME_BYTES - ending.len() - TIME_BYTES);
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &database[..end])
}

/// What a scratch database is called: as the live one on another server, when
/// that name is free there; else a name beside it.
pub async fn scratch_name(target: &mut Target, is_elsewhere: bool) -> Result<String> {
    let is_taken: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&target.database)
            .fetch_one(&mut target.maintenance.session)
            .await
            .context("cannot list the databases")?;
    if is_elsewhere && !is_taken {
        return Ok(target.database.clone());
    }
    free_name(target, SCRATCH).await
}

/// For a person who wonders what these databases are.
pub async fn lines(url: &PostgresUrl) -> Result<Vec<String>> {
    let mut target = target::target(url).await?;
    let found: Vec<(String, String, bool, String)> = sqlx::query_as(
        "SELECT d.datname::text, left(d.datname, -14), \
           d.datconnlimit = -2 OR coalesce(shobj_description(d.oid, 'pg_database') = $4, false), \
           CASE WHEN has_database_privilege(d.oid, 'CONNECT') \
             THEN pg_size_pretty(pg_database_size(d.oid)) ELSE 'unknown' END \
         FROM pg_database d \
         WHERE d.datname ~ '_[0-9]{14}$' \
           AND left(d.datname, -14) IN ($1, $2, $3) ORDER BY 1",
    )
    .bind(before_time(&target.database, RESTORE))
    .bind(before_time(&target.database, BEFORE))
    .bind(before_time(&target.database, SCRATCH))
    .bind(BEING_BUILT)
    .fetch_all(&mut target.maintenance.session)
    .await
    .context("cannot look for databases beside this one")?;
    let kept = kept::names(&mut target).await?;
    let line = |(name, begin, is_marked, size): (String, String, bool, String)| {
        let what = if begin == before_time(&target.database, BEFORE) {
            "named as one that a restore replaced and kept, and not marked as one of this role"
        } else if !is_marked {
            "named as one that a run builds, and not marked as one: nothing drops it, unless it is empty"
        } else if begin == before_time(&target.database, RESTORE) {
            "being restored, or left by a restore that was cut short; the next restore drops it"
        } else {
            "a scratch database in use, or left by a run that was cut short; the next rehearsal \
             or restore drops it"
        };
        format!("`{name}`, {size}: {what}")
    };
    let others = found.into_iter().filter(|(name, ..)| !kept.contains(name));
    Ok(others.map(line).collect())
}

/// A dump that is smaller is restored before anybody wonders about the disk.
const WORTH_A_NOTE_BYTES: u64 = 100 << 20;

/// Refuses when the server's disk has no room for the dump. That can be told when the server is on
/// this machine and the role may know where its files are; else this is said of a large one.
pub async fn require_space(
    target: &mut Target,
    order: &ScratchOrder<'_>,
) -> Result<Option<String>> {
    let needed = order.dump.manifest().dump.raw_size_bytes;
    let folder: Option<String> = match is_here(target).await {
        // Not every role may know.
        true => sqlx::query_scalar("SELECT current_setting('data_directory', true)")
            .fetch_one(&mut target.maintenance.session)
            .await
            .unwrap_or_default(),
        false => None,
    };
    let Some(free) = folder.and_then(|folder| durable::free_bytes(Path::new(&folder)).ok()) else {
        let note =
            "whether the server's disk has room for a scratch database cannot be asked from here";
        return Ok((needed >= WORTH_A_NOTE_BYTES)
            .then(|| format!("{note}; it needs about {} MiB", (needed >> 20) + 1)));
    };
    if free >= needed {
        return Ok(None);
    }
    Err(Failure::refused(format!(
        "the server's disk has {} MiB free, and a scratch database needs about {} MiB",
        free >> 20,
        (needed >> 20) + 1
    ))
    .hint(format!(
        "free some space; or set `SCRATCH_DATABASE_URL` to another server{}",
        order.otherwise
    ))
    .into())
}

/// Whether the server runs on this machine. A name such as `localhost` may lead into a container,
/// whose files are others: then the process that serves this session is not among ours.
async fn is_here(target: &mut Target) -> bool {
    let Connected {
        options, session, ..
    } = &mut target.maintenance;
    if options.get_socket().is_some() {
        return true;
    }
    let name = options.get_host();
    let is_loopback = name
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    if name != "localhost" && !is_loopback {
        return false;
    }
    let asked = sqlx::query_scalar("SELECT pg_backend_pid()");
    let Ok(pid) = asked.fetch_one(session).await else {
        return false;
    };
    let pid: i32 = pid;
    let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let title = String::from_utf8_lossy(&title);
    let words = [
        target.maintenance.user.as_str(),
        &target.maintenance.database,
    ];
    title.starts_with("postgres: ") && words.iter().all(|word| title.contains(word))
}

pub async fn drop_database(
    postgres: &Postgres,
    maintenance: &mut Connected,
    name: &str,
) -> Result<()> {
    let subscriptions = target::subscriptions(&mut maintenance.session, name).await?;
    if !subscriptions.is_empty() {
        drop_subscriptions(postgres, name, &subscriptions).await?;
    }
    // Its settings may be there already, and a template is not dropped.
    let is_template: Option<bool> =
        sqlx::query_scalar("SELECT datistemplate FROM pg_database WHERE datname = $1")
            .bind(name)
            .fetch_optional(&mut maintenance.session)
            .await?;
    if is_template == Some(true) {
        let sql = format!("ALTER DATABASE {} IS_TEMPLATE false", quoted(name));
        maintenance.session.execute(AssertSqlSafe(sql)).await?;
    }
    let force = if maintenance.server_major >= HAS_FORCE {
        " WITH (FORCE)"
    } else {
        ""
    };
    let sql = format!("DROP DATABASE IF EXISTS {}{force}", quoted(name));
    maintenance.session.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

/// They came with the dump, disabled and connected to nothing. The slot is the live database's.
async fn drop_subscriptions(postgres: &Postgres, database: &str, names: &[String]) -> Result<()> {
    let mut connected = connect::connect_to(&postgres.url, Some(database)).await?;
    for name in names {
        let name = quoted(name);
        for what in [
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {name}"),
        ] {
            connected.session.execute(AssertSqlSafe(what)).await?;
        }
    }
    connected.session.close().await?;
    Ok(())
}

/// Drops what a crash left of a restore or a rehearsal of this database: databases that carry
/// our mark and that no run of this tool is in (a `pg_restore` that outlived
/// its run may be), and those that were created and not yet marked: still
/// empty, or invalid (-2), because dropping them was cut short. Returns their names.
pub async fn drop_abandoned(postgres: &Postgres, target: &mut Target) -> Result<Vec<String>> {
    let found: Vec<(String, bool)> = sqlx::query_as(
        "SELECT d.datname::text, c.comment IS NOT NULL OR d.datconnlimit = -2 \
         FROM pg_database d, \
           LATERAL (SELECT shobj_description(d.oid, 'pg_database') AS comment) c \
         WHERE ((d.datname ~ '_[0-9]{14}$' AND left(d.datname, -14) IN ($2, $4) \
               AND (c.comment = $1 OR c.comment IS NULL)) \
             OR (d.datname = $5 AND c.comment = $1)) \
           AND (d.datallowconn OR d.datconnlimit = -2) \
           AND pg_has_role(current_user, d.datdba, 'USAGE') \
           AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid \
             AND (c.comment IS NULL OR NOT $3 OR a.application_name LIKE 'xtask-db %'))",
    )
    .bind(BEING_BUILT)
    .bind(before_time(&target.database, RESTORE))
    .bind(target.maintenance.server_major >= HAS_FORCE)
    .bind(before_time(&target.database, SCRATCH))
    // A scratch database on another server may have the very name.
    .bind(&target.database)
    .fetch_all(&mut target.maintenance.session)
    .await
    .context("cannot look for databases that a crash left")?;
    let mut dropped = Vec::new();
    for (name, is_marked) in found {
        if !is_marked && !is_empty(postgres, &name).await? {
            continue;
        }
        drop_database(postgres, &mut target.maintenance, &name)
            .await
            .with_context(|| format!("cannot drop the database `{name}`, which a crash left"))?;
        dropped.push(name);
    }
    Ok(dropped)
}

async fn is_empty(postgres: &Postgres, database: &str) -> Result<bool> {
    let mut connected = connect::connect_to(&postgres.url, Some(database)).await?;
    let objects: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE oid >= 16384")
        .fetch_one(&mut connected.session)
        .await
        .with_context(|| format!("cannot look into the database `{database}`"))?;
    let closed = connected.session.close().await;
    closed.with_context(|| format!("cannot leave the database `{database}`"))?;
    Ok(objects == 0)
}
