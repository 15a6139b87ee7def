//! What stays and what goes: the policy, and what no policy takes away.

use std::collections::HashSet;

use anyhow::Result;
use chrono::Utc;

use super::super::{Scene, choose};
use super::ways_back::ways_back;
use crate::config::{Settings, keys};
use crate::engine::Engine;
use crate::interrupt::Interrupted;
use crate::ui;
use crate::values::database::{DatabaseFacts, EngineKind};
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::journal::{self, Deed, Ending, Entry, Line, UNKNOWN};
use crate::values::manifest::{Manifest, RanOn};
use crate::values::retention::{self, Candidate, Guard, Policy, Why};
use crate::values::words::shell_quoted;
use crate::vault::{Backup, Listing};

/// Shown, confirmed and carried out are the same value.
pub struct Plan<'a> {
    /// Newest first.
    pub backups: Vec<Planned<'a>>,
    /// Backups of other databases: nobody's business here.
    pub others: usize,
    /// What was found not to match on the way.
    pub notes: Vec<String>,
}

pub struct Planned<'a> {
    pub backup: &'a Backup,
    /// Nothing: it goes.
    pub why: Vec<Why>,
    /// What its pin says.
    pub note: Option<String>,
}

impl Planned<'_> {
    /// Why it stays, in words.
    pub fn words(&self) -> Vec<String> {
        let word = |why: &Why| match (why, &self.note) {
            (Why::Guard(Guard::Pinned), Some(note)) => format!("{why}: {note}"),
            _ => why.to_string(),
        };
        self.why.iter().map(word).collect()
    }
}

impl Plan<'_> {
    pub fn kept(&self) -> impl Iterator<Item = &Planned<'_>> {
        self.backups
            .iter()
            .filter(|planned| !planned.why.is_empty())
    }

    pub fn removed(&self) -> impl DoubleEndedIterator<Item = &Planned<'_>> {
        self.backups.iter().filter(|planned| planned.why.is_empty())
    }
}

pub fn policy(settings: &Settings) -> Result<Policy, Failure> {
    let policy = keys::RETENTION.policy(|key| settings.get(key), |key| settings.get(key));
    if policy.is_empty() {
        return Err(
            Failure::refused("the policy keeps nothing: every `keep_` setting is 0")
                .hint("say what stays, such as: cargo xtask db prune --keep-daily 30"),
        );
    }
    Ok(policy)
}

/// `proven` was read and matched in this very run.
pub fn plan<'a>(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    listing: &'a Listing,
    proven: Option<&BackupId>,
) -> Result<Plan<'a>> {
    let policy = policy(&scene.settings)?;
    let journal = scene.vault.journal()?;
    let mine = choose::of_very(listing, now, &scene.who);
    refuse_in_doubt(scene, &journal, now, &mine)?;
    let distrusted = distrusted(&journal);
    let state = |backup: &Backup| State {
        is_bad: !scene.vault.has_whole_dump(backup) || distrusted.contains(backup.id()),
        guard: (!scene.vault.has_own_dump(backup)).then_some(Guard::NoFile),
    };
    let candidates = candidates(scene, engine, now, &mine, &journal, &state)?;
    let read = |backup: &Backup| matches(scene, backup, proven);
    decide(scene, &policy, listing, (mine, candidates), &read)
}

/// What the policy and the guards leave, once the newest of those that stay was read and matched;
/// `read` does that, and says what is wrong.
pub fn decide<'a>(
    scene: &Scene,
    policy: &Policy,
    listing: &Listing,
    (mine, mut candidates): (Vec<&'a Backup>, Vec<Candidate>),
    read: &dyn Fn(&Backup) -> Result<Option<String>>,
) -> Result<Plan<'a>> {
    let at = Utc::now();
    let mut notes = Vec::new();
    let whys = loop {
        let mut guarded = candidates.clone();
        retention::guard(&mut guarded, |then| choose::is_from_the_future(then, at));
        let whys = policy.apply(&guarded, at);
        if whys.iter().all(|why| !why.is_empty()) {
            break whys;
        }
        let Some(newest) = newest_good(&guarded, &whys) else {
            return Err(nothing_good(&notes).into());
        };
        match read(mine[newest])? {
            None => break whys,
            Some(problem) => {
                candidates[newest].is_bad = true;
                notes.push(problem);
            }
        }
    };
    let backups = mine.into_iter().zip(whys);
    let backups = backups.map(|(backup, why)| {
        let is_pinned = why.contains(&Why::Guard(Guard::Pinned));
        let pin = is_pinned.then(|| scene.vault.pin_of(backup.id())).flatten();
        let note = pin.and_then(|pin| pin.note);
        Planned { backup, why, note }
    });
    let backups: Vec<Planned> = backups.collect();
    Ok(Plan {
        others: listing.backups.len() - backups.len(),
        backups,
        notes,
    })
}

/// The newest of those that stay and count: what is left to go back to.
fn newest_good(candidates: &[Candidate], whys: &[Vec<Why>]) -> Option<usize> {
    let mut all = candidates.iter().zip(whys);
    all.position(|(backup, why)| {
        let is_future = backup.guards.contains(&Guard::Future);
        !why.is_empty() && backup.is_way_to_go_back() && !is_future
    })
}

/// What is wrong with it. Read to its end, for others go because this one stays.
pub fn matches(
    scene: &Scene,
    backup: &Backup,
    proven: Option<&BackupId>,
) -> Result<Option<String>> {
    if proven == Some(backup.id()) {
        return Ok(None);
    }
    match scene.verify(backup) {
        Ok(_) => Ok(None),
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => Ok(Some(error.to_string())),
    }
}

fn nothing_good(notes: &[String]) -> Failure {
    let why = notes.first().map_or_else(
        || "no backup that would stay is known to be good".to_owned(),
        |note| format!("no backup that would stay can be trusted: {note}"),
    );
    Failure::untrusted(format!("nothing is removed, for {why}"))
        .hint("take a new one first: cargo xtask db backup")
}

/// Who cannot take a new one will want the old ones. What cannot be known is no good news either.
pub fn refuse_in_doubt(
    scene: &Scene,
    journal: &[Line],
    now: &DatabaseFacts,
    mine: &[&Backup],
) -> Result<(), Failure> {
    let next = next(scene, mine);
    let is_backup = |entry: &Entry| entry.deed == Deed::Backup && may_be_about(entry, now);
    let here = |id: &BackupId| mine.iter().find(|backup| backup.id() == id);
    // One of a database that only has the same name is no success of this one.
    let is_ours =
        |entry: &Entry| is_about(entry, now) || entry.backup.as_ref().and_then(here).is_some();
    // That a part could be backed up says nothing of the rest.
    let is_full = |id: &BackupId| match here(id) {
        Some(backup) => backup.manifest.is_full(),
        None => id.kind_words().is_empty(),
    };
    let was_full = |entry: &Entry| entry.backup.as_ref().is_some_and(is_full);
    for line in journal.iter().rev() {
        match &line.entry {
            None => {
                let what = "a line of the journal after the last backup cannot be read: whether a \
                            backup has failed since is not known, and nothing is removed";
                return Err(Failure::refused(what).hint(next));
            }
            Some(last) if is_backup(last) && last.ending != Ending::Done => {
                let (database, ending, at) = (&last.database, last.ending, ui::time(last.at));
                return Err(Failure::refused(format!(
                    "the last backup of the {database} {ending}, at {at}; nothing is removed \
                     before one has succeeded"
                ))
                .hint(next));
            }
            Some(last) if is_backup(last) && is_ours(last) && was_full(last) => break,
            Some(_) => {
                let Some(problem) = &line.problem else {
                    continue;
                };
                let at = line.at;
                return Err(Failure::refused(format!(
                    "line {at} of the journal, after the last backup: {problem}. Whether a backup \
                     has failed since is not known, and nothing is removed"
                ))
                .hint(next));
            }
        }
    }
    if scene.vault.has_unreadable_mark() {
        let what = "a run did not end, and its mark `.unfinished` cannot be read: which backup it \
                    may need is not known, and nothing is removed";
        return Err(Failure::refused(what)
            .hint("look at what is applied, then remove it: cargo xtask db status"));
    }
    Ok(())
}

/// A disk that is full lets no backup succeed, and no prune make room for one.
fn next(scene: &Scene, mine: &[&Backup]) -> String {
    let backup = "cargo xtask db backup";
    let is_pinned = |backup: &&&Backup| scene.vault.is_pinned(backup.id());
    match mine.iter().rev().find(|backup| !is_pinned(backup)) {
        Some(oldest) if mine.len() > 1 => {
            let path = scene.vault.folder().join(oldest.id().as_str());
            let path = shell_quoted(&path.display().to_string());
            format!(
                "{backup}\nwhere the disk is too full for that, move the oldest to another one \
                 first: mv {path}.* /another/disk/"
            )
        }
        _ => backup.to_owned(),
    }
}

fn entries(journal: &[Line]) -> impl DoubleEndedIterator<Item = &Entry> {
    journal.iter().filter_map(|line| line.entry.as_ref())
}

fn is_about(entry: &Entry, now: &DatabaseFacts) -> bool {
    entry.database == now.to_string()
}

/// Whether that cannot be ruled out: a journal has no better name of a server than the host, and
/// many names may lead to one.
fn may_be_about(entry: &Entry, now: &DatabaseFacts) -> bool {
    let (host, port) = (None, None);
    let anywhere = DatabaseFacts {
        host,
        port,
        ..now.clone()
    };
    is_about(entry, now)
        || entry.database == UNKNOWN
        || (now.path.is_none() && entry.database.starts_with(&format!("{anywhere} on `")))
}

/// What is known of a backup where it lies.
pub struct State {
    pub is_bad: bool,
    pub guard: Option<Guard>,
}

pub fn candidates(
    scene: &Scene,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    mine: &[&Backup],
    journal: &[Line],
    state: &dyn Fn(&Backup) -> State,
) -> Result<Vec<Candidate>> {
    let mut candidates: Vec<Candidate> = mine
        .iter()
        .map(|backup| {
            let State { is_bad, guard } = state(backup);
            let is_pinned = scene.vault.is_pinned(backup.id());
            let pinned = is_pinned.then_some(Guard::Pinned);
            let encryption = backup.manifest.dump.encryption.as_ref();
            Candidate {
                id: backup.id().to_string(),
                at: backup.manifest.created_at,
                reason: backup.manifest.reason,
                part: part(&backup.manifest, now, &scene.who),
                is_bad,
                is_closed: encryption.is_some_and(|encryption| !encryption.decrypted),
                guards: pinned.into_iter().chain(guard).collect(),
            }
        })
        .collect();
    let ways_back = ways_back(engine, mine, &candidates)?;
    let mut guard = |at: usize, guard| candidates[at].guards.push(guard);
    for at in ways_back {
        guard(at, Guard::WayBack);
    }
    let for_undo = for_undo(journal, now, mine);
    let unfinished = scene.vault.unfinished();
    let unfinished = unfinished.iter().flat_map(named).collect::<HashSet<_>>();
    for (at, backup) in mine.iter().enumerate() {
        if for_undo.contains(backup.id()) {
            guard(at, Guard::Undo);
        }
        if unfinished.contains(backup.id()) {
            guard(at, Guard::Unfinished);
        }
    }
    Ok(candidates)
}

/// Backups of other tables, or of definitions without rows, are no stand-ins for each other; nor are
/// those of a server that was reached at another address, for it may be a copy of this one.
fn part(manifest: &Manifest, now: &DatabaseFacts, here: &RanOn) -> Option<String> {
    let Manifest {
        database, ran_on, ..
    } = manifest;
    let is_same_machine = ran_on.host == here.host;
    let is_elsewhere =
        now.engine == EngineKind::Postgresql && !database.is_at_address_of(now, is_same_machine);
    let machine = database.is_named_by_this_machine().then_some(&ran_on.host);
    let address =
        is_elsewhere.then(|| format!("{:?} {:?} {machine:?}", database.host, database.port));
    let kind = kind_of(manifest);
    match (kind, address) {
        (kind, None) => kind,
        (kind, Some(address)) => Some(format!("{} {address}", kind.unwrap_or_default())),
    }
}

fn kind_of(manifest: &Manifest) -> Option<String> {
    let kind = &manifest.kind;
    let chosen = [
        &kind.schemas,
        &kind.tables,
        &kind.without_tables,
        &kind.without_rows_of,
    ];
    (!manifest.is_full()).then(|| format!("{:?} {} {chosen:?}", kind.only, kind.plain))
}

/// What was found not to match, and not to match since.
pub fn distrusted(journal: &[Line]) -> HashSet<BackupId> {
    let ladders = journal::ladders(journal).into_iter();
    let bad = ladders.filter(|(_, ladder)| ladder.verify_failed_at.is_some());
    bad.map(|(id, _)| id).collect()
}

fn named(entry: &Entry) -> impl Iterator<Item = &BackupId> {
    entry.backup.iter().chain(&entry.safety)
}

/// The safety copy that an undo would take, and what the last restore or undo was about.
fn for_undo(journal: &[Line], now: &DatabaseFacts, mine: &[&Backup]) -> HashSet<BackupId> {
    let is_change = |entry: &&Entry| {
        matches!(entry.deed, Deed::Restore | Deed::Undo) && entry.ending == Ending::Done
    };
    let last = [is_about, may_be_about].map(|is_it| {
        let mut changes = entries(journal).rev().filter(is_change);
        changes.find(|entry| is_it(entry, now))
    });
    let last = last.into_iter().flatten();
    let mut all: HashSet<BackupId> = last.flat_map(named).cloned().collect();
    let safety = choose::newest_safety(mine.iter().copied(), journal);
    all.extend(safety.map(|backup| backup.id().clone()));
    all
}
