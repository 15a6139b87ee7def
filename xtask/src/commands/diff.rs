//! `db diff`: what is not the same in two backups, or in a backup and the database.

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Scene, choose, kinds};
use crate::cli;
use crate::engine::Engine;
use crate::ui::{self, Table};
use crate::values::database::{Contents, DatabaseFacts};
use crate::values::diff::{Content, Diff, TableDiff};
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::vault::{Backup, Listing};

/// How the database as it is now is called among the backups.
const LIVE: &str = "live";

mod rows;

#[derive(Serialize)]
struct Document<'a> {
    a: &'a SideDocument,
    b: &'a SideDocument,
    differs: bool,
    #[serde(flatten)]
    diff: &'a Diff,
    /// Of the table that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<&'a rows::Found>,
}

#[derive(Serialize)]
struct SideDocument {
    /// `None`: the database as it is now.
    backup: Option<BackupId>,
    /// What the backup is, when it is no full one.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    taken_at: Option<DateTime<Utc>>,
    database: DatabaseFacts,
}

/// One of the two.
enum Side<'a> {
    Live(Box<DatabaseFacts>),
    Backup(&'a Backup),
}

pub fn run(scene: &Scene, arguments: &cli::Diff) -> Result<()> {
    let listing = scene.vault.list()?;
    // For rows, a backup goes into a scratch database as in a drill.
    let mut engine = match asks_live(arguments) || arguments.rows.is_some() {
        true => scene.engine()?,
        false => scene.open(&scene.settings.url, &scene.settings.url_folder)?,
    };
    let [a, b] = sides(scene, &mut *engine, &listing, arguments)?;
    let (contents_a, contents_b) = match (&a, &b) {
        // The other one says whether fingerprints can be compared.
        (Side::Live(_), Side::Backup(backup)) => {
            let known = backup.manifest.contents();
            (now(&mut *engine, &known)?, known)
        }
        (Side::Backup(backup), Side::Live(_)) => {
            let known = backup.manifest.contents();
            let now = now(&mut *engine, &known)?;
            (known, now)
        }
        (Side::Backup(a), Side::Backup(b)) => (a.manifest.contents(), b.manifest.contents()),
        (Side::Live(_), Side::Live(_)) => {
            return Err(Failure::usage("both of them are the live database")
                .hint("cargo xtask db diff latest live")
                .into());
        }
    };
    let diff = Diff::between(&contents_a, &contents_b);
    let asked = arguments.rows.as_deref();
    let table = asked.map(|name| rows::table(&diff, name)).transpose()?;
    if table.is_none() {
        show(scene, [&a, &b], &diff)?;
    }
    let found = table
        .map(|table| rows::find(scene, &mut *engine, [&a, &b], table, arguments))
        .transpose()?;
    if let Some(found) = &found {
        show_sides(scene, [&a, &b])?;
        found.show(scene)?;
    }
    scene.ui.emit(&Document {
        a: &a.document(),
        b: &b.document(),
        differs: diff.differs(),
        diff: &diff,
        rows: found.as_ref(),
    })
}

fn now(engine: &mut dyn Engine, other: &Contents) -> Result<Contents> {
    if other.has_fingerprints() {
        engine.take_fingerprints();
    }
    engine.contents()
}

fn names(arguments: &cli::Diff) -> [&str; 2] {
    [&arguments.a, arguments.b.as_deref().unwrap_or(LIVE)]
}

/// The live database is asked only where it is meant, or where it decides which backup is.
fn asks_live(arguments: &cli::Diff) -> bool {
    let mut names = names(arguments).into_iter();
    names.any(|name| [LIVE, "latest"].contains(&name))
}

fn sides<'a>(
    scene: &Scene,
    engine: &mut dyn Engine,
    listing: &'a Listing,
    arguments: &cli::Diff,
) -> Result<[Side<'a>; 2]> {
    let names = names(arguments);
    let asks = asks_live(arguments);
    let facts = asks.then(|| engine.facts()).transpose()?;
    let ours = facts.as_ref().map(|facts| choose::ours(listing, facts));
    let is_ours = |backup: &Backup| ours.as_ref().is_none_or(|is_ours| is_ours(backup));
    let side = |name: &str| match &facts {
        Some(facts) if name == LIVE => Ok(Side::Live(Box::new(facts.clone()))),
        _ => choose::by_name(scene, listing, name, &is_ours).map(Side::Backup),
    };
    let sides = [side(names[0])?, side(names[1])?];
    let [a, b] = [sides[0].facts(), sides[1].facts()];
    if a.engine != b.engine {
        return Err(Failure::usage(format!(
            "A is a {} database and B a {} one: nothing in them can be compared",
            a.engine, b.engine
        ))
        .hint("`cargo xtask db list` shows which backup is of which database")
        .into());
    }
    Ok(sides)
}

impl Side<'_> {
    fn facts(&self) -> &DatabaseFacts {
        match self {
            Side::Live(facts) => facts,
            Side::Backup(backup) => &backup.manifest.database,
        }
    }

    fn document(&self) -> SideDocument {
        let backup = match self {
            Side::Live(_) => None,
            Side::Backup(backup) => Some(backup),
        };
        SideDocument {
            backup: backup.map(|backup| backup.id().clone()),
            kind: backup.and_then(|backup| kinds::name(&backup.manifest)),
            taken_at: backup.map(|backup| backup.manifest.created_at),
            database: self.facts().for_show(),
        }
    }

    fn describe(&self) -> String {
        let facts = self.facts();
        match self {
            Side::Live(_) => format!("{facts}, as it is now"),
            Side::Backup(backup) => {
                let age = ui::old(backup.manifest.created_at, Utc::now());
                format!("{} of the {facts}, {age}", backup.id())
            }
        }
    }
}

fn show_sides(scene: &Scene, sides: [&Side; 2]) -> Result<()> {
    for (name, side) in ["A", "B"].into_iter().zip(sides) {
        scene.ui.show(format!("{name}  {}\n", side.describe()))?;
    }
    Ok(())
}

fn show(scene: &Scene, sides: [&Side; 2], diff: &Diff) -> Result<()> {
    show_sides(scene, sides)?;
    for (name, side) in ["A", "B"].into_iter().zip(sides) {
        if let Side::Backup(backup) = side
            && let Some(kind) = kinds::name(&backup.manifest)
        {
            let lacks = backup.manifest.kind.lacks();
            scene.ui.say(format!("note: {name} is {kind}: {lacks}"));
        }
    }
    let tables = diff.tables.iter();
    let shown: Vec<&TableDiff> = tables
        .filter(|t| t.kind.is_table() || t.differs())
        .collect();
    if !shown.is_empty() {
        scene.ui.show(table(&shown).to_string())?;
    }
    for line in &diff.others {
        scene.ui.show(format!("{line}\n"))?;
    }
    if !diff.schema_compared {
        scene.ui.say(
            "note: an older backup does not say what its tables look like; rows were compared",
        );
    }
    if !diff.differs() {
        scene.ui.show(if diff.has(Content::NotCompared) {
            "nothing differs in tables and numbers of rows\n"
        } else {
            "nothing differs\n"
        })?;
    }
    if diff.has(Content::NotCompared) {
        scene.ui.say(
            "content is compared between backups that were taken with `--fingerprint`, or one and the \
             live database",
        );
    }
    Ok(())
}

/// A line for each thing that differs; name and rows stand in the first one of a table.
fn table(diffs: &[&TableDiff]) -> Table {
    let header = ["table", "rows in A", "rows in B", "what differs"];
    let mut table = Table::new(&header).right(1).right(2);
    for diff in diffs {
        let mut lines = diff.changes.clone();
        lines.extend(diff.content.map(|content| {
            let words = match content {
                Content::Same => "same content",
                Content::Differs => "content differs",
                Content::NotCompared => "content not compared",
            };
            words.to_owned()
        }));
        let rows = |rows: Option<u64>| rows.map_or_else(|| "none".into(), |r| r.to_string());
        let (a, b) = (rows(diff.rows_a), rows(diff.rows_b));
        let mut title = diff.title();
        if !diff.kind.is_table() {
            title = format!("{title} ({})", diff.kind);
        }
        let first = lines.first().map_or("", String::as_str);
        table.row(&[&title, &a, &b, &first]);
        for line in lines.iter().skip(1) {
            table.row(&[&"", &"", &"", line]);
        }
    }
    table
}
