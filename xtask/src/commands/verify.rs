//! `db verify`: the bytes of backups against their manifests.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::offsite::intact::{self, Damaged};
use super::rehearse::elapsed_ms;
use super::{Scene, choose, kinds};
use crate::cli::Verify;
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::encryption::Encryption;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending};
use crate::values::verified_dump::VerifiedDump;
use crate::vault::{Backup, Listing};

mod offsite;

#[derive(Serialize)]
struct Document {
    verified: Vec<Verified>,
}

#[derive(Serialize)]
struct Verified {
    id: String,
    /// What it is, when it is no full one.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    trusted: bool,
    /// For whom, when it is encrypted: it was matched, and not decrypted, which takes a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted_for: Option<String>,
    problem: Option<String>,
}

pub fn run(scene: &Scene, arguments: &Verify) -> Result<()> {
    if arguments.offsite {
        return offsite::run(scene, arguments);
    }
    let listing = scene.vault.list()?;
    if arguments.all {
        return verify_all(scene, &listing);
    }
    let now = choose::who_is_it(scene)?;
    let is_ours = choose::ours_or_alike(scene, &listing, now.as_ref());
    let wanted = arguments.backup.as_deref().unwrap_or("latest");
    let backup = choose::by_name(scene, &listing, wanted, &*is_ours)?;
    let Some(verified) = verify(scene, backup)? else {
        return Err(choose::gone(backup).into());
    };
    let problem = verified.problem.clone();
    report(scene, vec![verified])?;
    match problem {
        None => Ok(()),
        Some(problem) => {
            let error = Failure::untrusted(problem).into();
            Err(choose::with_alternative(
                scene,
                &listing,
                &*is_ours,
                Some(backup.into()),
                error,
            )?)
        }
    }
}

fn verify_all(scene: &Scene, listing: &Listing) -> Result<()> {
    let mut verified = Vec::new();
    for backup in &listing.backups {
        match verify(scene, backup)? {
            Some(one) => verified.push(one),
            None => scene
                .ui
                .say(format!("note: {} was removed meanwhile", backup.id())),
        }
    }
    // An orphan is no backup. A manifest that cannot be read was one.
    let unreadable = listing
        .problems
        .iter()
        .filter(|problem| problem.file.ends_with(".json"));
    verified.extend(unreadable.map(|problem| Verified {
        id: problem.file.trim_end_matches(".json").to_owned(),
        kind: None,
        trusted: false,
        encrypted_for: None,
        problem: Some(format!("its manifest cannot be used: {}", problem.problem)),
    }));
    let bad = verified.iter().filter(|verified| !verified.trusted);
    let bad: HashSet<String> = bad.map(|verified| verified.id.clone()).collect();
    let backups = ui::count(verified.len() as u64, "backup");
    let newest = verified
        .iter()
        .find(|verified| verified.trusted && verified.kind.is_none())
        .map(|v| v.id.clone());
    report(scene, verified)?;
    if bad.is_empty() {
        return Ok(());
    }
    let hint = match newest {
        Some(id) => format!("the newest that can: cargo xtask db restore {id}"),
        None => "take a new one: cargo xtask db backup".to_owned(),
    };
    // Of the newest: whoever reads this wants that one.
    let id = bad.iter().max().and_then(|id| id.parse().ok());
    let copy = id.map(|id: BackupId| {
        let mut read = listing.backups.iter();
        let read = read.find(|backup| *backup.id() == id);
        intact::way_to(scene, read.map_or(Damaged::unread(&id), Damaged::from))
    });
    let hint = match copy.transpose()?.flatten() {
        Some(copy) => format!("{copy}\nelse: {hint}"),
        None => hint,
    };
    let count = bad.len();
    let failure = Failure::untrusted(format!("{count} of {backups} cannot be trusted"));
    Err(failure.hint(hint).into())
}

fn report(scene: &Scene, verified: Vec<Verified>) -> Result<()> {
    for found in &verified {
        let Verified { id, problem, .. } = found;
        scene.ui.show(match (problem, &found.encrypted_for) {
            (None, None) => format!("trusted      {id}\n"),
            (None, Some(whom)) => {
                format!("trusted      {id} (encrypted for {whom}; matched, not decrypted)\n")
            }
            (Some(problem), _) => format!("NOT TRUSTED  {id}: {problem}\n"),
        })?;
    }
    if verified.is_empty() {
        scene.ui.say("the vault holds no backups");
    }
    scene.ui.emit(&Document { verified })
}

/// What cannot be trusted is a result; only a signal stops the verifying.
/// Nothing when somebody has removed it since it was listed, which begins with its manifest.
fn verify(scene: &Scene, backup: &Backup) -> Result<Option<Verified>> {
    let began = Instant::now();
    let problem = match scene.verify(backup) {
        Ok(_) => {
            record(scene, backup, None, began);
            None
        }
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(_) if !backup.is_there() => return Ok(None),
        Err(error) => Some(error.to_string()),
    };
    let encryption = backup.manifest.dump.encryption.as_ref();
    Ok(Some(Verified {
        id: backup.id().to_string(),
        kind: kinds::name(&backup.manifest),
        trusted: problem.is_none(),
        encrypted_for: encryption.map(Encryption::summary),
        problem,
    }))
}

impl Scene<'_> {
    /// Reads and matches. What cannot be trusted is written down, whoever has found it.
    pub(super) fn verify(&self, backup: &Backup) -> Result<VerifiedDump> {
        let began = Instant::now();
        let verified = self
            .vault
            .verify(backup, &self.ui.progress(), self.interrupt);
        if let Err(error) = &verified
            && !error.is::<Interrupted>()
            && backup.is_there()
        {
            record(self, backup, Some(&error.to_string()), began);
        }
        verified
    }
}

/// A vault that may only be read can be verified all the same.
pub(super) fn record(scene: &Scene, backup: &Backup, problem: Option<&str>, began: Instant) {
    let ending = problem.map_or(Ending::Done, |_| Ending::Failed);
    let mut entry = scene.entry(Deed::Verify, ending, &backup.manifest.database);
    entry.backup = Some(backup.id().clone());
    entry.duration_ms = Some(elapsed_ms(began));
    entry.note = problem.map(str::to_owned);
    if scene.vault.is_writable() {
        scene.record(entry);
    }
}
