//! Receipts: files outside of the vault, where a person wants them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::export_file::{Kept, Staged};
use crate::values::failure::Failure;
use crate::values::receipt::Receipt;
use crate::values::words::shell_quoted;

/// One with thousands of tables has some hundred KiB.
const MAX_BYTES: u64 = 16 << 20;

/// Whether there is an older one, whose place it takes; nothing else is ever replaced.
pub fn may_replace(path: &Path, kept: &Kept) -> Result<bool> {
    let is_there = path.symlink_metadata().is_ok();
    kept.refuse(path, is_there)?;
    if is_there && read(path).is_err() {
        let shown = path.display();
        return Err(Failure::refused(format!(
            "the file `{shown}` is there already and is no receipt; it stays"
        ))
        .hint("name another one, such as --plan receipt.json")
        .into());
    }
    Ok(is_there)
}

/// As a whole.
pub fn write(path: &Path, receipt: &Receipt, kept: &Kept) -> Result<()> {
    let staged = Staged::create(path, may_replace(path, kept)?, kept)?;
    let context = || format!("cannot write the receipt `{}`", path.display());
    let mut file = staged.writer()?;
    let text = serde_json::to_string_pretty(receipt).with_context(context)?;
    writeln!(file, "{text}").with_context(context)?;
    staged.publish()
}

pub fn read(path: &Path) -> Result<Receipt> {
    let shown = path.display();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| {
            let file = match path.symlink_metadata() {
                Ok(_) => "receipt.json".into(),
                Err(_) => shell_quoted(&path.to_string_lossy()),
            };
            Failure::usage(format!("the receipt `{shown}` cannot be read: {error}"))
                .hint(format!("cargo xtask db migrate-safe --plan {file}"))
        })?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("`{shown}` is no receipt: {error}"))
            .hint("write one: cargo xtask db migrate-safe --plan receipt.json")
            .into()
    })
}
