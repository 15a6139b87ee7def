//! `db verify`: the bytes of backups against their manifests.

use anyhow::Result;
use serde::Serialize;

use super::{Scene, find, latest, no_backup_of};
use crate::cli::Verify;
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::failure::Failure;
use crate::vault::{Backup, Listing};

#[derive(Serialize)]
struct Document {
    verified: Vec<Verified>,
}

#[derive(Serialize)]
struct Verified {
    id: String,
    trusted: bool,
    problem: Option<String>,
}

pub fn run(scene: &Scene, arguments: &Verify) -> Result<()> {
    let listing = scene.vault.list()?;
    let wanted: Vec<&Backup> = match arguments.backup.as_deref() {
        _ if arguments.all => listing.backups.iter().collect(),
        None | Some("latest") => vec![latest_here(scene, &listing)?],
        Some(wanted) => vec![find(&listing, wanted)?],
    };
    let mut verified = Vec::new();
    for backup in wanted {
        verified.push(verify(scene, backup)?);
    }
    if arguments.all {
        // An orphan is no backup. A manifest that cannot be read was one.
        let unreadable = listing
            .problems
            .iter()
            .filter(|problem| problem.file.ends_with(".json"));
        verified.extend(unreadable.map(|problem| Verified {
            id: problem.file.trim_end_matches(".json").to_owned(),
            trusted: false,
            problem: Some(format!("its manifest cannot be used: {}", problem.problem)),
        }));
    }
    report(scene, verified)
}

fn report(scene: &Scene, verified: Vec<Verified>) -> Result<()> {
    for Verified { id, problem, .. } in &verified {
        scene.ui.show(match problem {
            None => format!("trusted      {id}\n"),
            Some(problem) => format!("NOT TRUSTED  {id}: {problem}\n"),
        })?;
    }
    if verified.is_empty() {
        scene.ui.say("the vault holds no backups");
    }
    let all = verified.len() as u64;
    let bad = verified.iter().filter(|verified| !verified.trusted).count() as u64;
    let newest = verified
        .iter()
        .find(|verified| verified.trusted)
        .map(|v| v.id.clone());
    scene.ui.emit(&Document { verified })?;
    if bad == 0 {
        return Ok(());
    }
    let backups = ui::count(all, "backup");
    let failure = Failure::untrusted(format!("{bad} of {backups} cannot be trusted"));
    Err(match newest {
        Some(id) => failure.hint(format!("the newest that can is `{id}`")),
        None => failure.hint(
            "`cargo xtask db verify --all` looks for one that can; \
             `cargo xtask db backup` takes a new one",
        ),
    }
    .into())
}

/// What cannot be trusted is a result; only a signal stops the verifying.
fn verify(scene: &Scene, backup: &Backup) -> Result<Verified> {
    let result = scene
        .vault
        .verify(backup, &scene.ui.progress(), scene.interrupt);
    let problem = match result {
        Ok(_) => None,
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => Some(error.to_string()),
    };
    Ok(Verified {
        id: backup.id().to_string(),
        trusted: problem.is_none(),
        problem,
    })
}

/// The newest backup of this database. When the database cannot be asked who
/// it is, because it is down, the newest one with its name and engine.
fn latest_here<'a>(scene: &Scene, listing: &'a Listing) -> Result<&'a Backup> {
    let error = match scene.engine().and_then(|mut engine| engine.facts()) {
        Ok(now) => {
            let found = latest(listing, &now);
            return found.ok_or_else(|| no_backup_of(&now, &scene.vault).into());
        }
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => error,
    };
    scene.ui.say(format!(
        "going by the name alone, for the database does not answer: {error}"
    ));
    let url = &scene.settings.url;
    let found = listing
        .backups
        .iter()
        .find(|backup| url.may_be(&backup.manifest.database));
    found.ok_or_else(|| {
        Failure::untrusted(format!(
            "the vault `{}` has no backup of the database of `{url}`",
            scene.vault.folder().display()
        ))
        .hint("`cargo xtask db list` shows what is there")
        .into()
    })
}
