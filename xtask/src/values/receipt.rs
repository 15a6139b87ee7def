//! A receipt: what was planned, rehearsed and reviewed, so that exactly that is run later.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::database::{AppliedMigration, DatabaseFacts};
use super::effect::Effect;
use super::id::BackupId;
use super::manifest::{Git, RanOn};
use super::survey::Rehearsed;

/// The format that this program writes, and the only one that it reads.
pub const FORMAT: u64 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receipt {
    pub format: u64,
    pub created_at: DateTime<Utc>,
    pub database: DatabaseFacts,
    /// The history as it was.
    pub applied: Vec<AppliedMigration>,
    pub pending: Vec<Planned>,
    /// What was taken for the rehearsal; a fresh one is taken before the migrations run.
    pub backup: BackupId,
    pub migrations: Vec<Rehearsed>,
    pub effect: Effect,
    /// Names of tables and columns, as they were declared.
    pub accepted_losses: Vec<String>,
    pub git: Option<Git>,
    pub ran_on: RanOn,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub version: i64,
    pub description: String,
    /// SHA-384 of the file, hexadecimal, as sqlx computes it.
    pub checksum: String,
}

/// Why a receipt is not one for what would run now.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("it has format {0}, this program reads format {FORMAT}")]
    Format(u64),
    #[error("it is of another database, the {0}")]
    Database(String),
    #[error("since then the history of the database has changed")]
    History,
    #[error("migration {0} is pending now, and was not then")]
    New(i64),
    #[error("migration {0} was to run, and is not pending now")]
    Gone(i64),
    #[error("the file of migration {0} was changed since")]
    Changed(i64),
}

impl Receipt {
    /// Whether it is for this database, this history and these files. A SQLite
    /// file that was moved is the one of the same name, as for a backup.
    pub fn require(
        &self,
        now: &DatabaseFacts,
        applied: &[AppliedMigration],
        pending: &[Planned],
        exists: impl Fn(&str) -> bool,
    ) -> Result<(), Mismatch> {
        if self.format != FORMAT {
            return Err(Mismatch::Format(self.format));
        }
        if !now.is_same_as(&self.database, exists) {
            return Err(Mismatch::Database(self.database.to_string()));
        }
        if self.applied != applied {
            return Err(Mismatch::History);
        }
        let find = |list: &[Planned], version: i64| {
            list.iter()
                .find(|planned| planned.version == version)
                .cloned()
        };
        for planned in pending {
            match find(&self.pending, planned.version) {
                None => return Err(Mismatch::New(planned.version)),
                Some(then) if then.checksum != planned.checksum => {
                    return Err(Mismatch::Changed(planned.version));
                }
                Some(_) => {}
            }
        }
        let is_gone = |planned: &&Planned| find(pending, planned.version).is_none();
        match self.pending.iter().find(is_gone) {
            Some(gone) => Err(Mismatch::Gone(gone.version)),
            None => Ok(()),
        }
    }
}
