//! Sends to the places what they lack. A copy that is missing is a result, no error:
//! the backup stands.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::commands::Scene;
use crate::commands::journal::ending_of;
use crate::commands::rehearse::elapsed_ms;
use crate::interrupt::Interrupted;
use crate::offsite::Offsite;
use crate::ui;
use crate::values::cause;
use crate::values::database::DatabaseFacts;
use crate::values::failure::{Failure, hint_of, is_refused, is_untrusted};
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, Entry};
use crate::values::offsite::{Begun, Known, PartsLeft, Place, Pushed, known_copies, known_copy};
use crate::values::verified_dump::VerifiedDump;
use crate::vault::Backup;
use missing::Damaged;

mod missing;

/// What came of one backup at one place.
#[derive(Debug, Serialize)]
pub struct Copy {
    pub backup: Option<BackupId>,
    pub place: String,
    /// Nothing: it is missing.
    pub outcome: Option<Pushed>,
    pub problem: Option<String>,
    #[serde(skip)]
    hint: Option<String>,
}

impl Copy {
    pub fn is_at(&self, place: &Place) -> bool {
        self.place == place.name && self.outcome.is_some()
    }
}

/// A backup that this run has just taken and matched.
pub type Fresh<'a> = (&'a Backup, &'a VerifiedDump);

/// Which backups are sent.
pub enum Wanted<'a> {
    /// Those of this database that the place does not have.
    MissingOf(&'a DatabaseFacts, Option<Fresh<'a>>),
    /// These; what is there already is read and matched once more.
    These(Vec<&'a Backup>),
    /// Only this one.
    Fresh(Fresh<'a>),
}

pub fn send(scene: &Scene, wanted: &Wanted) -> Vec<Copy> {
    let mut copies = Vec::new();
    for place in &scene.settings.offsite {
        let mut sending = Sending {
            scene,
            place,
            copies: &mut copies,
        };
        if let Err(error) = sending.send(wanted) {
            // It may have arrived, and what came after it failed.
            let backup = wanted.first().filter(|backup| !sending.has_sent(backup));
            // Nothing was done about what an earlier run has left there.
            let left = backup.and_then(|backup| sending.begun_before(backup));
            sending.failed(backup, &error, left);
        }
        if scene.interrupt.is_raised() {
            break;
        }
    }
    copies
}

impl<'a> Wanted<'a> {
    fn fresh(&self) -> Option<Fresh<'a>> {
        match self {
            Wanted::MissingOf(_, fresh) => *fresh,
            Wanted::These(_) => None,
            Wanted::Fresh(fresh) => Some(*fresh),
        }
    }

    /// Which one is surely missing when nothing can be sent at all.
    fn first(&self) -> Option<&'a Backup> {
        match self {
            Wanted::These(backups) => backups.first().copied(),
            Wanted::MissingOf(..) | Wanted::Fresh(_) => self.fresh().map(|(backup, _)| backup),
        }
    }
}

/// Code 6 when one is missing.
pub fn refuse_missing(copies: &[Copy], what_stands: &str) -> Result<()> {
    let missing: Vec<&Copy> = copies
        .iter()
        .filter(|copy| copy.outcome.is_none())
        .collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let count = ui::count(missing.len() as u64, "copy");
    let is = if missing.len() == 1 { "is" } else { "are" };
    let again = "send what is missing: cargo xtask db push";
    let hint = match &first.hint {
        Some(hint) => format!("{hint}\nthen {again}"),
        None => again.to_owned(),
    };
    let failure = Failure::incomplete(format!("{what_stands}, and {count} off-site {is} missing"));
    let problem = first.problem.clone().unwrap_or_default();
    Err(anyhow::Error::msg(problem).context(failure.hint(hint)))
}

struct Sending<'a> {
    scene: &'a Scene<'a>,
    place: &'a Place,
    copies: &'a mut Vec<Copy>,
}

impl Sending<'_> {
    fn send(&mut self, wanted: &Wanted) -> Result<()> {
        super::refuse_twice(self.scene, self.place)?;
        let offsite = super::open(self.scene, self.place, "push")?;
        let names = offsite.names()?;
        self.warn_same_disk();
        if let Some((backup, proof)) = wanted.fresh() {
            let sent = self.one(&offsite, backup, Some(proof), true);
            self.note(backup, sent)?;
        }
        match wanted {
            Wanted::Fresh(_) => Ok(()),
            Wanted::These(backups) => {
                for backup in backups {
                    let sent = self.one(&offsite, backup, None, true);
                    self.note(backup, sent)?;
                }
                Ok(())
            }
            Wanted::MissingOf(now, fresh) => {
                let fresh = fresh.map(|(backup, _)| backup.id());
                self.missing(&offsite, &names, now, fresh)
            }
        }
    }

    /// Goes on with the next one, unless nothing can be sent there at all.
    fn note(&mut self, backup: &Backup, sent: Result<Option<Pushed>>) -> Result<()> {
        match sent {
            Ok(None) => Ok(()),
            Ok(Some(outcome)) => {
                self.copies.push(Copy {
                    backup: Some(backup.id().clone()),
                    place: self.place.name.clone(),
                    outcome: Some(outcome),
                    problem: None,
                    hint: None,
                });
                Ok(())
            }
            Err(error) => {
                let left = error.downcast_ref::<PartsLeft>();
                let left = left.and_then(|left| left.upload.clone());
                self.failed(Some(backup), &error, left);
                self.scene.interrupt.check()?;
                Ok(())
            }
        }
    }

    /// `left` is what is to be removed there by the next run.
    fn failed(&mut self, backup: Option<&Backup>, error: &anyhow::Error, left: Option<String>) {
        // The signal is told once, with the backup that it stopped.
        if error.is::<Interrupted>() && self.copies.iter().any(|copy| copy.outcome.is_none()) {
            return;
        }
        let lines = cause::lines(error).join(": ");
        let hint = match backup {
            Some(backup) if error.is::<Damaged>() => Some(missing::way_out(self.scene, backup)),
            _ => hint_of(error),
        };
        self.scene.ui.insist(format!("not copied: {lines}"));
        if let Some(backup) = backup {
            let mut entry = self.entry(ending_of(error), backup);
            entry.upload = left;
            entry.note = Some(lines.clone());
            self.scene.record(entry);
        }
        self.copies.push(Copy {
            backup: backup.map(|backup| backup.id().clone()),
            place: self.place.name.clone(),
            outcome: None,
            problem: Some(lines),
            hint,
        });
    }

    fn has_sent(&self, backup: &Backup) -> bool {
        let is_it = |copy: &&Copy| copy.backup.as_ref() == Some(backup.id());
        let mut copies = self.copies.iter().filter(is_it);
        copies.any(|copy| copy.is_at(self.place))
    }

    /// What the journal knows of the copy at this place.
    fn known(&self, backup: &Backup) -> Result<Option<Known>> {
        let known = known_copies(&self.scene.vault.journal()?);
        Ok(known_copy(&known, &backup.manifest, self.place))
    }

    fn begun_before(&self, backup: &Backup) -> Option<String> {
        match self.known(backup) {
            Ok(Some(Known::Begun(begun))) => begun.map(|begun| begun.upload),
            _ => None,
        }
    }

    /// Nothing when another run has sent or removed it meanwhile.
    fn one(
        &self,
        offsite: &Offsite,
        backup: &Backup,
        proof: Option<&VerifiedDump>,
        again: bool,
    ) -> Result<Option<Pushed>> {
        let (ui, id) = (self.scene.ui, backup.id());
        let waiting = || ui.say(format!("waiting for another run, which is copying {id}"));
        let vault = &self.scene.vault;
        let _claim = vault.claim_copying(id, self.scene.interrupt, &waiting)?;
        let left = match self.known(backup)? {
            Some(Known::Matched(_)) if !again && self.was_just_sent(offsite, backup)? => {
                return Ok(None);
            }
            Some(Known::Begun(Some(begun))) => self.abandon(offsite, backup, begun),
            _ => None,
        };
        match (self.prove_and_push(offsite, backup, proof), left) {
            // It is still to be removed, by the next run.
            (Err(error), Some(left)) if !error.is::<PartsLeft>() => Err(error.context(left)),
            (sent, _) => sent,
        }
    }

    fn prove_and_push(
        &self,
        offsite: &Offsite,
        backup: &Backup,
        proof: Option<&VerifiedDump>,
    ) -> Result<Option<Pushed>> {
        let scene = self.scene;
        let verified = match proof {
            Some(_) => None,
            None => match scene.verify(backup) {
                Err(_) if !backup.is_there() => return Ok(None),
                Err(error) if is_untrusted(&error) => {
                    return Err(error.context(Damaged(backup.id().clone())));
                }
                verified => Some(verified?),
            },
        };
        let Some(dump) = proof.or(verified.as_ref()) else {
            return Ok(None);
        };
        let bytes = scene.vault.manifest_bytes(backup)?;
        let began = Instant::now();
        let (pushed, notes) = self.push(offsite, backup, dump, &bytes)?;
        for note in notes {
            scene.ui.insist(format!("note: {note}"));
        }
        let took = ui::duration(began.elapsed().as_millis() as u64);
        let size = ui::size(backup.manifest.dump.size_bytes);
        let (id, place) = (backup.id(), self.place);
        scene.ui.say(match pushed {
            Pushed::Copied => {
                format!("copied {id} to {place}: {size}, read back and matched in {took}")
            }
            Pushed::AlreadyThere => format!("{id} is at {place}: read and matched in {took}"),
        });
        Ok(Some(pushed))
    }

    /// While this run waited for the one that sent it, or looked at a list that is older.
    fn was_just_sent(&self, offsite: &Offsite, backup: &Backup) -> Result<bool> {
        let bytes = self.scene.vault.manifest_bytes(backup)?.len() as u64;
        Ok(offsite.names()?.has(&backup.manifest, bytes))
    }

    fn push(
        &self,
        offsite: &Offsite,
        backup: &Backup,
        dump: &VerifiedDump,
        bytes: &[u8],
    ) -> Result<(Pushed, Vec<String>)> {
        let mut begun = |upload: Option<&str>| {
            let mut entry = self.entry(Ending::Begun, backup);
            entry.upload = upload.map(str::to_owned);
            self.scene.record(entry);
        };
        let began = Instant::now();
        let pushed = offsite.push(dump, bytes, &self.scene.ui.progress(), &mut begun);
        let pushed = pushed.inspect_err(|error| {
            let was_there = || matches!(self.known(backup), Ok(Some(Known::Matched(_))));
            if is_untrusted(error) || (is_refused(error) && was_there()) {
                let problem = cause::lines(error).join(": ");
                super::distrust(self.scene, self.place, &backup.manifest, &problem);
            }
        })?;
        let mut entry = self.entry(Ending::Done, backup);
        entry.duration_ms = Some(elapsed_ms(began));
        self.scene.record(entry);
        Ok(pushed)
    }

    fn entry(&self, ending: Ending, backup: &Backup) -> Entry {
        let database = &backup.manifest.database;
        let mut entry = self.scene.entry(Deed::Copy, ending, database);
        entry.backup = Some(backup.id().clone());
        entry.set_place(self.place);
        entry.dump = Some(backup.manifest.dump.file.clone());
        entry
    }

    /// What a killed run has sent costs money until it is removed. Returns what is left there.
    fn abandon(&self, offsite: &Offsite, backup: &Backup, begun: Begun) -> Option<PartsLeft> {
        let ui = self.scene.ui;
        let (id, place) = (backup.id(), self.place);
        let Begun { upload, dump } = begun;
        let file = dump.unwrap_or_else(|| backup.manifest.dump.file.clone());
        match offsite.abandon(&file, &upload) {
            Ok(()) => {
                ui.say(format!(
                    "removed what a run that was cut short had sent of {id} to {place}"
                ));
                None
            }
            Err(error) => {
                let why = format!("{error:#}");
                ui.insist(format!(
                    "warning: what a run that was cut short had sent of {id} to {place} is left there: {why}"
                ));
                let upload = Some(upload);
                Some(PartsLeft { file, upload, why })
            }
        }
    }

    fn warn_same_disk(&self) {
        let folder = self.place.url.folder();
        if folder.is_some_and(|folder| self.scene.vault.shares_disk_with(&folder)) {
            self.scene.ui.insist(format!(
                "warning: {} is on the disk of the vault; both are lost with it",
                self.place
            ));
        }
    }
}
