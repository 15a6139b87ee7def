//! What a scratch database holds, in enough detail to say what a migration did to it.

use std::collections::BTreeMap;

use super::database::Contents;
use super::effect::Loss;

/// A database before or after migrations.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    pub contents: Contents,
    /// By schema and name of the table: how many values other than NULL each column has that
    /// takes NULL.
    pub values: BTreeMap<(String, String), BTreeMap<String, u64>>,
    /// What each table is known by, whatever it is called: to the engine itself, or, on SQLite, because
    /// the names were followed through the migrations.
    pub marks: BTreeMap<(String, String), i64>,
    /// The same of the columns of these tables.
    pub column_marks: BTreeMap<(String, String), BTreeMap<String, i64>>,
}

/// One migration on a scratch database.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rehearsed {
    pub version: i64,
    pub description: String,
    pub duration_ms: u64,
    /// PostgreSQL: tables that were there before and that others could not
    /// have written to meanwhile, with the strongest lock on each; one line
    /// each. Nothing for a migration that commits by itself.
    pub locks: Vec<String>,
    /// PostgreSQL: tables that were there before and were written anew as a whole.
    pub rewritten: Vec<String>,
    /// What of the file can have done that; a word for each of these tables.
    #[serde(default)]
    pub rewritten_by: Vec<Rewritten>,
    /// What it does to a platform's part, which is in no backup and without rows in a rehearsal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<Loss>,
}

/// A table that was written anew.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rewritten {
    pub table: String,
    /// The statements that can have done it, with their lines: one is the one.
    pub by: Vec<String>,
}

impl std::fmt::Display for Rewritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rewritten { table, by } = self;
        match by.as_slice() {
            [] => f.write_str(table),
            by => write!(f, "{table} ({})", by.join(", or ")),
        }
    }
}
