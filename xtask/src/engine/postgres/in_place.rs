//! Restore without the right to create databases: one transaction that drops
//! what the role owns, puts the backup's objects there, compares, and commits.

use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::{Connection, Executor, PgConnection};

use super::connect::{self, Libpq};
use super::folder::Input;
use super::replay::{self, Answers, Names, Replay};
use super::target::{self, Target};
use super::toc::Toc;
use super::{Postgres, fill, inspect, lock, platform, programs, script};
use crate::engine::Restored;
use crate::engine::pump::refuse_unreadable;
use crate::tool::Program;
use crate::values::failure::{Failure, is_after_change};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// A lock that another session never lets go of must not hold up a rollback at 3 a.m.
/// Notices would bury the line that says why it stopped.
const SETTINGS: [&str; 4] = [
    "default_transaction_read_only=off",
    "lock_timeout=15s",
    "statement_timeout=0",
    "client_min_messages=error",
];

pub fn restore(
    postgres: &mut Postgres,
    target: Target,
    toc: &Toc,
    input: &Input,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let major = target.maintenance.server_major;
    let pg_restore = programs::find_pg_restore(input.dump, major)?;
    let psql = replay::find_psql(major, &pg_restore)?;
    let list = toc.write_list(postgres, staging)?;
    let (options, database) = (&target.maintenance.options, &target.database);
    let mut lock = postgres.lock.take().map(|held| held.session);
    let attempt = Attempt {
        replay: Replay {
            postgres,
            pg_restore: &pg_restore,
            input,
            list: Some(&list),
            in_our_transaction: true,
            server_major: major,
        },
        toc,
        psql,
        libpq: Libpq::new(&postgres.url, options, database, &SETTINGS, staging)?,
        database,
    };
    let mut warnings = match attempt.run(Names::Hidden, lock.as_mut(), progress) {
        // Rolled back; see `fill.rs` for what a second try can mend.
        Err(error) if fill::may_lack_names(&error) => {
            attempt.run(Names::InReach, lock.as_mut(), progress)?
        }
        ended => ended?,
    };
    if let Err(error) = postgres.runtime.block_on(analyze(postgres)) {
        warnings.push(format!(
            "no statistics were gathered ({error}); run ANALYZE"
        ));
    }
    Ok(Restored {
        kept: None,
        warnings,
    })
}

/// One transaction, from its BEGIN to the answer to its COMMIT.
struct Attempt<'a> {
    replay: Replay<'a>,
    toc: &'a Toc,
    psql: Program,
    libpq: Libpq,
    database: &'a str,
}

impl Attempt<'_> {
    fn run(
        &self,
        names: Names,
        lock: Option<&mut PgConnection>,
        progress: &dyn Progress,
    ) -> Result<Vec<String>> {
        let (postgres, dump) = (self.replay.postgres, self.replay.input.dump);
        let ended = end_sessions(postgres, self.database);
        postgres.runtime.block_on(ended)?;
        let mut psql = replay::start_psql(postgres, &self.psql, &self.libpq)?;
        let mut script = psql.take_stdin()?;
        let answers = Answers::read(psql.take_stdout()?);

        progress.begin("restore", Some(dump.manifest().dump.raw_size_bytes));
        let written = self.write(names, &answers, &mut script, progress);
        progress.end();
        // Without its COMMIT the transaction is rolled back when the input ends.
        let done = written.and_then(|number| {
            lock::require(&postgres.runtime, lock)?;
            script.write_all(b"COMMIT;\n").context("cannot commit")?;
            Ok(number)
        });
        drop(script);
        let said = psql
            .wait()
            .context("the restore was rolled back; the database is as it was")
            .map_err(|error| explain(postgres, dump, self.database, error));
        conclude(postgres, refuse_unreadable(done)?, said)?;
        Ok(answers.warnings())
    }

    /// All but the COMMIT. The number of the transaction is known before
    /// anything is committed: whatever happens after, the server can be asked.
    fn write(
        &self,
        names: Names,
        answers: &Answers,
        script: &mut ChildStdin,
        progress: &dyn Progress,
    ) -> Result<i64> {
        script::write_beginning(script)?;
        let number = answers.first()?;
        let number = number.parse().context("`psql` does not answer")?;
        let (dump, theirs) = (self.replay.input.dump, &self.replay.postgres.left_out);
        script::write_drops(self.toc, dump, theirs, script)?;
        self.replay.write(names, script, progress)?;
        script
            .write_all(script::attach_statements(dump, self.replay.server_major).as_bytes())
            .and_then(|()| script.write_all(script::compare_statement(dump).as_bytes()))
            .context("cannot compare the restore")?;
        Ok(number)
    }
}

/// The truth is the server's, also when a signal came or the connection was
/// lost while it committed. Why it did not commit, psql knows best; that we
/// could not write any more says nothing.
fn conclude(postgres: &Postgres, done: Result<i64>, said: Result<()>) -> Result<()> {
    let error = match done {
        Ok(number) => {
            let asked = require_committed(postgres, number);
            match postgres.runtime.block_on_to_the_end(asked) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            }
        }
        Err(error) => error.context("the restore was rolled back; the database is as it was"),
    };
    if is_after_change(&error) {
        return Err(error);
    }
    postgres.interrupt().check()?;
    said?;
    Err(error)
}

/// Asks the server, and not the exit code of a program, whether it is done.
pub async fn require_committed(postgres: &Postgres, number: i64) -> Result<()> {
    match is_committed(postgres, number).await? {
        true => Ok(()),
        false => bail!("the restore was rolled back; the database is as it was"),
    }
}

/// What became of a transaction whose COMMIT was sent. An error when nobody says.
pub async fn is_committed(postgres: &Postgres, number: i64) -> Result<bool> {
    let unknown = || {
        Failure::after_change("whether it was committed cannot be asked")
            .hint("look at the database: cargo xtask db status")
    };
    for _ in 0..100 {
        let mut connected = connect::connect_patiently(&postgres.url, None)
            .await
            .with_context(unknown)?;
        let status: Option<String> = sqlx::query_scalar("SELECT txid_status($1)")
            .bind(number)
            .fetch_one(&mut connected.session)
            .await
            .with_context(unknown)?;
        match status.as_deref() {
            Some("committed") => return Ok(true),
            Some("aborted") => return Ok(false),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    Err(unknown().into())
}

/// What was foreseen is a refusal, with a next step: the states of
/// `in_place.sql`, and a lock that somebody did not let go of.
fn explain(
    postgres: &Postgres,
    dump: &VerifiedDump,
    database: &str,
    error: anyhow::Error,
) -> anyhow::Error {
    let said = error.root_cause().to_string();
    if let Some(failure) = platform::explanation(dump, &said) {
        return error.context(failure);
    }
    if said.contains("XD001") {
        return error.context(
            Failure::refused("objects of other roles depend on what this role owns").hint(
                "restore as an administrator (a role with CREATEDB that owns the database), \
                 or let the other role drop them first",
            ),
        );
    }
    if said.contains("XD002") {
        return error.context(
            Failure::untrusted("the restored database is not what the manifest says")
                .hint("the database was left as it was; `cargo xtask db list` shows other backups"),
        );
    }
    if !said.contains("55P03") {
        return lock::explain_shortage(error);
    }
    let sessions = postgres.runtime.block_on_to_the_end(async {
        let mut connected = connect::connect(&postgres.url).await?;
        target::sessions(&mut connected.session, database).await
    });
    let who = sessions.unwrap_or_default().join("; ");
    error.context(
        Failure::refused(format!(
            "another session holds a lock and was not let go of in time: {who}"
        ))
        .hint("end that session, then run the command again"),
    )
}

/// Tables of other roles whose rows are no longer those of the backup: this
/// role can neither empty nor fill them.
pub async fn changed_tables_of_others(
    postgres: &Postgres,
    dump: &VerifiedDump,
) -> Result<Vec<String>> {
    let mut connected = connect::connect(&postgres.url).await?;
    let session = &mut connected.session;
    let theirs: Vec<(String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND NOT pg_has_role(current_user, c.relowner, 'USAGE')",
    )
    .fetch_all(&mut *session)
    .await
    .context("cannot list the tables of other roles")?;
    let then = dump.manifest().contents();
    let in_backup = |schema: &str, name: &str| {
        let mut tables = then.tables.iter();
        tables
            .find(|t| t.schema == schema && t.name == name)
            .map(|t| t.rows)
    };
    let mut tables = inspect::tables(session, &postgres.left_out).await?;
    // A table is counted through its partitions.
    tables.retain(|table| {
        let (schema, name) = table.counts_for();
        let is_theirs = theirs.iter().any(|(s, n)| s == schema && n == name);
        is_theirs && in_backup(schema, name).is_some()
    });
    let now = inspect::count_rows(session, &tables, false, None).await?;
    let tables = now.iter().filter(|now| now.kind.is_table());
    let changed = tables.filter_map(|now| {
        let then = in_backup(&now.schema, &now.name)?;
        (then != now.rows).then(|| {
            let rows = now.rows;
            format!("table `{now}` of another role has {rows} rows, {then} in the backup")
        })
    });
    Ok(changed.collect())
}

/// The other sessions that this role may end; the rest meet the lock timeout.
async fn end_sessions(postgres: &Postgres, database: &str) -> Result<()> {
    let mut connected = connect::connect(&postgres.url).await?;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = $1 AND usename = current_user AND application_name <> $2 \
           AND pid <> pg_backend_pid()",
    )
    .bind(database)
    .bind(connect::session_name())
    .execute(&mut connected.session)
    .await
    .context("cannot end the other sessions")?;
    connected
        .session
        .close()
        .await
        .context("cannot close the session")
}

async fn analyze(postgres: &Postgres) -> Result<()> {
    let mut connected = connect::connect(&postgres.url).await?;
    connected
        .session
        .execute("ANALYZE")
        .await
        .context("cannot gather statistics")?;
    Ok(())
}
