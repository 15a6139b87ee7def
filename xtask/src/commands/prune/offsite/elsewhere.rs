//! Where else a copy is, so that it may go: in the vault, or at another place.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use anyhow::Result;

use super::{At, changed, plan};
use crate::commands::Scene;
use crate::commands::offsite::look::Look;
use crate::commands::offsite::matched;
use crate::values::failure::is_untrusted;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, Line};
use crate::values::manifest::Manifest;
use crate::values::offsite::{Known, KnownCopies, Place, known_copies, known_copy};
use crate::values::retention::Guard;
use crate::vault::{Backup, Listing};

/// What places say of themselves, and what of them this run has read.
#[derive(Default)]
pub(super) struct Seen {
    good: RefCell<Vec<(String, Manifest)>>,
    pub(super) bad: RefCell<HashSet<Copy>>,
    /// The same of dumps in the vault.
    good_here: RefCell<Vec<Manifest>>,
    bad_here: RefCell<HashSet<BackupId>>,
    /// Somebody may be waiting for the lock by now.
    pub(super) reads_no_more: Cell<bool>,
}

/// Where else a copy is.
pub(super) struct Copies<'a> {
    scene: &'a Scene<'a>,
    vault: &'a Listing,
    looks: &'a [Look<'a>],
    /// Of the vault.
    distrusted: HashSet<BackupId>,
    known: KnownCopies,
    from_here: HashSet<Copy>,
    seen: &'a Seen,
    /// Planned already.
    pub(super) going: HashSet<Copy>,
}

/// The name of a place, and what is there.
pub(super) type Copy = (String, BackupId);

pub(super) fn of(place: &Place, backup: &Backup) -> Copy {
    (place.name.clone(), backup.id().clone())
}

/// What this vault has sent or fetched, whatever has become of it.
fn from_here(journal: &[Line], looks: &[Look]) -> HashSet<Copy> {
    let entries = journal.iter().filter_map(|line| line.entry.as_ref());
    let moved = entries.filter(|entry| {
        matches!(entry.deed, Deed::Copy | Deed::Pull) && entry.ending == Ending::Done
    });
    let copies = moved.map(|entry| {
        let look = looks.iter().find(|look| entry.is_at(look.place))?;
        Some((look.place.name.clone(), entry.backup.clone()?))
    });
    copies.flatten().collect()
}

impl<'a> Copies<'a> {
    pub(super) fn new(
        scene: &'a Scene<'a>,
        (vault, looks): (&'a Listing, &'a [Look<'a>]),
        journal: &[Line],
        seen: &'a Seen,
    ) -> Copies<'a> {
        Copies {
            scene,
            vault,
            looks,
            distrusted: plan::distrusted(journal),
            known: known_copies(journal),
            from_here: from_here(journal, looks),
            seen,
            going: HashSet::new(),
        }
    }

    pub(super) fn state(&self, place: &Place, backup: &Backup) -> plan::State {
        let is_free = self.is_let_go(place, backup) || self.is_elsewhere(place, backup);
        plan::State {
            is_bad: matches!(self.known(place, backup), Some(Known::Bad(_))),
            guard: (!is_free).then_some(Guard::OnlyCopy),
        }
    }

    fn known(&self, place: &Place, backup: &Backup) -> Option<Known> {
        match self.seen.bad.borrow().contains(&of(place, backup)) {
            true => Some(Known::Bad(backup.manifest.created_at)),
            false => known_copy(&self.known, &backup.manifest, place),
        }
    }

    /// Wherever else it is.
    fn is_let_go(&self, place: &Place, backup: &Backup) -> bool {
        // What is pinned, or may be wanted yet, the vault knows that has sent it or fetched it.
        place.removes_last_copies && self.from_here.contains(&of(place, backup))
    }

    /// The same backup in the vault, as long as nothing is known against it.
    fn here(&self, backup: &Backup) -> Option<&Backup> {
        let mut all = self.vault.backups.iter();
        let here = all.find(|other| other.manifest == backup.manifest)?;
        let is_bad =
            self.distrusted.contains(here.id()) || self.seen.bad_here.borrow().contains(here.id());
        (self.scene.vault.has_whole_dump(here) && !is_bad).then_some(here)
    }

    /// Reads the dumps of the vault that removals count on; not, when one of them is bad.
    pub(super) fn match_here(&self, all: &[At]) -> Result<bool> {
        for At { look, plan } in all {
            for planned in plan.removed() {
                let counts = !self.is_let_go(look.place, planned.backup);
                if let Some(here) = self.here(planned.backup).filter(|_| counts)
                    && !self.matches_here(here)?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn matches_here(&self, here: &Backup) -> Result<bool> {
        if self.seen.good_here.borrow().contains(&here.manifest) {
            return Ok(true);
        }
        if self.seen.reads_no_more.get() {
            return Err(changed().into());
        }
        let problem = plan::matches(self.scene, here, None)?;
        match &problem {
            None => {
                let good = here.manifest.clone();
                self.seen.good_here.borrow_mut().push(good);
            }
            Some(problem) => {
                self.scene.ui.insist(format!("note: {problem}"));
                self.seen.bad_here.borrow_mut().insert(here.id().clone());
            }
        }
        Ok(problem.is_none())
    }

    fn is_elsewhere(&self, place: &Place, backup: &Backup) -> bool {
        let is_same = |other: &&Backup| other.manifest == backup.manifest;
        let mut others = self.looks.iter().filter(|look| {
            // One server may have two names, and then both are one place.
            look.place.name != place.name && look.place.url.bucket() != place.url.bucket()
        });
        self.here(backup).is_some()
            || others.any(|look| {
                look.listing.backups.iter().any(|other| is_same(&other))
                    && matches!(self.known(look.place, backup), Some(Known::Matched(_)))
                    && !self.going.contains(&of(look.place, backup))
            })
    }

    /// Read there to its end, for others go because this one stays.
    pub(super) fn read(&self, look: &Look, backup: &Backup) -> Result<Option<String>> {
        let name = &look.place.name;
        let is_it = |(place, then): &(String, Manifest)| place == name && *then == backup.manifest;
        if self.seen.good.borrow().iter().any(is_it) {
            return Ok(None);
        }
        if self.seen.reads_no_more.get() {
            return Err(changed().into());
        }
        let found = look
            .offsite
            .matches(&backup.manifest, &self.scene.ui.progress());
        let problem = match found {
            Ok(()) => None,
            Err(error) if is_untrusted(&error) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        matched(self.scene, look.place, &backup.manifest, problem.as_deref());
        match &problem {
            None => {
                let good = (name.clone(), backup.manifest.clone());
                self.seen.good.borrow_mut().push(good);
            }
            Some(problem) => {
                self.scene.ui.insist(format!("note: {problem}"));
                self.seen.bad.borrow_mut().insert(of(look.place, backup));
            }
        }
        Ok(problem)
    }
}
