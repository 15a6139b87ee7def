//! Which backup is meant, and what else there is when it cannot be trusted.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;
use chrono::Utc;

use super::offsite::intact::{self, Damaged};
use super::{Scene, refuse_url};
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::{Failure, Outcome};
use crate::values::id::{BackupId, Reason};
use crate::values::journal::{Deed, Ending, Line};
use crate::values::manifest::{Manifest, RanOn};
use crate::vault::{Backup, Listing, NotFound, Problem};

mod doubt;
mod offsite;

use doubt::say_newer_orphans;
pub use doubt::{is_from_the_future, is_future, refuse_another_address, refuse_doubtful_latest};
pub use offsite::{of_very_offsite, offsite, with_another_there};

/// Whether a backup is of the database that the run is about.
pub type IsOurs<'a> = &'a dyn Fn(&Backup) -> bool;
pub type BoxedIsOurs<'a> = Box<dyn Fn(&Backup) -> bool + 'a>;

pub fn is_of(backup: &Backup, now: &DatabaseFacts) -> bool {
    is_same(now, &backup.manifest.database)
}

pub fn is_same(now: &DatabaseFacts, then: &DatabaseFacts) -> bool {
    now.is_same_as(then, |path| Path::new(path).exists())
}

/// The newest full backup of this database: no other one takes its place. A safety
/// backup that a restore took is left out: after a restore that failed half-way,
/// `restore latest` must not bring back the state that one wanted to get rid of.
pub fn latest<'a>(listing: &'a Listing, is_ours: IsOurs) -> Option<&'a Backup> {
    let mut ours = listing.backups.iter().filter(|backup| is_ours(backup));
    ours.find(|backup| may_be_latest(backup))
}

fn may_be_latest(backup: &Backup) -> bool {
    backup.manifest.is_full() && backup.manifest.reason != Reason::PreRestore
}

/// As [`ours`]; where the database has not answered, its name must do.
pub fn ours_or_alike<'a>(
    scene: &'a Scene,
    listing: &'a Listing,
    now: Option<&'a DatabaseFacts>,
) -> Box<dyn Fn(&Backup) -> bool + 'a> {
    match now {
        Some(now) => Box::new(ours(listing, now)),
        None => Box::new(|backup| scene.settings.url.may_be(&backup.manifest.database)),
    }
}

/// `None` when the database cannot be asked who it is, because it is down:
/// then its name and engine must do.
pub fn who_is_it(scene: &Scene) -> Result<Option<DatabaseFacts>> {
    match scene.engine().and_then(|mut engine| engine.facts()) {
        Ok(now) => Ok(Some(now)),
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => {
            scene.ui.say(format!(
                "going by the name alone, for the database does not answer: {error}"
            ));
            Ok(None)
        }
    }
}

/// Which backups are of this database. One of a SQLite file that is gone is
/// taken for this file's only when there is none of this very path: two
/// projects may share a vault and a file name.
pub fn ours<'a>(listing: &'a Listing, now: &'a DatabaseFacts) -> impl Fn(&Backup) -> bool + 'a {
    let is_here = |backup: &Backup| backup.manifest.database.path == now.path;
    let by_path = now.path.is_some() && listing.backups.iter().any(is_here);
    move |backup| is_of(backup, now) && (!by_path || backup.manifest.database.path == now.path)
}

/// The newest full one of such backups, whatever it was taken for; no more manifests are read than
/// that takes.
pub fn newest_full(scene: &Scene, is_meant: IsOurs) -> Result<Option<Backup>> {
    let is_meant = |backup: &&Backup| is_meant(backup) && backup.manifest.is_full();
    let (listing, _) = scene
        .vault
        .newest(|listing| listing.backups.iter().find(is_meant))?;
    Ok(listing.backups.into_iter().find(|b| is_meant(&b)))
}

/// The backups of this very database, newest first: what is not known to be of it is not removed.
///
/// A cluster's identifier says which one it is, whoever asks. A path, and `localhost`, are names
/// that every machine has for something of its own: two that share a vault would prune each
/// other. So there the machine that took it counts as well; and a SQLite file that was moved is
/// another one here.
pub fn of_very<'a>(listing: &'a Listing, now: &DatabaseFacts, here: &RanOn) -> Vec<&'a Backup> {
    let is_this = |backup: &&Backup| {
        let Manifest {
            database, ran_on, ..
        } = &backup.manifest;
        let is_known = now.system_identifier.is_some() && database.system_identifier.is_some();
        is_of(backup, now)
            && database.path == now.path
            && (is_known || !now.is_named_by_this_machine() || ran_on.host == here.host)
    };
    listing.backups.iter().filter(is_this).collect()
}

/// The newest one that a restore took first, unless that is known to have come to nothing: what
/// an undo goes back to. They come newest first.
pub fn newest_safety<'a>(
    mut ours: impl Iterator<Item = &'a Backup>,
    journal: &[Line],
) -> Option<&'a Backup> {
    let entries = journal.iter().filter_map(|line| line.entry.as_ref());
    let came_to_nothing = entries
        .filter(|entry| matches!(entry.deed, Deed::Restore | Deed::Undo | Deed::Bring))
        .filter(|entry| entry.ending != Ending::Done)
        .filter_map(|entry| entry.safety.as_ref())
        .collect::<HashSet<&BackupId>>();
    ours.find(|backup| {
        backup.manifest.reason == Reason::PreRestore && !came_to_nothing.contains(backup.id())
    })
}

/// `latest`, an id, or a part that only one id has.
pub fn by_name<'a>(
    scene: &Scene,
    listing: &'a Listing,
    wanted: &str,
    is_ours: IsOurs,
) -> Result<&'a Backup> {
    let found = if wanted == "latest" {
        trusted_latest(scene, listing, is_ours)
    } else {
        find(scene, listing, wanted)
    };
    found.or_else(|failure| {
        let id = unusable_id(scene, listing, wanted, is_ours);
        let damaged = id.as_ref().map(Damaged::unread);
        Err(with_alternative(
            scene,
            listing,
            is_ours,
            damaged,
            failure.into(),
        )?)
    })
}

/// Whether the vault has nothing of this name, not even something that cannot be used. A whole id
/// is that of one backup, whatever others begin with it.
pub fn is_missing(scene: &Scene, listing: &Listing, wanted: &str, is_ours: IsOurs) -> bool {
    if wanted == "latest" {
        return latest(listing, is_ours).is_none()
            && doubt::unusable_newer(scene, listing, None).is_none();
    }
    listing
        .find(wanted)
        .is_err_and(|error| !matches!(error, NotFound::Ambiguous { .. }))
        && listing.problem_with(wanted).is_none()
}

fn trusted_latest<'a>(
    scene: &Scene,
    listing: &'a Listing,
    is_ours: IsOurs,
) -> Result<&'a Backup, Failure> {
    refuse_doubtful_latest(scene, listing, is_ours)?;
    let newest = latest(listing, is_ours).ok_or_else(|| {
        let full = match listing.backups.iter().any(is_ours) {
            true => "full ",
            false => "",
        };
        Failure::untrusted(format!(
            "the vault `{}` has no {full}backup of `{}`",
            scene.vault.folder().display(),
            scene.settings.url
        ))
        .hint("`cargo xtask db list` shows what is there; `cargo xtask db backup` takes one")
    })?;
    say_newer_orphans(scene, listing, newest);
    Ok(newest)
}

/// Between the listing and the lock a prune, or a person, may have been at work.
pub fn gone(backup: &Backup) -> Failure {
    Failure::untrusted(format!("`{}` was removed meanwhile", backup.id()))
        .hint("cargo xtask db list")
}

/// By id or part of one; says which ones it could be, or what is wrong with it.
fn find<'a>(scene: &Scene, listing: &'a Listing, wanted: &str) -> Result<&'a Backup, Failure> {
    refuse_url(wanted)?;
    // Its whole id may also be the beginning of another one.
    let is_meant = |problem: &&Problem| problem.file.strip_suffix(".json") == Some(wanted);
    if let Some(problem) = listing.problems.iter().find(is_meant) {
        return Err(unusable(scene, problem));
    }
    listing.find(wanted).map_err(|error| match error {
        NotFound::Ambiguous { ref candidates, .. } => {
            let names: Vec<_> = candidates.iter().map(|id| format!("  {id}")).collect();
            Failure::usage(format!("{error}:\n{}", names.join("\n")))
                .hint("give a longer part, or the whole id")
        }
        NotFound::None(_) | NotFound::Longer { .. } => match (listing.problem_with(wanted), &error)
        {
            (Some(problem), _) => unusable(scene, problem),
            (None, NotFound::Longer { candidates, .. }) => {
                let names: Vec<_> = candidates.iter().map(|id| format!("`{id}`")).collect();
                Failure::refused(error.to_string()).hint(format!(
                    "another one that begins so is {}; `cargo xtask db list` shows all",
                    names.join(", ")
                ))
            }
            (None, _) => Failure::untrusted(error.to_string())
                .hint("`cargo xtask db list` shows the backups"),
        },
    })
}

fn unusable(scene: &Scene, problem: &Problem) -> Failure {
    let Problem {
        file,
        problem: what,
    } = problem;
    let id = problem.id().filter(|_| problem.is_orphan());
    id.and_then(|id| doubt::lost(scene, &id))
        .unwrap_or_else(|| Failure::untrusted(format!("`{file}` cannot be used: {what}")))
}

/// Which backup it is that [`by_name`] found no use in, where that has an id.
fn unusable_id(
    scene: &Scene,
    listing: &Listing,
    wanted: &str,
    is_ours: IsOurs,
) -> Option<BackupId> {
    if wanted == "latest" {
        let newest = latest(listing, is_ours);
        return doubt::unusable_newer(scene, listing, newest).map(|unusable| unusable.id);
    }
    listing.problem_with(wanted)?.id()
}

/// Adds to an error about a backup that cannot be trusted which one can.
/// Verifies the others, newest first, until one matches.
pub fn with_alternative(
    scene: &Scene,
    listing: &Listing,
    is_ours: IsOurs,
    except: Option<Damaged>,
    error: anyhow::Error,
) -> Result<anyhow::Error> {
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.outcome == Outcome::Untrusted && failure.hint.is_none() => {}
        _ => return Ok(error),
    }
    let is_other = |backup: &&Backup| except.is_none_or(|except| except.id != backup.id());
    let mut hint = "no other backup of this database can be trusted either; \
                    `cargo xtask db list` shows what is there"
        .to_owned();
    for backup in listing
        .backups
        .iter()
        .filter(|backup| is_ours(backup) && backup.manifest.is_full())
        .filter(is_other)
    {
        match scene.verify(backup) {
            Ok(_) => {
                let age = ui::old(backup.manifest.created_at, Utc::now());
                let id = backup.id();
                hint =
                    format!("the newest that can be trusted is {age}: cargo xtask db restore {id}");
                break;
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(_) => {}
        }
    }
    let copy = except.map(|damaged| intact::way_to(scene, damaged));
    if let Some(copy) = copy.transpose()?.flatten() {
        hint = format!("{copy}\nelse: {hint}");
    }
    let what = except.map_or_else(
        || "the backup".into(),
        |damaged| format!("the backup `{}`", damaged.id),
    );
    let context = Failure::untrusted(format!(
        "{what} cannot be trusted; the database is as it was"
    ));
    Ok(error.context(context.hint(hint)))
}

/// Lets a person choose one of those that can take the database's place.
pub fn pick<'a>(scene: &Scene, listing: &'a Listing, is_ours: IsOurs) -> Result<&'a Backup> {
    let ours: Vec<&Backup> = listing
        .backups
        .iter()
        .filter(|backup| is_ours(backup) && backup.manifest.is_full())
        .collect();
    if ours.is_empty() {
        return Ok(trusted_latest(scene, listing, is_ours)?);
    }
    let at = Utc::now();
    let line = |backup: &&Backup| {
        let manifest = &backup.manifest;
        let (age, size) = (
            ui::old(manifest.created_at, at),
            ui::size(manifest.dump.size_bytes),
        );
        format!("{}  {age}, {size}", backup.id())
    };
    let lines: Vec<String> = ours.iter().map(line).collect();
    let prompt = "which backup is to be restored?";
    match scene.ui.pick(prompt, &lines, scene.interrupt)? {
        Some(picked) => Ok(ours[picked]),
        None => Err(
            Failure::refused("no backup was chosen; nothing was changed")
                .hint("cargo xtask db restore latest")
                .into(),
        ),
    }
}
