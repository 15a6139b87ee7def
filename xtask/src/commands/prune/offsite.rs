//! `db prune --offsite`: removes the copies that the policy of their place does not keep.

use std::cell::RefCell;
use std::collections::HashSet;

use anyhow::Result;
use serde::Serialize;

use super::plan::{self, Plan, State, decide};
use super::{PlanOutcome, carry_out, lines};
use crate::cli::Prune;
use crate::commands::offsite::look::{Look, look_everywhere};
use crate::commands::offsite::{matched, usable};
use crate::commands::{Scene, choose, restore};
use crate::engine::Engine;
use crate::values::database::DatabaseFacts;
use crate::values::failure::is_untrusted;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, Entry};
use crate::values::offsite::{Known, KnownCopies, Place, known_copies, known_copy};
use crate::values::retention::Guard;
use crate::vault::{Backup, Listing};

const COMMAND: &str = "cargo xtask db prune --offsite";

#[derive(Serialize)]
struct Document<'a> {
    database: &'a DatabaseFacts,
    /// Those that have a policy.
    places: Vec<PlaceDocument<'a>>,
}

#[derive(Serialize)]
struct PlaceDocument<'a> {
    place: &'a str,
    #[serde(flatten)]
    outcome: PlanOutcome<'a>,
}

/// A place and what is to become of its copies.
struct At<'a> {
    look: &'a Look<'a>,
    plan: Plan<'a>,
}

pub fn run(scene: &Scene, arguments: &Prune) -> Result<()> {
    let places = usable(scene)?;
    if places.iter().all(|place| place.keep.is_none()) {
        scene.ui.say(
            "no place has a policy, and all copies stay: write `keep_` lines below an `[[offsite]]`",
        );
    }
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    let changes = !arguments.dry_run;
    if changes {
        scene.prepare_vault()?;
    }
    // Neither a backup nor a pin meanwhile: what is shown is what is removed.
    let lock = changes.then(|| scene.vault.lock("prune", &scene.who));
    let _lock = lock.transpose()?;
    let (looks, mut failed) = look_everywhere(scene)?;
    let vault = scene.vault.list()?;
    let all = plans(scene, &mut *engine, &now, &vault, &looks)?;
    let asks = changes && !arguments.yes;
    for at in &all {
        show(scene, &now, at, asks);
    }
    let goes = all.iter().any(|at| at.plan.removed().next().is_some());
    let mut removed = Vec::new();
    if changes && goes {
        if asks {
            let lost = "what is removed cannot be brought back";
            restore::confirm(scene, lost, COMMAND)?;
        }
        for at in &all {
            let remove = |backup: &Backup| remove(scene, &now, at.look, backup);
            let (ids, done) = carry_out(scene, &at.plan, COMMAND, &remove);
            removed.push(ids);
            if let Err(error) = done {
                failed.insert(0, error);
                if scene.interrupt.is_raised() {
                    break;
                }
            }
        }
    }
    emit(scene, &now, &all, removed)?;
    failed.into_iter().next().map_or(Ok(()), Err)
}

/// Made anew when a copy was found bad on the way: another place may have counted on it.
fn plans<'a>(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    vault: &Listing,
    looks: &'a [Look<'a>],
) -> Result<Vec<At<'a>>> {
    let journal = scene.vault.journal()?;
    plan::refuse_in_doubt(
        scene,
        &journal,
        now,
        &choose::of_very(vault, now, &scene.who),
    )?;
    let mut copies = Copies {
        scene,
        vault,
        looks,
        distrusted: plan::distrusted(&journal),
        known: known_copies(&journal),
        bad: RefCell::new(HashSet::new()),
        going: HashSet::new(),
    };
    loop {
        let bad_before = copies.bad.borrow().len();
        copies.going.clear();
        let mut all = Vec::new();
        for look in looks {
            let Some(policy) = &look.place.keep else {
                continue;
            };
            let mine = choose::of_very(&look.listing, now, &scene.who);
            let state = |backup: &Backup| copies.state(look.place, backup);
            let candidates = plan::candidates(scene, engine, now, &mine, &journal, &state)?;
            let read = |backup: &Backup| copies.read(look, backup);
            let plan = decide(scene, policy, &look.listing, (mine, candidates), &read)?;
            // What goes at one place is no reason to let it go at the next.
            for planned in plan.removed() {
                copies.going.insert(of(look.place, planned.backup));
            }
            all.push(At { look, plan });
        }
        if copies.bad.borrow().len() == bad_before {
            return Ok(all);
        }
    }
}

/// Where else a copy is.
struct Copies<'a> {
    scene: &'a Scene<'a>,
    vault: &'a Listing,
    looks: &'a [Look<'a>],
    /// Of the vault.
    distrusted: HashSet<BackupId>,
    known: KnownCopies,
    /// Found to be so by this run.
    bad: RefCell<HashSet<Copy>>,
    /// Planned already.
    going: HashSet<Copy>,
}

/// The name of a place, and what is there.
type Copy = (String, BackupId);

fn of(place: &Place, backup: &Backup) -> Copy {
    (place.name.clone(), backup.id().clone())
}

impl Copies<'_> {
    fn state(&self, place: &Place, backup: &Backup) -> State {
        let is_free = place.removes_last_copies || self.is_elsewhere(place, backup);
        State {
            is_bad: matches!(self.known(place, backup), Some(Known::Bad(_))),
            guard: (!is_free).then_some(Guard::OnlyCopy),
        }
    }

    fn known(&self, place: &Place, backup: &Backup) -> Option<Known> {
        match self.bad.borrow().contains(&of(place, backup)) {
            true => Some(Known::Bad(backup.manifest.created_at)),
            false => known_copy(&self.known, &backup.manifest, &place.name),
        }
    }

    fn is_elsewhere(&self, place: &Place, backup: &Backup) -> bool {
        let is_same = |other: &&Backup| other.manifest == backup.manifest;
        let here = self.vault.backups.iter().find(is_same);
        let is_here = here.is_some_and(|here| {
            self.scene.vault.has_whole_dump(here) && !self.distrusted.contains(here.id())
        });
        let mut others = self.looks.iter().filter(|look| {
            // Two names and one URL may be one place.
            look.place.name != place.name && look.place.url.to_string() != place.url.to_string()
        });
        is_here
            || others.any(|look| {
                look.listing.backups.iter().any(|other| is_same(&other))
                    && matches!(self.known(look.place, backup), Some(Known::Matched(_)))
                    && !self.going.contains(&of(look.place, backup))
            })
    }

    /// Read there to its end, for others go because this one stays.
    fn read(&self, look: &Look, backup: &Backup) -> Result<Option<String>> {
        let found = look
            .offsite
            .matches(&backup.manifest, &self.scene.ui.progress());
        let problem = match found {
            Ok(()) => None,
            Err(error) if is_untrusted(&error) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        matched(self.scene, look.place, &backup.manifest, problem.as_deref());
        if let Some(problem) = &problem {
            self.scene.ui.insist(format!("note: {problem}"));
            self.bad.borrow_mut().insert(of(look.place, backup));
        }
        Ok(problem)
    }
}

fn show(scene: &Scene, now: &DatabaseFacts, at: &At, asks: bool) {
    let place = at.look.place;
    let head = match at.plan.backups.as_slice() {
        [] => format!("at {place} there are no copies of backups of the {now}"),
        _ => format!("at {place}, copies of backups of the {now}:"),
    };
    restore::say_all(scene, lines(head, &at.plan), asks);
}

fn remove(scene: &Scene, now: &DatabaseFacts, look: &Look, backup: &Backup) -> Result<()> {
    let id = backup.id();
    let waiting = || {
        let what = format!("waiting for another run, which is copying {id}");
        scene.ui.say(what);
    };
    let _claim = scene.vault.claim_copying(id, scene.interrupt, &waiting)?;
    let about = |entry: &mut Entry| {
        entry.backup = Some(id.clone());
        entry.place = Some(look.place.name.clone());
    };
    let mut begun = scene.entry(Deed::Remove, Ending::Begun, now);
    about(&mut begun);
    scene.record(begun);
    scene.recorded_with(
        Deed::Remove,
        now,
        || look.offsite.remove(&backup.manifest),
        |_, entry| about(entry),
    )
}

fn emit(scene: &Scene, now: &DatabaseFacts, all: &[At], removed: Vec<Vec<BackupId>>) -> Result<()> {
    let mut removed = removed.into_iter();
    let places = all.iter().map(|At { look, plan }| PlaceDocument {
        place: &look.place.name,
        outcome: PlanOutcome::of(plan, removed.next().unwrap_or_default()),
    });
    scene.ui.emit(&Document {
        database: &now.for_show(),
        places: places.collect(),
    })
}
