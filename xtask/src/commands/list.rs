//! `db list`: what is in the vault, newest first.

use anyhow::Result;
use chrono::Utc;
use serde::Serialize;

use super::Scene;
use crate::ui::{self, Table};
use crate::values::manifest::Manifest;
use crate::vault::{Backup, Problem};

#[derive(Serialize)]
struct Document<'a> {
    vault: String,
    backups: Vec<Entry>,
    problems: &'a [Problem],
}

#[derive(Serialize)]
struct Entry {
    manifest: Manifest,
    path: String,
}

pub fn run(scene: &Scene) -> Result<()> {
    let listing = scene.vault.list()?;
    let entry = |backup: &'_ Backup| backup.dump_path.display().to_string();
    scene.ui.emit(&Document {
        vault: scene.vault.folder().display().to_string(),
        backups: listing
            .backups
            .iter()
            .map(|backup| Entry {
                manifest: backup.manifest.for_show(),
                path: entry(backup),
            })
            .collect(),
        problems: &listing.problems,
    })?;
    if listing.backups.is_empty() {
        scene.ui.say(format!(
            "no backups in `{}`",
            scene.vault.folder().display()
        ));
        scene.ui.say("take one with `cargo xtask db backup`");
    } else {
        scene.ui.show(table(&listing.backups).to_string())?;
    }
    for Problem { file, problem } in &listing.problems {
        scene
            .ui
            .say(format!("note: `{file}` is left out: {problem}"));
    }
    Ok(())
}

pub fn table(backups: &[Backup]) -> Table {
    let now = Utc::now();
    let header = [
        "id",
        "reason",
        "database",
        "age",
        "size",
        "tables",
        "rows",
        "migration",
    ];
    let mut table = Table::new(&header).right(4).right(5).right(6);
    for backup in backups {
        let manifest = &backup.manifest;
        let applied = manifest.migrations.applied.iter().map(|m| m.version).max();
        table.row(&[
            manifest.id.to_string(),
            manifest.reason.to_string(),
            format!("{} ({})", manifest.database.name, manifest.database.engine),
            ui::age(manifest.created_at, now),
            ui::size(manifest.dump.size_bytes),
            manifest.tables.len().to_string(),
            manifest.rows().to_string(),
            applied.map_or_else(|| "none".into(), |version| version.to_string()),
        ]);
    }
    table
}
