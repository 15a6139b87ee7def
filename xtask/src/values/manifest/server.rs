//! What a manifest says of the PostgreSQL server, beyond the database.

use serde::{Deserialize, Serialize};

/// A moment by the log of a PostgreSQL server, to which point-in-time recovery can go: all that the
/// dump holds was committed before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wal {
    /// For `recovery_target_lsn`.
    pub lsn: String,
    pub timeline: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_point: Option<RestorePoint>,
}

/// A name in the log, for `recovery_target_name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePoint {
    pub name: String,
    pub lsn: String,
}

/// What belongs to a PostgreSQL server and not to one database; never a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Globals {
    /// What wrote it, with its version.
    pub tool: String,
    /// For `psql`. Left out where it is shown: settings of roles may hold secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}
