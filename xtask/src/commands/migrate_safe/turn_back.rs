//! After a migration failed on the live database: the backup comes back by
//! itself, where nobody else has written since, or because somebody says so.

use anyhow::Result;

use super::foresee::Foreseen;
use super::prove::Proven;
use super::restore_command;
use crate::cli::OnFailure;
use crate::commands::Scene;
use crate::commands::rehearse::Rehearsal;
use crate::commands::restore::{self, Force};
use crate::engine::Engine;
use crate::interrupt::is_interrupted;
use crate::ui::Answer;
use crate::values::cause;
use crate::values::database::DatabaseFacts;
use crate::values::encryption::Locked;
use crate::values::failure::{Failure, Outcome, hint_of};
use crate::values::journal::Deed;
use crate::values::others::Others;
use crate::values::plan::MigrationPlan;

/// A run whose migrations failed.
pub struct Failed<'a> {
    pub scene: &'a Scene<'a>,
    pub facts: &'a DatabaseFacts,
    pub plan: &'a MigrationPlan,
    pub foreseen: &'a Foreseen,
    pub proven: &'a Proven,
}

impl Failed<'_> {
    /// The error that remains. What was begun and interrupted is left to a person.
    pub fn turn_back(
        &self,
        engine: &mut dyn Engine,
        way: Option<OnFailure>,
        error: anyhow::Error,
    ) -> anyhow::Error {
        let outcome = error.downcast_ref::<Failure>().map(|f| f.outcome);
        if outcome != Some(Outcome::AfterChange) || is_interrupted(&error) {
            return error;
        }
        let is_attended = self.scene.ui.is_attended();
        let done = match way {
            Some(OnFailure::Keep) => return error,
            Some(OnFailure::Restore) => self.restore(engine).map(|()| true),
            Some(OnFailure::Ask) | None if is_attended => self.ask(engine, &error),
            Some(OnFailure::Ask) | None => return error,
        };
        let id = self.proven.backup.id();
        match done {
            Ok(true) => error.context(self.turned_back()),
            Ok(false) => error,
            Err(why) if is_interrupted(&why) => {
                let failure = Failure::after_change(format!(
                    "a migration failed, and the restore of the backup `{id}` was interrupted"
                ));
                why.context(failure.hint(restore_command(&self.proven.backup)))
            }
            Err(why) => {
                let hint = hint_of(&error).unwrap_or_default();
                let why = cause::lines(&why).join(": ");
                error.context(
                    Failure::after_change(format!("the backup `{id}` was not restored: {why}"))
                        .hint(hint),
                )
            }
        }
    }

    /// What is a platform's is in no backup, and a migration may have written there as well.
    fn turned_back(&self) -> Failure {
        let (id, facts) = (self.proven.backup.id(), self.facts);
        let message = format!(
            "a migration failed; the backup `{id}` was restored, and the {facts} is as it was before"
        );
        let Some(platform) = &self.proven.proof.manifest().platform else {
            return Failure::refused(message);
        };
        let message = format!("{message}, but for what is {}'s", platform.profile);
        let rehearsal = self.proven.rehearsal.as_ref();
        let is_untouched =
            |rehearsal: &Rehearsal| rehearsal.migrations.iter().all(|m| m.touched.is_empty());
        match rehearsal.is_some_and(is_untouched) {
            true => Failure::refused(message + ", which the migrations did not touch"),
            false => Failure::after_change(message + ": that is as the migrations left it").hint(
                format!(
                    "look at what they did to {}, and undo it by hand: no backup holds it",
                    platform.schemas.join(", ")
                ),
            ),
        }
    }

    /// By itself: only when nothing of others would be lost.
    fn restore(&self, engine: &mut dyn Engine) -> Result<()> {
        self.require_silent(engine)?;
        self.bring_back(engine, true)
    }

    /// A person may give up what others wrote, and sees it first.
    fn ask(&self, engine: &mut dyn Engine, error: &anyhow::Error) -> Result<bool> {
        let ui = self.scene.ui;
        ui.error(&cause::lines(error), None);
        let id = self.proven.backup.id();
        ui.insist(format!(
            "the backup `{id}` of before them can be restored now:"
        ));
        match engine.contents() {
            Ok(now) => ui.insist(restore::loss(
                "backup",
                &self.proven.proof.manifest().contents(),
                &now,
            )),
            Err(error) => ui.insist(format!("warning: the database cannot be read: {error:#}")),
        }
        let is_silent = match self.others(engine) {
            Others::Silent => {
                ui.insist("nobody else has written since it was taken");
                true
            }
            Others::Wrote(lines) | Others::Unclear(lines) => {
                ui.insist("what others wrote since it was taken would be lost:");
                lines.iter().for_each(|line| ui.insist(format!("  {line}")));
                false
            }
        };
        if ui.confirm(self.scene.interrupt)? != Answer::Yes {
            return Ok(false);
        }
        if is_silent {
            self.require_silent(engine)?;
        }
        self.bring_back(engine, is_silent).map(|()| true)
    }

    fn others(&self, engine: &mut dyn Engine) -> Others {
        let history = engine.settled_history();
        let first = self.plan.pending.first();
        let is_mixed = first.is_some_and(|m| self.foreseen.commits_itself(m))
            || !history.is_ok_and(|history| history == self.plan.applied);
        let then = self.proven.proof.manifest().contents();
        let others = engine.others(&then, is_mixed);
        others.unwrap_or_else(|error| Others::Unclear(vec![format!("{error:#}")]))
    }

    fn require_silent(&self, engine: &mut dyn Engine) -> Result<()> {
        let (what, lines) = match self.others(engine) {
            Others::Silent => return Ok(()),
            Others::Wrote(lines) => ("others have written since it was taken", lines),
            Others::Unclear(lines) => (
                "whether others have written since it was taken cannot be told",
                lines,
            ),
        };
        let lines: Vec<String> = lines.iter().map(|line| format!("\n  {line}")).collect();
        let mut message = format!("{what}, and that would be lost:{}", lines.concat());
        if let Ok(now) = engine.contents() {
            let then = self.proven.proof.manifest().contents();
            message += &format!("\n{}", restore::loss("backup", &then, &now));
        }
        Err(Failure::refused(message).into())
    }

    /// As `db restore` does. Where others were silent they are so until the end,
    /// or nothing is restored.
    fn bring_back(&self, engine: &mut dyn Engine, is_silent: bool) -> Result<()> {
        let (scene, dump) = (self.scene, &self.proven.proof);
        if let (true, Some(encryption)) = (dump.is_locked(), &dump.manifest().dump.encryption) {
            let id = &dump.manifest().id;
            return Err(Locked::NoKey
                .refusal(id, encryption, &format!("restore {id}"))
                .into());
        }
        let way = engine.prepare_restore(dump)?;
        if !way.obstacles.is_empty() {
            let obstacles = way.obstacles.join("; ");
            return Err(Failure::refused(obstacles).into());
        }
        for warning in &way.warnings {
            scene.ui.insist(format!("warning: {warning}"));
        }
        if is_silent && way.loses_late_rows && !engine.holds_writers() {
            return Err(Failure::refused(
                "this role can only restore in place, and others could write meanwhile",
            )
            .into());
        }
        if is_silent {
            engine.hold_unwritten()?;
        } else {
            engine.hold_writers()?;
        }
        let safety = restore::take_safety_backup(scene, engine, Force::Nothing)?;
        if is_silent && !engine.holds_writers() {
            self.require_silent(engine)?;
        }
        let restored = restore::replace(
            scene,
            engine,
            Deed::Restore,
            self.facts,
            dump,
            safety.as_ref(),
        )?;
        let backup = &self.proven.backup;
        restore::say_restored(scene, backup, self.facts, safety.as_ref(), &restored);
        Ok(())
    }
}
