//! Whether `latest` may mean another backup than the newest that can be read.

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};

use super::{IsOurs, latest, may_be_latest};
use crate::commands::Scene;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, Entry};
use crate::vault::{Backup, Listing, Problem};

/// How far the clocks of machines that share a vault may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(1);

/// Refuses when another backup than the one that [`latest`] finds may be meant.
pub fn refuse_doubtful_latest(
    scene: &Scene,
    listing: &Listing,
    is_ours: IsOurs,
) -> Result<(), Failure> {
    let newest = latest(listing, is_ours);
    if let Some(unusable) = unusable_newer(scene, listing, newest) {
        return Err(unusable.failure);
    }
    newest.map_or(Ok(()), |newest| refuse_future(listing, is_ours, newest))
}

/// A backup that may be the newest, and why it cannot be used.
pub struct Unusable {
    pub id: BackupId,
    pub failure: Failure,
}

/// A manifest that cannot be read, or is lost, may have been the newest backup's. To take
/// an older one without a word would be to lose what lies between.
pub fn unusable_newer(
    scene: &Scene,
    listing: &Listing,
    newest: Option<&Backup>,
) -> Option<Unusable> {
    let newer = newer_problems(listing, newest);
    let unread = newer.iter().find(|(_, problem)| !problem.is_orphan());
    if let Some((id, Problem { file, problem })) = unread {
        let failure = Failure::untrusted(format!(
            "the newest backup may be that of `{file}`, which cannot be used: {problem}"
        ));
        return Some(Unusable {
            id: id.clone(),
            failure,
        });
    }
    let mut orphans = newer.into_iter().map(|(id, _)| id);
    let id = orphans.find(|id| is_lost(scene, id, newest))?;
    let failure = Failure::untrusted(format!("the newest backup may be `{id}`: {LOST}"));
    Some(Unusable { id, failure })
}

const LOST: &str = "it was taken, its dump is there, and its manifest is lost";

/// Of a dump without a manifest that was a whole backup.
pub fn lost(scene: &Scene, id: &BackupId) -> Option<Failure> {
    is_lost(scene, id, None).then(|| Failure::untrusted(format!("`{id}` cannot be used: {LOST}")))
}

/// Newest first.
fn newer_problems<'a>(
    listing: &'a Listing,
    newest: Option<&Backup>,
) -> Vec<(BackupId, &'a Problem)> {
    let newest = newest.map(|backup| backup.id().time());
    let is_there = |id: &BackupId| listing.backups.iter().any(|backup| backup.id() == id);
    let newer = listing.problems.iter().rev().filter_map(|problem| {
        let id = problem.id()?;
        let is_full = !problem.is_orphan() || id.kind_words().is_empty();
        let is_newer = newest.is_none_or(|newest| id.time() >= newest);
        (!id.is_safety() && is_full && is_newer && !is_there(&id)).then_some((id, problem))
    });
    newer.collect()
}

/// A crash leaves a dump of which the journal does not say that a backup came of it.
fn is_lost(scene: &Scene, id: &BackupId, newest: Option<&Backup>) -> bool {
    let Ok(journal) = scene.vault.journal() else {
        return false;
    };
    let entries = journal.iter().filter_map(|line| line.entry.as_ref());
    let mut of_it = entries
        .rev()
        .filter(|entry| entry.backup.as_ref() == Some(id) && entry.ending == Ending::Done);
    let last = of_it.find(|entry| match entry.deed {
        Deed::Backup | Deed::Pull | Deed::Rekey => true,
        Deed::Remove => entry.place.is_none(),
        _ => false,
    });
    let is_another = |entry: &Entry| {
        newest.is_some_and(|newest| {
            let here = newest.manifest.database.to_string();
            without_host(&here) != without_host(&entry.database)
        })
    };
    last.is_some_and(|last| last.deed != Deed::Remove && !is_another(last))
        // It may have been published since the vault was listed.
        && scene.vault.read(id.as_str()).is_err()
}

/// Many names may lead to one server.
fn without_host(database: &str) -> &str {
    database
        .split_once("` on `")
        .map_or(database.trim_end_matches('`'), |(name, _)| name)
}

/// Dumps of which nothing more can be said than that they are newer.
pub fn say_newer_orphans(scene: &Scene, listing: &Listing, than: &Backup) {
    let newer = newer_problems(listing, Some(than)).into_iter();
    for (_, Problem { file, problem }) in newer.filter(|(_, problem)| problem.is_orphan()) {
        scene
            .ui
            .insist(format!("note: `{file}` is newer: {problem}"));
    }
}

pub fn is_future(backup: &Backup, now: DateTime<Utc>) -> bool {
    is_from_the_future(backup.manifest.created_at, now)
}

pub fn is_from_the_future(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    at > now + SKEW
}

/// After a clock was set back, what was taken since looks older than what was
/// taken before. Which of the two is meant is for a person to say.
pub fn refuse_future(listing: &Listing, is_ours: IsOurs, newest: &Backup) -> Result<(), Failure> {
    let now = Utc::now();
    let is_future = |backup: &Backup| is_future(backup, now);
    if !is_future(newest) {
        return Ok(());
    }
    let mut others = listing
        .backups
        .iter()
        .filter(|other| other.id() != newest.id() && is_ours(other) && may_be_latest(other));
    // The newest of the present, or else the next one of the future.
    let next = others.clone().find(|other| !is_future(other));
    let Some(other) = next.or_else(|| others.next()) else {
        return Ok(());
    };
    let age = ui::age(newest.manifest.created_at, now);
    let what = format!("is dated {age}: by the clock, which one is the latest cannot be told");
    Err(one_of_two(newest, &what, other))
}

/// A copy of a whole server has the identifier and the names of the first one, and no rows of its
/// own that tell them apart: only the address does.
pub fn refuse_another_address(
    scene: &Scene,
    listing: &Listing,
    is_ours: IsOurs,
    now: &DatabaseFacts,
) -> Result<(), Failure> {
    let is_here = |backup: &&Backup| {
        let Backup { manifest, .. } = backup;
        let is_same_machine = manifest.ran_on.host == scene.who.host;
        manifest.database.is_at_address_of(now, is_same_machine)
    };
    let Some(newest) = latest(listing, is_ours).filter(|newest| !is_here(newest)) else {
        return Ok(());
    };
    let mut ours = listing.backups.iter().filter(|backup| is_ours(backup));
    match ours.find(|backup| may_be_latest(backup) && is_here(backup)) {
        None => Ok(()),
        Some(other) => {
            let Backup { manifest, .. } = newest;
            let machine = manifest.ran_on.host.as_deref().unwrap_or("unknown");
            let what = format!(
                "was taken of the {} on the machine `{machine}`, and there are others of the {now}: only \
                 its address tells a server from a copy of it",
                manifest.database
            );
            Err(one_of_two(newest, &what, other))
        }
    }
}

fn one_of_two(newest: &Backup, what: &str, other: &Backup) -> Failure {
    let (newest, other) = (newest.id(), other.id());
    Failure::refused(format!("the backup `{newest}` {what}")).hint(format!(
        "`cargo xtask db list` shows all; the one that is meant may be this: \
         cargo xtask db restore {newest}\nor this: cargo xtask db restore {other}"
    ))
}
