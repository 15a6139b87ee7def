//! `db diff --rows`: which rows of one table differ. A backup is restored into a
//! scratch database for it; the live database is only read.

use anyhow::Result;
use serde::Serialize;

use super::{Scene, Side, kinds};
use crate::cli;
use crate::commands::refuse_url;
use crate::engine::{Engine, Readable, Scratch, ScratchOrder};
use crate::ui;
use crate::values::diff::{Diff, TableDiff};
use crate::values::failure::Failure;
use crate::values::rows::{Change, Matching};
use crate::vault::Staging;

const LIMIT: usize = 100;
const SHOWS_TABLES: &str = "`cargo xtask db diff latest` shows the tables";

#[derive(Serialize)]
pub struct Found {
    table: String,
    #[serde(flatten)]
    matching: Matching,
    removed: u64,
    added: u64,
    changed: u64,
    /// No more than were asked for; their values as they would stand in SQL.
    changes: Vec<Change>,
}

/// By its name, with its schema where it is not in the usual one.
pub fn table<'a>(diff: &'a Diff, name: &str) -> Result<&'a TableDiff, Failure> {
    let is_meant = |table: &&TableDiff| {
        table.title() == name || format!("{}.{}", table.schema, table.name) == name
    };
    let fail = |what: String| Failure::usage(what).hint(SHOWS_TABLES);
    let Some(found) = diff.tables.iter().find(is_meant) else {
        refuse_url(name)?;
        return Err(fail(format!("neither A nor B has a table `{name}`")));
    };
    let missing = match (found.rows_a, found.rows_b) {
        (Some(_), Some(_)) => return Ok(found),
        (None, None) => return Err(fail(format!("`{name}` has no rows of its own"))),
        (None, _) => "A",
        (_, None) => "B",
    };
    Err(fail(format!(
        "{missing} has no table `{name}`: all rows of the other differ"
    )))
}

/// The folder goes after the database that is made of it.
struct Restored {
    scratch: Box<dyn Scratch>,
    _staging: Staging,
}

pub fn find(
    scene: &Scene,
    engine: &mut dyn Engine,
    sides: [&Side; 2],
    table: &TableDiff,
    arguments: &cli::Diff,
) -> Result<Found> {
    scene.prepare_vault()?;
    let [a, b] = sides;
    let (mut a, mut b) = (restored(scene, engine, a)?, restored(scene, engine, b)?);
    let limit = arguments.limit.unwrap_or(LIMIT);
    let found = compare(scene, engine, [&mut a, &mut b], table, limit);
    for restored in [a, b].into_iter().flatten() {
        restored.scratch.remove()?;
    }
    found
}

fn restored(scene: &Scene, engine: &mut dyn Engine, side: &Side) -> Result<Option<Restored>> {
    let Side::Backup(backup) = side else {
        return Ok(None);
    };
    kinds::refuse_alone(backup)?;
    let progress = scene.ui.progress();
    let mut proof = scene.verify(backup)?;
    scene.unlock(&mut proof, &format!("diff {} --rows TABLE", backup.id()))?;
    let staging = scene.vault.staging("diff")?;
    let order = ScratchOrder {
        dump: &proof,
        is_fresh: false,
        elsewhere: scene.settings.scratch_url.as_ref(),
        staging: staging.path(),
        otherwise: "",
        reaches: None,
    };
    let scratch = engine.scratch(&order, &progress)?;
    for warning in scratch.warnings() {
        scene.ui.say(format!("note: {warning}"));
    }
    Ok(Some(Restored {
        scratch,
        _staging: staging,
    }))
}

fn compare(
    scene: &Scene,
    live: &mut dyn Engine,
    sides: [&mut Option<Restored>; 2],
    table: &TableDiff,
    limit: usize,
) -> Result<Found> {
    let name = (table.schema.clone(), table.name.clone());
    let [a, b] = sides;
    let shape_a = readable(a, live).shape(&name)?;
    let shape_b = readable(b, live).shape(&name)?;
    let matching = Matching::of(&shape_a, &shape_b).ok_or_else(|| {
        let title = table.title();
        Failure::refused(format!(
            "the rows of `{title}` cannot be matched: A and B have no common primary key and not the same columns"
        ))
        .hint("what differs in its definition: the same command without `--rows`")
    })?;
    let columns: Vec<String> = [&matching.key[..], &matching.columns].concat();
    let keys = matching.key.len();
    let mut rows_a = readable(a, live).rows(&name, &columns, keys)?;
    let mut rows_b = readable(b, live).rows(&name, &columns, keys)?;
    let mut found = Found {
        table: table.title(),
        matching: matching.clone(),
        removed: 0,
        added: 0,
        changed: 0,
        changes: Vec::new(),
    };
    matching.compare(&mut *rows_a, &mut *rows_b, &mut |change| {
        scene.interrupt.check()?;
        match change {
            Change::Removed { .. } => found.removed += 1,
            Change::Added { .. } => found.added += 1,
            Change::Changed { .. } => found.changed += 1,
        }
        if found.changes.len() < limit {
            found.changes.push(change);
        }
        Ok(())
    })?;
    Ok(found)
}

fn readable<'a>(side: &'a mut Option<Restored>, live: &'a mut dyn Engine) -> &'a mut dyn Readable {
    match side {
        Some(restored) => &mut *restored.scratch,
        None => live,
    }
}

impl Found {
    pub fn show(&self, scene: &Scene) -> Result<()> {
        let Found {
            table,
            removed,
            added,
            changed,
            ..
        } = self;
        let all = removed + added + changed;
        if all == 0 {
            return scene
                .ui
                .show(format!("nothing differs in the rows of {table}\n"));
        }
        for change in &self.changes {
            scene.ui.show(format!("{}\n", self.matching.line(change)))?;
        }
        let rest = all - self.changes.len() as u64;
        if rest > 0 {
            scene
                .ui
                .show(format!("and {} more\n", ui::count(rest, "row")))?;
        }
        if !self.matching.by_primary_key {
            scene.ui.say(
                "note: without a primary key in both, a changed row is one removed and one added",
            );
        }
        scene.ui.show(format!(
            "{table}: {removed} only in A, {added} only in B, {changed} changed\n"
        ))
    }
}
