//! What a run that shuts other writers out leaves in the vault, so that a crash
//! does not shut them out for ever.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::database::DatabaseFacts;
use super::manifest::RanOn;

/// The setting that is changed for the time of the run, as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Of the database, which may get another name meanwhile.
    pub oid: i64,
    /// `None`: the database had no such setting.
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShutMark {
    pub at: DateTime<Utc>,
    pub database: DatabaseFacts,
    pub before: Before,
    pub ran_on: RanOn,
}
