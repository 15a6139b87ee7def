//! `db prune --kept`: removes databases that restores replaced and kept.

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::super::journal::ending_of;
use super::super::kept::{self, KeptThere};
use super::super::{Scene, restore};
use crate::cli::Prune;
use crate::config::keys;
use crate::engine::{Engine, KeptDatabase};
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::journal::{Deed, Ending};
use crate::values::words::on_one_line;

#[derive(Serialize)]
struct Document {
    /// What would be or was to be removed, newest first.
    kept: Vec<KeptThere>,
    removed: Vec<String>,
}

pub fn run(scene: &Scene, arguments: &Prune) -> Result<()> {
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    let at = Utc::now();
    let older_than = scene.settings.get_said(keys::KEPT_DAYS);
    let all = old_ones(&mut *engine, older_than, at)?;
    let shown: Vec<KeptThere> = all.iter().map(|kept| kept::there(kept, at)).collect();
    if all.is_empty() {
        scene.ui.say(format!(
            "nothing is kept of the {now} that is to be removed"
        ));
        return report(scene, shown, Vec::new());
    }
    show(scene, arguments, &now, &shown, at);
    if arguments.dry_run {
        return report(scene, shown, Vec::new());
    }
    if !arguments.yes {
        let lost = "what they hold cannot be brought back";
        restore::confirm(scene, lost, &command(arguments))?;
    }
    scene.prepare_vault()?;
    // No undo meanwhile, for which one of them may be what it wants.
    let _lock = scene.vault.lock("prune", &scene.who)?;
    let (removed, done) = remove_all(scene, &mut *engine, &now, &all);
    report(scene, shown, removed)?;
    done
}

/// With the pruning after a backup, when the policy says how long they are kept. Who calls it
/// holds the lock.
pub fn after(scene: &Scene, engine: &mut dyn Engine, now: &DatabaseFacts) -> Result<()> {
    let Some(days) = scene.settings.get_said(keys::KEPT_DAYS) else {
        return Ok(());
    };
    let all = old_ones(engine, Some(days), Utc::now())?;
    remove_all(scene, engine, now, &all).1
}

/// What is gone, and how it ended.
fn remove_all(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    all: &[KeptDatabase],
) -> (Vec<String>, Result<()>) {
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for kept in all {
        match remove(scene, engine, now, kept) {
            Ok(()) => removed.push(kept.name.clone()),
            Err(error) if ending_of(&error) == Ending::Interrupted => {
                let what = ui::count(removed.len() as u64, "kept database");
                let what = Failure::incomplete(format!("removed {what}"));
                return (removed, Err(error.context(what)));
            }
            Err(error) => failed.push(error),
        }
    }
    (removed, refuse_failed(scene, failed))
}

fn old_ones(
    engine: &mut dyn Engine,
    older_than: Option<u32>,
    now: DateTime<Utc>,
) -> Result<Vec<KeptDatabase>> {
    let Some(aside) = engine.aside() else {
        return Ok(Vec::new());
    };
    let mut all = aside.list()?;
    if let Some(days) = older_than {
        all.retain(|kept| now - kept.since >= TimeDelta::days(days.into()));
    }
    Ok(all)
}

fn command(arguments: &Prune) -> String {
    let older = arguments.older_than;
    let older = older.map_or_else(String::new, |days| format!(" --older-than {days}"));
    format!("cargo xtask db prune --kept{older}")
}

fn show(
    scene: &Scene,
    arguments: &Prune,
    now: &DatabaseFacts,
    all: &[KeptThere],
    at: DateTime<Utc>,
) {
    let what = ui::count(all.len() as u64, "kept database");
    let word = if arguments.dry_run { "would" } else { "will" };
    let mut lines = vec![format!("{what} beside the {now} {word} be removed:")];
    lines.extend(all.iter().map(|kept| format!("  {}", kept::line(kept, at))));
    restore::say_all(scene, lines, !arguments.yes);
}

fn remove(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    kept: &KeptDatabase,
) -> Result<()> {
    let aside = engine.aside().context("this engine keeps no databases")?;
    scene.recorded_with(
        Deed::Remove,
        now,
        || aside.remove(kept),
        |_, entry| entry.kept = Some(kept.name.clone()),
    )?;
    let name = on_one_line(&kept.name);
    scene.ui.say(format!("removed `{name}`"));
    Ok(())
}

/// The others are gone all the same, and were said to be.
fn refuse_failed(scene: &Scene, failed: Vec<anyhow::Error>) -> Result<()> {
    let count = ui::count(failed.len() as u64, "kept database");
    let what = Failure::incomplete(format!("{count} could not be removed"));
    let what = match failed.len() {
        1 => what,
        _ => what.hint("cargo xtask db status"),
    };
    let mut failed = failed.into_iter();
    let Some(first) = failed.next() else {
        return Ok(());
    };
    for error in failed {
        scene.ui.insist(format!("not removed: {error:#}"));
    }
    Err(first.context(what))
}

fn report(scene: &Scene, kept: Vec<KeptThere>, removed: Vec<String>) -> Result<()> {
    scene.ui.emit(&Document { kept, removed })
}
