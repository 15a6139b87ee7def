//! `db prune`: removes the backups that no rule keeps; with `--kept`, databases that restores kept.

use anyhow::Result;
use chrono::Utc;
use serde::Serialize;

use super::journal::ending_of;
use super::{Scene, restore};
use crate::cli::Prune;
use crate::config::keys;
use crate::engine::Engine;
use crate::interrupt::Interrupted;
use crate::ui::{self, Table};
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::{BackupId, Reason};
use crate::values::journal::{Deed, Ending};
use crate::values::offsite::CopyHalfRemoved;
use crate::values::words::shell_quoted;
use crate::vault::{Backup, HalfRemoved};
use plan::{Plan, Planned, plan};

mod beside;
mod offsite;
mod plan;
mod ways_back;

const COMMAND: &str = "cargo xtask db prune";

/// More than one that cannot be removed is the folder's fault, and will not end.
const MOST_FAILURES: usize = 5;

#[derive(Serialize)]
struct Document<'a> {
    database: &'a DatabaseFacts,
    #[serde(flatten)]
    outcome: PlanOutcome<'a>,
}

/// A plan, and what came of it.
#[derive(Serialize)]
struct PlanOutcome<'a> {
    keep: Vec<Line<'a>>,
    remove: Vec<Line<'a>>,
    /// Of those to be removed; the others could not be, or it was only a look.
    removed: Vec<BackupId>,
    size_before_bytes: u64,
    /// Once all of them are removed.
    size_after_bytes: u64,
    /// Backups of other databases in the same place.
    others: usize,
}

impl<'a> PlanOutcome<'a> {
    fn of(plan: &'a Plan, removed: Vec<BackupId>) -> PlanOutcome<'a> {
        let after = size(plan.kept());
        PlanOutcome {
            keep: plan.kept().map(Line::of).collect(),
            remove: plan.removed().map(Line::of).collect(),
            removed,
            size_before_bytes: after.saturating_add(size(plan.removed())),
            size_after_bytes: after,
            others: plan.others,
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a BackupId,
    created_at: chrono::DateTime<Utc>,
    size_bytes: u64,
    why: Vec<String>,
}

impl<'a> Line<'a> {
    fn of(planned: &'a Planned) -> Line<'a> {
        let manifest = &planned.backup.manifest;
        Line {
            id: &manifest.id,
            created_at: manifest.created_at,
            size_bytes: manifest.dump.size_bytes,
            why: planned.words(),
        }
    }
}

pub fn run(scene: &Scene, arguments: &Prune) -> Result<()> {
    if arguments.kept {
        return beside::run(scene, arguments);
    }
    if arguments.offsite {
        return offsite::run(scene, arguments);
    }
    plan::policy(&scene.settings)?;
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    let is_there = scene.vault.folder().symlink_metadata().is_ok();
    let changes = !arguments.dry_run && is_there;
    if changes {
        scene.prepare_vault()?;
    }
    let agreed = match changes && !arguments.yes {
        true => Some(ask(scene, &mut *engine, &now, arguments)?),
        false => None,
    };
    // Neither a backup nor a pin meanwhile: what is shown is what is removed.
    let lock = changes.then(|| scene.vault.lock("prune", &scene.who));
    let _lock = lock.transpose()?;
    let listing = scene.vault.list()?;
    let plan = plan(scene, &mut *engine, &now, &listing, None)?;
    match &agreed {
        Some(agreed) => refuse_another(agreed, &plan, &command(arguments))?,
        None => show(scene, &now, &plan, false),
    }
    if arguments.dry_run || plan.removed().next().is_none() {
        return emit(scene, &now, &plan, Vec::new());
    }
    let remove = |backup: &Backup| remove(scene, &now, backup);
    let (removed, done) = carry_out(scene, &plan, COMMAND, &remove);
    emit(scene, &now, &plan, removed)?;
    done
}

/// Without the lock, for a question that is left open must be in no backup's way. What was agreed
/// to is removed.
fn ask(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    arguments: &Prune,
) -> Result<Vec<BackupId>> {
    let listing = scene.vault.list()?;
    let plan = plan(scene, engine, now, &listing, None)?;
    show(scene, now, &plan, true);
    let agreed = ids(&plan);
    if !agreed.is_empty() {
        let lost = "what is removed cannot be brought back";
        restore::confirm(scene, lost, &command(arguments))?;
    }
    Ok(agreed)
}

fn ids(plan: &Plan) -> Vec<BackupId> {
    let removed = plan.removed();
    removed.map(|planned| planned.backup.id().clone()).collect()
}

fn refuse_another(agreed: &[BackupId], plan: &Plan, command: &str) -> Result<(), Failure> {
    if ids(plan) == agreed {
        return Ok(());
    }
    Err(another("the vault has changed", command))
}

fn another(why: &str, command: &str) -> Failure {
    let what = "since this was shown, and something else would be removed now; nothing was removed";
    Failure::refused(format!("{why} {what}")).hint(command)
}

/// When the policy says so: after a backup or a migration that has ended well. Whatever comes of
/// it, these stand.
pub fn after(scene: &Scene, taken: &Backup) -> Result<()> {
    if !is_after_backup(scene) {
        return Ok(());
    }
    let _lock = match scene.vault.lock("prune", &scene.who) {
        Ok(lock) => lock,
        Err(busy) => {
            scene.ui.insist(format!("note: nothing was pruned: {busy}"));
            return Ok(());
        }
    };
    prune(scene, taken).map_err(|error| {
        let what = match taken.manifest.reason {
            Reason::PreMigrate => "the database is migrated, its backup",
            _ => "the backup",
        };
        let how = match ending_of(&error) {
            Ending::Interrupted => "was interrupted",
            _ => "has failed",
        };
        let what = format!("{what} `{}` is taken, and pruning {how}", taken.id());
        error.context(Failure::incomplete(what).hint(COMMAND))
    })
}

fn prune(scene: &Scene, taken: &Backup) -> Result<()> {
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    let listing = scene.vault.list()?;
    let plan = plan(scene, &mut *engine, &now, &listing, Some(taken.id()))?;
    if plan.removed().next().is_some() {
        scene.ui.say(sizes(&plan));
        let remove = |backup: &Backup| remove(scene, &now, backup);
        carry_out(scene, &plan, COMMAND, &remove).1?;
    }
    beside::after(scene, &mut *engine, &now)
}

fn is_after_backup(scene: &Scene) -> bool {
    let said = scene.settings.get(keys::PRUNE_AFTER_BACKUP);
    said.unwrap_or(false)
}

/// Refused before anything is done, not after.
pub fn refuse_empty_policy(scene: &Scene) -> Result<()> {
    if is_after_backup(scene) {
        plan::policy(&scene.settings)?;
    }
    Ok(())
}

fn command(arguments: &Prune) -> String {
    let given = arguments.keep.given().into_iter();
    let flags = given.map(|(key, text)| {
        let name = key.rsplit('.').next().unwrap_or(key).replace('_', "-");
        format!(" --{name} {}", shell_quoted(&text))
    });
    format!("{COMMAND}{}", flags.collect::<String>())
}

fn show(scene: &Scene, now: &DatabaseFacts, plan: &Plan, asks: bool) {
    let head = match plan.backups.as_slice() {
        [] => format!("there are no backups of the {now}"),
        _ => format!("backups of the {now}:"),
    };
    restore::say_all(scene, lines(head, plan), asks);
}

fn lines(head: String, plan: &Plan) -> Vec<String> {
    let at = Utc::now();
    let mut lines = vec![head];
    let mut table = Table::new(&["", "id", "age", "size", "why"]).right(3);
    for planned in &plan.backups {
        let words = planned.words();
        let (word, why) = match words.as_slice() {
            [] => ("remove", "nothing keeps it".to_owned()),
            words => ("keep", words.join(", ")),
        };
        let manifest = &planned.backup.manifest;
        let age = ui::age(manifest.created_at, at);
        table.row(&[
            &word,
            &manifest.id,
            &age,
            &ui::size(manifest.dump.size_bytes),
            &why,
        ]);
    }
    if !plan.backups.is_empty() {
        lines.extend(table.to_string().lines().map(str::to_owned));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    if plan.others > 0 {
        let others = ui::count(plan.others as u64, "backup");
        lines.push(format!("{others} of other databases: left alone"));
    }
    if !plan.backups.is_empty() {
        lines.push(sizes(plan));
    }
    lines
}

fn size<'a>(planned: impl Iterator<Item = &'a Planned<'a>>) -> u64 {
    let sizes = planned.map(|planned| planned.backup.manifest.dump.size_bytes);
    sizes.fold(0, u64::saturating_add)
}

/// `keeps 30 of 45 backups: 2.5 GiB before, 1.5 GiB after`
fn sizes(plan: &Plan) -> String {
    let all = ui::count(plan.backups.len() as u64, "backup");
    let (kept, after) = (plan.kept().count(), size(plan.kept()));
    let before = after.saturating_add(size(plan.removed()));
    let [before, after] = [before, after].map(ui::size);
    format!("keeps {kept} of {all}: {before} before, {after} after")
}

fn remove(scene: &Scene, now: &DatabaseFacts, backup: &Backup) -> Result<()> {
    scene.recorded(
        Deed::Remove,
        now,
        || scene.vault.remove(backup),
        |_| Some(backup.id().clone()),
    )
}

/// The oldest first, so that one that is cut short has left the newest alone. What is gone, and
/// how it ended; `command` is for what could not be removed.
fn carry_out(
    scene: &Scene,
    plan: &Plan,
    command: &str,
    remove: &dyn Fn(&Backup) -> Result<()>,
) -> (Vec<BackupId>, Result<()>) {
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    let mut going_on = Ok(());
    for Planned { backup, .. } in plan.removed().rev() {
        going_on = scene.interrupt.check();
        if going_on.is_err() || failed.len() >= MOST_FAILURES {
            break;
        }
        let id = backup.id();
        let done = remove(backup);
        if done.as_ref().err().is_none_or(is_gone) {
            scene.ui.detail(format!("removed {id}"));
            removed.push(id.clone());
        }
        failed.extend(done.err());
    }
    let left = plan.removed().count() - removed.len();
    let done = outcome(scene, removed.len(), left, failed, going_on);
    let done = done.map_err(|(error, what)| error.context(what.hint(command)));
    (removed, done)
}

fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref() == Some(&HalfRemoved::Unflushed)
}

/// `left` could not be removed, or were not tried any more.
fn outcome(
    scene: &Scene,
    removed: usize,
    left: usize,
    failed: Vec<anyhow::Error>,
    going_on: Result<(), Interrupted>,
) -> Result<(), (anyhow::Error, Failure)> {
    let count = |number: usize| ui::count(number as u64, "backup");
    let done = format!("removed {}", count(removed));
    let half = failed
        .iter()
        .filter(|error| error.is::<HalfRemoved>() || error.is::<CopyHalfRemoved>())
        .count();
    let gone = failed.iter().filter(|error| is_gone(error)).count();
    let as_they_were = failed.len() - half;
    let untried = left - (failed.len() - gone);
    let interrupted = going_on.err().map(anyhow::Error::from);
    let mut errors = interrupted.into_iter().chain(failed);
    let Some(first) = errors.next() else {
        scene.ui.say(done);
        return Ok(());
    };
    for error in errors {
        scene.ui.insist(format!("not removed: {error:#}"));
    }
    let parts = [
        (as_they_were, "could not be removed and stay as they were"),
        (half, "did not go as they should"),
        (untried, "were not tried"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let mut what: Vec<String> = parts
        .map(|(number, words)| format!("{} {words}", count(number)))
        .collect();
    what.push(done);
    Err((first, Failure::incomplete(what.join("; "))))
}

fn emit(scene: &Scene, now: &DatabaseFacts, plan: &Plan, removed: Vec<BackupId>) -> Result<()> {
    scene.ui.emit(&Document {
        database: &now.for_show(),
        outcome: PlanOutcome::of(plan, removed),
    })
}
