//! `db list`: what is in the vault, newest first.

use anyhow::Result;
use chrono::Utc;
use serde::{Serialize, Serializer};

use super::Scene;
use crate::cores;
use crate::ui::{self, Table};
use crate::values::manifest::Manifest;
use crate::values::summary::Summary;
use crate::vault::{Backup, Problem};

#[derive(Serialize)]
struct Document<'a> {
    vault: String,
    #[serde(serialize_with = "entries")]
    backups: &'a [Backup],
    problems: &'a [Problem],
    pins: Vec<Pinned>,
}

/// What no rule removes, and what somebody has written on it.
#[derive(Serialize)]
struct Pinned {
    id: String,
    note: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    manifest: Manifest,
    path: String,
}

pub fn run(scene: &Scene) -> Result<()> {
    let (backups, problems, pins) = if scene.ui.is_json() {
        let listing = scene.vault.list()?;
        scene.ui.emit(&Document {
            vault: scene.vault.folder().display().to_string(),
            backups: &listing.backups,
            problems: &listing.problems,
            pins: pinned(scene, &listing.pins),
        })?;
        (listing.backups.len(), listing.problems, listing.pins)
    } else {
        let overview = scene.vault.overview()?;
        if !overview.backups.is_empty() {
            let tables = cores::on_all(&overview.backups, table).into_iter();
            let table = tables.reduce(|mut table, more| {
                table.append(more);
                table
            });
            scene
                .ui
                .show(table.map_or_else(String::new, |table| table.to_string()))?;
        }
        (overview.backups.len(), overview.problems, overview.pins)
    };
    if backups == 0 {
        scene.ui.say(format!(
            "no backups in `{}`",
            scene.vault.folder().display()
        ));
        scene.ui.say("take one with `cargo xtask db backup`");
    }
    for Problem { file, problem } in &problems {
        scene
            .ui
            .say(format!("note: `{file}` is left out: {problem}"));
    }
    for Pinned { id, note } in pinned(scene, &pins) {
        let note = note.map_or_else(String::new, |note| format!(": {note}"));
        scene.ui.say(format!("pinned: {id}{note}"));
    }
    Ok(())
}

fn pinned(scene: &Scene, stems: &[String]) -> Vec<Pinned> {
    let note = |stem: &String| scene.vault.pin_of(&stem.parse().ok()?)?.note;
    let mut pinned: Vec<Pinned> = stems
        .iter()
        .map(|stem| Pinned {
            id: stem.clone(),
            note: note(stem),
        })
        .collect();
    pinned.sort_by(|a, b| b.id.cmp(&a.id));
    pinned
}

/// Copied only when they are written, and one by one: a vault may hold thousands.
fn entries<S: Serializer>(backups: &&[Backup], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(backups.iter().map(|backup| Entry {
        manifest: backup.manifest.for_show(),
        path: backup.dump_path.display().to_string(),
    }))
}

fn reason(backup: &Summary) -> String {
    match &backup.kind {
        Some(kind) => format!("{} ({kind})", backup.reason),
        None => backup.reason.to_string(),
    }
}

fn table(backups: &[Summary]) -> Table {
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
        let migration = backup.migration.map(|version| version.to_string());
        table.row(&[
            &backup.id,
            &reason(backup),
            &format_args!("{} ({})", backup.database, backup.engine),
            &ui::age(backup.created_at, now),
            &ui::size(backup.size_bytes),
            &backup.tables,
            &backup.rows,
            &migration.as_deref().unwrap_or("none"),
        ]);
    }
    table
}
