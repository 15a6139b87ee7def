//! What a migration would do, as a value: shown, confirmed and executed are the same.

use std::borrow::Cow;
use std::path::PathBuf;

pub use sqlx::migrate::Migration;

use super::database::AppliedMigration;
use super::manifest::PendingMigration;

/// Where migrations are read from.
#[derive(Debug, Clone)]
pub struct Source {
    pub folder: PathBuf,
    /// Left out of checksums, as `sqlx.toml` says.
    pub ignored_chars: Vec<char>,
}

/// How sqlx keeps its books, from `sqlx.toml`.
#[derive(Debug, Clone)]
pub struct Bookkeeping {
    /// As written into SQL; may be qualified with a schema.
    pub table: String,
    pub create_schemas: Vec<String>,
}

impl Default for Bookkeeping {
    fn default() -> Self {
        Bookkeeping {
            table: "_sqlx_migrations".into(),
            create_schemas: Vec::new(),
        }
    }
}

/// Applied and pending migrations, in the order in which they run.
#[derive(Debug, Clone)]
pub struct MigrationPlan {
    pub applied: Vec<AppliedMigration>,
    pub pending: Vec<Migration>,
}

impl MigrationPlan {
    pub fn pending_names(&self) -> Vec<PendingMigration> {
        self.pending
            .iter()
            .map(|m| PendingMigration {
                version: m.version,
                description: describe(&m.description).into_owned(),
            })
            .collect()
    }
}

/// A description without control characters, fit for a terminal.
pub fn describe(description: &str) -> Cow<'_, str> {
    if description.chars().any(char::is_control) {
        Cow::Owned(description.chars().filter(|c| !c.is_control()).collect())
    } else {
        Cow::Borrowed(description)
    }
}

/// Why a history and a folder do not go together. All of them are refused
/// before anything is changed, as sqlx does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    #[error("migration {0} was begun and not finished; the history is dirty")]
    Dirty(i64),
    #[error("migration {0} was applied before, and its file was changed since")]
    Changed(i64),
    #[error("migration {0} was applied before, and its file is missing")]
    Missing(i64),
    #[error("two migration files have the version {0}")]
    Twice(i64),
    #[error("there is no migration with the target version {0}")]
    NoTarget(i64),
    #[error("the target version {target} is older than {applied}, which is already applied")]
    TargetTooOld { target: i64, applied: i64 },
}

/// One migration that ran.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MigrationRan {
    pub version: i64,
    pub description: String,
    pub duration_ms: u64,
}
