//! `journal.jsonl`: one line for each thing that was done. A line is added and
//! flushed as a whole; none is ever changed. `.journal-end` knows the last one: no line after
//! it says what it was, or that there was one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Vault;
use crate::durable;
use crate::values::digest::Sha256;
use crate::values::journal::{self, Entry, Line};

pub const FILE_NAME: &str = "journal.jsonl";

const END_FILE: &str = ".journal-end";
const END_HEADER: &[u8] = b"xtask-db journal end 1\n";
/// As many as any number may have: what is written over is always as long.
const NUMBER_DIGITS: usize = 20;

/// Longer than any line: of a note, this much is kept.
const MAX_NOTE_BYTES: usize = 4 << 10;
/// How much of the end is read to find the last line.
const TAIL_BYTES: u64 = 64 << 10;
/// Another run holds the lock while it adds a line, no longer.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

impl Vault {
    /// Adds a line, on disk when this returns. Its number and the digest of the
    /// line before are filled in.
    pub fn record(&self, mut entry: Entry) -> Result<()> {
        if let Some(note) = &mut entry.note {
            let mut end = note.len().min(MAX_NOTE_BYTES);
            while !note.is_char_boundary(end) {
                end -= 1;
            }
            note.truncate(end);
        }
        self.append(entry)
            .with_context(|| format!("cannot write the journal `{}`", self.journal_path()))
    }

    fn journal_path(&self) -> String {
        self.folder.join(FILE_NAME).display().to_string()
    }

    fn append(&self, mut entry: Entry) -> Result<()> {
        let path = self.folder.join(FILE_NAME);
        let is_new = !path.exists();
        let mut file = open(&path, OpenOptions::new().read(true).append(true))?;
        anyhow::ensure!(file.metadata()?.is_file(), "it is not a regular file");
        lock(&file)?;
        let tail = Tail::of(&mut file)?;
        // What was changed or cut off there is seen at this line from now on.
        let known = self.journal_end().filter(|end| end.number >= tail.number);
        let before = known.unwrap_or_else(|| journal::End {
            number: tail.number,
            sha256: Sha256::of(&tail.last),
        });
        entry.number = before.number + 1;
        entry.previous = before.sha256;
        let line = serde_json::to_vec(&entry)?;
        // A torn line stays, as a line of its own.
        let begin: &[u8] = if tail.is_torn { b"\n" } else { b"" };
        file.write_all(&[begin, &line, b"\n"].concat())?;
        file.sync_data()?;
        if is_new {
            durable::flush_folder(&self.folder)?;
        }
        // One that is behind, after a crash or on a full disk, does no harm.
        let _ = self.write_journal_end(journal::End {
            number: entry.number,
            sha256: Sha256::of(&line),
        });
        Ok(())
    }

    /// Nothing for an older vault, and when it is not as it was written.
    fn journal_end(&self) -> Option<journal::End> {
        let body = self.read_sealed(END_FILE, END_HEADER)?;
        let text = str::from_utf8(&body).ok()?;
        let (number, sha256) = text.trim_end().split_once(' ')?;
        Some(journal::End {
            number: number.parse().ok()?,
            sha256: sha256.parse().ok()?,
        })
    }

    /// In one call and over what is there: a `kill -9` leaves the one or the other.
    fn write_journal_end(&self, end: journal::End) -> io::Result<()> {
        let body = format!("{:0NUMBER_DIGITS$} {}\n", end.number, end.sha256);
        let digest = Sha256::of(body.as_bytes()).to_string();
        let path = self.folder.join(END_FILE);
        let file = open(&path, OpenOptions::new().write(true))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let bytes = [END_HEADER, digest.as_bytes(), body.as_bytes()].concat();
        file.write_all_at(&bytes, 0)
    }

    /// All lines; none when there is no journal.
    pub fn journal(&self) -> Result<Vec<Line>> {
        let context = || format!("cannot read the journal `{}`", self.journal_path());
        // First: lines that are added meanwhile may be more than it knows, and never fewer.
        let end = self.journal_end();
        let mut bytes = Vec::new();
        match self.open_regular(FILE_NAME) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(context),
            Ok(mut file) => drop(file.read_to_end(&mut bytes).with_context(context)?),
        };
        Ok(journal::read(&bytes, end))
    }
}

/// Made private when it is missing; never through a link, and no pipe is waited for.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    use rustix::fs::OFlags;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    options
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

/// Until the file is closed.
fn lock(file: &File) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(POLL);
            }
            Err(TryLockError::WouldBlock) => anyhow::bail!("another process does not let go of it"),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// What the next line follows.
struct Tail {
    /// Without its line break; empty when there is none.
    last: Vec<u8>,
    number: u64,
    is_torn: bool,
}

impl Tail {
    fn of(file: &mut File) -> io::Result<Tail> {
        let size = file.metadata()?.len();
        let mut tail = Vec::new();
        for bytes in [TAIL_BYTES, size] {
            file.seek(SeekFrom::Start(size.saturating_sub(bytes)))?;
            tail.clear();
            file.read_to_end(&mut tail)?;
            if let Some(tail) = Tail::in_bytes(&tail, bytes >= size) {
                return Ok(tail);
            }
        }
        Ok(Tail {
            last: tail,
            number: 0,
            is_torn: true,
        })
    }

    /// `None` when more of the file is needed to know.
    fn in_bytes(tail: &[u8], is_whole: bool) -> Option<Tail> {
        if tail.is_empty() {
            return Some(Tail {
                last: Vec::new(),
                number: 0,
                is_torn: false,
            });
        }
        let is_torn = !tail.ends_with(b"\n");
        let text = tail.strip_suffix(b"\n").unwrap_or(tail);
        let mut lines = text.rsplit(|byte| *byte == b'\n').peekable();
        let last = lines.peek()?.to_vec();
        // Lines that are no entries are counted from the last that is one.
        let mut after = 0;
        for line in lines {
            let begins_here = line.as_ptr() == tail.as_ptr();
            if begins_here && !is_whole {
                return None;
            }
            if let Ok(entry) = serde_json::from_slice::<Entry>(line) {
                let number = entry.number + after;
                return Some(Tail {
                    last,
                    number,
                    is_torn,
                });
            }
            after += 1;
        }
        Some(Tail {
            last,
            number: after,
            is_torn,
        })
    }
}
