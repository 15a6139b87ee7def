//! A backup in one line of a list.

use chrono::{DateTime, Utc};

use super::database::EngineKind;
use super::encryption::Encryption;
use super::id::Reason;
use super::journal::Ladder;
use super::manifest::Manifest;

/// What a list shows of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub id: String,
    pub reason: Reason,
    pub engine: EngineKind,
    /// What it is, when it is no full one.
    pub kind: Option<String>,
    /// What follows the id in the name of the dump.
    pub dump_ending: String,
    /// For whom it is encrypted; nothing when it is not.
    pub encrypted_for: Option<String>,
    /// The name of the database.
    pub database: String,
    pub created_at: DateTime<Utc>,
    pub size_bytes: u64,
    pub tables: u64,
    pub rows: u64,
    /// The last migration that was applied.
    pub migration: Option<i64>,
    /// What the journal says, and the manifest does not.
    pub ladder: Ladder,
}

impl From<&Manifest> for Summary {
    fn from(manifest: &Manifest) -> Summary {
        let applied = &manifest.migrations.applied;
        Summary {
            id: manifest.id.to_string(),
            reason: manifest.reason,
            engine: manifest.database.engine,
            kind: manifest.kind.name(),
            dump_ending: manifest.dump_ending().unwrap_or_default().to_owned(),
            encrypted_for: manifest.dump.encryption.as_ref().map(Encryption::summary),
            database: manifest.database.name.clone(),
            created_at: manifest.created_at,
            size_bytes: manifest.dump.size_bytes,
            tables: manifest.tables.len() as u64,
            rows: manifest.rows(),
            migration: applied.iter().map(|m| m.version).max(),
            ladder: Ladder::default(),
        }
    }
}
