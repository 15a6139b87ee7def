//! `db migrate-safe`: no migration without a proven way back.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::exclusive::exclusively;
use super::offsite::send::{self, Wanted};
use super::rehearse::Rehearsal;
use super::{Scene, offsite, prune, rehearse, restore};
use crate::cli::{MigrateSafe, OnFailure};
use crate::config::keys;
use crate::engine::Engine;
use crate::migrations;
use crate::values::database::{DatabaseFacts, EngineKind};
use crate::values::failure::Failure;
use crate::values::loss::LossName;
use crate::values::manifest::{Manifest, PendingMigration};
use crate::values::offsite::Place;
use crate::values::plan::{MigrationPlan, MigrationRan};
use crate::values::reach::Reach;
use crate::vault::{self, Backup};
use apply::migrate;
use foresee::{Foreseen, foresee, show};
use prove::{Proven, accepted_losses, prove};
use turn_back::Failed;

mod apply;
pub mod foresee;
mod prove;
mod reviewed;
mod summary;
mod turn_back;

#[derive(Serialize)]
struct Document<'a> {
    outcome: &'static str,
    database: &'a DatabaseFacts,
    pending: Vec<PendingMigration>,
    reaches: &'a [Reach],
    applied: &'a [MigrationRan],
    backup: Option<Manifest>,
    /// What the proof was; nothing when it was left out.
    rehearsal: Option<&'a Rehearsal>,
    /// What came of copies off-site, of this backup and of older ones.
    copies: &'a [send::Copy],
}

pub fn run(scene: &Scene, arguments: &MigrateSafe) -> Result<()> {
    if arguments.dry_run {
        return dry_run(scene, arguments);
    }
    refuse_settings(scene, arguments)?;
    let mut accepted = accepted_losses(arguments)?;
    let receipt = arguments.approve.as_deref().map(vault::receipt::read);
    let receipt = receipt.transpose()?;
    // Read before anything is locked or created: a mistake here is the cheapest.
    let available = migrations::read(&scene.settings.source)?;
    scene.prepare_vault()?;
    let lock = scene.vault.lock("migrate-safe", &scene.who)?;
    scene.say_unfinished();
    let mut engine = scene.engine()?;
    engine.lock()?;
    scene.end_left_exclusive(&mut *engine)?;

    let facts = engine.facts()?;
    let history = engine.history()?;
    let plan = migrations::plan(available, history, arguments.target_version)
        .map_err(|problem| migrations::refusal(&problem, &scene.settings.source.folder))?;
    let foreseen = foresee(scene, &facts, &plan)?;
    let asks = scene.ui.is_attended() && !arguments.yes;
    show(scene, &facts, &plan, &foreseen, asks);
    let report = Report {
        scene,
        facts: &facts,
        plan: &plan,
        foreseen: &foreseen,
    };
    summary::begin(scene, &facts, &plan, &foreseen);
    if let (Some(receipt), Some(path)) = (&receipt, &arguments.approve) {
        reviewed::require(path, receipt, &facts, &plan)?;
        for names in &receipt.accepted_losses {
            accepted.extend(LossName::parse_list(names)?);
        }
    }
    if plan.pending.is_empty() {
        return report.emit("nothing-pending", &[], None, &[]);
    }
    require_key(scene, &mut *engine, &facts, arguments)?;
    if let Some(path) = &arguments.plan {
        return report.plan_only(&mut *engine, arguments, accepted, path);
    }
    let exclusive = scene.settings.get(keys::EXCLUSIVE).unwrap_or(false);
    if exclusive {
        refuse_what_ends_the_lock(&facts, &plan, &foreseen)?;
    }
    confirm(scene, arguments)?;

    let work = |engine: &mut dyn Engine| report.carry_out(engine, arguments, accepted);
    let ((proven, ran), opened) = if exclusive {
        exclusively(scene, &mut *engine, &facts, work)?
    } else {
        (work(&mut *engine)?, Ok(()))
    };

    scene.ui.say(format!(
        "{} applied; the way back is `{}`",
        ran.len(),
        restore_command(&proven.backup)
    ));
    summary::done(scene, &ran, &proven);
    // A long upload is in nobody's way.
    drop((engine, lock));
    let ended = report.end(arguments, &proven, &ran);
    worse(scene, opened, ended)
}

/// Who is still shut out matters more than a copy that is missing, of which a line says enough.
fn worse(scene: &Scene, opened: Result<()>, ended: Result<()>) -> Result<()> {
    if let (Err(_), Err(error)) = (&opened, &ended) {
        scene.ui.insist(format!("warning: {error:#}"));
    }
    opened.and(ended)
}

/// What would only come out when all is done.
fn refuse_settings(scene: &Scene, arguments: &MigrateSafe) -> Result<()> {
    if arguments.offsite_first {
        offsite::elsewhere(scene)?;
    }
    if !arguments.no_rehearse {
        rehearse::refuse_scratch_url(scene)?;
    }
    prune::refuse_empty_policy(scene)
}

/// Reads; takes no lock, writes nothing, not even sqlx's own table.
fn dry_run(scene: &Scene, arguments: &MigrateSafe) -> Result<()> {
    let available = migrations::read(&scene.settings.source)?;
    let mut engine = scene.engine()?;
    let facts = engine.facts()?;
    let plan = migrations::plan(available, engine.history()?, arguments.target_version)
        .map_err(|problem| migrations::refusal(&problem, &scene.settings.source.folder))?;
    let foreseen = foresee(scene, &facts, &plan)?;
    show(scene, &facts, &plan, &foreseen, false);
    scene.ui.say("dry run: nothing was written");
    let report = Report {
        scene,
        facts: &facts,
        plan: &plan,
        foreseen: &foreseen,
    };
    report.emit("planned", &[], None, &[])
}

/// On SQLite the lock is a transaction, and all migrations run in it.
fn refuse_what_ends_the_lock(
    facts: &DatabaseFacts,
    plan: &MigrationPlan,
    foreseen: &Foreseen,
) -> Result<()> {
    let mut pending = plan.pending.iter();
    match pending.find(|migration| foreseen.commits_itself(migration)) {
        Some(migration) if facts.engine == EngineKind::Sqlite => Err(Failure::refused(format!(
            "migration {} does not run in one transaction, which is what keeps others out",
            migration.version
        ))
        .hint("stop the programs that use the database, and go without `--exclusive`")
        .into()),
        _ => Ok(()),
    }
}

/// What restores the backup of this run needs the key for it.
fn require_key(
    scene: &Scene,
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    arguments: &MigrateSafe,
) -> Result<()> {
    scene.settle_seal(engine, facts)?;
    let on_failure = scene.settings.get(keys::ON_FAILURE);
    match arguments.no_rehearse && on_failure != Some(OnFailure::Restore) {
        true => Ok(()),
        false => Ok(scene.require_own_key()?),
    }
}

fn confirm(scene: &Scene, arguments: &MigrateSafe) -> Result<()> {
    if arguments.yes {
        return Ok(());
    }
    let then = match arguments.no_rehearse {
        true => "they will run on this database, once a backup of it was taken and matched",
        false => {
            "they will run on this database, once a backup of it was restored beside it and they have run there"
        }
    };
    restore::confirm(scene, then, "cargo xtask db migrate-safe")
}

/// At every place: who asks for this wants the way back to outlive the machine.
fn require_copies(scene: &Scene, proven: &Proven) -> Result<()> {
    let places = offsite::elsewhere(scene)?;
    let copies = send::send(scene, &Wanted::Fresh((&proven.backup, &proven.proof)));
    scene.interrupt.check()?;
    let arrived = send::refuse_missing(&copies, "the backup stands");
    let has_one = |place: &Place| copies.iter().any(|copy| copy.is_at(place));
    let arrived = arrived.and_then(|()| match places.iter().find(|place| !has_one(place)) {
        None => Ok(()),
        Some(place) => anyhow::bail!("nothing was heard of the copy to {place}"),
    });
    arrived.map_err(|error| {
        let failure = Failure::refused("the backup has not arrived off-site; nothing was migrated");
        error.context(failure.hint(
            "mend that and run the command again; or copy afterwards: cargo xtask db migrate-safe",
        ))
    })
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

pub fn restore_command(backup: &Backup) -> String {
    format!("cargo xtask db restore {}", backup.id())
}

/// What a run knows, and can say of itself, whatever came of it.
struct Report<'a> {
    scene: &'a Scene<'a>,
    facts: &'a DatabaseFacts,
    plan: &'a MigrationPlan,
    foreseen: &'a Foreseen,
}

impl Report<'_> {
    /// Backup, rehearsal, migration; what becomes of the database when that fails.
    fn carry_out(
        &self,
        engine: &mut dyn Engine,
        arguments: &MigrateSafe,
        accepted: Vec<LossName>,
    ) -> Result<(Proven, Vec<MigrationRan>)> {
        let Report {
            scene,
            facts,
            plan,
            foreseen,
        } = *self;
        let proven = prove(scene, engine, self, arguments, accepted)?;
        if arguments.offsite_first {
            require_copies(scene, &proven)?;
        }
        refuse_if_changed_meanwhile(engine, plan)?;
        let ran = migrate(scene, engine, facts, plan, foreseen, &proven);
        let failed = Failed {
            scene,
            facts,
            plan,
            foreseen,
            proven: &proven,
        };
        let ran = ran.map_err(|error| {
            failed.turn_back(engine, scene.settings.get(keys::ON_FAILURE), error)
        })?;
        Ok((proven, ran))
    }

    /// All but the jump.
    fn plan_only(
        &self,
        engine: &mut dyn Engine,
        arguments: &MigrateSafe,
        accepted: Vec<LossName>,
        path: &Path,
    ) -> Result<()> {
        let (scene, facts) = (self.scene, self.facts);
        reviewed::refuse_place(scene, path, facts)?;
        let proven = prove(scene, engine, self, arguments, accepted)?;
        reviewed::write_receipt(scene, path, facts, self.plan, &proven)?;
        self.emit("receipt", &[], Some(&proven), &[])
    }

    /// Copies, tells, prunes. What is done is done, whether or not these succeed.
    fn end(&self, arguments: &MigrateSafe, proven: &Proven, ran: &[MigrationRan]) -> Result<()> {
        let scene = self.scene;
        let fresh = (!arguments.offsite_first).then_some((&proven.backup, &proven.proof));
        let copies = send::send(scene, &Wanted::MissingOf(self.facts, fresh));
        self.emit("migrated", ran, Some(proven), &copies)?;
        send::refuse_missing(&copies, "the database is migrated")?;
        prune::after(scene, &proven.backup)
    }

    fn emit(
        &self,
        outcome: &'static str,
        applied: &[MigrationRan],
        proven: Option<&Proven>,
        copies: &[send::Copy],
    ) -> Result<()> {
        let pending = self.plan.pending_names().into_iter();
        let pending = pending
            .filter(|m| applied.iter().all(|ran| ran.version != m.version))
            .collect();
        let document = Document {
            outcome,
            database: &self.facts.for_show(),
            pending,
            reaches: &self.foreseen.reaches,
            applied,
            backup: proven.map(|proven| proven.backup.manifest.for_show()),
            rehearsal: proven.and_then(|proven| proven.rehearsal.as_ref()),
            copies,
        };
        let emitted = self.scene.ui.emit(&document);
        emitted.context("cannot report what was done")
    }
}
