//! `db rekey`: backups encrypted for others than before.

use std::collections::HashSet;

use anyhow::Result;
use serde::Serialize;

use super::keyring::seal_for;
use super::{Scene, choose};
use crate::cli::Rekey;
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::cause;
use crate::values::encryption::{self, Encryption, Seal, not_built};
use crate::values::failure::{Failure, hint_of, is_untrusted};
use crate::values::id::BackupId;
use crate::values::journal::Deed;
use crate::values::manifest::split_dump_name;
use crate::values::words::{on_one_line, shell_quoted};
use crate::vault::{Backup, Listing, Problem};

#[derive(Serialize)]
struct Document {
    rekeyed: Vec<Done>,
    /// What looks like a backup and is none, with `--all`.
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Done {
    id: BackupId,
    /// False: it was like that before, or could not be done.
    changed: bool,
    encryption: Option<Encryption>,
    problem: Option<String>,
    /// Dumps of before that could not be removed.
    left: Vec<String>,
}

pub fn run(scene: &Scene, arguments: &Rekey) -> Result<()> {
    if !encryption::IS_BUILT {
        let message = "this program was built without encryption";
        return Err(not_built(message, "rekey latest").into());
    }
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("rekey", &scene.who)?;
    let now = scene.engine()?.facts()?;
    let listing = scene.vault.list()?;
    let is_ours = choose::ours(&listing, &now);
    if !arguments.all {
        let wanted = arguments.backup.as_deref().unwrap_or("latest");
        let backup = choose::by_name(scene, &listing, wanted, &is_ours)?;
        let done = rekey(scene, arguments, backup)?;
        let left = report(scene, vec![done], &[])?;
        return refuse_left(scene, &left);
    }
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for backup in listing.backups.iter().filter(|backup| is_ours(backup)) {
        match rekey(scene, arguments, backup) {
            Ok(done) => all.push(done),
            Err(error) => {
                let ends = error.is::<Interrupted>();
                if !ends {
                    let problem = cause::lines(&error).join(": ");
                    all.push(Done::unchanged(backup, Some(problem)));
                }
                errors.push(error);
                if ends {
                    break;
                }
            }
        }
    }
    let problems = whose_nobody_knows(&listing);
    let count = all.len() + problems.len();
    let has_changed = all.iter().any(|done| done.changed);
    let left = report(scene, all, &problems)?;
    refuse_errors(errors, &problems, count, has_changed)?;
    refuse_left(scene, &left)
}

/// Damaged manifests and dumps without one: who was to be shut out may still open what is in them.
/// An older dump of a backup goes with the rekey of that.
fn whose_nobody_knows(listing: &Listing) -> Vec<Problem> {
    let ids = listing.backups.iter().map(|backup| backup.id().as_str());
    let ids: HashSet<&str> = ids.collect();
    let is_older = |problem: &Problem| {
        let dump = split_dump_name(&problem.file);
        dump.is_some_and(|(stem, _)| ids.contains(stem))
    };
    let problems = listing.problems.iter();
    problems.filter(|p| !is_older(p)).cloned().collect()
}

impl Done {
    fn unchanged(backup: &Backup, problem: Option<String>) -> Done {
        Done {
            id: backup.id().clone(),
            changed: false,
            encryption: backup.manifest.dump.encryption.clone(),
            problem,
            left: Vec::new(),
        }
    }
}

fn refuse_errors(
    mut errors: Vec<anyhow::Error>,
    problems: &[Problem],
    count: usize,
    has_changed: bool,
) -> Result<()> {
    if errors.last().is_some_and(|error| error.is::<Interrupted>()) {
        return Err(errors.swap_remove(errors.len() - 1));
    }
    let problems = problems.iter();
    errors.extend(problems.map(|Problem { file, problem }| {
        let what = format!("`{file}` cannot be used: {problem}");
        Failure::untrusted(what).into()
    }));
    let bad = errors.len();
    let backups = ui::count(count as u64, "backup");
    let only_untrusted = errors.iter().all(is_untrusted);
    let Some(first) = errors.into_iter().next() else {
        return Ok(());
    };
    if only_untrusted {
        return Err(Failure::untrusted(format!("{bad} of {backups} could not be opened"))
            .hint(
                "`cargo xtask db list` shows what is no backup, `cargo xtask db verify --all` which are as they were \
                 written; `--identity FILE` names a key",
            )
            .into());
    }
    if !has_changed {
        return Err(first);
    }
    let hint =
        hint_of(&first).unwrap_or_else(|| "mend that, and run the same command again".into());
    Err(first.context(
        Failure::incomplete(format!(
            "{bad} of {backups} could not be encrypted anew; the others are as they were asked for"
        ))
        .hint(hint),
    ))
}

/// For whom a backup is to be.
enum Wanted {
    /// As this run would encrypt a new one.
    AsNew,
    For(Seal),
    /// It has nothing to do with who comes and goes.
    AsItIs,
}

/// Verify, open, encrypt, test, replace; when it is for the same people already, only what a run
/// that was cut short has left is removed.
fn rekey(scene: &Scene, arguments: &Rekey, backup: &Backup) -> Result<Done> {
    let id = backup.id();
    let was = backup.manifest.dump.encryption.as_ref();
    let wanted = wanted(scene, arguments, backup)?;
    let seal = match &wanted {
        Wanted::AsItIs => return unchanged(scene, backup),
        Wanted::For(seal) => seal,
        Wanted::AsNew => scene.keys.named.as_ref().ok_or_else(|| {
            Failure::usage("for whom are the backups to be encrypted?")
                .hint("cargo xtask db rekey latest --add-recipient age1…")
        })?,
    };
    if was.is_some_and(|was| is_for_the_same(was, seal.encryption())) {
        return unchanged(scene, backup);
    }
    let progress = scene.ui.progress();
    let work = || {
        let mut dump = scene.verify(backup)?;
        scene.unlock(&mut dump, &format!("rekey {id}"))?;
        let free = backup.manifest.dump.size_bytes + (1 << 20);
        scene.vault.require_free(free)?;
        scene.with_keys_for(seal, |identities| {
            scene
                .vault
                .rekey(&dump, seal, identities, &progress, scene.interrupt)
        })
    };
    let database = &backup.manifest.database;
    let rekeyed = scene.recorded_with(Deed::Rekey, database, work, |done, entry| {
        entry.backup = Some(id.clone());
        let before = was.map_or_else(|| "nobody in particular".to_owned(), Encryption::summary);
        let now = seal.encryption().summary();
        entry.note = done
            .is_ok()
            .then(|| format!("for {now}; before, for {before}"));
    })?;
    if backup.manifest.globals.is_some() {
        let what = "the roles that it keeps stay in its manifest, which is not encrypted";
        scene.ui.insist(format!("warning: {id}: {what}"));
    }
    Ok(Done {
        id: id.clone(),
        changed: true,
        encryption: rekeyed.backup.manifest.dump.encryption,
        problem: None,
        left: rekeyed.left,
    })
}

fn unchanged(scene: &Scene, backup: &Backup) -> Result<Done> {
    Ok(Done {
        left: remove_older_dumps(scene, backup)?,
        ..Done::unchanged(backup, None)
    })
}

/// Those who were to be shut out could open them.
fn remove_older_dumps(scene: &Scene, backup: &Backup) -> Result<Vec<String>> {
    if !scene.vault.has_older_dumps(&backup.manifest)? {
        return Ok(Vec::new());
    }
    let work = || {
        let dump = scene.verify(backup)?;
        scene.vault.remove_older_dumps(&dump)
    };
    let database = &backup.manifest.database;
    scene.recorded_with(Deed::Rekey, database, work, |done, entry| {
        entry.backup = Some(backup.id().clone());
        let what = "removed older dumps, which a rekey had left";
        entry.note = done.is_ok().then(|| what.to_owned());
    })
}

/// Those of the backup, more or fewer.
fn wanted(scene: &Scene, arguments: &Rekey, backup: &Backup) -> Result<Wanted> {
    if arguments.add.is_empty() && arguments.remove.is_empty() {
        return Ok(Wanted::AsNew);
    }
    let name = |keys: &[String]| -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for key in keys {
            names.extend(seal_for([key.as_str()])?.encryption().recipients.clone());
        }
        Ok(names)
    };
    let (added, removed) = (name(&arguments.add)?, name(&arguments.remove)?);
    let (id, was) = (backup.id(), backup.manifest.dump.encryption.as_ref());
    let has = |key: &String| was.is_some_and(|was| was.recipients.contains(key));
    let unknown = removed.iter().find(|key| !has(key));
    // A dump that a run has left may still be for them, and goes with the same command again.
    if let (Some(unknown), false) = (unknown, arguments.all)
        && !scene.vault.has_older_dumps(&backup.manifest)?
    {
        return Err(Failure::refused(format!(
            "the backup is not encrypted for {}",
            encryption::short(unknown)
        ))
        .hint("`cargo xtask db list --json` says for whom each backup is")
        .into());
    }
    if added.is_empty() && !removed.iter().any(has) {
        return Ok(Wanted::AsItIs);
    }
    // One that is not encrypted begins as a new one would be.
    let before = was.or_else(|| scene.keys.named.as_ref().map(Seal::encryption));
    if before.is_some_and(|before| before.passphrase) {
        return Err(Failure::refused(format!(
            "the backup `{id}` is for a passphrase, which nobody else can be let in beside"
        ))
        .hint(format!(
            "for this key instead of the passphrase: cargo xtask db rekey {id} --recipient {}",
            shell_quoted(added.first().map_or("age1…", String::as_str))
        ))
        .into());
    }
    let before = before.map_or(&[][..], |before| before.recipients.as_slice());
    let kept = before.iter().filter(|key| !removed.contains(key));
    let keys: Vec<&str> = kept.chain(&added).map(String::as_str).collect();
    if keys.is_empty() {
        return Err(
            Failure::refused("nobody would be left who can open it; nothing was changed")
                .hint("cargo xtask db rekey latest --add-recipient age1…")
                .into(),
        );
    }
    Ok(Wanted::For(seal_for(keys)?))
}

/// Who has a passphrase cannot be told, so one is always set anew.
fn is_for_the_same(was: &Encryption, now: &Encryption) -> bool {
    let sorted = |encryption: &Encryption| {
        let mut keys = encryption.recipients.clone();
        keys.sort();
        keys
    };
    !was.passphrase && !now.passphrase && sorted(was) == sorted(now)
}

/// Returns what could not be removed.
fn report(scene: &Scene, all: Vec<Done>, problems: &[Problem]) -> Result<Vec<String>> {
    for done in &all {
        let Done { id, problem, .. } = done;
        let whom = done
            .encryption
            .as_ref()
            .map_or_else(String::new, Encryption::summary);
        scene.ui.show(match (problem, done.changed) {
            (Some(problem), _) => format!("NOT REKEYED  {id}: {problem}\n"),
            (None, true) => format!("rekeyed      {id}: for {whom}; decrypted and compared\n"),
            (None, false) => format!("unchanged    {id}: for {whom}\n"),
        })?;
    }
    for Problem { file, problem } in problems {
        let file = on_one_line(file);
        scene.ui.show(format!("NOT REKEYED  {file}: {problem}\n"))?;
    }
    if all.is_empty() {
        scene.ui.say("the vault holds no backups of this database");
    }
    if all.iter().any(|done| done.changed) {
        scene.ui.say(
            "note: who could open a backup before, and has a copy of its old file, can still open that copy",
        );
        if !scene.settings.offsite.is_empty() {
            scene.ui.say(
                "note: copies off-site are as they were; `cargo xtask db push` says which to remove there, and then sends the new ones",
            );
        }
    }
    let left: Vec<String> = all.iter().flat_map(|done| done.left.clone()).collect();
    for name in &left {
        let what = "can be opened by those who could before, and could not be removed";
        scene.ui.insist(format!("warning: `{name}` {what}"));
    }
    scene.ui.emit(&Document {
        rekeyed: all,
        problems: problems.to_vec(),
    })?;
    Ok(left)
}

/// A dump of before that is still there can still be opened by those who were to be shut out.
fn refuse_left(scene: &Scene, left: &[String]) -> Result<()> {
    let Some(first) = left.first() else {
        return Ok(());
    };
    let folder = scene.vault.folder().display();
    Err(Failure::incomplete(format!(
        "the backups are encrypted anew, and {} of before could not be removed: `{}`",
        ui::count(left.len() as u64, "dump"),
        left.join("`, `")
    ))
    .hint(format!("rm {folder}/{first}"))
    .into())
}
