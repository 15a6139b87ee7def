//! What `db list` remembers of a large vault: a line of each manifest, and the
//! file that the line was read from.
//!
//! A cache, and for showing only: nothing is verified, restored or called the
//! latest by it. It may be removed at any time.
//!
//! A line counts as long as its manifest is the very file that was read, by
//! device, inode, size and both times. The system sets the time of the last
//! change (`ctime`) itself; no program sets it back. A file that was changed only
//! just before it was read could be changed again within the same tick of the
//! clock: such a one is not remembered, and read again the next time.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use chrono::DateTime;

use super::Vault;
use super::sealed::STAGED;
use super::staging::Staging;
use crate::durable;
use crate::values::database::EngineKind;
use crate::values::id::Reason;
use crate::values::journal::Ladder;
use crate::values::summary::Summary;

const FILE: &str = ".index";

/// Its first bytes. What a line holds is another number with every change.
const HEADER: &[u8] = b"xtask-db index 3\n";

/// The coarsest clock of a file system that backups are kept on (FAT's), in
/// nanoseconds; those of others tick every few milliseconds.
const TICK: i128 = 2_000_000_000;

/// Says whether a file is the same and unchanged: device, inode, size, and both times.
pub(super) type Stamp = [u64; 7];

pub(super) fn stamp(metadata: &Metadata) -> Stamp {
    [
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime().cast_unsigned(),
        metadata.mtime_nsec().cast_unsigned(),
        metadata.ctime().cast_unsigned(),
        metadata.ctime_nsec().cast_unsigned(),
    ]
}

/// Nanoseconds since 1970 of the last change of a file, of its bytes or else.
fn changed_at(metadata: &Metadata) -> i128 {
    let at = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let bytes = at(metadata.mtime(), metadata.mtime_nsec());
    bytes.max(at(metadata.ctime(), metadata.ctime_nsec()))
}

#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Nothing where the file is too new to tell it from one that changes now.
    pub stamp: Option<Stamp>,
    pub summary: Summary,
}

/// The moment before which a file must have been left alone to be remembered;
/// by the clock of the vault's file system, which may be a server's.
#[derive(Clone, Copy)]
pub(super) struct Moment(i128);

impl Moment {
    pub(super) fn stamp(self, metadata: &Metadata) -> Option<Stamp> {
        (changed_at(metadata) + TICK < self.0).then(|| stamp(metadata))
    }
}

/// A new index that nobody sees yet.
pub(super) struct Draft {
    staging: Staging,
    file: File,
    pub since: Moment,
}

impl Vault {
    /// Empty when there is none, or none of use.
    pub(super) fn read_index(&self) -> Vec<Line> {
        // Whatever is wrong with it, the manifests tell the same, only slower.
        let lines = self.read_sealed(FILE, HEADER);
        lines.and_then(|lines| lines_in(&lines)).unwrap_or_default()
    }

    /// Begins before the manifests are read that go into it. Nothing where the
    /// vault cannot be written to.
    pub(super) fn draft_index(&self) -> Option<Draft> {
        let staging = self.staging("index").ok()?;
        let file = durable::create_private_file(&staging.file(STAGED)).ok()?;
        let since = Moment(changed_at(&file.metadata().ok()?));
        Some(Draft {
            staging,
            file,
            since,
        })
    }

    pub(super) fn write_index<'a>(
        &self,
        draft: Draft,
        lines: impl Iterator<Item = &'a Line>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            if let Some(stamp) = line.stamp {
                write_line(&mut bytes, stamp, &line.summary);
            }
        }
        self.write_sealed(FILE, HEADER, &bytes, (draft.staging, draft.file))
    }
}

fn write_line(bytes: &mut Vec<u8>, stamp: Stamp, summary: &Summary) {
    let [engine, reason] = [
        u8::from(summary.engine == EngineKind::Postgresql),
        match summary.reason {
            Reason::Manual => 0,
            Reason::PreMigrate => 1,
            Reason::PreRestore => 2,
            Reason::PreImport => 3,
        },
    ];
    let encrypted_for = summary.encrypted_for.as_deref();
    bytes.extend([engine, reason]);
    bytes.push(u8::from(summary.migration.is_some()));
    bytes.push(u8::from(encrypted_for.is_some()));
    let texts = [
        summary.id.as_str(),
        &summary.database,
        &summary.dump_ending,
        encrypted_for.unwrap_or_default(),
        summary.kind.as_deref().unwrap_or_default(),
    ];
    let numbers = [
        summary.migration.unwrap_or_default().cast_unsigned(),
        summary.created_at.timestamp().cast_unsigned(),
        u64::from(summary.created_at.timestamp_subsec_nanos()),
        summary.size_bytes,
        summary.tables,
        summary.rows,
    ];
    let lengths = texts.iter().map(|text| text.len() as u64);
    for number in stamp.into_iter().chain(numbers).chain(lengths) {
        bytes.extend(number.to_le_bytes());
    }
    texts.iter().for_each(|text| bytes.extend(text.as_bytes()));
}

fn lines_in(mut bytes: &[u8]) -> Option<Vec<Line>> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        lines.push(read_line(&mut bytes)?);
    }
    Some(lines)
}

fn read_line(bytes: &mut &[u8]) -> Option<Line> {
    let [engine, reason, has_migration, is_encrypted] = *take(bytes)?;
    let stamp = numbers(bytes)?;
    let [
        migration,
        seconds,
        nanos,
        size_bytes,
        tables,
        rows,
        id,
        database,
        dump_ending,
        encrypted_for,
        kind,
    ] = numbers(bytes)?;
    let mut text = |length: u64| -> Option<String> {
        let (text, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        *bytes = rest;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    };
    let summary = Summary {
        id: text(id)?,
        database: text(database)?,
        dump_ending: text(dump_ending)?,
        encrypted_for: Some(text(encrypted_for)?).filter(|_| is_encrypted == 1),
        kind: Some(text(kind)?).filter(|kind| !kind.is_empty()),
        engine: *[EngineKind::Sqlite, EngineKind::Postgresql].get(usize::from(engine))?,
        reason: *[
            Reason::Manual,
            Reason::PreMigrate,
            Reason::PreRestore,
            Reason::PreImport,
        ]
        .get(usize::from(reason))?,
        migration: (has_migration == 1).then_some(migration.cast_signed()),
        created_at: DateTime::from_timestamp(seconds.cast_signed(), u32::try_from(nanos).ok()?)?,
        size_bytes,
        tables,
        rows,
        ladder: Ladder::default(),
    };
    Some(Line {
        stamp: Some(stamp),
        summary,
    })
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(taken)
}

fn numbers<const N: usize>(bytes: &mut &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = u64::from_le_bytes(*take(bytes)?);
    }
    Some(numbers)
}
