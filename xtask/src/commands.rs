//! The stories. One verb a file; each `run` reads top to bottom.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::Result;

use crate::cli::{Db, Verb};
use crate::config::{self, Settings, keys};
use crate::engine::{self, Engine};
use crate::interrupt::Interrupt;
use crate::ui::Ui;
use crate::values::database_url::DatabaseUrl;
use crate::values::failure::Failure;
use crate::values::manifest::RanOn;
use crate::vault::{LeftOver, Vault};
use keyring::Keys;

mod backup;
mod choose;
mod config_shown;
mod diff;
mod drill;
mod exclusive;
mod export;
mod import;
mod into;
mod journal;
mod kept;
mod keyring;
mod kinds;
mod list;
mod log;
mod loss_gate;
mod migrate_safe;
mod offsite;
mod only;
mod pin;
mod prune;
mod pull;
mod push;
mod rehearse;
mod rekey;
mod restore;
mod status;
mod surroundings;
mod undo;
mod verify;

/// What every story has at hand.
pub struct Scene<'a> {
    pub settings: Settings,
    pub ui: &'a Ui,
    pub interrupt: &'a Interrupt,
    pub vault: Vault,
    pub who: RanOn,
    /// How many sessions dump or restore at once; nothing: as the engine sees fit.
    pub jobs: Option<u8>,
    /// Whether backups fingerprint the values of their tables.
    pub fingerprint: bool,
    /// What a hint calls the verb of this run.
    verb: &'static str,
    /// Read for the verbs that write or open dumps.
    keys: Keys,
    /// Set once nothing was found between here and the live database.
    direct: OnceCell<()>,
}

pub fn run(db: &Db, ui: &Ui, interrupt: &Interrupt) -> Result<()> {
    let settings = config::settings(&db.options, db.verb.given())?;
    ui.repeat_flags(settings.flags.clone());
    let vault = Vault::at(settings.vault.clone());
    let keyring = match db.verb.takes_keys() {
        true => keyring::load(&settings.encryption, db.verb.hinted(), interrupt)?,
        false => Keys::default(),
    };
    let mut scene = Scene {
        settings,
        ui,
        interrupt,
        vault,
        who: surroundings::ran_on(),
        jobs: None,
        fingerprint: false,
        verb: db.verb.hinted(),
        keys: keyring,
        direct: OnceCell::new(),
    };
    match &db.verb {
        Verb::Backup(_) | Verb::MigrateSafe(_) => {
            scene.jobs = scene.settings.get(keys::JOBS);
            scene.fingerprint = scene.settings.get(keys::FINGERPRINT).unwrap_or(false);
        }
        Verb::Restore(_) | Verb::Drill(_) => scene.jobs = scene.settings.get(keys::RESTORE_JOBS),
        _ => {}
    }
    scene
        .ui
        .detail(format!("project: {}", scene.settings.project.display()));
    scene.ui.detail(format!("database: {}", scene.settings.url));
    scene
        .ui
        .detail(format!("vault: {}", scene.settings.vault.display()));
    let jobs = db.verb.given().iter().any(|(key, _)| key.ends_with("jobs"));
    if jobs && matches!(scene.settings.url, DatabaseUrl::Sqlite(_)) {
        scene
            .ui
            .say("note: `--jobs` changes nothing for SQLite, which is copied as one file");
    }
    match &db.verb {
        Verb::Backup(arguments) => backup::run(&scene, arguments),
        Verb::Config => config_shown::run(&scene),
        Verb::List(arguments) => list::run(&scene, arguments),
        Verb::Status(arguments) => status::run(&scene, arguments),
        Verb::Log(arguments) => log::run(&scene, arguments),
        Verb::Verify(arguments) => verify::run(&scene, arguments),
        Verb::Diff(arguments) => diff::run(&scene, arguments),
        Verb::Drill(arguments) => drill::run(&scene, arguments),
        Verb::MigrateSafe(arguments) => migrate_safe::run(&scene, arguments),
        Verb::Export(arguments) => export::run(&scene, arguments),
        Verb::Import(arguments) => import::run(&scene, arguments),
        Verb::Push(arguments) => push::run(&scene, arguments),
        Verb::Pull(arguments) => pull::run(&scene, arguments),
        Verb::Prune(arguments) => prune::run(&scene, arguments),
        Verb::Pin(arguments) => pin::pin(&scene, arguments),
        Verb::Unpin(arguments) => pin::unpin(&scene, arguments),
        Verb::Restore(arguments) => restore::run(&scene, arguments),
        Verb::Rekey(arguments) => rekey::run(&scene, arguments),
    }
}

impl Scene<'_> {
    /// For what writes: creates the vault when it is missing, and clears away
    /// what crashed runs left in it.
    fn prepare_vault(&self) -> Result<()> {
        self.vault.prepare()?;
        for found in self.vault.remove_left_overs()? {
            let name = match found {
                LeftOver::PutBack(id) => {
                    self.ui.say(format!(
                        "put {id} back, which a run that was cut short had begun to remove"
                    ));
                    continue;
                }
                LeftOver::Backup(id, name) => {
                    self.record_cut_short(id);
                    name
                }
                LeftOver::Other(name) => name,
            };
            self.ui
                .say(format!("removed what a crashed run left behind: {name}"));
        }
        Ok(())
    }

    /// Of the live database, whose sessions are ours alone: what is set in one, or held, would be
    /// somebody else's behind what lends them out.
    fn engine(&self) -> Result<Box<dyn Engine>> {
        let mut engine = self.open(&self.settings.url, &self.settings.url_folder)?;
        if self.direct.get().is_none() {
            self.require_direct(&mut *engine)?;
            // Nobody else sets it.
            let _ = self.direct.set(());
        }
        engine.leave_out(self.settings.profile_for(&self.settings.url))?;
        if self.fingerprint {
            engine.take_fingerprints();
        }
        Ok(engine)
    }

    fn open(&self, url: &DatabaseUrl, folder: &Path) -> Result<Box<dyn Engine>> {
        engine::open(
            url,
            folder,
            self.settings.bookkeeping.clone(),
            self.jobs,
            self.keys.seal().is_some(),
            self.interrupt.clone(),
        )
    }

    fn require_direct(&self, engine: &mut dyn Engine) -> Result<()> {
        match self.settings.get(keys::THROUGH_POOLER).unwrap_or(false) {
            true => Ok(()),
            false => engine.require_direct(),
        }
    }
}

/// A text that may be a database URL in the wrong place is not repeated.
fn refuse_url(text: &str) -> Result<(), Failure> {
    if !text.contains("://") {
        return Ok(());
    }
    Err(
        Failure::usage("a database URL stands where a name was expected")
            .hint("put `--database-url` before it, or set `DATABASE_URL`"),
    )
}
