//! `db verify --offsite`: the bytes of the copies against their manifests.

use anyhow::Result;
use serde::Serialize;

use super::who_is_it;
use crate::cli::Verify;
use crate::commands::offsite::look::{Look, look};
use crate::commands::offsite::places;
use crate::commands::{Scene, choose};
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::cause;
use crate::values::failure::{Failure, Outcome};
use crate::values::journal::{Deed, Ending};
use crate::vault::Backup;

#[derive(Serialize)]
struct Document {
    verified: Vec<Verified>,
}

#[derive(Serialize)]
struct Verified {
    place: String,
    id: String,
    trusted: bool,
    problem: Option<String>,
}

pub fn run(scene: &Scene, arguments: &Verify) -> Result<()> {
    let mut verified = Vec::new();
    let mut unasked = None;
    for place in places(scene)? {
        match look(scene, place) {
            Ok(look) => at_place(scene, arguments, &look, &mut verified)?,
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                let lines = cause::lines(&error).join(": ");
                scene.ui.insist(format!("{place} cannot be asked: {lines}"));
                unasked = Some(error);
            }
        }
    }
    for Verified {
        place, id, problem, ..
    } in &verified
    {
        scene.ui.show(match problem {
            None => format!("trusted      {id} at {place}\n"),
            Some(problem) => format!("NOT TRUSTED  {id} at {place}: {problem}\n"),
        })?;
    }
    let bad = verified.iter().filter(|verified| !verified.trusted).count();
    let copies = ui::count(verified.len() as u64, "copy").replace("copys", "copies");
    if verified.is_empty() && unasked.is_none() {
        scene.ui.say("there are no copies");
    }
    scene.ui.emit(&Document { verified })?;
    if bad > 0 {
        return Err(
            Failure::untrusted(format!("{bad} of {copies} off-site cannot be trusted"))
                .hint(
                    "move what is damaged there away, then send it anew: cargo xtask db push --all",
                )
                .into(),
        );
    }
    unasked.map_or(Ok(()), Err)
}

fn at_place(
    scene: &Scene,
    arguments: &Verify,
    look: &Look,
    verified: &mut Vec<Verified>,
) -> Result<()> {
    if arguments.all {
        for backup in &look.listing.backups {
            verified.push(verify(scene, look, backup)?);
        }
        let unreadable = look.listing.problems.iter();
        verified.extend(unreadable.map(|problem| Verified {
            place: look.place.name.clone(),
            id: problem.file.trim_end_matches(".json").to_owned(),
            trusted: false,
            problem: Some(problem.problem.clone()),
        }));
        return Ok(());
    }
    let now = who_is_it(scene)?;
    let is_ours: Box<dyn Fn(&Backup) -> bool> = match &now {
        Some(now) => Box::new(choose::ours(&look.listing, now)),
        None => Box::new(|backup| scene.settings.url.may_be(&backup.manifest.database)),
    };
    let wanted = arguments.backup.as_deref().unwrap_or("latest");
    let backup = choose::at_place(scene, &look.listing, wanted, &*is_ours, look.place)?;
    verified.push(verify(scene, look, backup)?);
    Ok(())
}

/// What cannot be trusted is a result; a signal or a place without an answer stops the verifying.
fn verify(scene: &Scene, look: &Look, backup: &Backup) -> Result<Verified> {
    let matched = look.offsite.matches(&backup.manifest, &scene.ui.progress());
    let problem = match matched {
        Ok(()) => None,
        Err(error) if is_untrusted(&error) => Some(error.to_string()),
        Err(error) => return Err(error),
    };
    let ending = problem.as_ref().map_or(Ending::Done, |_| Ending::Failed);
    let mut entry = scene.entry(Deed::Verify, ending, &backup.manifest.database);
    entry.backup = Some(backup.id().clone());
    entry.place = Some(look.place.name.clone());
    entry.note = problem.clone();
    if scene.vault.is_writable() {
        scene.record(entry);
    }
    Ok(Verified {
        place: look.place.name.clone(),
        id: backup.id().to_string(),
        trusted: problem.is_none(),
        problem,
    })
}

fn is_untrusted(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| failure.outcome == Outcome::Untrusted)
}
