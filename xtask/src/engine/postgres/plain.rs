//! SQL as text, which `pg_dump` writes and `psql` reads.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};

use anyhow::{Context, Result};

use super::connect::{Connected, Libpq};
use super::fill::Filling;
use super::programs;
use super::replay::{self, KNOWS_TRANSACTION_TIMEOUT, TRANSACTION_TIMEOUT};
use crate::engine::pump::{pump, refuse_unreadable};
use crate::tool;
use crate::values::failure::Failure;
use crate::values::manifest::DumpFormat;
use crate::values::verified_dump::VerifiedDump;

/// What `pg_dump` writes when it has written all.
const COMPLETE: &[u8] = b"\n--\n-- PostgreSQL database dump complete\n--\n";
/// After it comes the end of a restriction at most, whose key has some 64 letters.
const END_BYTES: usize = 256;
/// Settings come first; what they are not is not looked at.
const HEAD_LINES: usize = 64;

pub fn is_plain(dump: &VerifiedDump) -> bool {
    dump.manifest().dump.format == DumpFormat::Plain
}

/// The last bytes that went by.
#[derive(Default)]
pub struct End(VecDeque<u8>);

impl End {
    pub fn see(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(END_BYTES)..];
        self.0.extend(last);
        let excess = self.0.len().saturating_sub(END_BYTES);
        self.0.drain(..excess);
    }

    /// Text has no table of contents to check. That it was written to its end can be seen.
    pub fn require_complete(self) -> Result<()> {
        let end: Vec<u8> = self.0.into();
        let mut windows = end.windows(COMPLETE.len());
        let after = windows
            .rposition(|window| window == COMPLETE)
            .map(|at| &end[at + COMPLETE.len()..]);
        let is_end = |rest: &[u8]| {
            let mut lines = rest.split(|byte| *byte == b'\n');
            lines.all(|line| line.is_empty() || line.starts_with(b"\\unrestrict "))
        };
        anyhow::ensure!(
            after.is_some_and(is_end),
            "what `pg_dump` wrote does not come to its end"
        );
        Ok(())
    }
}

/// Into a new database, by a `psql` that stops at the first error.
pub fn fill(filling: &Filling, maintenance: &Connected, libpq: &Libpq) -> Result<()> {
    let dump = filling.input.dump;
    let written_by = tool::major_of(&dump.manifest().dump_tool).unwrap_or(0);
    let major = maintenance.server_major;
    let psql = programs::find("psql", major, written_by)?;
    let postgres = filling.postgres;
    let mut running = replay::start_psql(postgres, &psql, libpq)?;
    let mut script = running.take_stdin()?;
    // What it answers is nothing that we asked for, and must not fill its pipe.
    let answers = replay::Answers::read(running.take_stdout()?);
    filling.begin();
    let written = feed(filling, major, &mut script);
    filling.progress.end();
    drop(script);
    postgres.interrupt().check()?;
    let written = refuse_unreadable(written)?;
    running.wait()?;
    drop(answers);
    written
}

fn feed(filling: &Filling, server_major: u32, script: &mut dyn Write) -> Result<()> {
    let unpacked = filling
        .input
        .dump
        .unpack()
        .context("cannot read the dump")?;
    let mut from = BufReader::with_capacity(1 << 20, unpacked);
    for _ in 0..HEAD_LINES {
        let mut line = Vec::new();
        let read = (&mut from).take(1 << 16).read_until(b'\n', &mut line);
        read.context("cannot read the dump")?;
        let is_unknown = server_major < KNOWS_TRANSACTION_TIMEOUT
            && line.trim_ascii_end() == TRANSACTION_TIMEOUT.as_bytes();
        if !is_unknown {
            script.write_all(&line).context("cannot write")?;
        }
        if line.starts_with(b"-- Name: ") || line.is_empty() {
            break;
        }
    }
    let interrupt = filling.postgres.interrupt();
    pump(&mut from, script, filling.progress, interrupt)?;
    let unpacked = from.into_inner();
    unpacked
        .finish()
        .map_err(|error| Failure::untrusted(error.to_string()).into())
}
