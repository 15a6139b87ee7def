//! Brings a backup from a place off-site into the vault.

use anyhow::{Context, Result};

use super::look::{Look, look};
use crate::cli::Restore;
use crate::commands::{Scene, choose, kinds, refuse_url, restore};
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::cause;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::journal::Deed;
use crate::values::manifest::Manifest;
use crate::vault::{Backup, Listing};

/// What must hold of a backup before its dump is fetched; also told which ones are this database's.
pub type Condition<'a> = &'a dyn Fn(&Backup, choose::IsOurs) -> Result<()>;

/// What the vault does not have is fetched from off-site, where a place is known; nothing is, when
/// it would not be restored. Whether one was fetched.
pub fn missing(
    scene: &Scene,
    arguments: &Restore,
    listing: &Listing,
    now: &DatabaseFacts,
) -> Result<bool> {
    let Some(wanted) = arguments.backup.as_deref() else {
        return Ok(false);
    };
    let is_ours = choose::ours(listing, now);
    if scene.settings.offsite.is_empty() || !choose::is_missing(listing, wanted, &is_ours) {
        return Ok(false);
    }
    refuse_url(wanted)?;
    let vault = scene.vault.folder().display();
    scene.ui.say(match wanted {
        "latest" => format!("the vault `{vault}` has no backup of the {now}: looking off-site"),
        _ => format!("the vault `{vault}` has no `{wanted}`: looking off-site"),
    });
    scene.prepare_vault()?;
    let _lock = scene.lock_beside_backups("pull")?;
    let condition = |backup: &Backup, is_ours: choose::IsOurs| match arguments.into {
        Some(_) => Ok(()),
        None => {
            kinds::refuse_in_place(backup)?;
            restore::refuse_another_database(backup, now, is_ours, arguments)
        }
    };
    bring(scene, wanted, Some(now), &condition)?;
    Ok(true)
}

/// The newest of those that the places have by this name, from the first place that gives it.
/// `now` is nothing where the database does not answer: then its name must do.
pub fn bring(
    scene: &Scene,
    wanted: &str,
    now: Option<&DatabaseFacts>,
    condition: Condition,
) -> Result<Backup> {
    let (looks, mut failed) = look_everywhere(scene)?;
    let mut found = Vec::new();
    for look in &looks {
        let is_ours: Box<dyn Fn(&Backup) -> bool> = match now {
            Some(now) => Box::new(choose::ours(&look.listing, now)),
            None => Box::new(|backup| scene.settings.url.may_be(&backup.manifest.database)),
        };
        let chosen = choose::at_place(scene, &look.listing, wanted, &*is_ours, look.place);
        match chosen {
            Ok(backup) => {
                condition(backup, &*is_ours)?;
                found.push((look, backup));
            }
            Err(failure) => failed.push(failure.into()),
        }
    }
    found.sort_by_key(|(_, backup)| std::cmp::Reverse(backup.manifest.created_at));
    let newest = found.first().map(|(_, backup)| backup.id().clone());
    for (look, backup) in found {
        if Some(backup.id()) != newest.as_ref() {
            continue;
        }
        match fetch(scene, look, backup) {
            Ok(backup) => return Ok(backup),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => failed.push(error),
        }
    }
    Err(one_of(scene, failed))
}

/// One that does not answer is said and left out: what it has may be elsewhere as well.
fn look_everywhere<'a>(scene: &'a Scene) -> Result<(Vec<Look<'a>>, Vec<anyhow::Error>)> {
    let (mut looks, mut failed) = (Vec::new(), Vec::new());
    let places = super::places(scene)?;
    for place in places {
        match look(scene, place) {
            Ok(look) => looks.push(look),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                if places.len() > 1 {
                    let lines = cause::lines(&error).join(": ");
                    scene
                        .ui
                        .insist(format!("warning: {place} is left out: {lines}"));
                }
                failed.push(error);
            }
        }
    }
    Ok((looks, failed))
}

/// The others are said before it.
fn one_of(scene: &Scene, failed: Vec<anyhow::Error>) -> anyhow::Error {
    let mut failed = failed.into_iter();
    let first = failed
        .next()
        .unwrap_or_else(|| Failure::untrusted("no place off-site has it").into());
    for other in failed {
        let lines = cause::lines(&other).join(": ");
        scene.ui.insist(format!("also: {lines}"));
    }
    first
}

fn fetch(scene: &Scene, look: &Look, backup: &Backup) -> Result<Backup> {
    let (id, place) = (backup.id(), look.place);
    let size = ui::size(backup.manifest.dump.size_bytes);
    scene.ui.say(format!(
        "fetching {id} ({size}) from {place} into the vault"
    ));
    scene.recorded_with(
        Deed::Pull,
        &backup.manifest.database,
        || {
            let fetched = adopt(scene, look, id);
            fetched.with_context(|| format!("`{id}` was not fetched from {place}"))
        },
        |_, entry| {
            entry.backup = Some(id.clone());
            entry.place = Some(place.name.clone());
        },
    )
}

fn adopt(scene: &Scene, look: &Look, id: &BackupId) -> Result<Backup> {
    let bytes = look.offsite.manifest(id)?;
    let manifest = Manifest::parse(&bytes)
        .map_err(|error| Failure::untrusted(format!("its manifest cannot be used: {error}")))?;
    anyhow::ensure!(
        manifest.id == *id,
        "its manifest is that of `{}`",
        manifest.id
    );
    let progress = scene.ui.progress();
    let fetch = |sink: &mut dyn std::io::Write| look.offsite.fetch(&manifest, sink, &progress);
    let adopted = scene
        .vault
        .adopt(manifest.clone(), &bytes, &progress, scene.interrupt, fetch);
    Ok(adopted?.0)
}
