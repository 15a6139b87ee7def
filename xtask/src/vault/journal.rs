//! `journal.jsonl`: one line for each thing that was done. A line is added and
//! flushed as a whole; none is ever changed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Vault;
use crate::durable;
use crate::values::digest::Sha256;
use crate::values::journal::{self, Entry, Line};

pub const FILE_NAME: &str = "journal.jsonl";

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
        use rustix::fs::OFlags;
        let path = self.folder.join(FILE_NAME);
        let is_new = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
            .open(&path)?;
        anyhow::ensure!(file.metadata()?.is_file(), "it is not a regular file");
        lock(&file)?;
        let end = End::of(&mut file)?;
        entry.number = end.number + 1;
        entry.previous = Sha256::of(&end.last);
        let mut line = Vec::new();
        if end.is_torn {
            // The torn line stays, as a line of its own.
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, &entry)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()?;
        if is_new {
            durable::flush_folder(&self.folder)?;
        }
        Ok(())
    }

    /// All lines; none when there is no journal.
    pub fn journal(&self) -> Result<Vec<Line>> {
        let context = || format!("cannot read the journal `{}`", self.journal_path());
        let mut bytes = Vec::new();
        match self.open_regular(FILE_NAME) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(context),
            Ok(mut file) => file.read_to_end(&mut bytes).with_context(context)?,
        };
        Ok(journal::read(&bytes))
    }
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
struct End {
    /// Without its line break; empty when there is none.
    last: Vec<u8>,
    number: u64,
    is_torn: bool,
}

impl End {
    fn of(file: &mut File) -> io::Result<End> {
        let size = file.metadata()?.len();
        let mut tail = Vec::new();
        for bytes in [TAIL_BYTES, size] {
            file.seek(SeekFrom::Start(size.saturating_sub(bytes)))?;
            tail.clear();
            file.read_to_end(&mut tail)?;
            if let Some(end) = End::in_tail(&tail, bytes >= size) {
                return Ok(end);
            }
        }
        Ok(End {
            last: tail,
            number: 0,
            is_torn: true,
        })
    }

    /// `None` when more of the file is needed to know.
    fn in_tail(tail: &[u8], is_whole: bool) -> Option<End> {
        if tail.is_empty() {
            return Some(End {
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
                return Some(End {
                    last,
                    number,
                    is_torn,
                });
            }
            after += 1;
        }
        Some(End {
            last,
            number: after,
            is_torn,
        })
    }
}
