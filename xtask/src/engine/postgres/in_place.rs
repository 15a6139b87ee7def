//! Restore without the right to create databases: one transaction that drops
//! what the role owns, puts the backup's objects there, compares, and commits.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sqlx::{Connection, Executor};
use xshell::cmd;

use super::connect::{self, Libpq, literal};
use super::target::Target;
use super::{Postgres, programs};
use crate::durable;
use crate::engine::Restored;
use crate::engine::pump::pump;
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
const TAIL_BYTES: usize = 16 * 1024;

pub fn restore(
    postgres: &mut Postgres,
    target: Target,
    dump: &VerifiedDump,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let major = target.maintenance.server_major;
    let pg_restore = programs::find_pg_restore(dump, major)?;
    let list = write_list(postgres, &pg_restore, dump, staging)?;
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
        "{path} --no-psqlrc --quiet --no-password --set=ON_ERROR_STOP=1 --dbname={dbname} --file=-"
    ));
    let mut psql = Running::start(command, Pipes::Stdin, postgres.interrupt())?;
    let mut script = psql.take_stdin()?;

    progress.begin("restore", Some(dump.manifest().dump.raw_size_bytes));
    let written = write_script(postgres, &pg_restore, dump, &list, &mut script, progress);
    progress.end();
    // Without its COMMIT the transaction is rolled back when the input ends.
    let done = written.and_then(|()| script.write_all(b"COMMIT;\n").context("cannot commit"));
    drop(script);
    let said = psql
        .wait()
        .context("the restore was rolled back; the database is as it was");
    postgres.interrupt().check()?;
    // psql says why it stopped reading; that we could not write any more says nothing.
    said?;
    done?;
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

fn write_script(
    postgres: &Postgres,
    pg_restore: &Program,
    dump: &VerifiedDump,
    list: &Path,
    script: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    write!(script, "BEGIN;\n{DROP_OWNED}").context("cannot begin the restore")?;
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
    let tail = tail?;
    running.wait().context("cannot read the dump")?;
    fed.map_err(|_| Failure::unexpected("the reading thread panicked"))??;
    let Some(at) = tail
        .windows(COMMIT.len())
        .rposition(|window| window == COMMIT)
    else {
        bail!("`pg_restore` wrote a script without a COMMIT at its end");
    };
    script
        .write_all(&tail[..=at])
        .context("cannot end the restore")?;
    write!(script, "{}", compare_statement(dump)).context("cannot compare the restore")
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
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "\nDO $compare$\nDECLARE\n  expected record;\n  counted bigint;\n  kind \"char\";\nBEGIN\n  \
         FOR expected IN SELECT * FROM (VALUES {}) AS v(schema, name, rows) LOOP\n    \
         SELECT c.relkind INTO kind FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = expected.schema AND c.relname = expected.name;\n    \
         IF NOT FOUND THEN RAISE EXCEPTION 'table %.% is missing after the restore', \
         expected.schema, expected.name; END IF;\n    \
         EXECUTE format('SELECT count(*) FROM %s %I.%I', \
         CASE WHEN kind = 'p' THEN '' ELSE 'ONLY' END, expected.schema, expected.name) \
         INTO counted;\n    \
         IF counted <> expected.rows THEN RAISE EXCEPTION \
         'table %.% has % rows after the restore, the manifest says %', \
         expected.schema, expected.name, counted, expected.rows; END IF;\n  \
         END LOOP;\nEND\n$compare$;\n",
        rows.join(", ")
    )
}

/// The dump's table of contents without the extensions that are there already
/// and belong to somebody else: they stay, and only their owner could comment on them.
fn write_list(
    postgres: &Postgres,
    pg_restore: &Program,
    dump: &VerifiedDump,
    staging: &Path,
) -> Result<PathBuf> {
    let theirs = postgres.runtime.block_on(async {
        let mut connected = connect::connect(&postgres.url).await?;
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT extname::text FROM pg_extension \
             WHERE NOT pg_has_role(current_user, extowner, 'USAGE')",
        )
        .fetch_all(&mut connected.session)
        .await
        .context("cannot list the extensions")?;
        Ok(names)
    })?;
    let contents = read_list(postgres, pg_restore, dump)?;
    let kept = contents.lines().filter(|line| {
        let line = line.trim_end();
        !theirs.iter().any(|name| {
            line.ends_with(&format!(" EXTENSION - {name}"))
                || line.ends_with(&format!(" COMMENT - EXTENSION {name}"))
                || line.ends_with(&format!(" COMMENT - EXTENSION \"{name}\""))
        })
    });
    let path = staging.join("list");
    let mut file = durable::create_private_file(&path).context("cannot write the restore list")?;
    for line in kept {
        writeln!(file, "{line}").context("cannot write the restore list")?;
    }
    Ok(path)
}

fn read_list(postgres: &Postgres, pg_restore: &Program, dump: &VerifiedDump) -> Result<String> {
    let shell = tool::shell()?;
    let path = &pg_restore.path;
    let command = cmd!(shell, "{path} --list").quiet().env("LC_ALL", "C");
    let mut running = Running::start(command, Pipes::Both, postgres.interrupt())?;
    let (mut stdin, mut stdout) = (running.take_stdin()?, running.take_stdout()?);
    let mut contents = Vec::new();
    let read = std::thread::scope(|scope| {
        scope.spawn(move || {
            // It stops reading after the table of contents, at the start of the dump.
            dump.unpack()
                .and_then(|mut unpacked| std::io::copy(&mut unpacked, &mut stdin))
        });
        let read = stdout.read_to_end(&mut contents);
        drop(stdout);
        read
    });
    read.context("cannot read the dump's table of contents")?;
    running
        .wait()
        .context("cannot read the dump's table of contents")?;
    Ok(String::from_utf8_lossy(&contents).into_owned())
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
