//! `db list`: what is in the vault, newest first.

use anyhow::Result;
use chrono::Utc;
use serde::{Serialize, Serializer};

use super::Scene;
use crate::ui::{self, Table};
use crate::values::manifest::Manifest;
use crate::vault::{Backup, Problem};

#[derive(Serialize)]
struct Document<'a> {
    vault: String,
    #[serde(serialize_with = "entries")]
    backups: &'a [Backup],
    problems: &'a [Problem],
}

#[derive(Serialize)]
struct Entry {
    manifest: Manifest,
    path: String,
}

pub fn run(scene: &Scene) -> Result<()> {
    let listing = scene.vault.list()?;
    scene.ui.emit(&Document {
        vault: scene.vault.folder().display().to_string(),
        backups: &listing.backups,
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

/// Copied only when they are written, and one by one: a vault may hold thousands.
fn entries<S: Serializer>(backups: &&[Backup], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(backups.iter().map(|backup| Entry {
        manifest: backup.manifest.for_show(),
        path: backup.dump_path.display().to_string(),
    }))
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
