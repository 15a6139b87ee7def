//! What restores replaced and kept beside the live database.

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::Restored;
use crate::values::database::Contents;

pub struct Kept {
    pub name: String,
    /// A command that removes it.
    pub remove_command: String,
}

/// A database that was replaced and kept, under a name and a mark of ours.
pub struct KeptDatabase {
    pub name: String,
    pub since: DateTime<Utc>,
    /// As the server may tell this role.
    pub size_bytes: Option<u64>,
}

/// What would come back; shown before the question.
pub struct SwapBack {
    pub contents: Contents,
    /// Other sessions that will be cut, one line each.
    pub sessions: Vec<String>,
    /// One line each.
    pub warnings: Vec<String>,
}

/// The databases that were replaced and kept beside the live one.
pub trait Aside {
    /// Those that are ours and this role's, newest first. Reads only.
    fn list(&mut self) -> Result<Vec<KeptDatabase>>;

    /// Counts what is in it; refuses what cannot be swapped back.
    fn look_into(&mut self, kept: &KeptDatabase) -> Result<SwapBack>;

    /// Puts it in place of the live database, which is kept in turn, or changes nothing.
    fn swap_back(&mut self, kept: &KeptDatabase) -> Result<Restored>;

    /// Drops it; never one that is not marked as kept, or that somebody is in.
    fn remove(&mut self, kept: &KeptDatabase) -> Result<()>;
}
