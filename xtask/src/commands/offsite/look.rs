//! What lies at a place, read as a vault is.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::commands::Scene;
use crate::interrupt::Interrupted;
use crate::offsite::Offsite;
use crate::ui;
use crate::values::cause;
use crate::values::id::BackupId;
use crate::values::manifest::{Manifest, manifest_file_name};
use crate::values::offsite::{Inventory, Place};
use crate::values::words::on_one_line;
use crate::vault::{Backup, Listing, Problem};

pub struct Look<'a> {
    pub place: &'a Place,
    pub offsite: Offsite,
    pub inventory: Inventory,
    /// Newest first; a copy without its dump is a problem and no backup.
    pub listing: Listing,
    /// Of its problems, those that are not for want of an answer.
    pub wrong: Vec<(BackupId, String)>,
}

/// How many names of others' files are said.
const NAMED: usize = 3;

pub fn look<'a>(scene: &Scene, place: &'a Place) -> Result<Look<'a>> {
    let offsite = super::open(scene, place, scene.verb)?;
    let inventory = offsite.names()?;
    let ids: Vec<_> = inventory.manifests.keys().rev().cloned().collect();
    let found = offsite.manifests(&ids);
    let found = found.with_context(|| format!("cannot read the manifests at {place}"))?;
    let mut listing = Listing::default();
    let mut wrong = Vec::new();
    for (id, bytes) in ids.iter().zip(found) {
        let file = manifest_file_name(id);
        let read = bytes.map(|bytes| usable(id, &bytes, &inventory));
        match read {
            Ok(Ok(manifest)) => listing.backups.push(there(place, &file, manifest)),
            Ok(Err(problem)) => {
                wrong.push((id.clone(), problem.clone()));
                listing.problems.push(Problem { file, problem });
            }
            Err(error) => {
                let problem = format!("{error:#}");
                listing.problems.push(Problem { file, problem });
            }
        }
    }
    listing.sort();
    Ok(Look {
        place,
        offsite,
        inventory,
        listing,
        wrong,
    })
}

/// One that does not answer is said and left out: what it has may be elsewhere as well.
pub fn look_everywhere<'a>(scene: &'a Scene) -> Result<(Vec<Look<'a>>, Vec<anyhow::Error>)> {
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

/// Of what was read there.
fn usable(id: &BackupId, bytes: &[u8], inventory: &Inventory) -> Result<Manifest, String> {
    let manifest = Manifest::parse(bytes).map_err(|error| error.to_string())?;
    if manifest.id != *id {
        return Err(format!("it is the manifest of `{}`", manifest.id));
    }
    match inventory.problem_with(&manifest) {
        Some(problem) => Err(problem),
        None => Ok(manifest),
    }
}

fn there(place: &Place, file: &str, manifest: Manifest) -> Backup {
    let path = |file: &str| PathBuf::from(format!("{}/{file}", place.url));
    Backup {
        dump_path: path(&manifest.dump.file),
        manifest_path: path(file),
        manifest,
    }
}

/// Dumps of which nothing more can be said than that they are newer; no backup is taken for less.
pub fn say_newer_orphans(scene: &Scene, look: &Look, than: Option<&Backup>) {
    let than = than.map(|backup| backup.id().time());
    for orphan in look.inventory.orphans() {
        let stem = orphan.split('.').next().unwrap_or_default();
        let id = stem.parse::<BackupId>().ok();
        if id.is_some_and(|id| !id.is_safety() && than.is_none_or(|than| id.time() > than)) {
            scene.ui.insist(format!(
                "note: `{orphan}` at {} is newer and has no manifest: a copy of it was cut short, or is under way",
                look.place
            ));
        }
    }
}

/// What is there and is no copy.
pub fn notes(inventory: &Inventory) -> Vec<String> {
    let mut notes = Vec::new();
    for orphan in inventory.orphans() {
        notes.push(format!(
            "`{orphan}` is left out: a dump without a manifest; a copy of it was cut short, or is under way"
        ));
    }
    for name in &inventory.cut_short {
        let name = on_one_line(name);
        notes.push(format!(
            "`{name}` is left out: of a copy that was cut short, or is under way"
        ));
    }
    if !inventory.foreign.is_empty() {
        let count = ui::count(inventory.foreign.len() as u64, "file");
        let named = inventory.foreign.iter().take(NAMED);
        let named: Vec<String> = named
            .map(|name| format!("`{}`", on_one_line(name)))
            .collect();
        let more = match inventory.foreign.len() > NAMED {
            true => ", …",
            false => "",
        };
        notes.push(format!(
            "{count} of others left alone: {}{more}",
            named.join(", ")
        ));
    }
    notes
}
