//! A dump's table of contents, for a scratch database in which something stands in for a platform's part.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{entry_of, is_extension, is_gap, is_key_of, is_schema, shown, write_without};
use crate::engine::postgres::Postgres;
use crate::values::platform::{Extension, Platform};
use crate::values::verified_dump::VerifiedDump;

/// For a scratch database that has the platform's part without rows: foreign keys to that, what
/// stands in for it already, and what only a superuser can make.
pub fn list_beside(
    postgres: &Postgres,
    dump: &VerifiedDump,
    platform: &Platform,
    is_superuser: bool,
    staging: &Path,
) -> Result<PathBuf> {
    let path = staging.join("list_beside");
    write_without(postgres, dump, &path, |line| {
        let mut extensions = platform.extensions.iter();
        is_gap(dump, line)
            || is_key_of(&platform.foreign_keys, line)
            || extensions.any(|extension| stands_in(line, extension))
            || (!is_superuser && is_event_trigger(line))
    })?;
    Ok(path)
}

/// What the platform's extension is, or where it is, or what was in it: it is made, where the role
/// can, before the dump's own.
fn stands_in(line: &str, extension: &Extension) -> bool {
    let words = shown(line);
    let is_entry = entry_of(line).is_some();
    let is_rows = |(schema, name): &(String, String)| {
        words.starts_with(&format!("TABLE DATA {schema} {name} "))
    };
    is_extension(line, &extension.name)
        || is_schema(line, &extension.schema)
        || (is_entry && extension.tables.iter().any(is_rows))
}

/// Itself, or what is said of it.
fn is_event_trigger(line: &str) -> bool {
    let words = shown(line);
    entry_of(line).is_some()
        && (words.starts_with("EVENT TRIGGER - ") || words.contains(" - EVENT TRIGGER "))
}
