//! What lies at a place, read as a vault is.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::commands::Scene;
use crate::offsite::Offsite;
use crate::ui;
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
}

/// How many names of others' files are said.
const NAMED: usize = 3;

pub fn look<'a>(scene: &Scene, place: &'a Place) -> Result<Look<'a>> {
    let offsite = Offsite::open(place, scene.interrupt)?;
    let inventory = offsite.names()?;
    let ids: Vec<_> = inventory.manifests.keys().rev().cloned().collect();
    let found = offsite.manifests(&ids);
    let found = found.with_context(|| format!("cannot read the manifests at {place}"))?;
    let mut listing = Listing::default();
    for (id, bytes) in ids.iter().zip(found) {
        let file = manifest_file_name(id);
        let read = bytes
            .map_err(|error| format!("{error:#}"))
            .and_then(|bytes| {
                let manifest = Manifest::parse(&bytes).map_err(|error| error.to_string())?;
                match inventory.problem_with(&manifest) {
                    _ if manifest.id != *id => {
                        Err(format!("it is the manifest of `{}`", manifest.id))
                    }
                    Some(problem) => Err(problem),
                    None => Ok(manifest),
                }
            });
        match read {
            Ok(manifest) => listing.backups.push(there(place, &file, manifest)),
            Err(problem) => listing.problems.push(Problem { file, problem }),
        }
    }
    let newest = |backup: &Backup| (backup.manifest.created_at, backup.id().clone());
    listing.backups.sort_by_cached_key(newest);
    listing.backups.reverse();
    Ok(Look {
        place,
        offsite,
        inventory,
        listing,
    })
}

fn there(place: &Place, file: &str, manifest: Manifest) -> Backup {
    let path = |file: &str| PathBuf::from(format!("{}/{file}", place.url));
    Backup {
        dump_path: path(&manifest.dump.file),
        manifest_path: path(file),
        manifest,
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
