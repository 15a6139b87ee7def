//! What `pg_restore` writes as a script, on its way into `psql`.
//!
//! A script can be adapted where `pg_restore` on its own cannot: a line that
//! the server does not know is left out, functions find the names that they
//! found in the live database, and CHECK constraints that call functions are
//! checked when all rows are there.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::cmd;

use super::connect::{Libpq, literal};
use super::folder::Input;
use super::{Postgres, programs};
use crate::engine::pump::{self, pump, refuse_unreadable};
use crate::tool::{self, Pipes, Program, Running};
use crate::values::failure::Failure;
use crate::values::progress::{Progress, Silent};

/// Before what `psql` answers to us, and not to somebody who reads.
pub const ANSWER: &str = "xtask-db ";
/// How long the first answer of `psql` may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// `pg_restore --single-transaction` ends its script with this. It is held
/// back: the transaction is ours to commit, once it was compared.
const COMMIT: &[u8] = b"\nCOMMIT;\n";
const TAIL_BYTES: usize = 16 * 1024;

/// A dump hides every schema from the functions that it calls.
const NO_SEARCH_PATH: &str = "SELECT pg_catalog.set_config('search_path', '', false);";
/// Written by [`KNOWS_TRANSACTION_TIMEOUT`] and newer, unknown to older servers.
pub const TRANSACTION_TIMEOUT: &str = "SET transaction_timeout = 0;";
pub const KNOWS_TRANSACTION_TIMEOUT: u32 = 17;
/// Until `\unrestrict` with the same key, `psql` takes no commands but SQL from a dump.
const RESTRICT: &[u8] = b"\\restrict ";
/// The lines above come before the first entry. What follows is somebody's data,
/// which may look like them and must not be touched.
const ENTRIES: [&[u8]; 2] = [b"-- Name: ", b"-- Data for Name: "];

const CHECKS_OFF: &str = include_str!("checks_off.sql");
const CHECKS_ON: &str = include_str!("checks_on.sql");

/// A dump as a script.
pub struct Replay<'a> {
    pub postgres: &'a Postgres,
    pub pg_restore: &'a Program,
    pub input: &'a Input<'a>,
    /// For `pg_restore --use-list`.
    pub list: Option<&'a Path>,
    /// Transactions of the script's own, such as those around large objects, would end ours.
    pub in_our_transaction: bool,
    pub server_major: u32,
}

/// How much the script may differ from what was dumped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As dumped: functions see no schema but those that they name.
    Hidden,
    /// Functions see the schemas of the live database, and constraints that
    /// call functions are checked last.
    InReach,
}

impl Replay<'_> {
    pub fn write(&self, names: Names, to: &mut dyn Write, progress: &dyn Progress) -> Result<()> {
        if names == Names::Hidden {
            return self.write_part(None, None, to, progress);
        }
        let path = self.search_path_statement();
        self.write_part(Some("pre-data"), None, to, &Silent)?;
        to.write_all(CHECKS_OFF.as_bytes())
            .context("cannot put constraints aside")?;
        self.write_part(Some("data"), Some(&path), to, progress)?;
        to.write_all(CHECKS_ON.as_bytes())
            .context("cannot bring constraints back")?;
        self.write_part(Some("post-data"), Some(&path), to, &Silent)
    }

    fn write_part(
        &self,
        section: Option<&str>,
        search_path: Option<&str>,
        to: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut running = self.start(section)?;
        let stdin = match self.input.folder {
            Some(_) => None,
            None => Some(running.take_stdin()?),
        };
        let mut stdout = running.take_stdout()?;
        let reads_all = section.is_none_or(|section| section == "data");
        let (fed, passed) = std::thread::scope(|scope| {
            let feeding =
                stdin.map(|stdin| scope.spawn(move || self.feed(stdin, reads_all, progress)));
            // What is fed is what was read; of a folder, what comes out says how far it is.
            let passing: &dyn Progress = if feeding.is_some() { &Silent } else { progress };
            let passed = self.pass_on(&mut stdout, search_path, to, passing);
            drop(stdout);
            (feeding.map(|feeding| feeding.join()), passed)
        });
        let fed = fed
            .unwrap_or(Ok(Ok(())))
            .map_err(|_| Failure::unexpected("the reading thread panicked"))?;
        let fed = refuse_unreadable(fed)?;
        let (key, tail) = passed?;
        running.wait().map_err(|error| {
            let step = "`pg_restore` cannot read the dump";
            // It has only the dump to read; one that was killed says nothing of it.
            if error.root_cause().to_string().contains("ended with signal") {
                error.context(step)
            } else {
                error.context(Failure::untrusted(step))
            }
        })?;
        fed?;
        if !self.in_our_transaction {
            return to.write_all(&tail).context("cannot end the restore");
        }
        let mut windows = tail.windows(COMMIT.len());
        let Some(at) = windows.rposition(|window| window == COMMIT) else {
            bail!("`pg_restore` wrote a script without a COMMIT at its end");
        };
        to.write_all(&tail[..=at])
            .and_then(|()| match key {
                Some(key) => to.write_all(&[b"\\unrestrict ", key.as_slice()].concat()),
                None => Ok(()),
            })
            .context("cannot end the restore")
    }

    fn start(&self, section: Option<&str>) -> Result<Running> {
        let shell = tool::shell()?;
        let path = &self.pg_restore.path;
        let mut command = cmd!(shell, "{path} --exit-on-error --file=-");
        command = command.args(self.input.without);
        if self.in_our_transaction {
            command = command.arg("--single-transaction");
        }
        if let Some(list) = self.list.or(self.input.list.as_deref()) {
            command = command.arg(format!("--use-list={}", list.display()));
        }
        if let Some(section) = section {
            command = command.arg(format!("--section={section}"));
        }
        let mut pipes = Pipes::Both;
        if let Some(folder) = &self.input.folder {
            command = command.arg(folder);
            pipes = Pipes::Stdout;
        }
        let command = command.quiet().env("LC_ALL", "C");
        Running::start(command, pipes, self.postgres.interrupt())
    }

    fn feed(&self, mut stdin: ChildStdin, reads_all: bool, progress: &dyn Progress) -> Result<()> {
        let mut unpacked = self.input.dump.unpack().context("cannot read the dump")?;
        let interrupt = self.postgres.interrupt();
        let pumped = pump(&mut unpacked, &mut stdin, progress, interrupt);
        drop(stdin);
        match pumped {
            // Without the rows, the table of contents is all that it reads.
            Err(error) if !reads_all && pump::nobody_reads(&error) => {}
            pumped => pumped?,
        }
        unpacked
            .finish()
            .map_err(|error| Failure::untrusted(error.to_string()).into())
    }

    /// Passes everything on but the last bytes, which it returns after the key
    /// that ends the restriction.
    fn pass_on(
        &self,
        from: &mut dyn Read,
        search_path: Option<&str>,
        to: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<(Option<Vec<u8>>, Vec<u8>)> {
        let failed = "cannot read what `pg_restore` wrote";
        let mut from = BufReader::with_capacity(1 << 20, from);
        let (mut key, mut held) = (None, Vec::new());
        loop {
            let mut line = Vec::new();
            from.read_until(b'\n', &mut line).context(failed)?;
            if line.is_empty() || ENTRIES.iter().any(|entry| line.starts_with(entry)) {
                held.extend_from_slice(&line);
                break;
            }
            if key.is_none() {
                key = line.strip_prefix(RESTRICT).map(<[u8]>::to_vec);
            }
            held.extend_from_slice(self.adapted(&line, search_path));
        }
        loop {
            let read = from.fill_buf().context(failed)?;
            if read.is_empty() {
                return Ok((key, held));
            }
            let length = read.len();
            held.extend_from_slice(read);
            from.consume(length);
            progress.advance(length as u64);
            if held.len() > TAIL_BYTES {
                let ready = held.len() - TAIL_BYTES;
                to.write_all(&held[..ready])
                    .context("cannot pass the restore on to `psql`")?;
                held.drain(..ready);
            }
        }
    }

    /// A line of the script's beginning, as this server and these functions need it.
    fn adapted<'l>(&self, line: &'l [u8], search_path: Option<&'l str>) -> &'l [u8] {
        let text = line.trim_ascii_end();
        match search_path {
            Some(statement) if text == NO_SEARCH_PATH.as_bytes() => statement.as_bytes(),
            _ if self.server_major < KNOWS_TRANSACTION_TIMEOUT
                && text == TRANSACTION_TIMEOUT.as_bytes() =>
            {
                b""
            }
            _ => line,
        }
    }

    /// The schemas that the backup's session saw, then all others.
    fn search_path_statement(&self) -> String {
        let properties = self.input.dump.manifest().database.properties.as_ref();
        let mut seen = properties.map_or_else(Vec::new, |p| p.search_path.clone());
        if seen.is_empty() {
            seen.push("public".into());
        }
        let place = |(place, schema): (usize, &String)| format!("({place}, {})", literal(schema));
        let seen: Vec<String> = seen.iter().enumerate().map(place).collect();
        format!(
            "SELECT pg_catalog.set_config('search_path', pg_catalog.string_agg(\
             pg_catalog.quote_ident(n.nspname), ', ' ORDER BY seen.place, n.nspname), false) \
             FROM pg_catalog.pg_namespace n \
             LEFT JOIN (VALUES {}) AS seen(place, schema) ON seen.schema = n.nspname \
             WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema';\n",
            seen.join(", ")
        )
    }
}

/// `psql` that reads a script and stops at its first error.
pub fn start_psql(postgres: &Postgres, psql: &Program, libpq: &Libpq) -> Result<Running> {
    let shell = tool::shell()?;
    let (path, dbname) = (&psql.path, &libpq.dbname);
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --no-psqlrc --quiet --tuples-only --no-align --no-password
            --set=ON_ERROR_STOP=1 --set=VERBOSITY=verbose --dbname={dbname} --file=-"
    ));
    Running::start(command, Pipes::Both, postgres.interrupt())
}

/// A `psql` that understands what this `pg_restore` writes.
pub fn find_psql(server_major: u32, pg_restore: &Program) -> Result<Program> {
    programs::find("psql", server_major, pg_restore.major)
}

/// The lines of `psql` that are meant for us.
pub struct Answers(mpsc::Receiver<String>);

impl Answers {
    /// Reads all that psql says, so that it never waits for a reader.
    pub fn read(stdout: ChildStdout) -> Answers {
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if let Some(answer) = line.strip_prefix(ANSWER) {
                    // Nobody waits any more when the restore was given up.
                    let _ = send.send(answer.trim_end().to_owned());
                }
            }
        });
        Answers(receive)
    }

    pub fn first(&self) -> Result<String> {
        let first = self.0.recv_timeout(PATIENCE);
        first.context("`psql` does not answer")
    }

    /// What came besides, once psql has ended: constraints that its rows do not hold.
    pub fn warnings(&self) -> Vec<String> {
        let unchecked = |name: String| {
            format!(
                "{name} does not hold for the rows of the backup: it came back NOT VALID, \
                 and applies to new rows"
            )
        };
        self.0.iter().map(unchecked).collect()
    }
}
