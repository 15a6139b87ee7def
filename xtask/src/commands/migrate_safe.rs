//! `db migrate-safe`: no migration without a proven way back.

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Scene, backup};
use crate::cli::MigrateSafe;
use crate::engine::Engine;
use crate::interrupt::Interrupted;
use crate::migrations;
use crate::ui::Answer;
use crate::values::database::{AppliedMigration, DatabaseFacts};
use crate::values::failure::{Failure, Outcome};
use crate::values::id::Reason;
use crate::values::manifest::{Manifest, PendingMigration};
use crate::values::plan::{Migration, MigrationPlan, MigrationRan, describe};
use crate::vault::Backup;

#[derive(Serialize)]
struct Document<'a> {
    outcome: &'static str,
    database: &'a DatabaseFacts,
    pending: Vec<PendingMigration>,
    applied: &'a [MigrationRan],
    backup: Option<Manifest>,
}

pub fn run(scene: &Scene, arguments: &MigrateSafe) -> Result<()> {
    if arguments.dry_run {
        return dry_run(scene, arguments);
    }
    // Read before anything is locked or created: a mistake here is the cheapest.
    let available = migrations::read(&scene.settings.source)?;
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("migrate-safe", &scene.who)?;
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
        return emit(scene, "nothing-pending", &facts, &plan, &[], None);
    }
    confirm(scene, arguments)?;

    let (backup, proof) = backup::take(scene, &mut *engine, Reason::PreMigrate, None)?;
    refuse_if_changed_meanwhile(&mut *engine, &plan)?;
    let mut ran = Vec::new();
    let migrated = engine.migrate(&proof, &plan.pending, &mut |migration| {
        scene.ui.say(format!(
            "applied {} {} in {} ms",
            migration.version, migration.description, migration.duration_ms
        ));
        ran.push(migration);
    });
    migrated.map_err(|error| explain(&mut *engine, &facts, &plan, &backup, error))?;

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
    )
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
    emit(scene, "planned", &facts, &plan, &[], None)
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
        })
        .context("cannot report what was done")
}
