//! What a plan and its files say before anything runs; shown before the question.

use anyhow::Result;

use crate::commands::Scene;
use crate::migrations;
use crate::values::database::{DatabaseFacts, EngineKind};
use crate::values::loss::LossName;
use crate::values::plan::{Migration, MigrationPlan, describe};
use crate::values::reach::{Reach, ReachKind};

/// What the files of the pending migrations say about themselves.
pub struct Foreseen {
    pub reaches: Vec<Reach>,
    /// Of those that name some, by version.
    pub losses: Vec<(i64, Vec<LossName>)>,
}

/// More notes about one migration hide the others.
const MOST_NOTES: usize = 10;

/// Only of what is pending: the file of an applied migration can no longer be mended.
pub fn foresee(scene: &Scene, facts: &DatabaseFacts, plan: &MigrationPlan) -> Result<Foreseen> {
    let mut foreseen = Foreseen {
        reaches: Vec::new(),
        losses: Vec::new(),
    };
    for migration in &plan.pending {
        let losses = migrations::expected_losses(migration, facts.engine)?;
        if !losses.is_empty() {
            foreseen.losses.push((migration.version, losses));
        }
        let table = &scene.settings.bookkeeping.table;
        let reaches = migrations::reaches(migration, facts.engine, table);
        foreseen.reaches.extend(reaches);
    }
    Ok(foreseen)
}

/// Before a question it is shown even when quiet.
pub fn show(
    scene: &Scene,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    foreseen: &Foreseen,
    asks: bool,
) {
    let say = |line: String| {
        if asks {
            scene.ui.insist(line)
        } else {
            scene.ui.say(line)
        }
    };
    if plan.pending.is_empty() {
        let applied = plan.applied.len();
        scene.ui.say(format!(
            "nothing is pending on the {facts}; {applied} applied"
        ));
        return;
    }
    let newest = plan.applied.iter().map(|migration| migration.version).max();
    say(format!("pending on the {facts}:"));
    for migration in &plan.pending {
        let mut notes = String::new();
        if migration.no_tx {
            notes += "  (without a transaction: a failure leaves the statements before it)";
        }
        if newest.is_some_and(|newest| migration.version < newest) {
            notes += "  (older than what is already applied)";
        }
        let description = describe(&migration.description);
        say(format!("  {} {description}{notes}", migration.version));
        for note in notes_on(migration.version, foreseen) {
            say(format!("  note: {note}"));
        }
    }
}

fn notes_on(version: i64, foreseen: &Foreseen) -> Vec<String> {
    let mut notes = Vec::new();
    for (_, names) in foreseen.losses.iter().filter(|(of, _)| *of == version) {
        let names: Vec<String> = names.iter().map(LossName::to_string).collect();
        notes.push(format!("{version} expects to lose {}", names.join(", ")));
    }
    let reaches = foreseen.reaches.iter().filter(|r| r.version == version);
    let mut lines = reaches.map(Reach::to_string);
    notes.extend(lines.by_ref().take(MOST_NOTES));
    match lines.count() {
        0 => {}
        more => notes.push(format!("{version} and {more} more of the kind; see --json")),
    }
    notes
}

impl Foreseen {
    /// Without sqlx's transaction, or with a COMMIT of its own that ends it.
    pub fn commits_itself(&self, migration: &Migration) -> bool {
        let ends = |reach: &Reach| {
            reach.version == migration.version && reach.kind == ReachKind::OwnTransaction
        };
        migration.no_tx || self.reaches.iter().any(ends)
    }

    /// What of the batch a rehearsal on the live database's own server would do for real. What is
    /// not understood is watched there and taken back, but where a migration commits by itself.
    pub fn reaches_past_a_scratch(&self, engine: EngineKind, plan: &MigrationPlan) -> Vec<String> {
        let is_unwatched = |reach: &Reach| {
            let mut pending = plan.pending.iter();
            let migration = pending.find(|migration| migration.version == reach.version);
            engine == EngineKind::Postgresql && migration.is_some_and(|m| self.commits_itself(m))
        };
        let is_real = |reach: &&Reach| match reach.kind {
            ReachKind::Server | ReachKind::Outside => reach.runs(),
            ReachKind::Unknown => reach.runs() && is_unwatched(reach),
            ReachKind::OwnTransaction | ReachKind::Bookkeeping => false,
        };
        let reaches = self.reaches.iter().filter(is_real);
        reaches.map(Reach::to_string).collect()
    }
}
