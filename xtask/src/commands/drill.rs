//! `db drill`: restore a backup into a scratch database, compare, and say how
//! long that takes. A checksum is not a proof; this is.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::rehearse::{self, elapsed_ms};
use super::{Scene, choose, kinds};
use crate::cli::Drill;
use crate::engine::{Engine, ScratchOrder};
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::encryption::is_for_another_key;
use crate::values::failure::{Failure, hint_of, is_untrusted};
use crate::values::id::BackupId;
use crate::values::journal::Deed;
use crate::values::verified_dump::VerifiedDump;
use crate::vault::Backup;

#[derive(Serialize)]
struct Document {
    drilled: Vec<Drilled>,
}

#[derive(Serialize)]
struct Drilled {
    id: BackupId,
    /// What it is, when it is no full one.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    restored: bool,
    /// Why there was nothing to try; then it is neither restored nor a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
    problem: Option<String>,
    /// Until it was restored and compared.
    restore_ms: Option<u64>,
    tables: usize,
    rows: u64,
}

pub fn run(scene: &Scene, arguments: &Drill) -> Result<()> {
    rehearse::refuse_scratch_url(scene)?;
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    let listing = scene.vault.list()?;
    let is_ours = choose::ours(&listing, &now);
    scene.prepare_vault()?;
    if arguments.all {
        let ours = listing.backups.iter().filter(|backup| is_ours(backup));
        return drill_all(scene, &mut *engine, &now, ours);
    }
    let wanted = arguments.backup.as_deref().unwrap_or("latest");
    let backup = choose::by_name(scene, &listing, wanted, &is_ours)?;
    kinds::refuse_alone(backup)?;
    match drill(
        scene,
        &mut *engine,
        &now,
        backup,
        &format!("drill {}", backup.id()),
    ) {
        Ok(drilled) => report(scene, vec![drilled]),
        Err(_) if !backup.is_there() => Err(choose::gone(backup).into()),
        Err(error) => Err(choose::with_alternative(
            scene,
            &listing,
            &is_ours,
            Some(backup.into()),
            error,
        )?),
    }
}

/// What a backup is found to be is a result; what keeps us from finding out stops the drill.
fn drill_all<'a>(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    backups: impl Iterator<Item = &'a Backup>,
) -> Result<()> {
    let mut drilled = Vec::new();
    let mut closed = Vec::new();
    for backup in backups {
        if let Err(why) = kinds::refuse_alone(backup) {
            drilled.push(Drilled {
                skipped: Some(why.to_string()),
                restored: false,
                ..of(backup)
            });
            continue;
        }
        drilled.push(match drill(scene, engine, now, backup, "drill --all") {
            Ok(drilled) => drilled,
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(_) if !backup.is_there() => {
                let id = backup.id();
                scene.ui.say(format!("note: {id} was removed meanwhile"));
                continue;
            }
            Err(error) if is_for_another_key(&error) => {
                closed.extend(hint_of(&error));
                Drilled {
                    skipped: Some(error.to_string()),
                    restored: false,
                    ..of(backup)
                }
            }
            Err(error) if is_untrusted(&error) => Drilled {
                problem: Some(format!("{error:#}")),
                restored: false,
                restore_ms: None,
                ..of(backup)
            },
            Err(error) => return Err(error),
        });
    }
    let all = drilled.len() as u64;
    let bad = drilled.iter().filter(|drilled| drilled.problem.is_some());
    let bad = bad.count();
    report(scene, drilled)?;
    let backups = ui::count(all, "backup");
    if bad > 0 {
        let what = format!("{bad} of {backups} do not come back as they were taken");
        let hint = "take a new one: cargo xtask db backup";
        return Err(Failure::untrusted(what).hint(hint).into());
    }
    let Some(hint) = closed.first() else {
        return Ok(());
    };
    let count = closed.len();
    let what = format!("{count} of {backups} could not be tried: no key at hand opens them");
    Err(Failure::untrusted(what).hint(hint).into())
}

fn of(backup: &Backup) -> Drilled {
    Drilled {
        id: backup.id().clone(),
        kind: kinds::name(&backup.manifest),
        restored: true,
        skipped: None,
        problem: None,
        restore_ms: None,
        tables: backup.manifest.tables.len(),
        rows: backup.manifest.rows(),
    }
}

/// What stays closed for want of a key, or is gone, was not tried: nothing of it is written down.
fn drill(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    backup: &Backup,
    verb: &str,
) -> Result<Drilled> {
    let opened = match open(scene, backup, verb) {
        Err(error) if is_for_another_key(&error) || !backup.is_there() => return Err(error),
        opened => opened,
    };
    scene.recorded(
        Deed::Drill,
        now,
        || restore_and_compare(scene, engine, backup, opened?),
        |_| Some(backup.id().clone()),
    )
}

/// Verify and unlock.
fn open(scene: &Scene, backup: &Backup, verb: &str) -> Result<VerifiedDump> {
    let mut proof = scene.verify(backup)?;
    scene.unlock(&mut proof, verb)?;
    Ok(proof)
}

/// Restore beside, compare, drop.
fn restore_and_compare(
    scene: &Scene,
    engine: &mut dyn Engine,
    backup: &Backup,
    proof: VerifiedDump,
) -> Result<Drilled> {
    let progress = scene.ui.progress();
    let staging = scene.vault.staging("drill")?;
    let began = Instant::now();
    let order = ScratchOrder {
        dump: &proof,
        is_fresh: false,
        elsewhere: scene.settings.scratch_url.as_ref(),
        staging: staging.path(),
        otherwise: "",
        reaches: None,
    };
    let scratch = engine.scratch(&order, &progress)?;
    let restore_ms = elapsed_ms(began);
    for warning in scratch.warnings() {
        scene.ui.say(format!("note: {warning}"));
    }
    scratch.remove()?;
    Ok(Drilled {
        restore_ms: Some(restore_ms),
        ..of(backup)
    })
}

fn report(scene: &Scene, drilled: Vec<Drilled>) -> Result<()> {
    for found in &drilled {
        let Drilled { id, .. } = found;
        if let Some(why) = &found.skipped {
            scene.ui.show(format!("not tried     {id}: {why}\n"))?;
            continue;
        }
        scene.ui.show(match (&found.problem, found.restore_ms) {
            (None, Some(ms)) => format!(
                "restored      {id} in {}: {}, {}, as the manifest says\n",
                ui::duration(ms),
                ui::count(found.tables as u64, "table"),
                ui::count(found.rows, "row"),
            ),
            (problem, _) => {
                let problem = problem.as_deref().unwrap_or("unknown");
                format!("NOT RESTORED  {id}: {problem}\n")
            }
        })?;
    }
    if drilled.is_empty() {
        scene.ui.say("the vault holds no backups of this database");
    }
    scene.ui.emit(&Document { drilled })
}
