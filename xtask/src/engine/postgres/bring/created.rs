//! The database that tables of a backup come into, where it was not there.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor};

use crate::engine::postgres::connect::quoted;
use crate::engine::postgres::{Postgres, place, properties, rebuild, target};
use crate::values::verified_dump::VerifiedDump;

/// Its name, when it was not there. A signal waits: nobody would know of what it cuts short.
pub fn create_if_missing(postgres: &Postgres, dump: &VerifiedDump) -> Result<Option<String>> {
    postgres.interrupt().check()?;
    postgres.runtime.block_on_to_the_end(async {
        let mut target = target::target(&postgres.url).await?;
        if target.now.is_some() {
            return Ok(None);
        }
        let maintenance = &mut target.maintenance;
        let mut wanted = rebuild::properties_of(dump)?;
        wanted.owner.clone_from(&maintenance.user);
        let major = maintenance.server_major;
        let sql = properties::create_statement(&target.database, &wanted, major);
        let session = &mut maintenance.session;
        session
            .execute("SET default_transaction_read_only = off")
            .await?;
        let created = session.execute(AssertSqlSafe(sql)).await;
        created.with_context(|| format!("cannot create the database `{}`", target.database))?;
        Ok(Some(target.database))
    })
}

/// Somebody may have moved in since: what is not empty stays, and so does one that somebody is in,
/// for it is dropped without the force that ends sessions.
pub fn drop_if_empty(postgres: &Postgres, name: &str) -> Result<()> {
    postgres.runtime.block_on_to_the_end(async {
        if let Some(found) = place::holds(&postgres.url, &[]).await? {
            anyhow::bail!("it holds `{found}` by now");
        }
        let mut target = target::target(&postgres.url).await?;
        let sql = format!("DROP DATABASE {}", quoted(name));
        let dropped = target.maintenance.session.execute(AssertSqlSafe(sql)).await;
        dropped.context("it cannot be dropped").map(drop)
    })
}
