//! What belongs to the server and not to one database: roles and tablespaces, without passwords.

use std::io::Read;

use anyhow::{Context, Result};
use xshell::cmd;

use super::dump::Snapshot;
use super::{Postgres, programs};
use crate::tool::{self, Pipes, Running};
use crate::values::failure::Failure;
use crate::values::manifest::Globals;

/// They lie in the manifest, which has a limit of its own. Ten thousand roles take a tenth of it.
const MAX_BYTES: u64 = 8 << 20;

/// Every role may read what is not a password.
pub fn read(postgres: &Postgres, snapshot: &Snapshot) -> Result<Globals> {
    let pg_dumpall = programs::find("pg_dumpall", snapshot.pg_dump.major, 0)?;
    let shell = tool::shell()?;
    let (path, libpq) = (&pg_dumpall.path, &snapshot.libpq);
    let (dbname, database) = (&libpq.dbname, &snapshot.facts.name);
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --globals-only --no-role-passwords --no-password --dbname={dbname}
            --database={database}"
    ));
    let mut running = Running::start(command, Pipes::Stdout, postgres.interrupt())?;
    let mut sql = Vec::new();
    let stdout = running.take_stdout()?;
    let read = stdout.take(MAX_BYTES + 1).read_to_end(&mut sql);
    let context = "cannot dump the roles and tablespaces";
    if sql.len() as u64 > MAX_BYTES {
        return Err(Failure::refused(format!(
            "the roles and tablespaces take more than {} MiB",
            MAX_BYTES >> 20
        ))
        .hint("dump them beside the vault: pg_dumpall --globals-only --no-role-passwords")
        .into());
    }
    running.wait().context(context)?;
    read.context(context)?;
    let sql = String::from_utf8(sql).context(context)?;
    anyhow::ensure!(
        sql.contains(COMPLETE),
        "`pg_dumpall` ended before its dump was complete"
    );
    Ok(Globals {
        tool: pg_dumpall.version,
        sql: Some(sql),
    })
}

const COMPLETE: &str = "\n-- PostgreSQL database cluster dump complete\n";
