//! The loss gate: data that is gone after a rehearsal is expected, or nothing runs.

use anyhow::Result;

use super::Scene;
use crate::ui::Table;
use crate::values::database::EngineKind;
use crate::values::effect::{Effect, Loss, TableEffect};
use crate::values::failure::Failure;
use crate::values::loss::LossName;
use crate::values::plan::Bookkeeping;
use crate::values::words::shell_quoted;

/// What is lost and what of it nobody expects.
pub fn unexpected<'a>(
    effect: &'a Effect,
    engine: EngineKind,
    expected: &[LossName],
) -> Vec<&'a Loss> {
    let losses = effect.losses.iter();
    losses
        .filter(|loss| !is_expected(loss, engine, expected))
        .collect()
}

fn is_expected(loss: &Loss, engine: EngineKind, expected: &[LossName]) -> bool {
    expected.iter().any(|name| match &loss.column {
        Some(column) => name.matches_column(engine, &loss.schema, &loss.table, column),
        None => name.matches_table(engine, &loss.schema, &loss.table),
    })
}

/// As they are declared, each once.
fn names(losses: &[&Loss]) -> Vec<String> {
    let mut names: Vec<String> = losses.iter().map(|loss| loss.name().to_string()).collect();
    names.dedup();
    names
}

/// The names, typed by a person who has read what is lost. `None` without a
/// terminal, or when what was typed does not name all of it.
pub fn ask(scene: &Scene, losses: &[&Loss], engine: EngineKind) -> Result<Option<Vec<LossName>>> {
    if !scene.ui.is_attended() {
        return Ok(None);
    }
    scene
        .ui
        .insist("the migrations lose data that is not declared:");
    for loss in losses {
        scene.ui.insist(format!("  {loss}"));
    }
    let prompt = format!(
        "type `{}` to lose it, anything else stops",
        names(losses).join(",")
    );
    let Some(typed) = scene.ui.ask(&prompt, scene.interrupt)? else {
        return Ok(None);
    };
    let Ok(named) = LossName::parse_list(&typed) else {
        return Ok(None);
    };
    let all = losses.iter().all(|loss| is_expected(loss, engine, &named));
    Ok(all.then_some(named))
}

pub fn refusal(losses: &[&Loss]) -> Failure {
    let lines: Vec<String> = losses.iter().map(|loss| format!("  {loss}")).collect();
    let names = names(losses);
    Failure::refused(format!(
        "the migrations would lose data; nothing was changed\n{}",
        lines.join("\n")
    ))
    .hint(format!(
        "if that is meant, say so in the migration: -- expect-loss: {}\n\
         or for this run: cargo xtask db migrate-safe --accept-loss {}",
        names.join(", "),
        shell_quoted(&names.join(","))
    ))
}

/// Rows before and after, and what else changes.
pub fn table(effect: &Effect, bookkeeping: &Bookkeeping) -> Table {
    let header = ["table", "rows before", "rows after", "what changes"];
    let mut table = Table::new(&header).right(1).right(2);
    let rows = |rows: Option<u64>| rows.map_or_else(|| "–".to_owned(), |rows| rows.to_string());
    for changed in &effect.tables {
        if is_history(changed, bookkeeping) {
            continue;
        }
        table.row(&[
            &changed.title(),
            &rows(changed.rows_before),
            &rows(changed.rows_after),
            &changed.changes.join("; "),
        ]);
    }
    table
}

/// sqlx's own table grows with every migration; that is no news.
pub fn is_history(table: &TableEffect, bookkeeping: &Bookkeeping) -> bool {
    let name = bookkeeping.table.rsplit('.').next().unwrap_or_default();
    let grew = table.rows_after >= table.rows_before;
    table.name == name.trim_matches('"') && grew
}
