//! Planned in a pull request, run at the deploy: the receipt between the two.

use std::path::Path;

use anyhow::Result;
use chrono::Utc;

use super::prove::Proven;
use crate::commands::{Scene, export, surroundings};
use crate::migrations;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::plan::{MigrationPlan, describe};
use crate::values::receipt::{self, Planned, Receipt};
use crate::values::words::shell_quoted;
use crate::vault;

fn planned(plan: &MigrationPlan) -> Vec<Planned> {
    let planned = plan.pending.iter().map(|migration| Planned {
        version: migration.version,
        description: describe(&migration.description).into_owned(),
        checksum: migrations::checksum(migration),
    });
    planned.collect()
}

/// Before anything is taken or tried for it.
pub fn refuse_place(scene: &Scene, path: &Path, facts: &DatabaseFacts) -> Result<()> {
    vault::receipt::may_replace(path, &export::kept(scene, facts)).map(drop)
}

pub fn write_receipt(
    scene: &Scene,
    path: &Path,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    proven: &Proven,
) -> Result<()> {
    let Some(rehearsal) = &proven.rehearsal else {
        return Ok(());
    };
    let receipt = Receipt {
        format: receipt::FORMAT,
        created_at: Utc::now(),
        database: facts.for_show(),
        applied: plan.applied.clone(),
        pending: planned(plan),
        backup: proven.backup.id().clone(),
        migrations: rehearsal.migrations.clone(),
        effect: rehearsal.effect.clone(),
        accepted_losses: rehearsal.accepted_losses.clone(),
        git: surroundings::git(&scene.settings.project, scene.vault.folder()),
        ran_on: scene.who.clone(),
    };
    vault::receipt::write(path, &receipt, &export::kept(scene, facts))?;
    scene.ui.say(format!(
        "planned and rehearsed; the live database is as it was; the receipt is `{}`",
        path.display()
    ));
    Ok(())
}

/// Refuses when what would run now is not what was reviewed.
pub fn require(
    path: &Path,
    receipt: &Receipt,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
) -> Result<()> {
    let exists = |path: &str| Path::new(path).exists();
    let fits = receipt.require(facts, &plan.applied, &planned(plan), exists);
    fits.map_err(|mismatch| {
        let shown = path.display();
        Failure::refused(format!("the receipt `{shown}` does not fit: {mismatch}"))
            .hint(format!(
                "plan and review again: cargo xtask db migrate-safe --plan {}",
                shell_quoted(&path.to_string_lossy())
            ))
            .into()
    })
}
