//! Brings a backup from a place off-site into the vault.

use std::time::Instant;

use anyhow::{Context, Result};

use super::look::{Look, look_everywhere, say_newer_orphans};
use super::{newer, one_of};
use crate::cli::Restore;
use crate::commands::{Scene, choose, kinds, refuse_url, restore, verify};
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::{Failure, is_untrusted};
use crate::values::journal::Deed;
use crate::values::manifest::Manifest;
use crate::vault::{Backup, Listing, Problem};

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
    if scene.settings.offsite.is_empty() {
        return Ok(false);
    }
    if !choose::is_missing(scene, listing, wanted, &is_ours) {
        // Where the vault itself leaves doubt, that is said first.
        if wanted == "latest" && choose::refuse_doubtful_latest(scene, listing, &is_ours).is_ok() {
            newer::refuse(scene, listing, now)?;
        }
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
    let is_beside = arguments.into.is_some() || arguments.only.is_some();
    let condition = |backup: &Backup, is_ours: choose::IsOurs| match is_beside {
        true => Ok(()),
        false => {
            kinds::refuse_in_place(backup)?;
            restore::refuse_another_database(backup, now, is_ours, arguments)
        }
    };
    bring(scene, wanted, Some(now), "restore", &condition)?;
    Ok(true)
}

/// What all places together have by this name, from the first place that gives it. `now` is nothing
/// where the database does not answer: then its name must do.
pub fn bring(
    scene: &Scene,
    wanted: &str,
    now: Option<&DatabaseFacts>,
    verb: &str,
    condition: Condition,
) -> Result<Backup> {
    let (looks, mut failed) = look_everywhere(scene)?;
    if looks.is_empty() {
        return Err(failure_of(scene, failed));
    }
    let all = together(scene, &looks, wanted, now);
    let places: Vec<String> = looks.iter().map(|look| look.place.to_string()).collect();
    let chosen = choose::offsite(scene, &all, wanted, now, &places.join(", "));
    if wanted == "latest" {
        for look in &looks {
            say_newer_orphans(scene, look, chosen.as_ref().ok().copied());
        }
    }
    let chosen = match chosen {
        Ok(chosen) => chosen,
        Err(failure) => {
            // Where it is may be the place that does not answer.
            let error = choose::with_another_there(scene, &all, None, now, failure.into());
            failed.insert(0, error);
            return Err(failure_of(scene, failed));
        }
    };
    refuse_unanswered(wanted, chosen, verb, failed)?;
    if let Some(now) = now.filter(|_| wanted == "latest") {
        let is_ours = choose::of_very_offsite(scene, Some(now));
        choose::refuse_another_address(scene, &all, &*is_ours, now)?;
    }
    let is_ours: choose::BoxedIsOurs = match now {
        Some(now) if wanted != "latest" => Box::new(choose::ours(&all, now)),
        _ => choose::of_very_offsite(scene, now),
    };
    refuse_twin(&all, chosen, &|other| wanted != "latest" || is_ours(other))?;
    if chosen.manifest.dump.encryption.is_none() {
        scene.refuse_public_plain("the backup is not encrypted")?;
    }
    condition(chosen, &*is_ours)?;
    let mut failed = Vec::new();
    for look in &looks {
        let mut there = look.listing.backups.iter();
        if !there.any(|backup| backup.manifest == chosen.manifest) {
            continue;
        }
        match fetch(scene, look, chosen) {
            Ok(backup) => return Ok(backup),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => failed.push(error),
        }
    }
    let error = failure_of(scene, failed);
    Err(choose::with_another_there(
        scene,
        &all,
        Some(chosen.id()),
        now,
        error,
    ))
}

/// As if it were one place: a copy that cannot be used is none when the same is elsewhere and whole.
fn together(scene: &Scene, looks: &[Look], wanted: &str, now: Option<&DatabaseFacts>) -> Listing {
    let mut all = Listing::default();
    for backup in looks.iter().flat_map(|look| &look.listing.backups) {
        let is_same = |other: &Backup| {
            other.id() == backup.id() && !other.manifest.is_another(&backup.manifest)
        };
        if !all.backups.iter().any(is_same) {
            all.backups.push(backup.clone());
        }
    }
    all.sort();
    // Of the same id another database may have one.
    let is_ours = choose::of_very_offsite(scene, now);
    let is_whole = |file: &str| {
        let id = file.strip_suffix(".json");
        let mut meant = all.backups.iter().filter(|b| id == Some(b.id().as_str()));
        meant.any(|backup| wanted != "latest" || is_ours(backup))
    };
    let mut problems = Vec::new();
    for look in looks {
        for Problem { file, problem } in &look.listing.problems {
            if !is_whole(file) {
                let problem = format!("{problem}, at {}", look.place);
                let file = file.clone();
                problems.push(Problem { file, problem });
            }
        }
    }
    all.problems = problems;
    all
}

/// Which one is the latest, or the only one with a part in its id, must not depend on who answers.
fn refuse_unanswered(
    wanted: &str,
    chosen: &Backup,
    verb: &str,
    failed: Vec<anyhow::Error>,
) -> Result<()> {
    let id = chosen.id();
    let Some(first) = failed.into_iter().next().filter(|_| wanted != id.as_str()) else {
        return Ok(());
    };
    let failure = Failure::refused(format!(
        "which backup is `{wanted}` cannot be told while a place does not answer"
    ));
    Err(first.context(failure.hint(format!(
        "when this one is meant, which the others have: cargo xtask db {verb} {id}"
    ))))
}

/// Two databases may have made backups in the same second.
fn refuse_twin(all: &Listing, chosen: &Backup, is_meant: choose::IsOurs) -> Result<(), Failure> {
    let is_twin =
        |other: &&Backup| other.id() == chosen.id() && other.manifest.is_another(&chosen.manifest);
    match all.backups.iter().filter(is_twin).find(|b| is_meant(b)) {
        None => Ok(()),
        Some(other) => Err(Failure::refused(format!(
            "`{}` is the id of two backups: of the {} at `{}`, and of the {} at `{}`",
            chosen.id(),
            chosen.manifest.database,
            chosen.manifest_path.display(),
            other.manifest.database,
            other.manifest_path.display()
        ))
        .hint("name the place that is meant, alone, with `--offsite-url`")),
    }
}

fn failure_of(scene: &Scene, failed: Vec<anyhow::Error>) -> anyhow::Error {
    let nothing = || Failure::untrusted("no place off-site has it").into();
    one_of(scene, failed).unwrap_or_else(nothing)
}

fn fetch(scene: &Scene, look: &Look, backup: &Backup) -> Result<Backup> {
    let (id, place) = (backup.id(), look.place);
    let size = ui::size(backup.manifest.dump.size_bytes);
    scene.ui.say(format!(
        "fetching {id} ({size}) from {place} into the vault"
    ));
    let began = Instant::now();
    let fetched = scene.recorded_with(
        Deed::Pull,
        &backup.manifest.database,
        || {
            let fetched = adopt(scene, look, backup);
            fetched.with_context(|| format!("`{id}` was not fetched from {place}"))
        },
        |_, entry| {
            entry.backup = Some(id.clone());
            entry.set_place(place);
            entry.dump = Some(backup.manifest.dump.file.clone());
        },
    )?;
    // Of a damaged one that it takes the place of, worse is known.
    verify::record(scene, &fetched, None, began);
    Ok(fetched)
}

fn adopt(scene: &Scene, look: &Look, chosen: &Backup) -> Result<Backup> {
    let bytes = look.offsite.manifest(chosen.id())?;
    let manifest = Manifest::parse(&bytes)
        .map_err(|error| Failure::untrusted(format!("its manifest cannot be used: {error}")))?;
    anyhow::ensure!(
        manifest == chosen.manifest,
        "its manifest changed while it was looked at"
    );
    let progress = scene.ui.progress();
    let fetch = |sink: &mut dyn std::io::Write| {
        let fetched = look.offsite.fetch(&manifest, sink, &progress);
        // What goes wrong here, with a full disk say, says nothing of the copy.
        if let Err(error) = fetched.as_ref()
            && is_untrusted(error)
        {
            super::distrust(scene, look.place, &manifest, &error.to_string());
        }
        fetched
    };
    let adopted = scene
        .vault
        .adopt(manifest.clone(), &bytes, &progress, scene.interrupt, fetch);
    Ok(adopted?.0)
}
