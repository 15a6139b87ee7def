//! `--exclusive`: others are shut out while a run lasts, and let in again on
//! every way out of it, or by the next run.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::Utc;

use super::Scene;
use crate::engine::Engine;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::exclusive::ShutMark;
use crate::values::failure::Failure;

/// Does the work while nobody else can write. A crash leaves a mark in the vault. The second result
/// is whether others were let in again.
pub fn exclusively<T>(
    scene: &Scene,
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    work: impl FnOnce(&mut dyn Engine) -> Result<T>,
) -> Result<(T, Result<()>)> {
    let before = engine.prepare_exclusive()?;
    if let Some(before) = &before {
        refuse_mark(scene, facts)?;
        scene.vault.mark_shut(&ShutMark {
            at: Utc::now(),
            database: facts.for_show(),
            before: before.clone(),
            ran_on: scene.who.clone(),
        })?;
    }
    let shut = engine.begin_exclusive(before.as_ref());
    if shut.is_ok() {
        scene
            .ui
            .say("nobody else can write until this run has ended");
    }
    let done = shut.and_then(|()| work(engine));
    let opened = before.map_or(Ok(()), |before| {
        engine.end_exclusive(&before)?;
        scene.vault.unmark_shut()
    });
    let opened = opened.map_err(|error| error.context(still_shut(facts)));
    match done {
        Ok(done) => Ok((done, opened)),
        Err(error) => {
            if let Err(shut) = opened {
                scene.ui.insist(format!("warning: {shut:#}; {LETS_IN}"));
            }
            Err(error)
        }
    }
}

const LETS_IN: &str = "`cargo xtask db status` lets them in";

fn still_shut(facts: &DatabaseFacts) -> Failure {
    Failure::after_change(format!("others are still shut out of the {facts}")).hint(LETS_IN)
}

/// There is one mark in a vault, and this is the only place that says what a database was like.
fn refuse_mark(scene: &Scene, facts: &DatabaseFacts) -> Result<()> {
    let Some(mark) = scene.vault.shut_mark()? else {
        return Ok(());
    };
    Err(Failure::refused(format!(
        "a run that was cut short has left others shut out of the {}, and only the vault knows; \
         the {facts} needs a vault of its own, or has to wait",
        mark.database
    ))
    .hint("`cargo xtask db status` with the URL of that database lets them in")
    .into())
}

impl Scene<'_> {
    /// Lets others in again whom a run that was cut short has shut out. To be
    /// asked by one who holds the lock.
    pub(super) fn end_left_exclusive(&self, engine: &mut dyn Engine) -> Result<()> {
        let Some(mark) = self.vault.shut_mark()? else {
            return Ok(());
        };
        let age = ui::old(mark.at, Utc::now());
        if !engine.facts()?.is_same_as(&mark.database, |_| false) {
            self.ui.insist(format!(
                "warning: a run that was cut short, {age}, left others shut out of the {}; \
                 `cargo xtask db status` with its URL lets them in",
                mark.database
            ));
            return Ok(());
        }
        engine
            .end_exclusive(&mark.before)
            .context("a run that was cut short left others shut out, and they cannot be let in")?;
        self.vault.unmark_shut()?;
        self.ui.insist(format!(
            "a run that was cut short, {age}, left others shut out of the {}; they are let in again",
            mark.database
        ));
        Ok(())
    }

    /// The same for one that holds no lock: not beside a run that is at work.
    pub(super) fn end_left_exclusive_if_idle(&self, engine: &mut dyn Engine) -> Result<()> {
        if self.vault.shut_mark()?.is_none() {
            return Ok(());
        }
        let nobody = |_: &str| {};
        let lock = self.vault.lock_shared(
            (&self.who, "status"),
            Duration::ZERO,
            self.interrupt,
            &nobody,
        );
        match lock {
            Ok(_lock) => self.end_left_exclusive(engine),
            Err(_) => {
                self.ui
                    .say("others are shut out by a run that is at work: `--exclusive`");
                Ok(())
            }
        }
    }
}
