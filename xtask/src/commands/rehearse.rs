//! The rehearsal: the backup restored beside, compared, and the pending
//! migrations run there. Only what has passed it touches the live database.

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use super::migrate_safe::foresee::Foreseen;
use super::{Scene, loss_gate};
use crate::cli::MigrateSafe;
use crate::engine::{Engine, NO_REHEARSAL, Scratch, ScratchOrder};
use crate::interrupt::is_interrupted;
use crate::migrations;
use crate::ui;
use crate::values::database::{DatabaseFacts, EngineKind};
use crate::values::database_url::DatabaseUrl;
use crate::values::effect::Effect;
use crate::values::failure::{Failure, Outcome, hint_of, is_untrusted};
use crate::values::plan::{Migration, MigrationPlan};
use crate::values::progress::Progress;
use crate::values::survey::{Rehearsed, Survey};
use crate::values::verified_dump::VerifiedDump;

/// A rehearsal that passed.
#[derive(Serialize)]
pub struct Rehearsal {
    /// Until the scratch database held what the backup holds, and was compared.
    pub restore_ms: u64,
    pub duration_ms: u64,
    pub migrations: Vec<Rehearsed>,
    pub effect: Effect,
    /// What of the losses was declared, and how it is called.
    pub accepted_losses: Vec<String>,
}

/// One that did not: what it got to.
#[derive(Serialize)]
struct CutShort<'a> {
    restore_ms: u64,
    migrations: &'a [Rehearsed],
}

/// Refuses a server for scratch databases on which none of this one can be made. A SQLite database
/// needs none.
pub fn refuse_scratch_url(scene: &Scene) -> Result<(), Failure> {
    match scene.settings.url {
        DatabaseUrl::Sqlite(_) => Ok(()),
        DatabaseUrl::Postgres(_) => {
            DatabaseUrl::scratch_server(scene.settings.scratch_url.as_ref()).map(drop)
        }
    }
}

/// Drops the scratch database however it ends. Refuses when a migration fails
/// there, or when it loses what `expected` does not name.
pub fn rehearse(
    scene: &Scene,
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    proof: &VerifiedDump,
    plan: &MigrationPlan,
    foreseen: &Foreseen,
    arguments: &MigrateSafe,
) -> Result<Rehearsal> {
    let began = Instant::now();
    let staging = scene.vault.staging("rehearsal")?;
    let progress = scene.ui.progress();
    let order = ScratchOrder {
        dump: proof,
        is_fresh: true,
        elsewhere: scene.settings.scratch_url.as_ref(),
        staging: staging.path(),
        otherwise: NO_REHEARSAL,
        reaches: match arguments.rehearse_reaching {
            true => None,
            false => Some(foreseen.reaches_past_a_scratch(facts.engine, plan)),
        },
    };
    let mut scratch = engine
        .scratch(&order, &progress)
        .map_err(|error| not_restorable(error, proof))?;
    for warning in scratch.warnings() {
        scene.ui.say(format!("note: {warning}"));
    }
    let restore_ms = elapsed_ms(began);
    let mut migrations = Vec::new();
    let ran = run(
        &mut *scratch,
        &progress,
        facts,
        plan,
        foreseen,
        &mut migrations,
    );
    let effect = match ran {
        Ok(effect) => effect,
        Err(error) => {
            let migrations = &migrations;
            let cut_short = CutShort {
                restore_ms,
                migrations,
            };
            scene.ui.keep("rehearsal", &cut_short)?;
            return Err(error);
        }
    };
    scratch.remove()?;
    Ok(Rehearsal {
        restore_ms,
        duration_ms: elapsed_ms(began),
        migrations,
        effect,
        accepted_losses: Vec::new(),
    })
}

pub fn elapsed_ms(began: Instant) -> u64 {
    began.elapsed().as_millis() as u64
}

/// A backup that was taken, read back and matched, and does not come back.
fn not_restorable(error: anyhow::Error, proof: &VerifiedDump) -> anyhow::Error {
    if !is_untrusted(&error) {
        return error;
    }
    let id = &proof.manifest().id;
    error.context(Failure::untrusted(format!(
        "the backup `{id}` does not come back as it was taken; no migration was begun"
    )))
}

fn run(
    scratch: &mut dyn Scratch,
    progress: &dyn Progress,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    foreseen: &Foreseen,
    rehearsed: &mut Vec<Rehearsed>,
) -> Result<Effect> {
    let mut before = scratch
        .survey()
        .context("cannot look at the scratch database")?;
    for migration in &plan.pending {
        progress.begin(&format!("rehearse {}", migration.version), None);
        let ran = scratch.migrate(migration, foreseen.commits_itself(migration));
        progress.end();
        let mut ran = ran.map_err(|error| refuse(error, facts, migration))?;
        ran.rewritten_by = migrations::rewritten(migration, &ran.rewritten);
        rehearsed.push(ran);
    }
    let mut after = scratch
        .survey()
        .context("cannot look at the scratch database")?;
    require_history(&before, &after, plan)?;
    if facts.engine == EngineKind::Sqlite {
        migrations::follow(&plan.pending, &mut before, &mut after);
    }
    let mut effect = Effect::between(&before, &after, facts.engine);
    for loss in rehearsed.iter().flat_map(|ran| &ran.touched) {
        if !effect.losses.contains(loss) {
            effect.losses.push(loss.clone());
        }
    }
    Ok(effect)
}

/// A migration that writes sqlx's own table would make the next run refuse.
fn require_history(before: &Survey, after: &Survey, plan: &MigrationPlan) -> Result<()> {
    let applied = &after.contents.applied;
    let is_there = |version: i64| applied.iter().any(|a| a.version == version && a.success);
    let then = before.contents.applied.iter();
    let gone = then
        .filter(|then| !applied.contains(then))
        .map(|a| a.version);
    let pending = plan.pending.iter().map(|migration| migration.version);
    let mut missing = gone.chain(pending.filter(|version| !is_there(*version)));
    let Some(missing) = missing.next() else {
        return Ok(());
    };
    Err(Failure::refused(format!(
        "the rehearsal ended without migration {missing} in sqlx's history as it should be; \
         nothing was changed"
    ))
    .hint("a migration must not write sqlx's own table")
    .into())
}

fn refuse(error: anyhow::Error, facts: &DatabaseFacts, migration: &Migration) -> anyhow::Error {
    let is_refusal = |failure: &Failure| failure.outcome == Outcome::Refused;
    if is_interrupted(&error) || error.downcast_ref::<Failure>().is_some_and(is_refusal) {
        return error;
    }
    let failure = Failure::refused(format!(
        "the rehearsal on a scratch database failed; the {facts} is as it was"
    ));
    let mend = format!(
        "mend migration {} and run the command again",
        migration.version
    );
    let hint = hint_of(&error).unwrap_or(mend);
    error.context(failure.hint(hint))
}

/// What the migrations do, for the one who decides; a log gets it as well.
pub fn show(scene: &Scene, rehearsal: &Rehearsal) {
    let Rehearsal {
        restore_ms,
        migrations,
        effect,
        ..
    } = rehearsal;
    let took: u64 = migrations
        .iter()
        .map(|migration| migration.duration_ms)
        .sum();
    scene.ui.say(format!(
        "rehearsed on a scratch database: restored and compared in {}, {} in {}",
        ui::duration(*restore_ms),
        ui::count(migrations.len() as u64, "migration"),
        ui::duration(took)
    ));
    for migration in migrations {
        let rewritten = migration.rewritten_by.iter().map(ToString::to_string);
        let notes = [
            ("locks", migration.locks.clone()),
            ("writes anew", rewritten.collect()),
        ];
        for (what, lines) in notes {
            if !lines.is_empty() {
                let lines = lines.join("; ");
                scene
                    .ui
                    .say(format!("  {} {what}: {lines}", migration.version));
            }
        }
    }
    if effect.tables.is_empty() {
        scene
            .ui
            .say("  no table looks or counts otherwise afterwards");
    } else {
        let table = loss_gate::table(effect, &scene.settings.bookkeeping).to_string();
        table
            .lines()
            .for_each(|line| scene.ui.say(format!("  {line}")));
    }
    for index in &effect.invalid_indexes {
        scene.ui.insist(format!(
            "warning: the index `{index}` is not valid afterwards"
        ));
    }
}
