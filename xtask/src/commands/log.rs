//! `db log`: what was done with this vault, and whether its journal is whole.

use anyhow::Result;
use serde::Serialize;

use super::Scene;
use crate::cli::Log;
use crate::ui::{self, Table};
use crate::values::failure::Failure;
use crate::values::journal::{Deed, Entry, Line, Problem};
use crate::values::words::on_one_line;

#[derive(Serialize)]
struct Document<'a> {
    entries: Vec<&'a Entry>,
    problems: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    line: usize,
    problem: String,
}

pub fn run(scene: &Scene, arguments: &Log) -> Result<()> {
    let lines = scene.vault.journal()?;
    let shown = match arguments.last {
        Some(last) => &lines[lines.len().saturating_sub(last)..],
        None => &lines[..],
    };
    let problems = lines.iter().filter_map(|line| {
        let problem = line.problem.as_ref()?.to_string();
        Some(Found {
            line: line.at,
            problem,
        })
    });
    let problems: Vec<Found> = problems.collect();
    scene.ui.emit(&Document {
        entries: shown
            .iter()
            .filter_map(|line| line.entry.as_ref())
            .collect(),
        problems,
    })?;
    if lines.is_empty() {
        let vault = scene.vault.folder().display();
        scene
            .ui
            .say(format!("nothing was done with the vault `{vault}` yet"));
        return Ok(());
    }
    scene.ui.show(table(shown).to_string())?;
    for line in &lines {
        if let Some(problem) = &line.problem {
            scene.ui.insist(format!("line {}: {problem}", line.at));
        }
    }
    let is_harm = |line: &&Line| !matches!(line.problem, None | Some(Problem::Torn));
    if lines.iter().find(is_harm).is_none() {
        return Ok(());
    }
    Err(Failure::untrusted("the journal is not as it was written")
        .hint("what it says of a backup proves nothing now: cargo xtask db drill --all")
        .into())
}

fn table(lines: &[Line]) -> Table {
    let header = ["time", "what", "ended", "took", "who", "backup", "note"];
    let mut table = Table::new(&header).right(3);
    for entry in lines.iter().filter_map(|line| line.entry.as_ref()) {
        let who = [&entry.ran_on.user, &entry.ran_on.host];
        let who: Vec<&str> = who.into_iter().flatten().map(String::as_str).collect();
        let mut note: Vec<String> = entry.versions.iter().map(i64::to_string).collect();
        if entry.deed == Deed::Remove {
            note.extend(entry.kept.iter().map(|name| on_one_line(name).into_owned()));
        }
        if let Some(place) = &entry.place {
            note.push(format!("off-site `{}`", on_one_line(place)));
        }
        note.extend(entry.note.clone());
        let took = entry.duration_ms.map_or_else(String::new, ui::duration);
        let backup = entry.backup.as_ref().map_or("", |id| id.as_str());
        table.row(&[
            &ui::time(entry.at),
            &entry.deed.to_string(),
            &entry.ending.to_string(),
            &took,
            &who.join("@"),
            &backup,
            &note.join(" "),
        ]);
    }
    table
}
