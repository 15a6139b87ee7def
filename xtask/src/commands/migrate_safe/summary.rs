//! The summary of a job: what a reviewer wants to see without reading the log.

use super::foresee::Foreseen;
use super::prove::Proven;
use super::restore_command;
use crate::commands::rehearse::Rehearsal;
use crate::commands::{Scene, loss_gate};
use crate::ui::{self, plain};
use crate::values::database::DatabaseFacts;
use crate::values::plan::{MigrationPlan, MigrationRan, describe};
use crate::vault::Backup;

pub fn begin(scene: &Scene, facts: &DatabaseFacts, plan: &MigrationPlan, foreseen: &Foreseen) {
    let ui = scene.ui;
    ui.summarize(format!("## migrate-safe: {}\n", plain(&facts.to_string())));
    if plan.pending.is_empty() {
        ui.summarize("Nothing is pending.");
        return;
    }
    for migration in &plan.pending {
        let name = plain(&describe(&migration.description));
        ui.summarize(format!("- {} {name}", migration.version));
    }
    for reach in &foreseen.reaches {
        ui.summarize(format!("- note: {}", plain(&reach.to_string())));
    }
}

pub fn backed_up(scene: &Scene, backup: &Backup) {
    let (ui, manifest) = (scene.ui, &backup.manifest);
    ui.output("backup_id", manifest.id.as_str());
    ui.output("backup_sha256", &manifest.dump.sha256.to_string());
    ui.summarize(format!(
        "\n**Backup** `{}`: {}, {}, {}; SHA-256 `{}`",
        manifest.id,
        ui::count(manifest.tables.len() as u64, "table"),
        ui::count(manifest.rows(), "row"),
        ui::size(manifest.dump.size_bytes),
        manifest.dump.sha256
    ));
}

pub fn not_rehearsed(scene: &Scene) {
    scene.ui.summarize("\n**Not rehearsed** (`--no-rehearse`)");
}

pub fn rehearsed(scene: &Scene, rehearsal: &Rehearsal) {
    let ui = scene.ui;
    ui.summarize(format!(
        "\n**Rehearsed**: restored and compared in {}, all of it in {}\n",
        ui::duration(rehearsal.restore_ms),
        ui::duration(rehearsal.duration_ms)
    ));
    for migration in &rehearsal.migrations {
        for lock in &migration.locks {
            ui.summarize(format!("- {} locks {}", migration.version, plain(lock)));
        }
        for table in &migration.rewritten_by {
            ui.summarize(format!(
                "- {} writes anew {}",
                migration.version,
                plain(&table.to_string())
            ));
        }
    }
    let history = &scene.settings.bookkeeping;
    let tables = rehearsal.effect.tables.iter();
    let mut tables = tables
        .filter(|t| !loss_gate::is_history(t, history))
        .peekable();
    if tables.peek().is_some() {
        ui.summarize("\n| table | rows before | rows after | what changes |\n|---|--:|--:|---|");
    }
    let rows = |rows: Option<u64>| rows.map_or_else(|| "–".to_owned(), |rows| rows.to_string());
    for table in tables {
        ui.summarize(format!(
            "| {} | {} | {} | {} |",
            plain(&table.title()),
            rows(table.rows_before),
            rows(table.rows_after),
            plain(&table.changes.join("; "))
        ));
    }
    for loss in &rehearsal.effect.losses {
        ui.summarize(format!("\n**Lost**: {}", plain(&loss.to_string())));
    }
}

pub fn done(scene: &Scene, ran: &[MigrationRan], proven: &Proven) {
    let versions: Vec<String> = ran.iter().map(|ran| ran.version.to_string()).collect();
    scene.ui.output("applied_versions", &versions.join(","));
    scene.ui.summarize(format!(
        "\n**Applied** {}; the way back: `{}`",
        versions.join(", "),
        scene.ui.with_flags(&restore_command(&proven.backup))
    ));
}
