//! `db status`: the database, its migrations and its newest backup. Reads only.

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::kept::{self, KeptThere};
use super::offsite::copies::{self, Copies};
use super::{Scene, choose, kinds};
use crate::cli::Status;
use crate::config::keys;
use crate::engine::Engine;
use crate::migrations;
use crate::ui::{self, Table};
use crate::values::database::{AppliedMigration, Contents, DatabaseFacts, TableRows};
use crate::values::encryption::Encryption;
use crate::values::id::{BackupId, Reason};
use crate::values::journal::{self, Entry, Ladder};
use crate::values::manifest::PendingMigration;
use crate::values::plan::{MigrationPlan, describe};
use crate::values::retention::HowLong;
use crate::values::schema::RelationKind;
use crate::vault::{Backup, Listing};

#[derive(Serialize)]
struct Document<'a> {
    database: &'a DatabaseFacts,
    exists: bool,
    tables: &'a [TableRows],
    applied: &'a [AppliedMigration],
    pending: Vec<PendingMigration>,
    problem: Option<String>,
    latest: Option<Latest<'a>>,
    /// The newest one that is no full one, where it is newer.
    newer: Option<&'a Newer<'a>>,
    backups: usize,
    vault: String,
    left_beside: &'a [String],
    /// What restores replaced and kept, newest first.
    kept: &'a [KeptThere],
    /// When a backup of the database was last restored into a scratch database and compared.
    drilled_at: Option<DateTime<Utc>>,
    /// What was begun on a live database and did not end.
    unfinished: Option<&'a Entry>,
    /// Where the copies of its backups are; nothing where no place off-site is known.
    copies: Option<&'a Copies>,
}

#[derive(Serialize)]
struct Latest<'a> {
    id: &'a BackupId,
    created_at: DateTime<Utc>,
    age_hours: f64,
    ladder: &'a Ladder,
    /// Nothing: it is not encrypted.
    encryption: Option<&'a Encryption>,
}

impl<'a> Latest<'a> {
    fn of(backup: &'a Backup, proofs: &'a Proofs) -> Latest<'a> {
        let created_at = backup.manifest.created_at;
        Latest {
            id: backup.id(),
            created_at,
            age_hours: (Utc::now() - created_at).num_seconds() as f64 / 3600.0,
            ladder: &proofs.of_newest,
            encryption: backup.manifest.dump.encryption.as_ref(),
        }
    }
}

#[derive(Serialize)]
struct Newer<'a> {
    id: &'a BackupId,
    kind: String,
    created_at: DateTime<Utc>,
}

impl Newer<'_> {
    fn of(newest: Option<&Backup>) -> Option<Newer<'_>> {
        let backup = newest?;
        Some(Newer {
            id: backup.id(),
            kind: kinds::name(&backup.manifest)?,
            created_at: backup.manifest.created_at,
        })
    }

    fn show(&self, scene: &Scene) -> Result<()> {
        let Newer { id, kind, .. } = self;
        let age = ui::old(self.created_at, Utc::now());
        scene.ui.show(format!("newer       {id} ({kind}), {age}\n"))
    }
}

pub fn run(scene: &Scene, arguments: &Status) -> Result<()> {
    let mut engine = scene.engine()?;
    mend(scene, &mut *engine);
    let facts = engine.facts()?;
    let exists = engine.exists()?;
    let contents = engine.contents()?;
    let available = migrations::read_if_any(&scene.settings.source)?;
    let plan = migrations::plan(available, contents.applied.clone(), None);
    let (listing, backups) = scene.vault.newest(|listing| newest_here(listing, &facts))?;
    let is_ours = choose::ours(&listing, &facts);
    let newest = choose::latest(&listing, &is_ours);
    let newer = Newer::of(listing.backups.iter().find(|backup| is_ours(backup)));
    let left_beside = engine.left_beside()?;
    let kept = kept::of(&mut *engine, Utc::now())?;
    let proofs = Proofs::read(scene, newest, &is_ours)?;
    let unfinished = match scene.vault.is_locked() {
        true => None,
        false => scene.vault.unfinished(),
    };
    let copies = copies_of(scene, &facts, &listing, arguments.offsite)?;

    let problem = plan.as_ref().err().map(ToString::to_string);
    scene.ui.emit(&Document {
        database: &facts.for_show(),
        exists,
        tables: &contents.tables,
        applied: &contents.applied,
        pending: plan
            .as_ref()
            .map(MigrationPlan::pending_names)
            .unwrap_or_default(),
        problem: problem.clone(),
        latest: newest.map(|backup| Latest::of(backup, &proofs)),
        newer: newer.as_ref(),
        backups,
        vault: scene.vault.folder().display().to_string(),
        left_beside: &left_beside,
        kept: &kept,
        drilled_at: proofs.drilled_at,
        unfinished: unfinished.as_ref(),
        copies: copies.as_ref(),
    })?;

    show_database(scene, &facts, exists)?;
    show_migrations(
        scene,
        &contents,
        &plan.map_err(|problem| problem.to_string()),
    )?;
    show_newest(scene, newest, &proofs, newer.as_ref())?;
    copies::show(scene, copies.as_ref())?;
    if unfinished.is_some() {
        scene.say_unfinished();
    }
    let doubt = choose::refuse_doubtful_latest(scene, &listing, &is_ours)
        .and_then(|()| choose::refuse_another_address(scene, &listing, &is_ours, &facts));
    if let Err(doubt) = doubt {
        scene.ui.say(format!(
            "note: `db restore latest` will be refused: {doubt}"
        ));
    }
    show_vault(scene, backups, &left_beside)?;
    kept::show(scene, &kept)?;
    show_tables(scene, &contents)
}

fn show_vault(scene: &Scene, backups: usize, left_beside: &[String]) -> Result<()> {
    let vault = scene.vault.folder().display();
    let backups = ui::count(backups as u64, "backup");
    scene.ui.show(format!("vault       {vault}, {backups}\n"))?;
    left_beside
        .iter()
        .try_for_each(|line| scene.ui.show(format!("beside      {line}\n")))
}

/// For the document of all whole backups, and none that a restore took for safety: of those that
/// `latest` may mean. A person is shown the newest, for which few manifests need be read.
fn copies_of(
    scene: &Scene,
    facts: &DatabaseFacts,
    newest: &Listing,
    asks: bool,
) -> Result<Option<Copies>> {
    if scene.settings.offsite.is_empty() {
        return Ok(None);
    }
    let (all, most) = match scene.ui.is_json() {
        true => (Some(scene.vault.list()?), usize::MAX),
        false => (None, copies::SHOWN),
    };
    let listing = all.as_ref().unwrap_or(newest);
    let is_ours = choose::ours(listing, facts);
    let ours = listing.backups.iter().filter(|backup| is_ours(backup));
    let whole = ours.filter(|backup| backup.manifest.is_full());
    let ours = whole.filter(|backup| backup.manifest.reason != Reason::PreRestore);
    copies::of(scene, &ours.take(most).collect::<Vec<_>>(), asks).map(Some)
}

fn show_database(scene: &Scene, facts: &DatabaseFacts, exists: bool) -> Result<()> {
    let version = &facts.server_version;
    scene.ui.show(format!(
        "database    {facts}\nversion     {} {version}\n",
        facts.engine
    ))?;
    if !exists {
        let creates = "`db migrate-safe` and `db restore` create it";
        scene
            .ui
            .show(format!("            does not exist yet; {creates}\n"))?;
    }
    Ok(())
}

fn show_newest(
    scene: &Scene,
    newest: Option<&Backup>,
    proofs: &Proofs,
    newer: Option<&Newer>,
) -> Result<()> {
    scene.ui.show(match newest {
        Some(backup) => format!(
            "latest      {}, {}\n",
            backup.id(),
            ui::old(backup.manifest.created_at, Utc::now())
        ),
        None => "latest      no backup of this database\n".into(),
    })?;
    if let Some(backup) = newest {
        show_encryption(scene, backup)?;
        scene.ui.show(proofs.line())?;
        warn_of_no_drill(scene, proofs);
    }
    newer.map_or(Ok(()), |newer| newer.show(scene))
}

fn show_encryption(scene: &Scene, backup: &Backup) -> Result<()> {
    let Some(encryption) = &backup.manifest.dump.encryption else {
        return Ok(());
    };
    let decrypted = match encryption.decrypted {
        true => "decrypted when it was read back",
        false => "never decrypted: no key was at hand",
    };
    let whom = encryption.summary();
    scene
        .ui
        .show(format!("encrypted   for {whom}; {decrypted}\n"))
}

/// A backup that nobody has ever restored is a hope.
fn warn_of_no_drill(scene: &Scene, proofs: &Proofs) {
    let within = scene.settings.get(keys::DRILL_WITHIN).unwrap_or_default();
    let is_held = |at: DateTime<Utc>| within.holds(at, Utc::now());
    if within != HowLong::Forever && !proofs.drilled_at.is_some_and(is_held) {
        scene.ui.insist(format!(
            "warning: no backup was restored for {within}: cargo xtask db drill"
        ));
    }
}

/// A failure is no reason to refuse: what is there may be what is wrong.
fn mend(scene: &Scene, engine: &mut dyn Engine) {
    if let Err(error) = scene.end_left_exclusive_if_idle(engine) {
        scene.ui.insist(format!("warning: {error:#}"));
    }
}

/// What the journal says has been shown of the backups.
struct Proofs {
    /// The newest.
    taken_at: Option<DateTime<Utc>>,
    of_newest: Ladder,
    drilled_at: Option<DateTime<Utc>>,
}

impl Proofs {
    fn read(scene: &Scene, newest: Option<&Backup>, is_ours: choose::IsOurs) -> Result<Proofs> {
        let ladders = journal::ladders(&scene.vault.journal()?);
        let of_newest = newest.and_then(|backup| ladders.get(backup.id()).copied());
        let restored = ladders.iter();
        let restored = restored.filter_map(|(id, ladder)| Some((ladder.restored_at()?, id)));
        let mut restored: Vec<_> = restored.collect();
        restored.sort_unstable_by(|a, b| b.cmp(a));
        // The vault may hold other databases' as well, and the journal remembers what is gone.
        let is_there = |id: &BackupId| scene.vault.read(id.as_str()).is_ok_and(|b| is_ours(&b));
        let last = restored.into_iter().find(|(_, id)| is_there(id));
        Ok(Proofs {
            taken_at: newest.map(|backup| backup.manifest.created_at),
            of_newest: of_newest.unwrap_or_default(),
            drilled_at: last.map(|(at, _)| at),
        })
    }

    /// A backup is matched and read as a restore would before it exists.
    fn line(&self) -> String {
        let now = Utc::now();
        let ago = |at| format!("{} ago", ui::age(at, now));
        let rung = |word: &str, at: Option<DateTime<Utc>>, failed: Option<DateTime<Utc>>| match (
            failed, at,
        ) {
            (Some(failed), _) => format!("{word} FAILED {}", ago(failed)),
            (None, Some(at)) => format!("{word} {}", ago(at)),
            (None, None) => format!("not {word}"),
        };
        let Ladder {
            verified_at,
            verify_failed_at,
            drilled_at,
            drill_failed_at,
            rehearsed_at,
        } = self.of_newest;
        let last = match self.drilled_at {
            Some(_) if self.of_newest.restored_at().is_some() => String::new(),
            Some(at) => format!("; the last one that was restored: {} ago", ui::age(at, now)),
            None => "; none was ever restored: cargo xtask db drill".into(),
        };
        format!(
            "proof       {}, {}, {}, {}{last}\n",
            rung("hash", verified_at.or(self.taken_at), verify_failed_at),
            rung("check", self.taken_at, None),
            rung("drilled", drilled_at, drill_failed_at),
            rung("rehearsed", rehearsed_at, None)
        )
    }
}

/// The newest backup, where older ones cannot make it another one. Whether one
/// of a file that was moved counts, and whether one of the future is meant, is
/// only known when all were looked at.
fn newest_here<'a>(listing: &'a Listing, facts: &DatabaseFacts) -> Option<&'a Backup> {
    choose::latest(listing, &choose::ours(listing, facts)).filter(|backup| {
        backup.manifest.database.path == facts.path && !choose::is_future(backup, Utc::now())
    })
}

fn show_migrations(
    scene: &Scene,
    contents: &Contents,
    plan: &Result<MigrationPlan, String>,
) -> Result<()> {
    let applied = match contents.applied.last() {
        Some(last) => {
            let applied = ui::count(contents.applied.len() as u64, "migration");
            format!("{applied}, the last is {}", last.version)
        }
        None => "none".into(),
    };
    scene.ui.show(format!("applied     {applied}\n"))?;
    match plan {
        Ok(plan) if plan.pending.is_empty() => scene.ui.show("pending     none\n"),
        Ok(plan) => plan
            .pending
            .iter()
            .enumerate()
            .try_for_each(|(i, migration)| {
                let word = if i == 0 { "pending" } else { "" };
                let name = describe(&migration.description);
                scene
                    .ui
                    .show(format!("{word:<12}{} {name}\n", migration.version))
            }),
        Err(problem) => scene.ui.show(format!("problem     {problem}\n")),
    }
}

fn show_tables(scene: &Scene, contents: &Contents) -> Result<()> {
    if contents.tables.is_empty() {
        return scene.ui.show("tables      none\n");
    }
    let mut table = Table::new(&["table", "rows"]).right(1);
    for rows in &contents.tables {
        let name = match rows.kind {
            RelationKind::Table => rows.to_string(),
            kind => format!("{rows} ({kind})"),
        };
        table.row(&[&name, &rows.rows]);
    }
    scene.ui.show(format!("\n{table}"))
}
