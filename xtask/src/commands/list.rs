//! `db list`: what is in the vault, newest first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::ser::SerializeSeq;

use super::Scene;
use crate::cli::List;
use crate::cores;
use crate::ui::{self, Table};
use crate::values::id::BackupId;
use crate::values::journal::{self, Ladder};
use crate::values::manifest::Manifest;
use crate::values::summary::Summary;
use crate::vault::{Listing, Overview, Problem, Vault};

mod offsite;

#[derive(Serialize)]
struct Document<'a> {
    vault: String,
    backups: Entries<'a>,
    /// After the backups, which are read while they are written.
    problems: &'a RefCell<Vec<Problem>>,
    /// When one of them was last restored into a scratch database and compared.
    restored_at: Option<DateTime<Utc>>,
    pins: Vec<Pinned>,
}

/// What no rule removes, and what somebody has written on it.
#[derive(Serialize)]
struct Pinned {
    id: String,
    note: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    manifest: &'a Manifest,
    path: String,
    ladder: Ladder,
}

/// In the place of the age of a rung that did not hold.
const FAILED: &str = "FAILED";

/// After so long it is said that no backup was restored.
const WORTH_A_NOTE: TimeDelta = TimeDelta::days(7);

pub fn run(scene: &Scene, arguments: &List) -> Result<()> {
    if arguments.offsite {
        return offsite::run(scene);
    }
    let looked = match scene.ui.is_json() {
        true => scene.vault.in_order(),
        false => scene.vault.overview(),
    };
    let Overview {
        backups,
        mut problems,
        pins,
    } = looked?;
    let restored_at = if scene.ui.is_json() {
        emit(scene, &backups, &mut problems, &pins)?
    } else {
        show(scene, &backups)?;
        let ladders = backups.iter().map(|backup| &backup.ladder);
        ladders.filter_map(Ladder::restored_at).max()
    };
    if backups.is_empty() {
        scene.ui.say(format!(
            "no backups in `{}`",
            scene.vault.folder().display()
        ));
        scene.ui.say("take one with `cargo xtask db backup`");
    } else {
        say_when_restored(scene, restored_at);
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

fn show(scene: &Scene, backups: &[Summary]) -> Result<()> {
    if backups.is_empty() {
        return Ok(());
    }
    let has_keys = backups.iter().any(|b| b.encrypted_for.is_some());
    let tables = cores::on_all(backups, |backups| table(backups, has_keys)).into_iter();
    let table = tables.reduce(|mut table, more| {
        table.append(more);
        table
    });
    let table = table.map_or_else(String::new, |table| table.to_string());
    scene.ui.show(table)
}

/// The order is the overview's; what is said of each is read from its manifest. When one of them was
/// last restored.
fn emit(
    scene: &Scene,
    backups: &[Summary],
    problems: &mut Vec<Problem>,
    pins: &[String],
) -> Result<Option<DateTime<Utc>>> {
    let lines = scene.vault.journal().unwrap_or_else(|error| {
        problems.push(Problem::of_journal(&error));
        Vec::new()
    });
    let ladders = journal::ladders(&lines);
    let of_these = backups
        .iter()
        .filter_map(|backup| ladders.get(&backup.id.parse().ok()?));
    let restored_at = of_these.filter_map(Ladder::restored_at).max();
    let found = RefCell::new(std::mem::take(problems));
    let emitted = scene.ui.emit(&Document {
        vault: scene.vault.folder().display().to_string(),
        backups: Entries {
            vault: &scene.vault,
            backups,
            ladders: &ladders,
            problems: &found,
        },
        problems: &found,
        pins: pinned(scene, pins),
        restored_at,
    });
    *problems = found.into_inner();
    emitted.map(|()| restored_at)
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

fn say_when_restored(scene: &Scene, restored_at: Option<DateTime<Utc>>) {
    let now = Utc::now();
    let since = match restored_at {
        Some(at) if now - at < WORTH_A_NOTE => return,
        Some(at) => format!("was restored for {}", ui::age(at, now)),
        None => "was ever restored".into(),
    };
    scene.ui.say(format!(
        "note: none of these {since} to see whether it comes back: cargo xtask db drill"
    ));
}

/// A vault may hold thousands: some are read, written and forgotten before the next.
struct Entries<'a> {
    vault: &'a Vault,
    backups: &'a [Summary],
    ladders: &'a BTreeMap<BackupId, Ladder>,
    /// What is found on the way.
    problems: &'a RefCell<Vec<Problem>>,
}

const AT_ONCE: usize = 64;

impl Serialize for Entries<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = serializer.serialize_seq(None)?;
        for some in self.backups.chunks(AT_ONCE) {
            let stems: Vec<String> = some.iter().map(|backup| backup.id.clone()).collect();
            let Listing {
                backups, problems, ..
            } = self.vault.read_all(&stems);
            for mut backup in backups {
                backup.manifest.hide();
                entries.serialize_element(&Entry {
                    path: backup.dump_path.display().to_string(),
                    ladder: self.ladders.get(backup.id()).copied().unwrap_or_default(),
                    manifest: &backup.manifest,
                })?;
            }
            self.problems.borrow_mut().extend(problems);
        }
        entries.end()
    }
}

fn reason(backup: &Summary) -> String {
    match &backup.kind {
        Some(kind) => format!("{} ({kind})", backup.reason),
        None => backup.reason.to_string(),
    }
}

/// Whether some are encrypted, and for whom, has a column where some are.
fn table(backups: &[Summary], has_keys: bool) -> Table {
    let now = Utc::now();
    let since = |at: Option<DateTime<Utc>>| at.map(|at| ui::age(at, now));
    let mut header = vec![
        "id",
        "reason",
        "database",
        "age",
        "size",
        "tables",
        "rows",
        "migration",
        "hash",
        "check",
        "drill",
        "rehearsal",
    ];
    if has_keys {
        header.push("encrypted for");
    }
    let mut table = Table::new(&header).right(4).right(5).right(6);
    for backup in backups {
        let ladder = &backup.ladder;
        let age = ui::age(backup.created_at, now);
        let failed = |at: Option<DateTime<Utc>>| at.map(|_| FAILED.to_owned());
        let hash = failed(ladder.verify_failed_at).or_else(|| since(ladder.verified_at));
        let drill = failed(ladder.drill_failed_at).or_else(|| since(ladder.drilled_at));
        let rehearsal = since(ladder.rehearsed_at);
        let migration = backup.migration.map(|version| version.to_string());
        let cells: [&dyn Display; 13] = [
            &backup.id,
            &reason(backup),
            &format_args!("{} ({})", backup.database, backup.engine),
            &age,
            &ui::size(backup.size_bytes),
            &backup.tables,
            &backup.rows,
            &migration.as_deref().unwrap_or("none"),
            // None exists before it was matched, and checked as a whole by its engine.
            &hash.as_deref().unwrap_or(&age),
            &age,
            &drill.as_deref().unwrap_or("-"),
            &rehearsal.as_deref().unwrap_or("-"),
            &backup.encrypted_for.as_deref().unwrap_or("-"),
        ];
        table.row(&cells[..header.len()]);
    }
    table
}
