//! A copy that is whole, of a backup that is damaged in the vault.

use anyhow::Result;
use chrono::Utc;

use crate::commands::Scene;
use crate::ui;
use crate::values::id::BackupId;
use crate::values::journal;
use crate::values::manifest::Manifest;
use crate::values::offsite::{Known, known_copies, known_copy, last_known};
use crate::vault::Backup;

/// A backup in the vault that cannot be used.
#[derive(Clone, Copy)]
pub struct Damaged<'a> {
    pub id: &'a BackupId,
    /// Nothing where that is what cannot be used, or is lost.
    manifest: Option<&'a Manifest>,
}

impl<'a> Damaged<'a> {
    pub fn unread(id: &'a BackupId) -> Damaged<'a> {
        Damaged { id, manifest: None }
    }
}

impl<'a> From<&'a Backup> for Damaged<'a> {
    fn from(backup: &'a Backup) -> Damaged<'a> {
        Damaged {
            id: backup.id(),
            manifest: Some(&backup.manifest),
        }
    }
}

/// How to have a backup again whose dump does not match, where a copy of that very dump is known to;
/// or whose manifest cannot be read. Nothing there is overwritten, so what is there of it is to be moved away first.
pub fn way_to(scene: &Scene, damaged: Damaged) -> Result<Option<String>> {
    let id = damaged.id;
    let journal = scene.vault.journal()?;
    let ladders = journal::ladders(&journal);
    let ladder = ladders.get(id);
    // One that matches and does not come back is no better elsewhere.
    let is_bad = ladder.is_some_and(|ladder| ladder.verify_failed_at.is_some());
    if damaged.manifest.is_some() && !is_bad {
        return Ok(None);
    }
    let copies = known_copies(&journal);
    let known = |place| match damaged.manifest {
        Some(manifest) => known_copy(&copies, manifest, place),
        // Which dump it had last is what its newest copy is of.
        None => last_known(&copies, id, place),
    };
    let places = scene.settings.offsite.iter();
    let matched = places.filter_map(|place| match known(place)? {
        Known::Matched(at) => Some((at, place)),
        _ => None,
    });
    let Some((at, place)) = matched.max_by_key(|(at, _)| *at) else {
        return Ok(None);
    };
    let (ago, away) = (ui::age(at, Utc::now()), scene.vault.moved_away(id));
    Ok(Some(format!(
        "its copy at {place} matched {ago} ago; move the damaged one away: {away}\n\
         then fetch and restore that copy: cargo xtask db restore {id}"
    )))
}
