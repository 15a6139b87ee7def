//! The platform's part of a database, where a backup that does without it is built: empty, as far as
//! the role may see what it looks like.

use std::io::Read;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use xshell::cmd;

use super::PostgresScratch;
use crate::durable;
use crate::engine::postgres::connect::{self, Libpq, quoted};
use crate::engine::postgres::dump::LOCK_WAIT;
use crate::engine::postgres::{Postgres, programs};
use crate::engine::{ScratchOrder, postgres::platform};
use crate::tool::{self, Pipes, Running};
use crate::values::failure::Failure;
use crate::values::kind::ForeignKey;
use crate::values::platform::{Attached, Platform};
use crate::values::verified_dump::VerifiedDump;
use crate::values::words::on_one_line;

/// What the live database says of the platform's part, as a script that goes on after an error: what
/// cannot be made is missed by what needs it, and that says so.
pub fn script(live: &Postgres, platform: &Platform, order: &ScratchOrder) -> Result<String> {
    let of_extensions = platform
        .extensions
        .iter()
        .map(|extension| &extension.schema);
    let schemas = platform.schemas.iter().chain(of_extensions);
    let schemas = schemas.map(|name| format!("CREATE SCHEMA IF NOT EXISTS {};\n", quoted(name)));
    let extensions = platform.extensions.iter().map(|extension| {
        let (name, schema) = (quoted(&extension.name), quoted(&extension.schema));
        format!("CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA {schema};\n")
    });
    let described = described(live, platform, order).with_context(|| {
        format!(
            "what {}'s schemas look like, which the backup refers to, cannot be asked of the live database",
            platform.profile
        )
    })?;
    let made: String = schemas.chain(extensions).collect();
    Ok(format!("\\set ON_ERROR_STOP 0\n{made}{described}"))
}

/// What it was built on, for one who reads that something is missing.
pub fn explain(dump: &VerifiedDump, error: anyhow::Error) -> anyhow::Error {
    let Some(platform) = &dump.manifest().platform else {
        return error;
    };
    let extensions = platform.extensions.iter().map(|e| e.name.as_str());
    let extensions: Vec<&str> = extensions.collect();
    let extensions = match extensions.as_slice() {
        [] => String::new(),
        some => format!(
            "; the extensions {}, as far as the role can",
            some.join(", ")
        ),
    };
    error.context(format!(
        "what is {}'s ({}{extensions}) was made as the live database describes it, without rows",
        platform.profile,
        platform.schemas.join(", ")
    ))
}

/// By `pg_dump`, without tables that the role may not read: it would lock them.
fn described(live: &Postgres, platform: &Platform, order: &ScratchOrder) -> Result<String> {
    let (connected, there, unreadable) = live.runtime.block_on(async {
        let mut connected = connect::connect(&live.url).await?;
        let there = platform::there(&mut connected.session, &platform.schemas).await?;
        let unreadable: Vec<(String, String)> = sqlx::query_as(UNREADABLE)
            .bind(&there)
            .fetch_all(&mut connected.session)
            .await?;
        anyhow::Ok((connected, there, unreadable))
    })?;
    if there.is_empty() {
        return Ok(String::new());
    }
    // The scratch database may be on another server, with a password of its own.
    let staging = order.staging.join("live");
    durable::create_private_folder(&staging).context("cannot create a folder")?;
    let settings = ["statement_timeout=0"];
    let (options, database) = (&connected.options, &connected.database);
    let libpq = Libpq::new(&live.url, options, database, &settings, &staging)?;
    let pg_dump = programs::find("pg_dump", connected.server_major, 0)?;
    let shell = tool::shell()?;
    let (path, dbname) = (&pg_dump.path, &libpq.dbname);
    let wanted = there
        .iter()
        .map(|name| format!("--schema={}", quoted(name)));
    let not = unreadable.iter();
    let not =
        not.map(|(schema, name)| format!("--exclude-table={}.{}", quoted(schema), quoted(name)));
    let chosen: Vec<String> = wanted.chain(not).collect();
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --format=plain --schema-only --encoding=UTF8 --no-owner --no-privileges
            --no-tablespaces --no-security-labels --no-publications --no-subscriptions
            --no-password --lock-wait-timeout={LOCK_WAIT} --dbname={dbname} {chosen...}"
    ));
    let mut running = Running::start(command, Pipes::Stdout, live.interrupt())?;
    let mut text = String::new();
    let read = running.take_stdout()?.read_to_string(&mut text);
    running.wait()?;
    read.context("cannot read what `pg_dump` wrote")?;
    Ok(text)
}

const UNREADABLE: &str = "\
SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
WHERE n.nspname::text = ANY($1) AND c.relkind IN ('r', 'p') \
  AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))";

/// The role could not make them, and what needs them will fail.
async fn missing_extensions(
    session: &mut PgConnection,
    platform: &Platform,
) -> Result<Vec<String>> {
    let names = platform.extensions.iter().map(|e| e.name.clone());
    sqlx::query_scalar(
        "SELECT name FROM unnest($1::text[]) AS name WHERE name NOT IN \
           (SELECT extname::text FROM pg_catalog.pg_extension)",
    )
    .bind(names.collect::<Vec<_>>())
    .fetch_all(session)
    .await
    .context("cannot list the extensions of the scratch database")
}

/// A key that the migration wants to change is a condition here.
pub fn explain_key(platform: Option<&Platform>, error: anyhow::Error) -> anyhow::Error {
    let mut keys = platform
        .into_iter()
        .flat_map(|platform| &platform.foreign_keys);
    let said = error.root_cause().to_string();
    let is_it = |key: &&ForeignKey| {
        said.contains("is not a foreign key constraint")
            && said.contains(&format!("\"{}\"", key.name))
    };
    let Some(key) = keys.find(is_it) else {
        return error;
    };
    let what = format!(
        "the rehearsal has no rows of `{}`, and so a condition in place of the foreign key `{}`: it \
         can be dropped there, and not changed; nothing was changed",
        key.refers_to, key.name
    );
    error.context(Failure::refused(what).hint(
        "drop the key and add it again, `NOT VALID`, in the migration; or go without this proof: \
         cargo xtask db migrate-safe --no-rehearse",
    ))
}

impl PostgresScratch {
    /// What hangs on the platform's part, once the backup is there and was compared: what a user put
    /// on its tables, and, under the names of foreign keys to them, conditions that always hold, so
    /// that a migration finds what it wants to drop.
    pub fn hang_on(&mut self, platform: &Platform) -> Result<()> {
        let Some(guard) = &mut self.guard else {
            return Ok(());
        };
        let keys = platform.foreign_keys.iter().map(|key| {
            let (schema, table) = (quoted(&key.schema), quoted(&key.table));
            let name = quoted(&key.name);
            let sql = format!(
                "ALTER TABLE {schema}.{table} ADD CONSTRAINT {name} CHECK (true) NOT VALID"
            );
            (
                format!("the foreign key {} of {}", key.name, key.table),
                sql,
            )
        });
        let attached = platform.triggers.iter().chain(&platform.policies);
        let attached = attached.map(|attached: &Attached| {
            let state = attached.state.as_deref().unwrap_or_default();
            (
                attached.to_string(),
                format!("{}; {state}", attached.definition),
            )
        });
        let all: Vec<(String, String)> = keys.chain(attached).collect();
        let warnings = self.postgres.runtime.block_on(async {
            // The role or the server may be read-only by default.
            guard
                .execute("SET default_transaction_read_only = off")
                .await?;
            let missing = missing_extensions(guard, platform).await?;
            let line = |name| format!("the extension {name} is not in the scratch database");
            let mut warnings: Vec<String> = missing.iter().map(line).collect();
            for (what, sql) in all {
                if let Err(error) = guard.execute(AssertSqlSafe(sql)).await {
                    let what = on_one_line(&what);
                    warnings.push(format!("{what} is not in the scratch database ({error})"));
                }
            }
            anyhow::Ok(warnings)
        })?;
        self.warnings.extend(warnings);
        Ok(())
    }
}
