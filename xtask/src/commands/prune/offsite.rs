//! `db prune --offsite`: removes the copies that the policy of their place does not keep.

use anyhow::Result;
use serde::Serialize;

use super::plan::{self, Plan, decide};
use super::{PlanOutcome, another, carry_out, ids, lines};
use crate::cli::Prune;
use crate::commands::offsite::look::{Look, look, look_everywhere};
use crate::commands::offsite::{one_of, usable};
use crate::commands::{Scene, choose, restore};
use crate::engine::Engine;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, Entry};
use crate::vault::{Backup, Listing};
use elsewhere::{Copies, Seen, of};

mod elsewhere;

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
    // Without the lock, for a slow place and a question that is left open must be in no backup's way.
    let (looks, unanswered) = look_everywhere(scene)?;
    let vault = scene.vault.list()?;
    let seen = Seen::default();
    let all = plans(scene, &mut *engine, &now, (&vault, &looks), &seen)?;
    let asks = changes && !arguments.yes;
    for at in &all {
        show(scene, &now, at, asks);
    }
    let goes = all.iter().any(|at| at.plan.removed().next().is_some());
    if !changes || !goes {
        emit(scene, &now, &all, Vec::new())?;
        return ended(scene, 0, Vec::new(), unanswered);
    }
    if asks {
        let lost = "what is removed cannot be brought back";
        restore::confirm(scene, lost, COMMAND)?;
    }
    let looks = look_again(scene, &looks)?;
    // Neither a backup nor a pin meanwhile: what is shown is what is removed.
    let _lock = scene.vault.lock("prune", &scene.who)?;
    seen.reads_no_more.set(true);
    let vault = scene.vault.list()?;
    let again = plans(scene, &mut *engine, &now, (&vault, &looks), &seen)?;
    if ids_at(&again) != ids_at(&all) {
        return Err(changed().into());
    }
    let (removed, failed) = remove_all(scene, &now, &again);
    let count = removed.iter().flatten().count();
    emit(scene, &now, &again, removed)?;
    ended(scene, count, failed, unanswered)
}

/// Those that have answered; who does so no more is an error, for others may count on it.
fn look_again<'a>(scene: &Scene, looks: &[Look<'a>]) -> Result<Vec<Look<'a>>> {
    looks
        .iter()
        .map(|before| look(scene, before.place))
        .collect()
}

fn ids_at<'a>(all: &'a [At]) -> Vec<(&'a str, Vec<BackupId>)> {
    let name = |at: &'a At| at.look.place.name.as_str();
    all.iter().map(|at| (name(at), ids(&at.plan))).collect()
}

fn changed() -> Failure {
    another("the vault or a place has changed", COMMAND)
}

/// What is gone of each place, and what went wrong, the last first.
fn remove_all(
    scene: &Scene,
    now: &DatabaseFacts,
    all: &[At],
) -> (Vec<Vec<BackupId>>, Vec<anyhow::Error>) {
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for at in all {
        let remove = |backup: &Backup| remove(scene, now, at.look, backup);
        let (ids, done) = carry_out(scene, &at.plan, COMMAND, &remove);
        removed.push(ids);
        if let Err(error) = done {
            failed.insert(0, error);
            if scene.interrupt.is_raised() {
                break;
            }
        }
    }
    (removed, failed)
}

/// That a place does not answer was said when it did not; what is gone is gone all the same.
fn ended(
    scene: &Scene,
    removed: usize,
    failed: Vec<anyhow::Error>,
    unanswered: Vec<anyhow::Error>,
) -> Result<()> {
    let done = || {
        let copies = ui::count(removed as u64, "copy");
        let what = format!("removed {copies}, and a place did not answer");
        Failure::incomplete(what).hint(COMMAND)
    };
    let error = match one_of(scene, failed) {
        Some(error) => Some(error),
        None => one_of(scene, unanswered).map(|error| match removed {
            0 => error,
            _ => error.context(done()),
        }),
    };
    error.map_or(Ok(()), Err)
}

/// Made anew when a copy was found bad on the way: another place may have counted on it.
fn plans<'a>(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    (vault, looks): (&Listing, &'a [Look<'a>]),
    seen: &Seen,
) -> Result<Vec<At<'a>>> {
    let journal = scene.vault.journal()?;
    plan::refuse_in_doubt(
        scene,
        &journal,
        now,
        &choose::of_very(vault, now, &scene.who),
    )?;
    let mut copies = Copies::new(scene, (vault, looks), &journal, seen);
    loop {
        let bad_before = seen.bad.borrow().len();
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
        if seen.bad.borrow().len() == bad_before && copies.match_here(&all)? {
            return Ok(all);
        }
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
    // Not waited for, with the lock in hand: an upload may take hours.
    let Some(_claim) = scene.vault.try_claim_copying(id)? else {
        let what = format!("another run is copying `{id}`, and no copy of it was touched");
        return Err(Failure::refused(what).into());
    };
    let about = |entry: &mut Entry| {
        entry.backup = Some(id.clone());
        entry.set_place(look.place);
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
