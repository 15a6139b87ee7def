//! Receipts: files outside of the vault, where a person wants them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::values::failure::Failure;
use crate::values::receipt::Receipt;

/// One with thousands of tables has some hundred KiB.
const MAX_BYTES: u64 = 16 << 20;

/// Takes the place of an older one, as a whole.
pub fn write(path: &Path, receipt: &Receipt) -> Result<()> {
    let written = || -> Result<()> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut staged = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        serde_json::to_writer_pretty(&mut staged, receipt)?;
        writeln!(staged)?;
        staged.as_file().sync_all()?;
        staged.persist(path)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write the receipt `{}`", path.display()))
}

pub fn read(path: &Path) -> Result<Receipt> {
    let shown = path.display();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| {
            Failure::usage(format!("the receipt `{shown}` cannot be read: {error}"))
                .hint(format!("cargo xtask db migrate-safe --plan {shown}"))
        })?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("`{shown}` is no receipt: {error}"))
            .hint(format!(
                "write one: cargo xtask db migrate-safe --plan {shown}"
            ))
            .into()
    })
}
