//! What `pg_dump` says that tables are, for a session of ours to make them.

use std::io::Read;

use anyhow::{Context, Result};
use xshell::cmd;

use super::carve::Carved;
use super::connect::Libpq;
use super::programs;
use super::replay::{KNOWS_TRANSACTION_TIMEOUT, TRANSACTION_TIMEOUT};
use super::scratch::PostgresScratch;
use crate::engine::TablesOrder;
use crate::tool::{self, Pipes, Running};

/// How `pg_dump` would make the tables, without their rows.
pub fn described(
    scratch: &PostgresScratch,
    carved: &Carved,
    section: &str,
    order: &TablesOrder,
) -> Result<String> {
    let maintenance = &scratch.target.maintenance;
    let pg_dump = programs::find("pg_dump", maintenance.server_major, 0)?;
    let (url, options) = (&scratch.postgres.url, &maintenance.options);
    let libpq = Libpq::new(url, options, &scratch.name, &[], order.scratch.staging)?;
    let shell = tool::shell()?;
    let (path, dbname) = (&pg_dump.path, &libpq.dbname);
    let schemas = carved.gathered.iter();
    let schemas: Vec<String> = schemas.map(|g| format!("--schema={}", g.name)).collect();
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --format=plain --section={section} --encoding=UTF8 --no-owner --no-privileges
            --no-tablespaces --no-security-labels --no-publications --no-subscriptions
            --no-password --dbname={dbname} {schemas...}"
    ));
    let mut running = Running::start(command, Pipes::Stdout, scratch.postgres.interrupt())?;
    let mut text = String::new();
    let read = running.take_stdout()?.read_to_string(&mut text);
    running
        .wait()
        .context("`pg_dump` cannot describe the tables")?;
    read.context("cannot read what `pg_dump` wrote")?;
    Ok(text)
}

/// Without what is meant for `psql`, and what this server does not know. That
/// comes before the first entry; only the end of a restriction comes last.
pub fn adapted(script: &str, server_major: u32) -> String {
    let mut adapted = String::with_capacity(script.len());
    let mut ending = None;
    let mut is_beginning = true;
    for line in script.split_inclusive('\n') {
        is_beginning &= !line.starts_with("-- Name: ");
        let text = line.trim_end();
        if is_beginning {
            if let Some(key) = text.strip_prefix("\\restrict ") {
                ending = Some(format!("\\unrestrict {key}"));
                continue;
            }
            if server_major < KNOWS_TRANSACTION_TIMEOUT && text == TRANSACTION_TIMEOUT {
                continue;
            }
        }
        if ending.as_deref() != Some(text) {
            adapted.push_str(line);
        }
    }
    adapted
}
