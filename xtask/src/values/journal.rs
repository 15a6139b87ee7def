//! What was done with a vault, one line for each thing, each with the digest
//! of the line before.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::digest::Sha256;
use super::id::BackupId;
use super::manifest::RanOn;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    Backup,
    Verify,
    Drill,
    Rehearse,
    Migrate,
    Restore,
    /// Tables came beside what was there; those that they replaced are in its safety backup.
    Bring,
    Undo,
    Remove,
    Pin,
    Unpin,
    Import,
    /// To a place off-site.
    Copy,
    /// From a place off-site into the vault.
    Pull,
    Rekey,
    /// Of a later version.
    #[serde(other)]
    Other,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Deed::Backup => "backup",
            Deed::Verify => "verify",
            Deed::Drill => "drill",
            Deed::Rehearse => "rehearse",
            Deed::Migrate => "migrate",
            Deed::Restore => "restore",
            Deed::Bring => "bring",
            Deed::Undo => "undo",
            Deed::Remove => "remove",
            Deed::Pin => "pin",
            Deed::Unpin => "unpin",
            Deed::Import => "import",
            Deed::Copy => "copy",
            Deed::Pull => "pull",
            Deed::Rekey => "rekey",
            Deed::Other => "other",
        })
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Not yet: written before the first change.
    Begun,
    Done,
    /// Stopped on purpose before anything changed.
    Refused,
    Failed,
    Interrupted,
    /// Of a later version.
    #[serde(other)]
    Other,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ending::Begun => "begun",
            Ending::Done => "done",
            Ending::Refused => "refused",
            Ending::Failed => "failed",
            Ending::Interrupted => "interrupted",
            Ending::Other => "other",
        })
    }
}

/// The database of an entry, where nobody can tell which one it was about.
pub const UNKNOWN: &str = "unknown database";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counted from 1; given when it is written.
    pub number: u64,
    pub at: DateTime<Utc>,
    pub deed: Deed,
    pub ending: Ending,
    /// Engine, name and place; never a password.
    pub database: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// Of a restore: what was there before, as a backup; also when nothing came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<BackupId>,
    /// Of a restore: the name under which what was there before is kept; of a removal: of such
    /// a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// Of what was done off-site: the name of the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The bucket and the server that had this name then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Of a copy in parts that was begun: what the store calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Of what was done off-site: the dump's file, which a rekey changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What went wrong, or what is worth knowing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub ran_on: RanOn,
    /// SHA-256 of the line before, without its line break; of nothing for the first.
    pub previous: Sha256,
    /// Fields of a later version.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A line as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Of the file, counted from 1.
    pub at: usize,
    /// Nothing when it is no entry.
    pub entry: Option<Entry>,
    /// What is wrong with it or just before it.
    pub problem: Option<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No harm: what it would have said is not known, and all else is.
    #[error("it was torn while it was written, by a power cut or a full disk")]
    Torn,
    #[error("it is no entry: it was damaged or changed")]
    NotAnEntry,
    #[error("the line before it was changed")]
    ChangedBefore,
    #[error("{0} missing before it")]
    MissingBefore(Missing),
    #[error("it is not where it was written: lines were moved or added")]
    Moved,
    #[error("it was changed")]
    Changed,
    #[error("{0} missing at the end")]
    MissingAtEnd(Missing),
}

/// How many lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(u64);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("a line is"),
            lines => write!(f, "{lines} lines are"),
        }
    }
}

/// What is known beside the journal of a line that was its last one once: no line after it says
/// what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub number: u64,
    /// Of the line, without its line break.
    pub sha256: Sha256,
}

/// Reads a journal; what is wrong in it is said where it is found. `end` may be behind.
pub fn read(bytes: &[u8], end: Option<End>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut before: Option<&[u8]> = None;
    let mut number = 0;
    let mut numbers = Vec::new();
    let mut texts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What follows the last line break: nothing, or a line that a power cut tore.
    let torn = texts.pop().filter(|text| !text.is_empty());
    for (i, text) in texts.iter().enumerate() {
        let entry: Option<Entry> = serde_json::from_slice(text).ok();
        let expected = Sha256::of(before.unwrap_or_default());
        let problem = match &entry {
            None => Some(Problem::NotAnEntry),
            Some(entry) if entry.previous == expected && entry.number == number + 1 => None,
            Some(entry) if entry.number == number + 1 => Some(Problem::ChangedBefore),
            Some(entry) if entry.number > number => {
                Some(Problem::MissingBefore(Missing(entry.number - number - 1)))
            }
            Some(_) => Some(Problem::Moved),
        };
        number = entry.as_ref().map_or(number + 1, |entry| entry.number);
        numbers.push(number);
        before = Some(text);
        lines.push(Line {
            at: i + 1,
            entry,
            problem,
        });
    }
    explain_torn(&mut lines, &texts);
    if let Some(torn) = torn {
        lines.push(Line {
            at: lines.len() + 1,
            entry: None,
            problem: Some(Problem::Torn),
        });
        texts.push(torn);
        numbers.push(number + 1);
    }
    if let Some(end) = end {
        let numbered: Vec<_> = numbers.into_iter().zip(texts).collect();
        compare_end(&mut lines, &numbered, end);
    }
    lines
}

/// One that was written once is known to have been whole: it was not torn since.
fn compare_end(lines: &mut Vec<Line>, numbered: &[(u64, &[u8])], end: End) {
    let last = numbered.last().map_or(0, |(number, _)| *number);
    if last < end.number {
        lines.push(Line {
            at: lines.len() + 1,
            entry: None,
            problem: Some(Problem::MissingAtEnd(Missing(end.number - last))),
        });
        return;
    }
    let found = numbered
        .iter()
        .rposition(|(number, _)| *number == end.number);
    if let Some(i) = found
        && Sha256::of(numbered[i].1) != end.sha256
        && matches!(lines[i].problem, None | Some(Problem::Torn))
    {
        lines[i].problem = Some(Problem::Changed);
    }
}

/// A line that is no entry and whose digest the next one has was like that when
/// the next one was written.
fn explain_torn(lines: &mut [Line], texts: &[&[u8]]) {
    for i in 0..lines.len().saturating_sub(1) {
        let next = lines[i + 1].entry.as_ref();
        let is_known = next.is_some_and(|next| next.previous == Sha256::of(texts[i]));
        if lines[i].entry.is_none() && is_known {
            lines[i].problem = Some(Problem::Torn);
        }
    }
}

/// What has been shown of a backup, beyond its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Ladder {
    /// Its bytes were matched with its manifest.
    pub verified_at: Option<DateTime<Utc>>,
    /// Since then they were found not to match, or could not be read.
    pub verify_failed_at: Option<DateTime<Utc>>,
    /// It was restored into a scratch database and compared.
    pub drilled_at: Option<DateTime<Utc>>,
    /// Since then that has failed.
    pub drill_failed_at: Option<DateTime<Utc>>,
    /// That, and the migrations that were pending ran there.
    pub rehearsed_at: Option<DateTime<Utc>>,
}

impl Ladder {
    /// What this deed, as it ended, has shown. A rehearsal fails because of the migrations as well.
    pub fn climb(&mut self, deed: Deed, ending: Ending, at: DateTime<Utc>) {
        let mut shown = Ladder::default();
        let rung = match (deed, ending) {
            (Deed::Verify, Ending::Done) => &mut shown.verified_at,
            (Deed::Verify, Ending::Failed) => &mut shown.verify_failed_at,
            (Deed::Drill, Ending::Done) => &mut shown.drilled_at,
            (Deed::Drill, Ending::Failed) => &mut shown.drill_failed_at,
            (Deed::Rehearse, Ending::Done) => &mut shown.rehearsed_at,
            _ => return,
        };
        *rung = Some(at);
        self.overtake(&shown);
    }

    /// What was shown later counts.
    pub fn overtake(&mut self, later: &Ladder) {
        // Whatever is restored is matched before.
        if later.verified_at.or(later.restored_at()).is_some() {
            self.verify_failed_at = None;
        }
        if later.restored_at().is_some() {
            self.drill_failed_at = None;
        }
        let newer = |now: &mut Option<DateTime<Utc>>, later: Option<DateTime<Utc>>| {
            *now = later.or(*now);
        };
        newer(&mut self.verified_at, later.verified_at);
        newer(&mut self.verify_failed_at, later.verify_failed_at);
        newer(&mut self.drilled_at, later.drilled_at);
        newer(&mut self.drill_failed_at, later.drill_failed_at);
        newer(&mut self.rehearsed_at, later.rehearsed_at);
    }

    /// When it was last restored and compared, for whatever reason.
    pub fn restored_at(&self) -> Option<DateTime<Utc>> {
        self.drilled_at.max(self.rehearsed_at)
    }
}

/// By id; the newest of each rung.
pub fn ladders(lines: &[Line]) -> BTreeMap<BackupId, Ladder> {
    let mut ladders = BTreeMap::<BackupId, Ladder>::new();
    let entries = lines.iter().filter_map(|line| line.entry.as_ref());
    // What was found of a copy says nothing of the backup in the vault.
    for entry in entries.filter(|entry| entry.place.is_none()) {
        let Some(id) = &entry.backup else { continue };
        let ladder = ladders.entry(id.clone()).or_default();
        ladder.climb(entry.deed, entry.ending, entry.at);
    }
    ladders
}
