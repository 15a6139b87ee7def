//! `db pin` and `db unpin`: which backups no policy removes.

use std::time::Duration;

use anyhow::Result;
use chrono::Utc;
use serde::Serialize;

use super::{Scene, choose, verify};
use crate::cli;
use crate::config::holds_a_secret;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending};
use crate::values::pin::Pin;
use crate::vault::{Backup, Listing};

/// How long it waits for a migration, a restore or a pruning that is under way.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_NOTE_CHARS: usize = 500;

#[derive(Serialize)]
struct Document<'a> {
    id: &'a BackupId,
    pinned: bool,
    note: Option<&'a str>,
}

pub fn pin(scene: &Scene, arguments: &cli::Pin) -> Result<()> {
    let note = arguments.note.as_deref().map(one_line).transpose()?;
    let listing = scene.vault.list()?;
    let backup = chosen(scene, &listing, &arguments.backup)?;
    scene.prepare_vault()?;
    let waiting = |holder: &str| scene.ui.say(format!("waiting for {holder}"));
    let who = (&scene.who, "pin");
    let _lock = scene
        .vault
        .lock_shared(who, PATIENCE, scene.interrupt, &waiting)?;
    let pin = Pin {
        id: backup.id().clone(),
        pinned_at: Utc::now(),
        note: note.clone(),
        ran_on: scene.who.clone(),
    };
    scene.vault.pin(backup, &pin)?;
    record(scene, Deed::Pin, backup, note.as_deref());
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
    let listing = scene.vault.list()?;
    let backup = chosen(scene, &listing, &arguments.backup)?;
    scene.prepare_vault()?;
    let waiting = |holder: &str| scene.ui.say(format!("waiting for {holder}"));
    let who = (&scene.who, "unpin");
    let _lock = scene
        .vault
        .lock_shared(who, PATIENCE, scene.interrupt, &waiting)?;
    let id = backup.id();
    let was_pinned = scene.vault.unpin(id)?;
    if was_pinned {
        record(scene, Deed::Unpin, backup, None);
    }
    scene.ui.say(match was_pinned {
        true => format!("unpinned {id}"),
        false => format!("{id} was not pinned"),
    });
    scene.ui.emit(&Document {
        id,
        pinned: false,
        note: None,
    })
}

fn chosen<'a>(scene: &Scene, listing: &'a Listing, wanted: &str) -> Result<&'a Backup> {
    // Only for `latest` it matters which database this is.
    let now = match wanted {
        "latest" => verify::who_is_it(scene)?,
        _ => None,
    };
    let is_ours: Box<dyn Fn(&Backup) -> bool> = match &now {
        Some(now) => Box::new(choose::ours(listing, now)),
        None => Box::new(|backup| scene.settings.url.may_be(&backup.manifest.database)),
    };
    choose::by_name(scene, listing, wanted, &*is_ours)
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

fn record(scene: &Scene, deed: Deed, backup: &Backup, note: Option<&str>) {
    let mut entry = scene.entry(deed, Ending::Done, &backup.manifest.database);
    entry.backup = Some(backup.id().clone());
    entry.note = note.map(str::to_owned);
    scene.record(entry);
}
