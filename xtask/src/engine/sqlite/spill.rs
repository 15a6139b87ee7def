//! Where SQLite writes what it sorts and cannot hold in memory.

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::Connection;

/// Into this folder, from here on: what is unpacked of an encrypted backup may lie nowhere else, and
/// memory would grow with it. It is of the process, not of a connection; when the folder is gone,
/// SQLite goes where it would have gone.
pub fn spill_into(folder: &Path) -> Result<()> {
    // A name that is no UTF-8 cannot be told to SQLite.
    let Some(folder) = folder.to_str() else {
        return Ok(());
    };
    let spill = || {
        let connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "temp_store_directory", folder)
    };
    spill().with_context(|| format!("cannot have SQLite keep temporary files in `{folder}`"))
}
