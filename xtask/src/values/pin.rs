//! What stands on a pin: who wants a backup kept, since when and what for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::BackupId;
use super::manifest::{RanOn, is_sealed, to_sealed_json};

/// How the name of a pin ends after the backup's id.
pub const ENDING: &str = ".pin";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    pub id: BackupId,
    pub pinned_at: DateTime<Utc>,
    /// One line.
    pub note: Option<String>,
    pub ran_on: RanOn,
}

impl Pin {
    /// With the SHA-256 of its lines at its end, as a manifest.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        to_sealed_json(self)
    }

    /// Nothing when it is not as it was written.
    pub fn parse(bytes: &[u8]) -> Option<Pin> {
        if !is_sealed(bytes) {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}
