//! Fills a new database from a dump.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ChildStdin;

use anyhow::{Context, Result};
use xshell::cmd;

use super::connect::{Connected, Libpq};
use super::folder::{Input, SPARE_BYTES};
use super::replay::{self, Answers, KNOWS_TRANSACTION_TIMEOUT, Names, Replay};
use super::{Postgres, plain, programs};
use crate::durable;
use crate::engine::pump::{pump_ahead, refuse_unreadable};
use crate::interrupt::Interrupted;
use crate::tool::{self, Pipes, Program, Running};
use crate::values::failure::Failure;
use crate::values::progress::Progress;

/// Nothing here waits for the disk: the swap's own commit flushes all before it.
const SETTINGS: [&str; 3] = [
    "default_transaction_read_only=off",
    "synchronous_commit=off",
    "statement_timeout=0",
];

/// Below this, one stream is done before several sessions have begun.
const WORTH_UNPACKING_BYTES: u64 = 32 << 20;

/// A new database and what it is filled from.
pub struct Filling<'a> {
    pub postgres: &'a Postgres,
    pub input: &'a Input<'a>,
    pub beside: &'a str,
    pub staging: &'a Path,
    pub progress: &'a dyn Progress,
}

/// In which order entries are restored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Several at a time.
    Any,
    OfTheDump,
}

impl Filling<'_> {
    /// What the backup takes for granted.
    pub fn lay_ground(&self, maintenance: &Connected) -> Result<()> {
        let Some(sql) = &self.input.before else {
            return Ok(());
        };
        let psql = programs::find("psql", maintenance.server_major, 0)?;
        let libpq = self.libpq(maintenance)?;
        let mut running = replay::start_psql(self.postgres, &psql, &libpq)?;
        let mut script = running.take_stdin()?;
        let answers = Answers::read(running.take_stdout()?);
        let written = script.write_all(sql.as_bytes());
        drop(script);
        running.wait()?;
        drop(answers);
        written.context("cannot make what the backup takes for granted")
    }

    /// Every entry as `pg_dump` wrote it.
    pub fn as_dumped(&self, maintenance: &Connected, order: Order) -> Result<()> {
        let major = maintenance.server_major;
        if plain::is_plain(self.input.dump) {
            let filled = plain::fill(self, maintenance, &self.libpq(maintenance)?);
            return filled.map_err(explain);
        }
        let pg_restore = programs::find_pg_restore(self.input.dump, major)?;
        let filled =
            if pg_restore.major >= KNOWS_TRANSACTION_TIMEOUT && major < KNOWS_TRANSACTION_TIMEOUT {
                let psql = replay::find_psql(major, &pg_restore)?;
                self.through_psql(maintenance, &pg_restore, &psql, Names::Hidden)
                    .map(drop)
            } else {
                self.through_pg_restore(maintenance, &pg_restore, order)
            };
        filled.map_err(explain)
    }

    fn through_pg_restore(
        &self,
        maintenance: &Connected,
        pg_restore: &Program,
        order: Order,
    ) -> Result<()> {
        let jobs = match order {
            Order::Any => self.postgres.restore_jobs(),
            Order::OfTheDump => 1,
        };
        if let Some(folder) = &self.input.folder {
            return self.in_parallel(maintenance, pg_restore, folder, jobs);
        }
        if jobs == 1 {
            return self.in_one_stream(maintenance, pg_restore);
        }
        let Some(unpacked) = self.unpack()? else {
            return self.in_one_stream(maintenance, pg_restore);
        };
        let restored = self.in_parallel(maintenance, pg_restore, &unpacked, jobs);
        // Its room is wanted before a safety copy or a log asks for it.
        let removed = std::fs::remove_file(unpacked);
        restored?;
        removed.context("cannot remove the unpacked dump")
    }

    /// When that failed: a function that is called while the dump is restored
    /// (by a materialized view, an index, a constraint) may need a search
    /// path, or rows that come later. Returns what came back different.
    pub fn with_names_in_reach(
        &self,
        maintenance: &Connected,
        first: anyhow::Error,
    ) -> Result<Vec<String>> {
        if plain::is_plain(self.input.dump) {
            // Text is what it is.
            return Err(first);
        }
        let major = maintenance.server_major;
        let pg_restore = programs::find_pg_restore(self.input.dump, major)?;
        let Ok(psql) = replay::find_psql(major, &pg_restore) else {
            return Err(first);
        };
        self.through_psql(maintenance, &pg_restore, &psql, Names::InReach)
            .map_err(explain)
    }

    fn libpq(&self, maintenance: &Connected) -> Result<Libpq> {
        let (url, options) = (&self.postgres.url, &maintenance.options);
        Libpq::new(url, options, self.beside, &SETTINGS, self.staging)
    }

    /// Several sessions at a time need a file that each of them can seek in.
    /// Nothing when one session is enough, or the disk too full.
    fn unpack(&self) -> Result<Option<PathBuf>> {
        let size = self.input.dump.manifest().dump.raw_size_bytes;
        let free = durable::free_bytes(self.staging).context("cannot ask for free space")?;
        let is_worth_it = match self.postgres.jobs {
            Some(jobs) => jobs > 1,
            // Encrypted, it is not laid on a disk as it is unless somebody says so.
            None => size >= WORTH_UNPACKING_BYTES && !self.input.dump.is_encrypted(),
        };
        if !is_worth_it || free < size.saturating_add(SPARE_BYTES) {
            return Ok(None);
        }
        let path = self.staging.join("unpacked");
        let mut file =
            durable::create_private_file(&path).context("cannot create the unpacked dump")?;
        self.progress.begin("unpack", Some(size));
        let fed = self.feed(&mut file);
        self.progress.end();
        refuse_unreadable(fed)??;
        Ok(Some(path))
    }

    fn in_parallel(
        &self,
        maintenance: &Connected,
        pg_restore: &Program,
        unpacked: &Path,
        jobs: usize,
    ) -> Result<()> {
        let libpq = self.libpq(maintenance)?;
        let jobs = jobs.to_string();
        let without = self.input.options();
        let shell = tool::shell()?;
        let (path, dbname) = (&pg_restore.path, &libpq.dbname);
        let command = libpq.prepare(cmd!(
            shell,
            "{path} --exit-on-error --no-password --jobs={jobs} {without...}
                --dbname={dbname} {unpacked}"
        ));
        let running = Running::start(command, Pipes::None, self.postgres.interrupt())?;
        self.progress.begin("restore", None);
        let ended = running.wait();
        self.progress.end();
        ended
    }

    fn in_one_stream(&self, maintenance: &Connected, pg_restore: &Program) -> Result<()> {
        let libpq = self.libpq(maintenance)?;
        let shell = tool::shell()?;
        let (path, dbname) = (&pg_restore.path, &libpq.dbname);
        let without = self.input.options();
        let command = libpq.prepare(cmd!(
            shell,
            "{path} --exit-on-error --no-password {without...} --dbname={dbname}"
        ));
        let mut running = Running::start(command, Pipes::Stdin, self.postgres.interrupt())?;
        let mut stdin: ChildStdin = running.take_stdin()?;
        self.begin();
        let fed = self.feed(&mut stdin);
        self.progress.end();
        drop(stdin);
        self.postgres.interrupt().check()?;
        let fed = refuse_unreadable(fed)?;
        // pg_restore says why it stopped reading; that we could not write any more says nothing.
        running.wait()?;
        fed
    }

    fn through_psql(
        &self,
        maintenance: &Connected,
        pg_restore: &Program,
        psql: &Program,
        names: Names,
    ) -> Result<Vec<String>> {
        let libpq = self.libpq(maintenance)?;
        let replay = Replay {
            postgres: self.postgres,
            pg_restore,
            input: self.input,
            list: None,
            in_our_transaction: false,
            server_major: maintenance.server_major,
        };
        let mut running = replay::start_psql(self.postgres, psql, &libpq)?;
        let mut script = running.take_stdin()?;
        let answers = Answers::read(running.take_stdout()?);
        self.begin();
        let written = replay.write(names, &mut script, self.progress);
        self.progress.end();
        drop(script);
        self.postgres.interrupt().check()?;
        let written = refuse_unreadable(written)?;
        running.wait()?;
        written?;
        Ok(answers.warnings())
    }

    pub fn begin(&self) {
        let total = self.input.dump.manifest().dump.raw_size_bytes;
        self.progress.begin("restore", Some(total));
    }

    fn feed(&self, to: &mut (dyn Write + Send)) -> Result<()> {
        let mut unpacked = self.input.dump.unpack().context("cannot read the dump")?;
        let interrupt = self.postgres.interrupt();
        pump_ahead(&mut unpacked, to, self.progress, interrupt)?;
        unpacked
            .finish()
            .map_err(|error| Failure::untrusted(error.to_string()).into())
    }
}

/// What `pg_restore` and `psql` say before the words of the server.
const STATEMENT_FAILED: [&str; 3] = ["could not execute query", "COPY failed", "psql:<stdin>:"];
/// Failures that a search path cannot mend; everything else may be the words
/// of a function that did not find what it looked for.
const NOT_NAMES: [&str; 9] = [
    "No space left on device",
    "already exists",
    "connection to server",
    "could not extend file",
    "is not available",
    "out of shared memory",
    "permission denied",
    "server closed the connection",
    "terminating connection",
];

/// A constraint that reads another table finds other rows there when several
/// sessions fill them; in the dump's own order it may hold as it did.
pub fn may_depend_on_order(error: &anyhow::Error) -> bool {
    may_lack_names(error)
        && error
            .root_cause()
            .to_string()
            .contains("violates check constraint")
}

/// Whether a second try with names in reach is worth its time.
pub fn may_lack_names(error: &anyhow::Error) -> bool {
    // As a context it is no cause of its own.
    let is_known = error.downcast_ref::<Failure>().is_some()
        || error.chain().any(|cause| {
            cause.is::<Failure>() || cause.is::<Interrupted>() || cause.is::<std::io::Error>()
        });
    let said = error.root_cause().to_string();
    let says = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    !is_known && says(&STATEMENT_FAILED) && !says(&NOT_NAMES)
}

/// A role or tablespace is the server's and not the backup's: it must be there before.
pub fn missing(error: anyhow::Error) -> anyhow::Error {
    let said = error.root_cause().to_string().to_lowercase();
    let lacks = |what: &str| said.contains(what) && said.contains("does not exist");
    let (what, hint) = if lacks("tablespace \"") {
        (
            "a tablespace",
            "create it first: CREATE TABLESPACE … LOCATION …",
        )
    } else if lacks("role \"") {
        ("a role", "create it first: createuser --no-login NAME")
    } else {
        return error;
    };
    error.context(
        Failure::refused(format!("the server lacks {what} that the backup needs")).hint(hint),
    )
}

/// pg_restore speaks of its input file when the dump itself is at fault.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let step = "cannot restore the dump into a new database";
    let error = missing(error);
    if error.root_cause().to_string().contains("input file") {
        error.context(Failure::untrusted(step))
    } else {
        error.context(step)
    }
}
