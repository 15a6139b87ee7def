//! What is shown before the question, of every way to bring a backup back.

use std::fmt::Display;

use anyhow::Result;
use chrono::Utc;

use crate::commands::Scene;
use crate::engine::RestoreWay;
use crate::migrations;
use crate::ui::{self, Table};
use crate::values::database::{Contents, DatabaseFacts};
use crate::values::manifest::Manifest;
use crate::values::plan::Migration;
use crate::values::verified_dump::VerifiedDump;

/// Which backup goes where.
pub fn heading(manifest: &Manifest, into: impl Display) -> Vec<String> {
    let age = ui::old(manifest.created_at, Utc::now());
    let taken = ui::time(manifest.created_at);
    vec![
        format!("backup    {}, {age} ({taken})", manifest.id),
        format!("taken of  {}", manifest.database),
        format!("goes into {into}"),
    ]
}

/// Who loses the connection, and what is not as it was.
pub fn cut_and_warned(sessions: &[String], warnings: &[String]) -> impl Iterator<Item = String> {
    let cut = sessions.iter().map(|line| format!("will be cut: {line}"));
    cut.chain(warnings.iter().map(|line| format!("warning: {line}")))
}

/// What will happen, for the one who is asked; a log gets it as well.
pub fn show(
    scene: &Scene,
    dump: &VerifiedDump,
    now: &DatabaseFacts,
    way: &RestoreWay,
    contents: Option<&Result<Contents>>,
    asks: bool,
) {
    let manifest = dump.manifest();
    let mut lines = heading(manifest, now);
    lines.push(format!("how       {}", way.description));
    if let Some(git) = &manifest.git {
        let dirty = if git.dirty {
            ", with uncommitted changes"
        } else {
            ""
        };
        lines.push(format!("taken at  commit {}{dirty}", git.commit));
    }
    lines.push(migrations_then(scene, dump));
    lines.push(match contents {
        None => "now       the database does not exist".into(),
        Some(Ok(found)) => loss("backup", &manifest.contents(), found),
        Some(Err(error)) => format!("now       the database cannot be read: {error:#}"),
    });
    lines.extend(cut_and_warned(&way.sessions, &way.warnings));
    say_all(scene, lines, asks);
}

/// Before a question also when quiet.
pub fn say_all(scene: &Scene, lines: Vec<String>, asks: bool) {
    for line in lines {
        if asks {
            scene.ui.insist(line)
        } else {
            scene.ui.say(line)
        }
    }
}

fn migrations_then(scene: &Scene, dump: &VerifiedDump) -> String {
    let then = &dump.manifest().migrations.applied;
    let last = match then.last() {
        Some(last) => format!("migration {} was the last one applied", last.version),
        None => "no migration was applied".into(),
    };
    let Ok(available) = migrations::read_if_any(&scene.settings.source) else {
        return format!("then      {last}");
    };
    let is_newer = |m: &&Migration| then.iter().all(|applied| applied.version != m.version);
    let up = available
        .iter()
        .filter(|m| !m.migration_type.is_down_migration());
    let newer = ui::count(up.filter(is_newer).count() as u64, "migration");
    format!("then      {last}; {newer} of this checkout will be pending again")
}

/// Tables whose rows differ; what came after the backup is what will be lost.
pub fn loss(there: &str, then: &Contents, now: &Contents) -> String {
    let rows_in = |contents: &Contents, table: &crate::values::database::TableRows| {
        let found = contents
            .tables
            .iter()
            .find(|t| t.schema == table.schema && t.name == table.name);
        found.map_or_else(|| "none".to_owned(), |found| found.rows.to_string())
    };
    let both = then.tables.iter().chain(&now.tables);
    let mut all: Vec<_> = both.filter(|table| table.kind.is_table()).collect();
    all.sort();
    all.dedup_by(|a, b| a.schema == b.schema && a.name == b.name);
    let header = format!("rows in the {there}");
    let mut table = Table::new(&["table", &header, "rows now"])
        .right(1)
        .right(2);
    let mut differ = 0;
    for rows in all {
        let (in_backup, in_database) = (rows_in(then, rows), rows_in(now, rows));
        if in_backup != in_database {
            differ += 1;
            table.row(&[rows, &in_backup, &in_database]);
        }
    }
    if differ == 0 {
        let tables = now.tables.iter().filter(|table| table.kind.is_table());
        let tables = ui::count(tables.count() as u64, "table");
        return format!("now       {tables}, with as many rows as in the {there}");
    }
    table.to_string().trim_end().to_owned()
}
