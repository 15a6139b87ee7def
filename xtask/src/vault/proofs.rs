//! What the journal says has been shown of each backup, soon also where it is long.
//!
//! A journal only grows: `.proofs` keeps what was read of it, and up to where. For
//! showing only, as the index is; `db log` reads every line and finds those that
//! were changed.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Vault;
use super::journal::FILE_NAME;
use super::sealed::STAGED;
use crate::cores;
use crate::durable;
use crate::values::digest::Sha256;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, Ladder};

const FILE: &str = ".proofs";
const HEADER: &[u8] = b"xtask-db proofs 2\n";

/// So much of the journal may be read anew each time.
const WORTH_WRITING_BYTES: usize = 64 << 10;

/// Before the place up to which it was read, this much must be as it was.
const TAIL_BYTES: u64 = 4 << 10;

/// By id, the last one first.
pub type Ladders = Vec<(String, Ladder)>;

/// What of a line counts here.
#[derive(Deserialize)]
struct Line {
    at: DateTime<Utc>,
    deed: Deed,
    ending: Ending,
    backup: Option<BackupId>,
    place: Option<IgnoredAny>,
}

/// How far a journal was read, and which one that was.
#[derive(Clone, Copy, PartialEq)]
struct Mark {
    device: u64,
    inode: u64,
    end: u64,
    tail: Sha256,
}

impl Vault {
    /// None where there is no journal.
    pub(super) fn ladders(&self) -> Result<Ladders> {
        let mut file = match self.open_regular(FILE_NAME) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.context("cannot read the journal")?,
        };
        let metadata = file.metadata().context("cannot read the journal")?;
        let known = self.known(&mut file, &metadata);
        let (begin, mut ladders) = known.unwrap_or_default();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(begin))
            .and_then(|_| file.read_to_end(&mut bytes))
            .context("cannot read the journal")?;
        // What follows the last line break is torn, or being written.
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let whole = &bytes[..whole];
        let lines: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
        let read = cores::on_all(&lines, |share| {
            let lines = share
                .iter()
                .filter_map(|line| serde_json::from_slice::<Line>(line).ok());
            // What was found of a copy says nothing of the backup in the vault.
            lines
                .filter(|line| line.place.is_none())
                .collect::<Vec<_>>()
        });
        add(&mut ladders, read.into_iter().flatten());
        if whole.len() >= WORTH_WRITING_BYTES {
            let end = begin + whole.len() as u64;
            // Where it cannot be written, all is read again the next time.
            let _ = self.remember(&mut file, &metadata, end, &ladders);
        }
        Ok(ladders)
    }

    /// What an earlier run has read, and where it ended, if this is the same journal.
    fn known(&self, file: &mut File, metadata: &Metadata) -> Option<(u64, Ladders)> {
        let body = self.read_sealed(FILE, HEADER)?;
        let mut bytes = body.as_slice();
        let end = number(&mut bytes)?;
        let mark = mark(file, metadata, end)?;
        let is_same = number(&mut bytes)? == mark.device && number(&mut bytes)? == mark.inode;
        let digest = mark.tail.to_string();
        let rest = bytes.strip_prefix(digest.as_bytes())?;
        (is_same && end <= metadata.len()).then_some((end, ladders_in(rest)?))
    }

    fn remember(
        &self,
        file: &mut File,
        metadata: &Metadata,
        end: u64,
        ladders: &Ladders,
    ) -> Option<()> {
        let mark = mark(file, metadata, end)?;
        let mut body = Vec::new();
        for number in [mark.end, mark.device, mark.inode] {
            body.extend(number.to_le_bytes());
        }
        body.extend(mark.tail.to_string().as_bytes());
        for (id, ladder) in ladders {
            body.push(u8::try_from(id.len()).ok()?);
            body.extend(id.as_bytes());
            for at in [
                ladder.verified_at,
                ladder.verify_failed_at,
                ladder.drilled_at,
                ladder.drill_failed_at,
                ladder.rehearsed_at,
            ] {
                body.extend(
                    at.map_or(i64::MIN, |at| at.timestamp_millis())
                        .to_le_bytes(),
                );
            }
        }
        let staging = self.staging("proofs").ok()?;
        let staged = durable::create_private_file(&staging.file(STAGED)).ok()?;
        self.write_sealed(FILE, HEADER, &body, (staging, staged))
            .ok()
    }
}

fn mark(file: &mut File, metadata: &Metadata, end: u64) -> Option<Mark> {
    let begin = end.saturating_sub(TAIL_BYTES);
    let mut tail = vec![0; usize::try_from(end - begin).ok()?];
    file.seek(SeekFrom::Start(begin)).ok()?;
    file.read_exact(&mut tail).ok()?;
    Some(Mark {
        device: metadata.dev(),
        inode: metadata.ino(),
        end,
        tail: Sha256::of(&tail),
    })
}

/// Later lines count before earlier ones.
fn add(ladders: &mut Ladders, lines: impl Iterator<Item = Line>) {
    let mut new: Ladders = Vec::new();
    for line in lines {
        let Some(id) = line.backup else { continue };
        let mut ladder = Ladder::default();
        ladder.climb(line.deed, line.ending, line.at);
        if ladder != Ladder::default() {
            new.push((id.to_string(), ladder));
        }
    }
    if new.is_empty() {
        return;
    }
    ladders.append(&mut new);
    // Stable: of one id the earlier lines come first.
    ladders.sort_by(|a, b| b.0.cmp(&a.0));
    ladders.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            earlier.1.overtake(&later.1);
        }
        is_same
    });
}

fn ladders_in(mut bytes: &[u8]) -> Option<Ladders> {
    let mut ladders = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (id, rest) = rest.split_at_checked(usize::from(*length))?;
        bytes = rest;
        let mut at = || -> Option<Option<DateTime<Utc>>> {
            match number(&mut bytes)?.cast_signed() {
                i64::MIN => Some(None),
                millis => Some(Some(DateTime::from_timestamp_millis(millis)?)),
            }
        };
        let ladder = Ladder {
            verified_at: at()?,
            verify_failed_at: at()?,
            drilled_at: at()?,
            drill_failed_at: at()?,
            rehearsed_at: at()?,
        };
        ladders.push((std::str::from_utf8(id).ok()?.to_owned(), ladder));
    }
    Some(ladders)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*taken))
}
