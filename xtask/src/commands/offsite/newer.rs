//! Whether a place has a newer backup than the vault, which may be of last month.

use anyhow::Result;

use crate::commands::{Scene, choose};
use crate::interrupt::Interrupted;
use crate::values::cause;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::manifest::Manifest;
use crate::values::offsite::Place;
use crate::vault::{Backup, Listing};

/// So many manifests are read at once, the newest first.
const AT_ONCE: usize = 16;

/// Refuses where `latest` is newer than the newest of the vault. What cannot be asked is said, and is
/// not waited for.
pub fn refuse(scene: &Scene, listing: &Listing, now: &DatabaseFacts) -> Result<()> {
    let is_ours = choose::ours(listing, now);
    let Some(newest) = choose::latest(listing, &is_ours) else {
        return Ok(());
    };
    for place in &scene.settings.offsite {
        match newer_at(scene, place, listing, newest, now) {
            Ok(None) => {}
            Ok(Some(newer)) => {
                let here = newest.id();
                let failure = Failure::refused(format!(
                    "`{newer}` at {place} is newer than the newest in the vault, `{here}`"
                ));
                return Err(failure
                    .hint(format!(
                        "cargo xtask db restore {newer}\nwhere the older one is meant: cargo xtask db restore {here}"
                    ))
                    .into());
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => scene.ui.insist(format!(
                "warning: whether {place} has a newer one is not known: {}",
                cause::lines(&error).join(": ")
            )),
        }
    }
    Ok(())
}

/// What may only be of this database is said.
fn newer_at(
    scene: &Scene,
    place: &Place,
    listing: &Listing,
    newest: &Backup,
    now: &DatabaseFacts,
) -> Result<Option<BackupId>> {
    let offsite = super::open(scene, &place.in_a_hurry(), scene.verb)?;
    let inventory = offsite.names()?;
    let is_here = |id: &BackupId| listing.backups.iter().any(|backup| backup.id() == id);
    let newer = inventory.manifests.keys().rev();
    let newer = newer.take_while(|id| id.time() >= newest.id().time());
    let newer = newer.filter(|id| !id.is_safety() && id.kind_words().is_empty() && !is_here(id));
    let newer: Vec<BackupId> = newer.cloned().collect();
    let mut is_said = false;
    for some in newer.chunks(AT_ONCE) {
        for (id, bytes) in some.iter().zip(offsite.manifests(some)?) {
            let found = Manifest::parse(&bytes?);
            let is_it = |manifest: &Manifest| {
                let then = &manifest.database;
                manifest.is_full()
                    && manifest.created_at > newest.manifest.created_at
                    && choose::is_same(now, then)
                    && then.path == now.path
            };
            match &found {
                Ok(manifest) if is_it(manifest) => return Ok(Some(id.clone())),
                Ok(manifest) if !scene.settings.url.may_be(&manifest.database) => continue,
                _ if is_said => continue,
                _ => {}
            }
            let what = match found {
                Ok(manifest) => format!("of the {}", manifest.database),
                Err(error) => format!("its manifest cannot be used: {error}"),
            };
            scene
                .ui
                .insist(format!("note: `{id}` at {place} is newer, {what}"));
            is_said = true;
        }
    }
    Ok(None)
}
