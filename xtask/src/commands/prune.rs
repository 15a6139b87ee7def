//! `db prune`: removes the backups that no rule keeps; with `--kept`, databases that restores kept.

use anyhow::Result;
use chrono::Utc;
use serde::Serialize;

use super::{Scene, restore};
use crate::cli::Prune;
use crate::config::keys;
use crate::engine::Engine;
use crate::interrupt::Interrupted;
use crate::ui::{self, Table};
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::journal::Deed;
use crate::values::words::shell_quoted;
use crate::vault::Backup;
use plan::{Plan, Planned, plan};

mod beside;
mod offsite;
mod plan;

const COMMAND: &str = "cargo xtask db prune";

/// More than one that cannot be removed is the folder's fault, and will not end.
const MOST_FAILURES: usize = 5;

#[derive(Serialize)]
struct Document<'a> {
    database: &'a DatabaseFacts,
    keep: Vec<Line<'a>>,
    remove: Vec<Line<'a>>,
    /// Of those to be removed; the others could not be, or it was only a look.
    removed: Vec<BackupId>,
    size_before_bytes: u64,
    /// Once all of them are removed.
    size_after_bytes: u64,
    /// Backups of other databases in this vault.
    others: usize,
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
    // Neither a backup nor a pin meanwhile: what is shown is what is removed.
    let lock = changes.then(|| scene.vault.lock("prune", &scene.who));
    let _lock = lock.transpose()?;
    let listing = scene.vault.list()?;
    let plan = plan(scene, &mut *engine, &now, &listing, None)?;
    let asks = changes && !arguments.yes;
    show(scene, &now, &plan, asks);
    if arguments.dry_run || plan.removed().next().is_none() {
        return emit(scene, &now, &plan, Vec::new());
    }
    if asks {
        let lost = "what is removed cannot be brought back";
        restore::confirm(scene, lost, &command(arguments))?;
    }
    let removed = carry_out(scene, &plan, COMMAND, &|backup| remove(scene, &now, backup))?;
    emit(scene, &now, &plan, removed)
}

/// When the policy says so: after a backup or a migration that has ended well. Whatever comes of
/// it, the backup stands.
pub fn after(
    scene: &Scene,
    engine: &mut dyn Engine,
    taken: &Backup,
    is_locked: bool,
) -> Result<()> {
    if !scene
        .settings
        .get(keys::PRUNE_AFTER_BACKUP)
        .unwrap_or(false)
    {
        return Ok(());
    }
    let lock = (!is_locked).then(|| scene.vault.lock("prune", &scene.who));
    let _lock = match lock.transpose() {
        Ok(lock) => lock,
        Err(busy) => {
            scene.ui.insist(format!("note: nothing was pruned: {busy}"));
            return Ok(());
        }
    };
    let mut pruned = || {
        let now = engine.facts()?;
        let listing = scene.vault.list()?;
        let plan = plan(scene, engine, &now, &listing, Some(taken.id()))?;
        if plan.removed().next().is_some() {
            scene.ui.say(sizes(&plan));
            carry_out(scene, &plan, COMMAND, &|backup| remove(scene, &now, backup))?;
        }
        Ok(())
    };
    pruned().map_err(|error: anyhow::Error| {
        if error.chain().any(|cause| cause.is::<Interrupted>()) {
            return error;
        }
        let id = taken.id();
        error.context(
            Failure::incomplete(format!(
                "the backup `{id}` is taken, and pruning has failed"
            ))
            .hint(COMMAND),
        )
    })
}

/// Refused before anything is done, not after.
pub fn refuse_empty_policy(scene: &Scene) -> Result<()> {
    if scene
        .settings
        .get(keys::PRUNE_AFTER_BACKUP)
        .unwrap_or(false)
    {
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

/// The oldest first, so that one that is cut short has left the newest alone. `command` is for what
/// could not be removed.
fn carry_out(
    scene: &Scene,
    plan: &Plan,
    command: &str,
    remove: &dyn Fn(&Backup) -> Result<()>,
) -> Result<Vec<BackupId>> {
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for Planned { backup, .. } in plan.removed().rev() {
        scene.interrupt.check()?;
        let id = backup.id();
        let done = remove(backup);
        match done {
            Ok(()) => {
                scene.ui.detail(format!("removed {id}"));
                removed.push(id.clone());
            }
            Err(error) => failed.push(error),
        }
        if failed.len() >= MOST_FAILURES {
            break;
        }
    }
    let count = ui::count(removed.len() as u64, "backup");
    let Some(first) = failed.pop() else {
        scene.ui.say(format!("removed {count}"));
        return Ok(removed);
    };
    for error in &failed {
        scene.ui.insist(format!("not removed: {error:#}"));
    }
    let left = plan.removed().count() - removed.len();
    let left = ui::count(left as u64, "backup");
    let what = format!("{left} could not be removed and stay as they were; removed {count}");
    Err(first.context(Failure::incomplete(what).hint(command)))
}

fn emit(scene: &Scene, now: &DatabaseFacts, plan: &Plan, removed: Vec<BackupId>) -> Result<()> {
    let after = size(plan.kept());
    scene.ui.emit(&Document {
        database: &now.for_show(),
        keep: plan.kept().map(Line::of).collect(),
        remove: plan.removed().map(Line::of).collect(),
        removed,
        size_before_bytes: after.saturating_add(size(plan.removed())),
        size_after_bytes: after,
        others: plan.others,
    })
}
