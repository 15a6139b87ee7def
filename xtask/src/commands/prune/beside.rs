//! `db prune --kept`: removes databases that restores replaced and kept.

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::super::kept::{self, KeptThere};
use super::super::{Scene, restore};
use crate::cli::Prune;
use crate::config::keys;
use crate::engine::{Engine, KeptDatabase};
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::journal::Deed;
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
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for kept in &all {
        match remove(scene, &mut *engine, &now, kept) {
            Ok(()) => removed.push(kept.name.clone()),
            Err(error) if error.chain().any(|cause| cause.is::<Interrupted>()) => {
                return Err(error);
            }
            Err(error) => failed.push(error),
        }
    }
    refuse_failed(scene, failed)?;
    report(scene, shown, removed)
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
fn refuse_failed(scene: &Scene, mut failed: Vec<anyhow::Error>) -> Result<()> {
    let Some(first) = failed.pop() else {
        return Ok(());
    };
    for error in &failed {
        scene.ui.insist(format!("not removed: {error:#}"));
    }
    let count = ui::count(failed.len() as u64 + 1, "kept database");
    let what = Failure::refused(format!("{count} could not be removed"));
    Err(first.context(match failed.len() {
        0 => what,
        _ => what.hint("cargo xtask db status"),
    }))
}

fn report(scene: &Scene, kept: Vec<KeptThere>, removed: Vec<String>) -> Result<()> {
    scene.ui.emit(&Document { kept, removed })
}
