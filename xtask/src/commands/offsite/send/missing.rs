//! What a place lacks of the backups of a database.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Copy, Sending};
use crate::commands::{Scene, choose};
use crate::offsite::Offsite;
use crate::ui;
use crate::values::cause;
use crate::values::database::DatabaseFacts;
use crate::values::id::BackupId;
use crate::values::manifest::Manifest;
use crate::values::offsite::{Inventory, Known, PartsLeft, known_copies, known_copy, taken};
use crate::vault::{Backup, Listing};

/// In an error: it is the vault's own dump that cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot be copied")]
pub(super) struct Damaged(pub BackupId);

/// A backup, and what has its id there.
type Taken<'a> = (&'a Backup, &'a Manifest);

/// What is still to be removed there is told in order.
fn is_only_damaged(error: &anyhow::Error) -> bool {
    error.is::<Damaged>() && !error.is::<PartsLeft>()
}

/// It cannot be sent, and would be tried for ever.
pub(super) fn way_out(scene: &Scene, damaged: &Backup) -> String {
    let away = scene.vault.moved_away(damaged.id());
    format!("move the damaged one away: {away}")
}

/// Manifests that are there in the place of those that are lacking.
fn others(
    offsite: &Offsite,
    names: &Inventory,
    lacking: &[&Backup],
) -> Result<BTreeMap<BackupId, Manifest>> {
    let mut contested = lacking.to_vec();
    contested.retain(|backup| names.manifests.contains_key(backup.id()));
    let ids: Vec<BackupId> = contested.iter().map(|backup| backup.id().clone()).collect();
    let mut others = BTreeMap::new();
    for (backup, bytes) in contested.iter().zip(offsite.manifests(&ids)?) {
        // What cannot be read is told when it is sent.
        let there = bytes.ok().and_then(|bytes| Manifest::parse(&bytes).ok());
        let is_other = |there: &Manifest| there.id == *backup.id() && *there != backup.manifest;
        if let Some(there) = there.filter(is_other) {
            others.insert(there.id.clone(), there);
        }
    }
    Ok(others)
}

impl Sending<'_> {
    /// `except` was sent already. Beside it what can be sent at no time is no failure: it would be
    /// one for ever.
    pub(super) fn missing(
        &mut self,
        offsite: &Offsite,
        names: &Inventory,
        now: &DatabaseFacts,
        except: Option<&BackupId>,
    ) -> Result<()> {
        let listing = self.scene.vault.list()?;
        let lacking = self.lacking(&listing, names, now, except)?;
        let there = others(offsite, names, &lacking)?;
        let (mut rekeyed, mut anothers) = (Vec::new(), Vec::new());
        for backup in lacking {
            match there.get(backup.id()) {
                Some(other) if backup.manifest.is_another(other) => anothers.push((backup, other)),
                Some(other) => rekeyed.push((backup, other)),
                None => match self.one(offsite, backup, None, false) {
                    Err(error) if except.is_some() && is_only_damaged(&error) => {
                        let lines = cause::lines(&error).join(": ");
                        let line = format!("warning: {lines}; {}", way_out(self.scene, backup));
                        self.scene.ui.insist(line);
                    }
                    sent => self.note(backup, sent)?,
                },
            }
        }
        self.not_replaced(&rekeyed, except.is_some());
        self.not_replaced(&anothers, except.is_some());
        Ok(())
    }

    /// What is neither known to be there nor was removed on purpose.
    fn lacking<'a>(
        &self,
        listing: &'a Listing,
        names: &Inventory,
        now: &DatabaseFacts,
        except: Option<&BackupId>,
    ) -> Result<Vec<&'a Backup>> {
        let is_ours = choose::ours(listing, now);
        let known = known_copies(&self.scene.vault.journal()?);
        let mut lacking = Vec::new();
        for backup in listing.backups.iter().filter(|backup| is_ours(backup)) {
            if Some(backup.id()) == except {
                continue;
            }
            // Somebody may prune meanwhile.
            let manifest_bytes = match self.scene.vault.manifest_bytes(backup) {
                Err(_) if !backup.is_there() => continue,
                bytes => bytes?.len() as u64,
            };
            let is_there = names.has(&backup.manifest, manifest_bytes);
            match known_copy(&known, &backup.manifest, self.place) {
                Some(Known::Removed(_)) => {}
                Some(Known::Matched(_)) if is_there => {}
                _ => lacking.push(backup),
            }
        }
        Ok(lacking)
    }

    /// Nothing of them is read.
    fn not_replaced(&mut self, taken_ones: &[Taken], is_beside: bool) {
        let Some((first, there)) = taken_ones.first() else {
            return;
        };
        let more = match taken_ones.len() - 1 {
            0 => String::new(),
            more => format!(" and {}", ui::count(more as u64, "other")),
        };
        let failure = taken(self.place, &first.manifest, there, &more);
        let hint = failure.hint.clone().unwrap_or_default();
        if is_beside {
            let ui = self.scene.ui;
            return ui.insist(format!("warning: {failure}; {hint}"));
        }
        self.scene.ui.insist(format!("not copied: {failure}"));
        self.copies
            .extend(taken_ones.iter().map(|(backup, _)| Copy {
                backup: Some(backup.id().clone()),
                place: self.place.name.clone(),
                outcome: None,
                problem: Some(failure.to_string()),
                hint: Some(hint.clone()),
            }));
    }
}
