//! The live database: migrations run on it, and what holds when one fails.

use std::time::Instant;

use anyhow::{Context, Result};

use super::foresee::Foreseen;
use super::prove::{NOT_REHEARSED, Proven};
use super::restore_command;
use crate::commands::Scene;
use crate::commands::journal::ending_of;
use crate::commands::rehearse::elapsed_ms;
use crate::engine::{Debris, Engine};
use crate::interrupt::is_interrupted;
use crate::values::cause;
use crate::values::database::{AppliedMigration, DatabaseFacts};
use crate::values::failure::{Failure, Outcome, RolledBack};
use crate::values::journal::{Deed, Ending};
use crate::values::plan::{Migration, MigrationPlan, MigrationRan};
use crate::vault::Backup;

/// Marked in the vault from before the first change until it is known how it ended.
pub fn migrate(
    scene: &Scene,
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    foreseen: &Foreseen,
    proven: &Proven,
) -> Result<Vec<MigrationRan>> {
    let (backup, proof) = (&proven.backup, &proven.proof);
    let mut begun = scene.entry(Deed::Migrate, Ending::Begun, facts);
    if proven.rehearsal.is_none() {
        begun.note = Some(NOT_REHEARSED.to_owned());
    }
    begun.backup = Some(backup.id().clone());
    begun.versions = plan.pending.iter().map(|m| m.version).collect();
    let context = "no migration was begun";
    if let Some(warning) = engine.mark_beginning(proof.manifest()).context(context)? {
        scene.ui.insist(format!("warning: {warning}"));
    }
    scene.vault.record(begun.clone()).context(context)?;
    scene.vault.mark_unfinished(&begun).context(context)?;
    let began = Instant::now();
    let mut ran = Vec::new();
    let migrated = engine.migrate(proof, &plan.pending, &mut |migration| {
        scene.ui.say(format!(
            "applied {} {} in {} ms",
            migration.version, migration.description, migration.duration_ms
        ));
        ran.push(migration);
    });
    let migrated = migrated.map_err(|error| explain(engine, facts, plan, foreseen, backup, error));
    let ending = migrated.as_ref().err().map_or(Ending::Done, ending_of);
    let mut ended = scene.entry(Deed::Migrate, ending, facts);
    ended.backup = Some(backup.id().clone());
    ended.versions = ran.iter().map(|migration| migration.version).collect();
    ended.duration_ms = Some(elapsed_ms(began));
    ended.note = migrated
        .as_ref()
        .err()
        .map(|error| cause::lines(error).join(": "));
    scene.record(ended);
    if let Err(error) = scene.vault.mark_finished() {
        scene.ui.insist(format!("warning: {error:#}"));
    }
    migrated.map(|()| ran)
}

/// What is committed and what is not, read from the database and not assumed.
fn explain(
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    foreseen: &Foreseen,
    backup: &Backup,
    error: anyhow::Error,
) -> anyhow::Error {
    if error.downcast_ref::<RolledBack>().is_some() {
        return error.context(
            Failure::refused(format!(
                "a migration failed, and the {facts} is as it was before"
            ))
            .hint("mend the migration and run the command again"),
        );
    }
    let began = error
        .downcast_ref::<Failure>()
        .map(|failure| failure.outcome);
    if !matches!(began, Some(Outcome::AfterChange)) && !is_interrupted(&error) {
        return error.context(format!("no migration of the {facts} was begun"));
    }
    let left = debris(engine, plan, foreseen);
    let what = what_holds(engine, plan, foreseen, &left);
    let stopped = if is_interrupted(&error) {
        "were interrupted"
    } else {
        "stopped"
    };
    let back = restore_command(backup);
    let mut hint = format!("to go back to before all of them: {back}");
    if !left.is_empty() {
        hint += "\nto clean up what is left over and go on from here:";
        for debris in &left {
            hint += &format!("\n  {}", debris.clean_up);
        }
    }
    let message = format!("the migrations of the {facts} {stopped}: {what}");
    error.context(Failure::after_change(message).hint(hint))
}

/// Committed, not committed, and what is left over.
fn what_holds(
    engine: &mut dyn Engine,
    plan: &MigrationPlan,
    foreseen: &Foreseen,
    left: &[Debris],
) -> String {
    let history = engine.settled_history();
    let is_committed = |history: &[AppliedMigration], version: i64| {
        history
            .iter()
            .any(|migration| migration.version == version && migration.success)
    };
    match &history {
        Ok(history) => {
            let name = |m: &Migration| m.version.to_string();
            let (committed, not): (Vec<_>, Vec<_>) = plan
                .pending
                .iter()
                .partition(|m| is_committed(history, m.version));
            let list = |migrations: Vec<&_>| match migrations.as_slice() {
                [] => "none".to_owned(),
                some => some.iter().map(|m| name(m)).collect::<Vec<_>>().join(", "),
            };
            let partly = not.first().filter(|m| foreseen.commits_itself(m)).map(|m| {
                format!(
                    "; {} does not run in one transaction, and a part of it may be in the database",
                    m.version
                )
            });
            let left = left
                .iter()
                .map(|debris| format!("\n  left over: {}", debris.what));
            format!(
                "committed: {}; not committed: {}{}{}",
                list(committed),
                list(not),
                partly.unwrap_or_default(),
                left.collect::<String>()
            )
        }
        Err(unread) => format!("what is committed cannot be read ({unread})"),
    }
}

/// Nothing where every migration is rolled back as a whole.
fn debris(engine: &mut dyn Engine, plan: &MigrationPlan, foreseen: &Foreseen) -> Vec<Debris> {
    if !plan.pending.iter().any(|m| foreseen.commits_itself(m)) {
        return Vec::new();
    }
    // It only adds to what is said; that the database does not answer is said by others.
    engine.debris().unwrap_or_default()
}
