//! Two ways to restore. Both build first and change the name's meaning last;
//! neither merges.

use std::path::Path;

use anyhow::{Context, Result};

use super::target::{self, Target};
use super::{Postgres, in_place, programs, rebuild};
use crate::engine::{RestoreWay, Restored};
use crate::tool;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

pub fn prepare(postgres: &Postgres, dump: &VerifiedDump) -> Result<RestoreWay> {
    postgres.runtime.block_on(async {
        let mut target = target::target(&postgres.url).await?;
        let major = target.maintenance.server_major;
        programs::find_pg_restore(dump, major)?;
        if !target.can_rebuild {
            programs::find("psql", major, 0)?;
        }
        refuse_prepared_transactions(&mut target).await?;
        let sessions = target::sessions(&mut target.maintenance.session, &target.database).await?;
        let database = &target.database;
        let description = match (&target.now, target.can_rebuild) {
            (None, true) => format!("built beside, compared, then named `{database}`"),
            (Some(_), true) => format!(
                "built beside, compared, then swapped in by name; the present `{database}` is kept"
            ),
            (Some(_), false) => "in one transaction that first drops what you own there: \
                                 the role may not create databases"
                .into(),
            (None, false) => {
                return Err(Failure::refused(format!(
                    "the database `{database}` does not exist, and the role may not create it"
                ))
                .hint(format!(
                    "create it as an administrator: `createdb {database}`"
                ))
                .into());
            }
        };
        let mut warnings = Vec::new();
        let then = &dump.manifest().database.server_version;
        if tool::major_of(then) != Some(major) {
            let now = &target.maintenance.server_version;
            warnings.push(format!(
                "the backup was taken on PostgreSQL {then}, this is {now}"
            ));
        }
        Ok(RestoreWay {
            description,
            sessions,
            warnings,
        })
    })
}

pub fn restore(
    postgres: &mut Postgres,
    dump: &VerifiedDump,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let target = postgres.runtime.block_on(target::target(&postgres.url))?;
    if target.can_rebuild {
        rebuild::restore(postgres, target, dump, staging, progress)
    } else {
        in_place::restore(postgres, target, dump, staging, progress)
    }
}

async fn refuse_prepared_transactions(target: &mut Target) -> Result<()> {
    let prepared: Vec<String> =
        sqlx::query_scalar("SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY 1")
            .bind(&target.database)
            .fetch_all(&mut target.maintenance.session)
            .await
            .context("cannot ask for prepared transactions")?;
    if prepared.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "database `{}` has prepared transactions, which no restore can end: {}",
        target.database,
        prepared.join(", ")
    ))
    .hint("COMMIT PREPARED or ROLLBACK PREPARED each of them, then run the command again")
    .into())
}
