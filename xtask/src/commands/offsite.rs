//! What several stories have in common about places off-site.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;

use super::Scene;
use crate::offsite::Offsite;
use crate::values::cause;
use crate::values::failure::{Failure, builds};
use crate::values::journal::{Deed, Ending};
use crate::values::manifest::Manifest;
use crate::values::offsite::Place;

pub mod bring;
pub mod copies;
pub mod intact;
pub mod look;
mod newer;
pub mod send;

/// The places of this run, of which there must be one.
pub fn places<'a>(scene: &'a Scene) -> Result<&'a [Place]> {
    match scene.settings.offsite.as_slice() {
        [] => Err(Failure::usage("no place off-site is known")
            .hint(
                "name one: cargo xtask db push --offsite-url s3://bucket/prefix, or set `OFFSITE_URL`",
            )
            .into()),
        places => Ok(places),
    }
}

/// The same, each of which can be used as it is written; nothing is asked of them.
pub fn usable<'a>(scene: &'a Scene) -> Result<&'a [Place]> {
    let places = places(scene)?;
    for place in places {
        refuse_twice(scene, place)?;
        open(scene, place, scene.verb)?;
    }
    Ok(places)
}

/// `verb` is what the hint goes on with, where this program was built without what it needs.
pub fn open(scene: &Scene, place: &Place, verb: &str) -> Result<Offsite> {
    let Some(feature) = place.url.kind().missing_feature() else {
        return Offsite::open(place, scene.interrupt);
    };
    let what = format!("this program was built without the feature `{feature}`");
    let failure = Failure::usage(format!("{place} cannot be used: {what}"));
    Err(failure.hint(builds(feature, verb)).into())
}

/// What is the vault, or another place under a second name, is no second copy: where one of them
/// removes because the other one has it, it is gone.
fn refuse_twice(scene: &Scene, place: &Place) -> Result<(), Failure> {
    let Some(folder) = place.url.folder() else {
        return Ok(());
    };
    let hint = "name a folder of its own, best on another disk";
    if is_one(&folder, scene.vault.folder()) {
        return Err(Failure::usage(format!("{place} is the vault itself")).hint(hint));
    }
    let mut others = scene.settings.offsite.iter();
    let is_it = |other: &&Place| {
        let there = other.url.folder();
        other.name != place.name && there.is_some_and(|there| is_one(&folder, &there))
    };
    match others.find(is_it) {
        None => Ok(()),
        Some(other) => Err(Failure::usage(format!("{place} is the place {other}")).hint(hint)),
    }
}

/// Whatever links and mounts lead there.
fn is_one(one: &Path, other: &Path) -> bool {
    let known_by = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino()));
    known_by(one).is_ok_and(|one| known_by(other).is_ok_and(|other| one == other))
}

/// The same, none of which is lost with the vault. Where a disk is not mounted, its empty folder is
/// on another one.
pub fn elsewhere<'a>(scene: &'a Scene) -> Result<&'a [Place]> {
    let places = usable(scene)?;
    let is_here = |place: &&Place| {
        let folder = place.url.folder();
        folder.is_some_and(|folder| scene.vault.shares_disk_with(&folder))
    };
    match places.iter().find(is_here) {
        None => Ok(places),
        Some(place) => Err(Failure::refused(format!(
            "{place} is on the disk of the vault, and is lost with it; nothing was changed"
        ))
        .hint("mount what belongs there, or go without `--offsite-first`")
        .into()),
    }
}

/// Written down where the bytes there were read and are wrong: nobody may count on this copy.
pub fn distrust(scene: &Scene, place: &Place, manifest: &Manifest, problem: &str) {
    matched(scene, place, manifest, Some(problem));
}

/// What came of reading a copy; a vault that may only be read learns nothing.
pub fn matched(scene: &Scene, place: &Place, manifest: &Manifest, problem: Option<&str>) {
    let ending = problem.map_or(Ending::Done, |_| Ending::Failed);
    let mut entry = scene.entry(Deed::Verify, ending, &manifest.database);
    entry.backup = Some(manifest.id.clone());
    entry.set_place(place);
    entry.dump = Some(manifest.dump.file.clone());
    entry.note = problem.map(str::to_owned);
    if scene.vault.is_writable() {
        scene.record(entry);
    }
}

/// What failed at several places: the first one is what the run ends with, and the others are said
/// before it.
pub fn one_of(scene: &Scene, failed: Vec<anyhow::Error>) -> Option<anyhow::Error> {
    let mut failed = failed.into_iter();
    let first = failed.next();
    for other in failed {
        let lines = cause::lines(&other).join(": ");
        scene.ui.insist(format!("also: {lines}"));
    }
    first
}
