//! Backup, rehearsal, loss gate: what must have passed before a migration begins.

use anyhow::Result;

use super::{Report, summary};
use crate::cli::MigrateSafe;
use crate::commands::rehearse::{self, Rehearsal};
use crate::commands::{Scene, backup, loss_gate};
use crate::engine::Engine;
use crate::values::failure::Failure;
use crate::values::id::Reason;
use crate::values::journal::Deed;
use crate::values::loss::LossName;
use crate::values::verified_dump::VerifiedDump;
use crate::vault::Backup;

pub const NOT_REHEARSED: &str = "not rehearsed: --no-rehearse";

pub struct Proven {
    pub backup: Backup,
    pub proof: VerifiedDump,
    pub rehearsal: Option<Rehearsal>,
}

/// Backup, rehearsal, loss gate. Who types what may be lost has taken time to
/// read, in which others may have written: then all of it is done again.
pub fn prove(
    scene: &Scene,
    engine: &mut dyn Engine,
    report: &Report,
    arguments: &MigrateSafe,
    mut expected: Vec<LossName>,
) -> Result<Proven> {
    let Report {
        facts,
        plan,
        foreseen,
        ..
    } = report;
    let declared = foreseen.losses.iter().flat_map(|(_, names)| names);
    expected.extend(declared.cloned());
    loop {
        engine.watch()?;
        let (backup, proof) = backup::take(scene, engine, Reason::PreMigrate, None)?;
        summary::backed_up(scene, &backup);
        scene.ui.keep("backup", &backup.manifest.for_show())?;
        if arguments.no_rehearse {
            summary::not_rehearsed(scene);
            scene.ui.say(NOT_REHEARSED);
            return Ok(Proven {
                backup,
                proof,
                rehearsal: None,
            });
        }
        let mut rehearsal = scene.recorded(
            Deed::Rehearse,
            facts,
            || rehearse::rehearse(scene, engine, facts, &proof, plan, foreseen, arguments),
            |_| Some(backup.id().clone()),
        )?;
        rehearse::show(scene, &rehearsal);
        scene.ui.keep("rehearsal", &rehearsal)?;
        summary::rehearsed(scene, &rehearsal);
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

pub fn accepted_losses(arguments: &MigrateSafe) -> Result<Vec<LossName>> {
    let Some(text) = &arguments.accept_loss else {
        return Ok(Vec::new());
    };
    crate::commands::refuse_url(text)?;
    LossName::parse_list(text).map_err(|error| {
        Failure::usage(format!("`--accept-loss`: {error}"))
            .hint("cargo xtask db migrate-safe --accept-loss books,users.phone")
            .into()
    })
}
