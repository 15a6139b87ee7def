//! Where the copies of backups are, and whether 3-2-1 holds.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::commands::Scene;
use crate::ui;
use crate::values::cause;
use crate::values::id::BackupId;
use crate::values::offsite::{Inventory, Known, Place, known_copies, known_copy};
use crate::vault::Backup;

/// How many of the newest backups are shown; the document has all.
pub const SHOWN: usize = 3;

/// For `status`.
#[derive(Serialize)]
pub struct Copies {
    /// Of the backups of the database that may be meant by `latest`, newest first.
    pub backups: Vec<CopiesOf>,
    /// Three copies on two kinds of hardware, one of them elsewhere: of the newest backup.
    pub three_two_one: bool,
    /// Why it does not hold.
    pub lacks: Option<String>,
}

#[derive(Serialize)]
pub struct CopiesOf {
    id: BackupId,
    places: Vec<CopyAt>,
}

#[derive(Serialize)]
struct CopyAt {
    place: String,
    /// When its bytes were last read there and matched; nothing: it is not known to be there.
    matched_at: Option<DateTime<Utc>>,
    problem: Option<String>,
}

/// From the journal; with `asks` also from the places themselves.
pub fn of(scene: &Scene, newest: &[&Backup], asks: bool) -> Result<Copies> {
    let places = &scene.settings.offsite;
    let known = known_copies(&scene.vault.journal()?);
    let mut answers = BTreeMap::new();
    if asks {
        for place in places {
            let names = super::open(scene, place, scene.verb).and_then(|there| there.names());
            scene.interrupt.check()?;
            answers.insert(place.name.as_str(), names);
        }
    }
    let backups: Vec<CopiesOf> = newest
        .iter()
        .map(|backup| CopiesOf {
            id: backup.id().clone(),
            places: places
                .iter()
                .map(|place| {
                    let known = known_copy(&known, &backup.manifest, place);
                    let answer = answers.get(place.name.as_str());
                    copy_at(scene, backup, place, known, answer)
                })
                .collect(),
        })
        .collect();
    let lacks = lacks(scene, backups.first());
    Ok(Copies {
        backups,
        three_two_one: lacks.is_none(),
        lacks,
    })
}

fn copy_at(
    scene: &Scene,
    backup: &Backup,
    place: &Place,
    known: Option<Known>,
    answer: Option<&Result<Inventory>>,
) -> CopyAt {
    let mut matched_at = None;
    let mut is_earlier = false;
    let mut problem = match known {
        Some(Known::Matched(at)) => {
            matched_at = Some(at);
            None
        }
        Some(Known::Earlier(_)) => {
            is_earlier = true;
            Some("has another dump of it, from before a rekey".into())
        }
        Some(Known::Bad(_)) => Some("did not match when it was last read".to_owned()),
        Some(Known::Removed(_)) => Some("removed".into()),
        Some(Known::Begun(_)) => Some("begun and not finished".into()),
        None => Some("no copy".into()),
    };
    match answer {
        Some(Err(error)) => problem = Some(cause::lines(error).join(": ")),
        Some(Ok(names)) => {
            let bytes = scene.vault.manifest_bytes(backup);
            let is_there = bytes.is_ok_and(|bytes| names.has(&backup.manifest, bytes.len() as u64));
            is_earlier &= names.manifests.contains_key(backup.id());
            match (is_there, matched_at) {
                (false, _) if is_earlier => {}
                (false, _) => {
                    matched_at = None;
                    problem = Some("not there".into());
                }
                (true, None) => problem = Some("there, and never read back from here".into()),
                (true, Some(_)) => {}
            }
        }
        None => {}
    }
    CopyAt {
        place: place.name.clone(),
        matched_at,
        problem,
    }
}

/// The live database and the vault are two copies; the third must not be lost with them.
fn lacks(scene: &Scene, newest: Option<&CopiesOf>) -> Option<String> {
    let Some(newest) = newest else {
        return Some("there is no backup".into());
    };
    let is_elsewhere = |place: &Place| {
        let folder = place.url.folder();
        !folder.is_some_and(|folder| scene.vault.shares_disk_with(&folder))
    };
    let arrived = |place: &&Place| {
        let copies = newest.places.iter();
        let mut of_place = copies.filter(|copy| copy.place == place.name);
        of_place.any(|copy| copy.matched_at.is_some() && copy.problem.is_none())
    };
    let arrived: Vec<&Place> = scene.settings.offsite.iter().filter(arrived).collect();
    match arrived.as_slice() {
        [] => Some(
            "the newest backup has no copy off-site that is known to match: cargo xtask db push"
                .into(),
        ),
        some if !some.iter().any(|place| is_elsewhere(place)) => {
            Some("the only copy off-site is on the disk of the vault".into())
        }
        _ => None,
    }
}

/// For `status`.
pub fn show(scene: &Scene, copies: Option<&Copies>) -> Result<()> {
    let Some(copies) = copies else {
        return Ok(());
    };
    let now = Utc::now();
    for (i, of) in copies.backups.iter().take(SHOWN).enumerate() {
        let word = if i == 0 { "copies" } else { "" };
        let places: Vec<String> = of
            .places
            .iter()
            .map(|copy| match (copy.matched_at, &copy.problem) {
                (Some(at), None) => format!("{} (matched {} ago)", copy.place, ui::age(at, now)),
                (_, problem) => {
                    let problem = problem.as_deref().unwrap_or("no copy");
                    format!("{}: {problem}", copy.place)
                }
            })
            .collect();
        let line = format!("{word:<12}{}: the vault; {}\n", of.id, places.join("; "));
        scene.ui.show(line)?;
    }
    scene.ui.show(scene.ui.with_flags(&match &copies.lacks {
        None => "3-2-1       holds: the database, the vault, and a copy off-site\n".to_owned(),
        Some(lacks) => format!("3-2-1       does not hold: {lacks}\n"),
    }))
}
