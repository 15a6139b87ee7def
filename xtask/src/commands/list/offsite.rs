//! `db list --offsite`: the copies at each place, newest first.

use anyhow::Result;
use chrono::Utc;
use serde::Serialize;

use crate::commands::Scene;
use crate::commands::offsite::look::{self, Look};
use crate::commands::offsite::{one_of, places};
use crate::ui::{self, Table};
use crate::values::manifest::Manifest;
use crate::values::summary::Summary;
use crate::vault::Problem;

#[derive(Serialize)]
struct Document {
    places: Vec<PlaceDocument>,
}

#[derive(Serialize)]
struct PlaceDocument {
    name: String,
    url: String,
    backups: Vec<Manifest>,
    problems: Vec<Problem>,
    orphans: Vec<String>,
    cut_short: Vec<String>,
    foreign: Vec<String>,
}

pub fn run(scene: &Scene) -> Result<()> {
    let mut looks = Vec::new();
    let mut failed = Vec::new();
    for place in places(scene)? {
        match look::look(scene, place) {
            Ok(look) => looks.push(look),
            Err(error) => {
                scene.interrupt.check()?;
                failed.push(error);
            }
        }
    }
    for look in &looks {
        show(scene, look)?;
    }
    scene.ui.emit(&Document {
        places: looks.iter().map(document).collect(),
    })?;
    one_of(scene, failed).map_or(Ok(()), Err)
}

fn show(scene: &Scene, look: &Look) -> Result<()> {
    let now = Utc::now();
    let header = ["id", "reason", "database", "age", "size", "tables", "rows"];
    let mut table = Table::new(&header).right(4).right(5).right(6);
    for backup in &look.listing.backups {
        let summary = Summary::from(&backup.manifest);
        table.row(&[
            &summary.id,
            &summary.reason,
            &format_args!("{} ({})", summary.database, summary.engine),
            &ui::age(summary.created_at, now),
            &ui::size(summary.size_bytes),
            &summary.tables,
            &summary.rows,
        ]);
    }
    scene.ui.show(format!("at {}\n", look.place))?;
    match look.listing.backups.is_empty() {
        true => scene.ui.say(format!("no backups at {}", look.place)),
        false => scene.ui.show(table.to_string())?,
    }
    for Problem { file, problem } in &look.listing.problems {
        scene
            .ui
            .say(format!("note: `{file}` is left out: {problem}"));
    }
    for note in look::notes(&look.inventory) {
        scene.ui.say(format!("note: {note}"));
    }
    Ok(())
}

fn document(look: &Look) -> PlaceDocument {
    let backups = look.listing.backups.iter();
    PlaceDocument {
        name: look.place.name.clone(),
        url: look.place.url.to_string(),
        backups: backups.map(|backup| backup.manifest.for_show()).collect(),
        problems: look.listing.problems.clone(),
        orphans: look.inventory.orphans().map(str::to_owned).collect(),
        cut_short: look.inventory.cut_short.clone(),
        foreign: look.inventory.foreign.clone(),
    }
}
