//! Restore without the right to create databases: one transaction that drops
//! what the role owns, puts the backup's objects there, compares, and commits.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sqlx::{Connection, Executor};
use xshell::cmd;

use super::connect::{self, Libpq, literal};
use super::target::{self, Target};
use super::toc::Toc;
use super::{Postgres, inspect, programs};
use crate::engine::Restored;
use crate::engine::pump::{pump, refuse_unreadable};
use crate::tool::{self, Pipes, Program, Running};
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

const DROP_OWNED: &str = include_str!("in_place.sql");

/// A lock that another session never lets go of must not hold up a rollback at 3 a.m.
/// Notices would bury the line that says why it stopped.
const SETTINGS: [&str; 4] = [
    "default_transaction_read_only=off",
    "lock_timeout=15s",
    "statement_timeout=0",
    "client_min_messages=error",
];

/// `pg_restore --single-transaction` ends its script with this. It is held
/// back: the transaction is ours to commit, once it was compared.
const COMMIT: &[u8] = b"\nCOMMIT;\n";
/// Before the number of the restore's transaction.
const TRANSACTION: &str = "xtask-db transaction ";

const TAIL_BYTES: usize = 16 * 1024;

pub fn restore(
    postgres: &mut Postgres,
    target: Target,
    toc: &Toc,
    dump: &VerifiedDump,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let major = target.maintenance.server_major;
    let pg_restore = programs::find_pg_restore(dump, major)?;
    let list = toc.write_list(postgres, staging)?;
    postgres
        .runtime
        .block_on(end_sessions(postgres, &target.database))?;

    let options = &target.maintenance.options;
    let libpq = Libpq::new(&postgres.url, options, &target.database, &SETTINGS, staging)?;
    let psql = programs::find("psql", major, 0)?;
    let shell = tool::shell()?;
    let (path, dbname) = (&psql.path, &libpq.dbname);
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --no-psqlrc --quiet --tuples-only --no-align --no-password --set=ON_ERROR_STOP=1 --set=VERBOSITY=verbose
            --dbname={dbname} --file=-"
    ));
    let mut psql = Running::start(command, Pipes::Both, postgres.interrupt())?;
    let mut script = psql.take_stdin()?;
    let mut answers = psql.take_stdout()?;
    let answers = std::thread::spawn(move || {
        let mut text = String::new();
        answers.read_to_string(&mut text).map(|_| text)
    });

    progress.begin("restore", Some(dump.manifest().dump.raw_size_bytes));
    let written = write_preamble(toc, &mut script)
        .and_then(|()| write_script(postgres, &pg_restore, dump, &list, &mut script, progress));
    progress.end();
    // Without its COMMIT the transaction is rolled back when the input ends.
    let done = written.and_then(|()| script.write_all(b"COMMIT;\n").context("cannot commit"));
    drop(script);
    let said = psql
        .wait()
        .context("the restore was rolled back; the database is as it was");
    postgres.interrupt().check()?;
    let done = refuse_unreadable(done)?;
    // psql says why it stopped reading; that we could not write any more says nothing.
    said.map_err(|error| explain(postgres, &target.database, error))?;
    done?;
    let answers = answers
        .join()
        .map_err(|_| Failure::unexpected("the reading thread panicked"))?;
    let answers = answers.context("cannot read what `psql` answered")?;
    postgres
        .runtime
        .block_on_to_the_end(require_committed(postgres, &answers))?;
    let warnings = match postgres.runtime.block_on(analyze(postgres)) {
        Ok(()) => Vec::new(),
        Err(error) => vec![format!(
            "no statistics were gathered ({error}); run ANALYZE"
        )],
    };
    Ok(Restored {
        kept: None,
        warnings,
    })
}

/// Asks the server, and not the exit code of a program, whether it is done.
async fn require_committed(postgres: &Postgres, answers: &str) -> Result<()> {
    let number = answers
        .lines()
        .find_map(|line| line.strip_prefix(TRANSACTION));
    let Some(number) = number.and_then(|number| number.trim().parse::<i64>().ok()) else {
        bail!("`psql` did not run the restore; the database is as it was");
    };
    let unknown = || {
        Failure::after_change("whether the restore was committed cannot be asked")
            .hint("look at the database: cargo xtask db status")
    };
    let mut connected = connect::connect(&postgres.url)
        .await
        .with_context(unknown)?;
    let status: Option<String> = sqlx::query_scalar("SELECT txid_status($1)")
        .bind(number)
        .fetch_one(&mut connected.session)
        .await
        .with_context(unknown)?;
    match status.as_deref() {
        Some("committed") => Ok(()),
        Some("aborted") => bail!("the restore was rolled back; the database is as it was"),
        _ => Err(unknown().into()),
    }
}

/// What was foreseen is a refusal, with a next step: the states of
/// `in_place.sql`, and a lock that somebody did not let go of.
fn explain(postgres: &Postgres, database: &str, error: anyhow::Error) -> anyhow::Error {
    let said = error.root_cause().to_string();
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
        return error;
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

fn write_preamble(toc: &Toc, script: &mut dyn Write) -> Result<()> {
    write!(script, "BEGIN;\n{DROP_OWNED}").context("cannot begin the restore")?;
    if toc.mentions_public() {
        // A dump takes it for granted.
        writeln!(script, "CREATE SCHEMA IF NOT EXISTS public;")
            .context("cannot begin the restore")?;
    }
    Ok(())
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
    let mut tables = inspect::root_tables(session).await?;
    tables.retain(|t| {
        theirs
            .iter()
            .any(|(schema, name)| *schema == t.schema && *name == t.name)
    });
    let now = inspect::count_rows(session, &tables, None).await?;
    let then = dump.manifest().contents();
    let changed = now.iter().filter_map(|now| {
        let then = then
            .tables
            .iter()
            .find(|t| t.schema == now.schema && t.name == now.name)?;
        (then.rows != now.rows).then(|| {
            format!(
                "table `{now}` of another role has {} rows, {} in the backup",
                now.rows, then.rows
            )
        })
    });
    Ok(changed.collect())
}

fn write_script(
    postgres: &Postgres,
    pg_restore: &Program,
    dump: &VerifiedDump,
    list: &Path,
    script: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    let shell = tool::shell()?;
    let path = &pg_restore.path;
    let command = cmd!(
        shell,
        "{path} --single-transaction --exit-on-error --use-list={list} --file=-"
    );
    let mut running = Running::start(
        command.quiet().env("LC_ALL", "C"),
        Pipes::Both,
        postgres.interrupt(),
    )?;
    let (mut stdin, mut stdout) = (running.take_stdin()?, running.take_stdout()?);
    let (fed, tail) = std::thread::scope(|scope| {
        let feeding = scope.spawn(move || -> Result<()> {
            let mut unpacked = dump.unpack().context("cannot read the dump")?;
            pump(&mut unpacked, &mut stdin, progress, postgres.interrupt())?;
            drop(stdin);
            unpacked
                .finish()
                .map_err(|error| Failure::untrusted(error.to_string()).into())
        });
        let tail = pump_all_but_tail(&mut stdout, script);
        drop(stdout);
        (feeding.join(), tail)
    });
    let fed = fed.map_err(|_| Failure::unexpected("the reading thread panicked"))?;
    let fed = refuse_unreadable(fed)?;
    let tail = tail?;
    running.wait().map_err(|error| {
        // It has only the dump to read.
        error.context(Failure::untrusted("`pg_restore` cannot read the dump"))
    })?;
    fed?;
    let Some(at) = tail
        .windows(COMMIT.len())
        .rposition(|window| window == COMMIT)
    else {
        bail!("`pg_restore` wrote a script without a COMMIT at its end");
    };
    script
        .write_all(&tail[..=at])
        .context("cannot end the restore")?;
    let compare = compare_statement(dump);
    write!(
        script,
        "{compare}\nSELECT '{TRANSACTION}' || pg_catalog.txid_current();\n"
    )
    .context("cannot compare the restore")
}

/// Passes everything on but the last bytes, which it returns.
fn pump_all_but_tail(from: &mut dyn Read, to: &mut dyn Write) -> Result<Vec<u8>> {
    let mut held = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from
            .read(&mut buffer)
            .context("cannot read what `pg_restore` wrote")?;
        if read == 0 {
            return Ok(held);
        }
        held.extend_from_slice(&buffer[..read]);
        if held.len() > TAIL_BYTES {
            let ready = held.len() - TAIL_BYTES;
            to.write_all(&held[..ready])
                .context("cannot pass the restore on to `psql`")?;
            held.drain(..ready);
        }
    }
}

/// Raises an exception, inside the transaction, when a table is missing or
/// has other rows than the manifest says.
fn compare_statement(dump: &VerifiedDump) -> String {
    let rows: Vec<String> = dump
        .manifest()
        .tables
        .iter()
        .map(|t| format!("({}, {}, {})", literal(&t.schema), literal(&t.name), t.rows))
        .collect();
    // VALUES needs a row.
    let nothing = (literal(""), literal(""));
    let rows = if rows.is_empty() {
        vec![format!("({}, {}, -1)", nothing.0, nothing.1)]
    } else {
        rows
    };
    let values = rows.join(", ");
    // A name in a manifest may hold anything, also the end of a quotation.
    let mut tag = String::from("$compare$");
    while values.contains(&tag) {
        tag.insert(1, '_');
    }
    let unexpected = format!(
        "SELECT pg_catalog.string_agg(n.nspname || '.' || c.relname, ', ') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
         AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
         AND pg_has_role(current_user, c.relowner, 'USAGE') \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
         WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
         AND NOT EXISTS (SELECT FROM (VALUES {values}) AS v(schema, name, rows) \
         WHERE v.schema = n.nspname AND v.name = c.relname)"
    );
    format!(
        "\nDO {tag}\nDECLARE\n  expected record;\n  counted bigint;\n  kind \"char\";\n  more text;\nBEGIN\n  \
         {unexpected} INTO more;\n  \
         IF more IS NOT NULL THEN RAISE EXCEPTION \
         'after the restore there are tables that are not in the manifest: %', more \
         USING ERRCODE = 'XD002'; END IF;\n  \
         FOR expected IN SELECT * FROM (VALUES {values}) AS v(schema, name, rows) LOOP\n    \
         CONTINUE WHEN expected.rows < 0;\n    \
         SELECT c.relkind INTO kind FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = expected.schema AND c.relname = expected.name;\n    \
         IF NOT FOUND THEN RAISE EXCEPTION 'table %.% is missing after the restore', \
         expected.schema, expected.name USING ERRCODE = 'XD002'; END IF;\n    \
         CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = expected.schema AND c.relname = expected.name \
         AND NOT pg_has_role(current_user, c.relowner, 'USAGE'));\n    \
         EXECUTE format('SELECT count(*) FROM %s %I.%I', \
         CASE WHEN kind = 'p' THEN '' ELSE 'ONLY' END, expected.schema, expected.name) \
         INTO counted;\n    \
         IF counted <> expected.rows THEN RAISE EXCEPTION \
         'table %.% has % rows after the restore, the manifest says %', \
         expected.schema, expected.name, counted, expected.rows USING ERRCODE = 'XD002'; END IF;\n  \
         END LOOP;\nEND\n{tag};\n"
    )
}

/// The other sessions that this role may end; the rest meet the lock timeout.
async fn end_sessions(postgres: &Postgres, database: &str) -> Result<()> {
    let mut connected = connect::connect(&postgres.url).await?;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = $1 AND usename = current_user AND application_name <> 'xtask-db' \
           AND pid <> pg_backend_pid()",
    )
    .bind(database)
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
