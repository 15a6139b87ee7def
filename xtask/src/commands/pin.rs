//! `db pin` and `db unpin`: which backups no policy removes.

use anyhow::Result;
use chrono::Utc;
use serde::Serialize;

use super::{Scene, choose};
use crate::cli;
use crate::config::holds_a_secret;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, UNKNOWN};
use crate::values::pin::Pin;
use crate::vault::{Backup, Listing};

const MAX_NOTE_CHARS: usize = 500;

#[derive(Serialize)]
struct Document<'a> {
    id: &'a BackupId,
    pinned: bool,
    note: Option<&'a str>,
}

pub fn pin(scene: &Scene, arguments: &cli::Pin) -> Result<()> {
    let note = arguments.note.as_deref().map(one_line).transpose()?;
    let now = who_is_it(scene, &arguments.backup)?;
    scene.prepare_vault()?;
    let _lock = scene.lock_beside_backups("pin")?;
    // Not before: what it waited for may have removed the backup.
    let listing = scene.vault.list()?;
    let backup = chosen(scene, &listing, &arguments.backup, now.as_ref())?;
    let pin = Pin {
        id: backup.id().clone(),
        pinned_at: Utc::now(),
        note: note.clone(),
        ran_on: scene.who.clone(),
    };
    scene.vault.pin(backup, &pin)?;
    let database = backup.manifest.database.to_string();
    record(scene, Deed::Pin, backup.id(), database, note.as_deref());
    let id = backup.id();
    scene.ui.say(match &note {
        Some(note) => format!("pinned {id}: {note}"),
        None => format!("pinned {id}"),
    });
    scene.ui.emit(&Document {
        id,
        pinned: true,
        note: note.as_deref(),
    })
}

pub fn unpin(scene: &Scene, arguments: &cli::Unpin) -> Result<()> {
    let now = who_is_it(scene, &arguments.backup)?;
    scene.prepare_vault()?;
    let _lock = scene.lock_beside_backups("unpin")?;
    let listing = scene.vault.list()?;
    let (id, database) = match left_alone(scene, &listing, &arguments.backup)? {
        Some(pinned) => pinned,
        None => {
            let backup = chosen(scene, &listing, &arguments.backup, now.as_ref())?;
            (backup.id().clone(), backup.manifest.database.to_string())
        }
    };
    let was_pinned = scene.vault.unpin(&id)?;
    if was_pinned {
        record(scene, Deed::Unpin, &id, database, None);
    }
    scene.ui.say(match was_pinned {
        true => format!("unpinned {id}"),
        false => format!("{id} was not pinned"),
    });
    scene.ui.emit(&Document {
        id: &id,
        pinned: false,
        note: None,
    })
}

/// Only for `latest` it matters which database this is.
fn who_is_it(scene: &Scene, wanted: &str) -> Result<Option<DatabaseFacts>> {
    match wanted {
        "latest" => choose::who_is_it(scene),
        _ => Ok(None),
    }
}

fn chosen<'a>(
    scene: &'a Scene,
    listing: &'a Listing,
    wanted: &str,
    now: Option<&'a DatabaseFacts>,
) -> Result<&'a Backup> {
    let is_ours = choose::ours_or_alike(scene, listing, now);
    choose::by_name(scene, listing, wanted, &*is_ours)
}

/// A pin whose backup is gone, by its whole id; and the database that this was of, as the journal
/// has it.
fn left_alone(
    scene: &Scene,
    listing: &Listing,
    wanted: &str,
) -> Result<Option<(BackupId, String)>> {
    let has_pin = listing.pins.iter().any(|stem| stem == wanted);
    let has_backup = listing.backups.iter().any(|b| b.id().as_str() == wanted);
    let Some(id) = wanted
        .parse::<BackupId>()
        .ok()
        .filter(|_| has_pin && !has_backup)
    else {
        return Ok(None);
    };
    let journal = scene.vault.journal()?;
    let mut entries = journal.iter().rev().filter_map(|line| line.entry.as_ref());
    let last = entries.find(|entry| entry.backup.as_ref() == Some(&id));
    let database = last.map_or_else(|| UNKNOWN.to_owned(), |entry| entry.database.clone());
    Ok(Some((id, database)))
}

/// It stands in a file that others may read, and in lines of its own length.
fn one_line(note: &str) -> Result<String, Failure> {
    let note = note.trim();
    let problem = if note.is_empty() {
        "it is empty"
    } else if note.chars().any(char::is_control) {
        "it has more than one line, or control characters"
    } else if note.chars().count() > MAX_NOTE_CHARS {
        "it is longer than 500 characters"
    } else if holds_a_secret(note) {
        "it holds a secret"
    } else {
        return Ok(note.to_owned());
    };
    Err(
        Failure::usage(format!("the note cannot be kept: {problem}"))
            .hint("cargo xtask db pin ID --note 'before the big import'"),
    )
}

fn record(scene: &Scene, deed: Deed, id: &BackupId, database: String, note: Option<&str>) {
    let mut entry = scene.entry(deed, Ending::Done, database);
    entry.backup = Some(id.clone());
    entry.note = note.map(str::to_owned);
    scene.record(entry);
}
