//! `db migrate-safe`: no migration without a proven way back.

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use super::journal::ending_of;
use super::rehearse::{self, Rehearsal};
use super::{Scene, backup, loss_gate};
use crate::cli::MigrateSafe;
use crate::engine::Engine;
use crate::interrupt::Interrupted;
use crate::migrations;
use crate::ui::Answer;
use crate::values::cause;
use crate::values::database::{AppliedMigration, DatabaseFacts};
use crate::values::failure::{Failure, Outcome};
use crate::values::id::Reason;
use crate::values::journal::{Deed, Ending};
use crate::values::loss::LossName;
use crate::values::manifest::{Manifest, PendingMigration};
use crate::values::plan::{Migration, MigrationPlan, MigrationRan, describe};
use crate::values::verified_dump::VerifiedDump;
use crate::vault::Backup;

#[derive(Serialize)]
struct Document<'a> {
    outcome: &'static str,
    database: &'a DatabaseFacts,
    pending: Vec<PendingMigration>,
    applied: &'a [MigrationRan],
    backup: Option<Manifest>,
    /// What the proof was; nothing when it was left out.
    rehearsal: Option<&'a Rehearsal>,
}

pub fn run(scene: &Scene, arguments: &MigrateSafe) -> Result<()> {
    if arguments.dry_run {
        return dry_run(scene, arguments);
    }
    let accepted = accepted_losses(arguments)?;
    // Read before anything is locked or created: a mistake here is the cheapest.
    let available = migrations::read(&scene.settings.source)?;
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("migrate-safe", &scene.who)?;
    scene.say_unfinished();
    let mut engine = scene.engine()?;
    engine.lock()?;

    let facts = engine.facts()?;
    let history = engine.history()?;
    let plan = migrations::plan(available, history, arguments.target_version)
        .map_err(|problem| migrations::refusal(&problem, &scene.settings.source.folder))?;
    show(
        scene,
        &facts,
        &plan,
        scene.ui.is_attended() && !arguments.yes,
    );
    if plan.pending.is_empty() {
        return emit(scene, "nothing-pending", &facts, &plan, &[], None, None);
    }
    let expected = rehearse::expected_losses(&plan, facts.engine, &accepted)?;
    confirm(scene, arguments)?;

    let proven = prove(scene, &mut *engine, &facts, &plan, arguments, expected)?;
    let Proven {
        backup,
        proof,
        rehearsal,
    } = proven;
    refuse_if_changed_meanwhile(&mut *engine, &plan)?;
    let ran = migrate(scene, &mut *engine, &facts, &plan, &backup, &proof)?;

    scene.ui.say(format!(
        "{} applied; the way back is `{}`",
        ran.len(),
        restore_command(&backup)
    ));
    emit(
        scene,
        "migrated",
        &facts,
        &plan,
        &ran,
        Some(&backup.manifest),
        rehearsal.as_ref(),
    )
}

/// Marked in the vault from before the first change until it is known how it ended.
fn migrate(
    scene: &Scene,
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    backup: &Backup,
    proof: &VerifiedDump,
) -> Result<Vec<MigrationRan>> {
    let mut begun = scene.entry(Deed::Migrate, Ending::Begun, facts);
    begun.backup = Some(backup.id().clone());
    begun.versions = plan.pending.iter().map(|m| m.version).collect();
    let context = "no migration was begun";
    scene.vault.mark_unfinished(&begun).context(context)?;
    scene.vault.record(begun).context(context)?;
    let began = Instant::now();
    let mut ran = Vec::new();
    let migrated = engine.migrate(proof, &plan.pending, &mut |migration| {
        scene.ui.say(format!(
            "applied {} {} in {} ms",
            migration.version, migration.description, migration.duration_ms
        ));
        ran.push(migration);
    });
    let migrated = migrated.map_err(|error| explain(engine, facts, plan, backup, error));
    let ending = migrated.as_ref().err().map_or(Ending::Done, ending_of);
    let mut ended = scene.entry(Deed::Migrate, ending, facts);
    ended.backup = Some(backup.id().clone());
    ended.versions = ran.iter().map(|migration| migration.version).collect();
    ended.duration_ms = Some(rehearse::elapsed_ms(began));
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

struct Proven {
    backup: Backup,
    proof: VerifiedDump,
    rehearsal: Option<Rehearsal>,
}

/// Backup, rehearsal, loss gate. Who types what may be lost has taken time to
/// read, in which others may have written: then all of it is done again.
fn prove(
    scene: &Scene,
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    arguments: &MigrateSafe,
    mut expected: Vec<LossName>,
) -> Result<Proven> {
    loop {
        let (backup, proof) = backup::take(scene, engine, Reason::PreMigrate, None)?;
        if arguments.no_rehearse {
            scene.ui.say("not rehearsed: --no-rehearse");
            return Ok(Proven {
                backup,
                proof,
                rehearsal: None,
            });
        }
        let mut rehearsal = scene.recorded(
            Deed::Rehearse,
            facts,
            || rehearse::rehearse(scene, engine, facts, &proof, plan),
            |_| Some(backup.id().clone()),
        )?;
        rehearse::show(scene, &rehearsal);
        let unexpected = loss_gate::unexpected(&rehearsal.effect, facts.engine, &expected);
        if unexpected.is_empty() {
            let losses = rehearsal.effect.losses.iter();
            rehearsal.accepted_losses = losses.map(|loss| loss.name().to_string()).collect();
            return Ok(Proven {
                backup,
                proof,
                rehearsal: Some(rehearsal),
            });
        }
        match loss_gate::ask(scene, &unexpected, facts.engine)? {
            Some(typed) => expected.extend(typed),
            None => return Err(loss_gate::refusal(&unexpected).into()),
        }
    }
}

fn accepted_losses(arguments: &MigrateSafe) -> Result<Vec<LossName>> {
    let Some(text) = &arguments.accept_loss else {
        return Ok(Vec::new());
    };
    super::refuse_url(text)?;
    LossName::parse_list(text).map_err(|error| {
        Failure::usage(format!("`--accept-loss`: {error}"))
            .hint("cargo xtask db migrate-safe --accept-loss books,users.phone")
            .into()
    })
}

/// Reads; takes no lock, writes nothing, not even sqlx's own table.
fn dry_run(scene: &Scene, arguments: &MigrateSafe) -> Result<()> {
    let available = migrations::read(&scene.settings.source)?;
    let mut engine = scene.engine()?;
    let facts = engine.facts()?;
    let plan = migrations::plan(available, engine.history()?, arguments.target_version)
        .map_err(|problem| migrations::refusal(&problem, &scene.settings.source.folder))?;
    show(scene, &facts, &plan, false);
    scene.ui.say("dry run: nothing was written");
    emit(scene, "planned", &facts, &plan, &[], None, None)
}

/// Before a question it is shown even when quiet.
fn show(scene: &Scene, facts: &DatabaseFacts, plan: &MigrationPlan, asks: bool) {
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
    }
}

fn confirm(scene: &Scene, arguments: &MigrateSafe) -> Result<()> {
    if arguments.yes {
        return Ok(());
    }
    if scene.ui.is_attended() {
        scene
            .ui
            .insist("they will run on this database, after a backup of it was taken and matched");
    }
    match scene.ui.confirm(scene.interrupt)? {
        Answer::Yes => Ok(()),
        Answer::No => Err(Failure::refused("not confirmed; nothing was changed")
            .hint("only the word `yes` goes on: cargo xtask db migrate-safe")
            .into()),
        Answer::Nobody => Err(Failure::refused(
            "there is no terminal to ask on, and `--yes` was not given; nothing was changed",
        )
        .hint("cargo xtask db migrate-safe --yes")
        .into()),
    }
}

/// The lock keeps out whoever takes it. sqlx-cli and an application that
/// migrates when it starts may not have.
fn refuse_if_changed_meanwhile(engine: &mut dyn Engine, plan: &MigrationPlan) -> Result<()> {
    if engine.history()? == plan.applied {
        return Ok(());
    }
    Err(
        Failure::refused("somebody else migrated the database while the backup was taken")
            .hint("see what is pending now: cargo xtask db migrate-safe --dry-run")
            .into(),
    )
}

/// What is committed and what is not, read from the database and not assumed.
fn explain(
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    backup: &Backup,
    error: anyhow::Error,
) -> anyhow::Error {
    let began = error
        .downcast_ref::<Failure>()
        .map(|failure| failure.outcome);
    if !matches!(began, Some(Outcome::AfterChange)) && !is_interrupted(&error) {
        return error.context(format!("no migration of the {facts} was begun"));
    }
    let history = engine.settled_history();
    let is_committed = |history: &[AppliedMigration], version: i64| {
        history
            .iter()
            .any(|migration| migration.version == version && migration.success)
    };
    let what = match &history {
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
            let partly = not.first().filter(|m| commits_itself(m)).map(|m| {
                format!(
                    "; {} does not run in one transaction, and a part of it may be in the database",
                    m.version
                )
            });
            format!(
                "committed: {}; not committed: {}{}",
                list(committed),
                list(not),
                partly.unwrap_or_default()
            )
        }
        Err(unread) => format!("what is committed cannot be read ({unread})"),
    };
    let stopped = if is_interrupted(&error) {
        "were interrupted"
    } else {
        "stopped"
    };
    error.context(
        Failure::after_change(format!("the migrations of the {facts} {stopped}: {what}")).hint(
            format!(
                "to go back to before all of them: {}",
                restore_command(backup)
            ),
        ),
    )
}

fn is_interrupted(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Interrupted>())
}

/// Without sqlx's transaction, or with a COMMIT of its own that ends it.
fn commits_itself(migration: &Migration) -> bool {
    let sql = migration.sql.as_str().to_ascii_uppercase();
    migration.no_tx
        || sql
            .split(|c: char| !c.is_ascii_alphabetic())
            .any(|word| word == "COMMIT")
}

fn restore_command(backup: &Backup) -> String {
    format!("cargo xtask db restore {}", backup.id())
}

fn emit(
    scene: &Scene,
    outcome: &'static str,
    database: &DatabaseFacts,
    plan: &MigrationPlan,
    applied: &[MigrationRan],
    backup: Option<&Manifest>,
    rehearsal: Option<&Rehearsal>,
) -> Result<()> {
    let pending = plan.pending_names().into_iter();
    let pending = pending
        .filter(|m| applied.iter().all(|ran| ran.version != m.version))
        .collect();
    scene
        .ui
        .emit(&Document {
            outcome,
            database: &database.for_show(),
            pending,
            applied,
            backup: backup.map(Manifest::for_show),
            rehearsal,
        })
        .context("cannot report what was done")
}
