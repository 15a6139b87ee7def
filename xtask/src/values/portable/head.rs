//! What an export says of itself, before and after its rows.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::cell::Kind;
use crate::values::database::{AppliedMigration, EngineKind};
use crate::values::digest::Sha256;
use crate::values::schema::display_name;
use crate::values::words::on_one_line;

/// A later one that an earlier reader would take for something else is another number.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub format: u32,
    pub engine: EngineKind,
    pub engine_version: String,
    /// The database's name; the file's on SQLite.
    pub database: String,
    /// All rows are of this moment.
    pub taken_at: DateTime<Utc>,
    /// sqlx's history then; its table is not among the tables unless somebody asked for it.
    pub migrations: Vec<AppliedMigration>,
    /// What the database holds and the file does not; one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// In the order of their rows: what others refer to comes first, where that can be.
    pub tables: Vec<TableHead>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableHead {
    pub schema: String,
    pub name: String,
    pub rows: u64,
    /// Of a CSV export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where generators of numbers were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<SequenceHead>,
    pub columns: Vec<ColumnHead>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnHead {
    pub name: String,
    /// As the database that it comes from calls it.
    #[serde(rename = "type")]
    pub data_type: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequenceHead {
    pub column: String,
    /// The last number that was given out.
    pub last: i64,
}

/// Which table the next rows are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

/// After the rows of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableEnd {
    pub schema: String,
    pub name: String,
    pub rows: u64,
    /// Of all rows, in any order.
    pub digest: String,
}

/// The last word: what does not have it was cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    pub tables: u64,
    pub rows: u64,
    /// SHA-256 of the head.
    pub head: Sha256,
}

impl Head {
    pub fn digest(&self) -> Result<Sha256, serde_json::Error> {
        Ok(Sha256::of(&serde_json::to_vec(self)?))
    }

    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

impl TableHead {
    /// For a person.
    pub fn title(&self) -> String {
        display_name(&self.schema, &self.name)
    }

    /// Where in the export a row stands.
    pub fn place(&self, line: u64) -> String {
        match &self.file {
            Some(file) => format!("`{}` line {line}", on_one_line(file)),
            None => format!("line {line}"),
        }
    }

    pub fn short(&self) -> TableName {
        TableName {
            schema: self.schema.clone(),
            name: self.name.clone(),
        }
    }

    pub fn is(&self, name: &TableName) -> bool {
        self.schema == name.schema && self.name == name.name
    }
}
