//! `db verify --offsite`: the bytes of the copies against their manifests.

use anyhow::Result;
use serde::Serialize;

use crate::cli::Verify;
use crate::commands::offsite::look::{Look, look, say_newer_orphans};
use crate::commands::offsite::{distrust, matched, places};
use crate::commands::{Scene, choose};
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::cause;
use crate::values::database::DatabaseFacts;
use crate::values::failure::{Failure, is_untrusted};
use crate::values::offsite::{Known, known_copies, known_copy, taken};
use crate::vault::{Backup, Listing};

/// How many backups of other databases are named in a hint.
const NAMED: usize = 3;

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
    /// Of what is another backup: nothing of it is to be moved.
    #[serde(skip)]
    hint: Option<String>,
}

pub fn run(scene: &Scene, arguments: &Verify) -> Result<()> {
    let mut verified = Vec::new();
    let mut failed = None;
    let places = places(scene)?;
    let now = match arguments.all {
        true => None,
        false => choose::who_is_it(scene)?,
    };
    let vault = scene.vault.list()?;
    for place in places {
        let one = look(scene, place).and_then(|look| {
            let at = At {
                scene,
                look: &look,
                vault: &vault,
            };
            at.verify(arguments, now.as_ref(), &mut verified)
        });
        match one {
            Ok(()) => {}
            Err(error) if error.is::<Interrupted>() => return Err(error),
            // What was found elsewhere counts all the same.
            Err(error) => {
                let lines = cause::lines(&error).join(": ");
                scene.ui.insist(format!("not verified at {place}: {lines}"));
                if !failed.as_ref().is_some_and(is_untrusted) {
                    failed = Some(error);
                }
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
    let failure = untrusted(scene, &vault, &verified);
    if verified.is_empty() && failed.is_none() {
        scene.ui.say("there are no copies");
    }
    scene.ui.emit(&Document { verified })?;
    match failure {
        Some(failure) => Err(failure.into()),
        None => failed.map_or(Ok(()), Err),
    }
}

fn untrusted(scene: &Scene, vault: &Listing, verified: &[Verified]) -> Option<Failure> {
    let bad: Vec<&Verified> = verified.iter().filter(|one| !one.trusted).collect();
    let (count, copies) = (bad.len(), ui::count(verified.len() as u64, "copy"));
    let taken = bad.iter().find_map(|one| one.hint.clone());
    let bad: Vec<&Verified> = bad.into_iter().filter(|one| one.hint.is_none()).collect();
    let is_others = |one: &&&Verified| {
        let mut backups = vault.backups.iter();
        let here = backups.find(|backup| backup.id().as_str() == one.id);
        here.is_some_and(|here| !scene.settings.url.may_be(&here.manifest.database))
    };
    let others: Vec<&&Verified> = bad.iter().filter(is_others).take(NAMED).collect();
    // `db push` is about this database only; with `--all` it would send again what was pruned.
    let ours = (others.len() < bad.len()).then(|| "cargo xtask db push".to_owned());
    let others = others
        .iter()
        .map(|one| format!("cargo xtask db push {}", one.id));
    let commands: Vec<String> = ours.into_iter().chain(others).collect();
    let anew = (!bad.is_empty()).then(|| {
        let commands = commands.join("\nand: ");
        format!("move what is wrong there away, then send it anew: {commands}")
    });
    let hints: Vec<String> = anew.into_iter().chain(taken).collect();
    let failure = Failure::untrusted(format!("{count} of {copies} off-site cannot be trusted"));
    (count > 0).then(|| failure.hint(hints.join("\nand: ")))
}

/// A place, and what the vault has.
struct At<'a> {
    scene: &'a Scene<'a>,
    look: &'a Look<'a>,
    vault: &'a Listing,
}

impl At<'_> {
    fn verify(
        &self,
        arguments: &Verify,
        now: Option<&DatabaseFacts>,
        verified: &mut Vec<Verified>,
    ) -> Result<()> {
        let At { scene, look, .. } = *self;
        for (id, problem) in &look.wrong {
            let mut ours = self.vault.backups.iter();
            if let Some(ours) = ours.find(|backup| backup.id() == id) {
                distrust(scene, look.place, &ours.manifest, problem);
            }
        }
        if arguments.all {
            for backup in &look.listing.backups {
                verified.push(self.one(backup)?);
            }
            let unusable = look.listing.problems.iter();
            verified.extend(unusable.map(|problem| {
                let id = problem.file.trim_end_matches(".json");
                self.found(id, Some(problem.problem.clone()))
            }));
            return Ok(());
        }
        let wanted = arguments.backup.as_deref().unwrap_or("latest");
        let whence = look.place.to_string();
        let backup = choose::offsite(scene, &look.listing, wanted, now, &whence);
        if wanted == "latest" {
            say_newer_orphans(scene, look, backup.as_ref().ok().copied());
        }
        verified.push(self.one(backup?)?);
        Ok(())
    }

    /// What cannot be trusted is a result; a signal or a place without an answer stops the verifying.
    fn one(&self, backup: &Backup) -> Result<Verified> {
        let At { scene, look, vault } = *self;
        let id = backup.id();
        let is_twin =
            |here: &&Backup| here.id() == id && here.manifest.is_another(&backup.manifest);
        let twin = vault.backups.iter().find(is_twin);
        let problem = match look.offsite.matches(&backup.manifest, &scene.ui.progress()) {
            Ok(()) => {
                twin.map(|_| "it is another backup than the one of this id in the vault".to_owned())
            }
            Err(error) if is_untrusted(&error) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        let mut found = self.found(id.as_str(), problem);
        let problem = found.problem.as_deref();
        match twin {
            None => matched(scene, look.place, &backup.manifest, problem),
            Some(ours) => {
                found.hint = taken(look.place, &ours.manifest, &backup.manifest, "").hint;
                self.no_copy_any_more(ours, problem.unwrap_or_default())?;
            }
        }
        Ok(found)
    }

    /// What took the place of our copy is no copy; where there was none, there is nothing to know.
    fn no_copy_any_more(&self, ours: &Backup, problem: &str) -> Result<()> {
        let At { scene, look, .. } = *self;
        let known = known_copies(&scene.vault.journal()?);
        let known = known_copy(&known, &ours.manifest, look.place);
        if matches!(known, Some(Known::Matched(_))) {
            distrust(scene, look.place, &ours.manifest, problem);
        }
        Ok(())
    }

    fn found(&self, id: &str, problem: Option<String>) -> Verified {
        Verified {
            place: self.look.place.name.clone(),
            id: id.to_owned(),
            trusted: problem.is_none(),
            problem,
            hint: None,
        }
    }
}
