//! What a story leaves in the journal, and the mark of what was cut short.

use std::fmt;
use std::time::Instant;

use anyhow::Result;
use chrono::Utc;

use super::Scene;
use super::rehearse::elapsed_ms;
use crate::engine::Restored;
use crate::interrupt::is_interrupted;
use crate::ui;
use crate::values::cause;
use crate::values::database::DatabaseFacts;
use crate::values::digest::Sha256;
use crate::values::failure::{Failure, Outcome, is_after_change};
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, Entry, UNKNOWN};
use crate::vault::Backup;

impl Scene<'_> {
    pub(super) fn entry(&self, deed: Deed, ending: Ending, database: impl fmt::Display) -> Entry {
        Entry {
            number: 0,
            at: Utc::now(),
            deed,
            ending,
            database: database.to_string(),
            backup: None,
            safety: None,
            kept: None,
            place: None,
            address: None,
            upload: None,
            dump: None,
            versions: Vec::new(),
            duration_ms: None,
            note: None,
            ran_on: self.who.clone(),
            previous: Sha256::of(&[]),
            other: Default::default(),
        }
    }

    /// What was done is done, whether or not it can be written down; that it
    /// could not is said.
    pub(super) fn record(&self, entry: Entry) {
        if let Err(error) = self.vault.record(entry) {
            self.ui.insist(format!("warning: {error:#}"));
        }
    }

    /// Who cannot take a backup any more must be able to know: of a run that was killed, this is all
    /// that is left.
    pub(super) fn record_cut_short(&self, id: BackupId) {
        let mut entry = self.entry(Deed::Backup, Ending::Failed, UNKNOWN);
        entry.backup = Some(id);
        entry.note = Some("it was cut short".into());
        self.record(entry);
    }

    /// Does it, and writes down how it ended; `id` is the backup that it was about.
    pub(super) fn recorded<T>(
        &self,
        deed: Deed,
        database: &DatabaseFacts,
        work: impl FnOnce() -> Result<T>,
        id: impl FnOnce(Option<&T>) -> Option<BackupId>,
    ) -> Result<T> {
        self.recorded_with(deed, database, work, |done, entry| {
            entry.backup = id(done.as_ref().ok());
        })
    }

    /// The same for what has more to say; `fill` sees how it ended.
    pub(super) fn recorded_with<T>(
        &self,
        deed: Deed,
        database: &DatabaseFacts,
        work: impl FnOnce() -> Result<T>,
        fill: impl FnOnce(&Result<T>, &mut Entry),
    ) -> Result<T> {
        let began = Instant::now();
        let done = work();
        let ending = done.as_ref().err().map_or(Ending::Done, ending_of);
        let mut entry = self.entry(deed, ending, database);
        fill(&done, &mut entry);
        entry.duration_ms = Some(elapsed_ms(began));
        if let Err(error) = &done {
            entry.note = Some(cause::lines(error).join(": "));
        }
        self.record(entry);
        done
    }

    /// A change of the live database, marked as begun before and written down
    /// after; `fill` says what it was about, `safety` holds what it replaces.
    pub(super) fn change(
        &self,
        deed: Deed,
        now: &DatabaseFacts,
        safety: Option<&Backup>,
        work: impl FnOnce() -> Result<Restored>,
        fill: impl Fn(&mut Entry),
    ) -> Result<Restored> {
        let mut begun = self.entry(deed, Ending::Begun, now);
        fill(&mut begun);
        begun.safety = safety.map(|safety| safety.id().clone());
        self.vault.mark_unfinished(&begun)?;
        let changed = self.recorded_with(deed, now, work, |done, entry| {
            fill(entry);
            entry.safety = safety_of(done, safety);
            let kept = done.as_ref().ok().and_then(|done| done.kept.as_ref());
            entry.kept = kept.map(|kept| kept.name.clone());
        });
        if let Err(error) = self.vault.mark_finished() {
            self.ui.insist(format!("warning: {error:#}"));
        }
        changed
    }

    /// Says what an earlier run began on a live database and did not end.
    pub(super) fn say_unfinished(&self) {
        let Some(entry) = self.vault.unfinished() else {
            return;
        };
        let age = ui::old(entry.at, Utc::now());
        let versions: Vec<String> = entry.versions.iter().map(i64::to_string).collect();
        let what = match entry.deed {
            Deed::Migrate => format!("a migration ({})", versions.join(", ")),
            Deed::Undo => "an undo".into(),
            Deed::Import => "an import".into(),
            deed => format!("a {deed}"),
        };
        self.ui.insist(format!(
            "warning: {what} of the {} was begun and did not end, {age}; \
             `cargo xtask db status` shows what is applied",
            entry.database
        ));
        if let Some(id) = &entry.backup {
            self.ui
                .insist(format!("the way back is `cargo xtask db restore {id}`"));
        }
    }
}

/// Of a restore: the backup of what it replaced. Where nobody knows whether it came to something,
/// that may be what an undo is for.
pub fn safety_of<T>(done: &Result<T>, safety: Option<&Backup>) -> Option<BackupId> {
    let is_unclear = done.as_ref().is_err_and(is_after_change);
    safety
        .filter(|_| !is_unclear)
        .map(|safety| safety.id().clone())
}

pub fn ending_of(error: &anyhow::Error) -> Ending {
    if is_interrupted(error) {
        return Ending::Interrupted;
    }
    match error
        .downcast_ref::<Failure>()
        .map(|failure| failure.outcome)
    {
        Some(Outcome::Refused | Outcome::Usage) => Ending::Refused,
        _ => Ending::Failed,
    }
}
