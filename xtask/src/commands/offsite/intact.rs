//! A copy that is whole, of a backup that is damaged in the vault.

use anyhow::Result;
use chrono::Utc;

use crate::commands::Scene;
use crate::ui;
use crate::values::journal;
use crate::values::offsite::{Known, known_copies, known_copy};
use crate::vault::Backup;

/// How to have a backup again whose dump does not match, where a copy of that very dump is known to.
/// Nothing there is overwritten, so the damaged one is to be moved away first.
pub fn way_to(scene: &Scene, damaged: &Backup) -> Result<Option<String>> {
    let journal = scene.vault.journal()?;
    let ladders = journal::ladders(&journal);
    let ladder = ladders.get(damaged.id());
    // One that matches and does not come back is no better elsewhere.
    if ladder.is_none_or(|ladder| ladder.verify_failed_at.is_none()) {
        return Ok(None);
    }
    let known = known_copies(&journal);
    let places = scene.settings.offsite.iter();
    let matched = places.filter_map(
        |place| match known_copy(&known, &damaged.manifest, place)? {
            Known::Matched(at) => Some((at, place)),
            _ => None,
        },
    );
    let newest = matched.max_by_key(|(at, _)| *at);
    Ok(newest.map(|(at, place)| {
        let (id, ago) = (damaged.id(), ui::age(at, Utc::now()));
        let away = damaged.moved_away();
        format!(
            "its copy at {place} matched {ago} ago; move the damaged one away: {away}\n\
             then fetch and restore that copy: cargo xtask db restore {id}"
        )
    }))
}
