//! The JSON beside a dump. A backup exists when its manifest exists.
//!
//! What a restore compares with stands in the manifest, so it says itself
//! whether it is as it was written: its last field is the SHA-256 of all lines
//! before that field. A shell can tell, too; see the README.

use std::ops::Not;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::database::{AppliedMigration, Contents, DatabaseFacts, EngineKind, TableRows};
use super::digest::Sha256;
use super::encryption::Encryption;
use super::id::{BackupId, Label, Reason};
use super::kind::Kind;
use super::platform::Platform;
use super::schema::Relation;

pub use server::{Globals, RestorePoint, Wal};

mod server;

/// The newest format that this program reads.
pub const FORMAT: u64 = PLATFORM_FORMAT;
/// Of a full backup. Programs that know no others must not take another one for it.
const FULL_FORMAT: u64 = 1;
/// Of less than all.
const KIND_FORMAT: u64 = 2;
/// Without what a platform owns: a program that does not know of it would put it in place of that.
const PLATFORM_FORMAT: u64 = 3;

/// A manifest is a few KiB; 5,000 tables make half a MiB. More is damage or an attack.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The field that ends a manifest.
const SEAL: &str = "manifest_sha256";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u64,
    pub id: BackupId,
    pub label: Option<Label>,
    pub reason: Reason,
    /// The moment that the backup holds: when its snapshot was taken.
    pub created_at: DateTime<Utc>,
    /// From that moment until the dump was read back and matched.
    pub duration_ms: u64,
    pub database: DatabaseFacts,
    pub tool: Tool,
    /// What wrote the dump, with its version.
    pub dump_tool: String,
    pub dump: StoredDump,
    /// Exact rows, counted in the same snapshot that was dumped.
    pub tables: Vec<TableRows>,
    pub large_objects: Option<u64>,
    /// What the tables looked like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<Relation>,
    pub migrations: MigrationsThen,
    /// What of the database is in the dump; absent when all of it is.
    #[serde(default, skip_serializing_if = "Kind::is_full")]
    pub kind: Kind,
    /// Of a database on somebody's platform: what was left out because it is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Roles and tablespaces of the server, when they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub globals: Option<Globals>,
    /// PostgreSQL: where the server's log stood, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<Wal>,
    pub git: Option<Git>,
    pub ran_on: RanOn,
    /// Fields of a later version; written back as they were.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredDump {
    /// The file's name, in the folder of the manifest.
    pub file: String,
    /// Of the stored bytes, compressed and maybe encrypted, as `sha256sum` computes it.
    pub sha256: Sha256,
    pub size_bytes: u64,
    /// Before compression.
    pub raw_size_bytes: u64,
    pub compression: String,
    /// What is compressed; absent for what all engines can write.
    #[serde(default, skip_serializing_if = "DumpFormat::is_stream")]
    pub format: DumpFormat,
    /// How what is compressed is encrypted; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a dump is once it has been decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DumpFormat {
    /// One file: the SQLite database, or a dump in PostgreSQL's custom format.
    #[default]
    Stream,
    /// PostgreSQL's directory format, in a tar.
    Directory,
    /// SQL as text.
    Plain,
}

impl DumpFormat {
    fn is_stream(&self) -> bool {
        *self == DumpFormat::Stream
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MigrationsThen {
    pub applied: Vec<AppliedMigration>,
    pub pending: Vec<PendingMigration>,
    /// sqlx's table, as written into SQL; on PostgreSQL with its schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What was applied then is not in the dump.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub not_dumped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingMigration {
    pub version: i64,
    pub description: String,
}

/// The checkout that the backup was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    pub commit: String,
    pub dirty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RanOn {
    pub user: Option<String>,
    pub host: Option<String>,
    pub ci_run_url: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    #[error("it is not a manifest: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has format {0}; this program reads up to format {FORMAT}, a newer one is needed")]
    Newer(u64),
    #[error("it has no format number")]
    NoFormat,
    #[error("its own SHA-256 does not match: it was damaged or edited")]
    Changed,
    #[error("it names the dump file `{0}`, which is not this backup's")]
    DumpName(String),
    #[error("its kind is none that this program knows, or does not go together with its id")]
    Kind,
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
}

impl Manifest {
    /// Reads a manifest. Where something is wrong with it, the format number is
    /// looked at before all else, so that a newer manifest is called newer and
    /// not damaged.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, BadManifest> {
        // Read once when all is well: a vault may hold thousands.
        let sealed = refuse_changed(bytes);
        let read = sealed.and_then(|()| Ok(serde_json::from_slice::<Manifest>(bytes)?));
        let mut manifest = match read {
            Ok(manifest) if (1..=FORMAT).contains(&manifest.format) => manifest,
            read => {
                refuse_other_formats(bytes)?;
                read?
            }
        };
        manifest.other.remove(SEAL);
        if manifest.dump_ending().is_none() {
            return Err(BadManifest::DumpName(manifest.dump.file));
        }
        manifest.refuse_kind()?;
        Ok(manifest)
    }

    fn refuse_kind(&self) -> Result<(), BadManifest> {
        let Manifest { kind, id, .. } = self;
        let is_of_id = kind.is_full() || kind.words() == id.kind_words();
        let is_more = self.format > Manifest::format_of(kind, self.platform.as_ref());
        match kind.unknown.is_empty() && is_of_id && !is_more {
            true => Ok(()),
            false => Err(BadManifest::Kind),
        }
    }

    /// What follows the id in the dump's name; `None` when that is another backup's name.
    pub fn dump_ending(&self) -> Option<&str> {
        let ending = self.dump.file.strip_prefix(self.id.as_str())?;
        let sealing = ending.strip_prefix(dump_ending(self.database.engine, self.dump.format))?;
        let is_right = match &self.dump.encryption {
            None => sealing.is_empty(),
            Some(_) => turn_of(sealing).is_some(),
        };
        is_right.then_some(ending)
    }

    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        to_sealed_json(self)
    }

    /// As it is printed: without the settings of the database, in which people
    /// keep secrets. The file has them, because a restore needs them.
    pub fn for_show(&self) -> Manifest {
        let mut shown = self.clone();
        shown.hide();
        shown
    }

    /// The same without a copy, where there are thousands.
    pub fn hide(&mut self) {
        self.database.properties = None;
        if let Some(globals) = &mut self.globals {
            globals.sql = None;
        }
    }

    /// The format of a manifest that is written now.
    pub fn format_of(kind: &Kind, platform: Option<&Platform>) -> u64 {
        match (platform, kind.is_full()) {
            (Some(_), _) => PLATFORM_FORMAT,
            (None, true) => FULL_FORMAT,
            (None, false) => KIND_FORMAT,
        }
    }

    /// Schemas of the database that are not in the dump, and that nothing done with it is about.
    pub fn platform_schemas(&self) -> &[String] {
        let platform = self.platform.as_ref();
        platform.map_or(&[], |platform| &platform.schemas)
    }

    /// Whether it may take the place of a database: all of it, in the engine's own form.
    pub fn is_full(&self) -> bool {
        self.kind.is_full() && self.dump.format != DumpFormat::Plain
    }

    /// Rows of all tables. The numbers may be anything: the file may have been edited.
    pub fn rows(&self) -> u64 {
        let tables = self.tables.iter().filter(|table| table.kind.is_table());
        let rows = tables.map(|table| table.rows);
        rows.fold(0, u64::saturating_add)
    }

    /// Of the dump.
    pub fn contents(&self) -> Contents {
        Contents {
            tables: self.tables.clone(),
            large_objects: self.large_objects,
            applied: match self.migrations.not_dumped {
                true => Vec::new(),
                false => self.migrations.applied.clone(),
            },
            history_table: match self.migrations.not_dumped {
                true => None,
                false => self.migrations.table.clone(),
            },
            relations: self.relations.clone(),
        }
    }
}

/// Fields on lines of their own, and the digest of these lines as the last one.
pub fn to_sealed_json(fields: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec_pretty(fields)?;
    bytes.truncate(bytes.len() - b"\n}".len());
    bytes.extend(b",\n");
    Ok(sealed(bytes))
}

/// The lines of a manifest but the last ones, and these.
pub fn sealed(mut lines: Vec<u8>) -> Vec<u8> {
    let ending = ending(&lines);
    lines.extend(ending.as_bytes());
    lines
}

/// Whether these are lines that [`sealed`] has ended.
pub fn is_sealed(bytes: &[u8]) -> bool {
    refuse_changed(bytes).is_ok()
}

/// What follows the lines that it is the digest of.
fn ending(lines: &[u8]) -> String {
    format!("  \"{SEAL}\": \"{}\"\n}}\n", Sha256::of(lines))
}

fn refuse_other_formats(bytes: &[u8]) -> Result<(), BadManifest> {
    #[derive(Deserialize)]
    struct Format {
        format: Option<u64>,
    }
    match serde_json::from_slice::<Format>(bytes)?.format {
        None | Some(0) => Err(BadManifest::NoFormat),
        Some(newer) if newer > FORMAT => Err(BadManifest::Newer(newer)),
        Some(_) => Ok(()),
    }
}

/// Every byte counts: what is not digested must be exactly what was written.
fn refuse_changed(bytes: &[u8]) -> Result<(), BadManifest> {
    let at = bytes.len().checked_sub(ending(&[]).len());
    let (lines, found) = bytes.split_at(at.ok_or(BadManifest::Changed)?);
    if found == ending(lines).as_bytes() {
        Ok(())
    } else {
        Err(BadManifest::Changed)
    }
}

const SQLITE_FILE: &str = ".db.zst";
const CUSTOM_FORMAT: &str = ".dump.zst";
const DIRECTORY_FORMAT: &str = ".tar.zst";
const PLAIN_FORMAT: &str = ".sql.zst";

/// How the name of a dump may end after the backup's id.
pub const DUMP_ENDINGS: [&str; 4] = [SQLITE_FILE, CUSTOM_FORMAT, DIRECTORY_FORMAT, PLAIN_FORMAT];

pub fn dump_ending(engine: EngineKind, format: DumpFormat) -> &'static str {
    match (engine, format) {
        (_, DumpFormat::Plain) => PLAIN_FORMAT,
        (EngineKind::Sqlite, _) => SQLITE_FILE,
        (EngineKind::Postgresql, DumpFormat::Stream) => CUSTOM_FORMAT,
        (EngineKind::Postgresql, DumpFormat::Directory) => DIRECTORY_FORMAT,
    }
}

/// `turn` is how often the dump was encrypted, each time into another file.
pub fn dump_file_name(id: &BackupId, engine: EngineKind, format: DumpFormat, turn: u32) -> String {
    format!("{id}{}{}", dump_ending(engine, format), sealed_ending(turn))
}

const SEALED: &str = "age";

/// Nothing, `.age`, `.2.age`, `.3.age`.
pub fn sealed_ending(turn: u32) -> String {
    match turn {
        0 => String::new(),
        1 => format!(".{SEALED}"),
        later => format!(".{later}.{SEALED}"),
    }
}

/// The reverse, of what is encrypted.
pub fn turn_of(ending: &str) -> Option<u32> {
    let before = ending.strip_suffix(SEALED)?.strip_suffix('.')?;
    let turn = match before.strip_prefix('.') {
        None => 1,
        Some(number) => number.parse().ok()?,
    };
    (turn > 0 && sealed_ending(turn) == ending).then_some(turn)
}

/// Splits the name of a dump into what stands for the id and the ending.
pub fn split_dump_name(name: &str) -> Option<(&str, &str)> {
    let places = DUMP_ENDINGS.iter().filter_map(|plain| {
        let at = name.rfind(plain)?;
        Some((at, &name[at + plain.len()..]))
    });
    // A label may look like an ending, too.
    let (at, sealing) = places.max_by_key(|(at, _)| *at)?;
    let is_whole = sealing.is_empty() || turn_of(sealing).is_some();
    is_whole.then(|| name.split_at(at))
}

pub fn manifest_file_name(id: &BackupId) -> String {
    format!("{id}.json")
}
