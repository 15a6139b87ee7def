//! The stories. One verb a file; each `run` reads top to bottom.

use std::path::Path;

use anyhow::Result;

use crate::cli::{Db, Verb};
use crate::config::{self, Settings};
use crate::engine::{self, Engine};
use crate::interrupt::Interrupt;
use crate::ui::Ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::Reason;
use crate::values::manifest::RanOn;
use crate::vault::{Backup, Listing, NotFound, Vault};

mod backup;
mod list;
mod migrate_safe;
mod restore;
mod status;
mod surroundings;
mod verify;

/// What every story has at hand.
pub struct Scene<'a> {
    pub settings: Settings,
    pub ui: &'a Ui,
    pub interrupt: &'a Interrupt,
    pub vault: Vault,
    pub who: RanOn,
}

pub fn run(db: &Db, ui: &Ui, interrupt: &Interrupt) -> Result<()> {
    let settings = config::settings(&db.options)?;
    let vault = Vault::at(settings.vault.clone());
    let scene = Scene {
        settings,
        ui,
        interrupt,
        vault,
        who: surroundings::ran_on(),
    };
    scene
        .ui
        .detail(format!("project: {}", scene.settings.project.display()));
    scene.ui.detail(format!("database: {}", scene.settings.url));
    scene
        .ui
        .detail(format!("vault: {}", scene.settings.vault.display()));
    match &db.verb {
        Verb::Backup { label } => backup::run(&scene, label.as_deref()),
        Verb::List => list::run(&scene),
        Verb::Status => status::run(&scene),
        Verb::Verify(arguments) => verify::run(&scene, arguments),
        Verb::MigrateSafe(arguments) => migrate_safe::run(&scene, arguments),
        Verb::Restore(arguments) => restore::run(&scene, arguments),
    }
}

impl Scene<'_> {
    /// For what writes: creates the vault when it is missing, and clears away
    /// what crashed runs left in it.
    fn prepare_vault(&self) -> Result<()> {
        self.vault.prepare()?;
        for name in self.vault.remove_left_overs()? {
            self.ui
                .say(format!("removed what a crashed run left behind: {name}"));
        }
        Ok(())
    }

    fn engine(&self) -> Result<Box<dyn Engine>> {
        engine::open(
            &self.settings.url,
            &self.settings.url_folder,
            self.settings.bookkeeping.clone(),
            self.interrupt.clone(),
        )
    }
}

/// The newest backup of this database. A safety backup that a restore took is
/// left out: after a restore that failed half-way, `restore latest` must not
/// bring back the state that one wanted to get rid of.
fn latest<'a>(listing: &'a Listing, now: &DatabaseFacts) -> Option<&'a Backup> {
    listing
        .backups
        .iter()
        .filter(|backup| is_of(backup, now))
        .find(|backup| backup.manifest.reason != Reason::PreRestore)
}

fn is_of(backup: &Backup, now: &DatabaseFacts) -> bool {
    now.is_same_as(&backup.manifest.database, |path| Path::new(path).exists())
}

fn no_backup_of(now: &DatabaseFacts, vault: &Vault) -> Failure {
    Failure::untrusted(format!(
        "the vault `{}` has no backup of the {now}",
        vault.folder().display()
    ))
    .hint("`cargo xtask db list` shows what is there; `cargo xtask db backup` takes one")
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

/// By id or part of one; says which ones it could be, or what is wrong with it.
fn find<'a>(listing: &'a Listing, wanted: &str) -> Result<&'a Backup, Failure> {
    refuse_url(wanted)?;
    listing.find(wanted).map_err(|error| match error {
        NotFound::Ambiguous { ref candidates, .. } => {
            let names: Vec<_> = candidates.iter().map(|id| format!("  {id}")).collect();
            Failure::usage(format!("{error}:\n{}", names.join("\n")))
                .hint("give a longer part, or the whole id")
        }
        NotFound::None(_) => match listing.problem_with(wanted) {
            Some(problem) => Failure::untrusted(format!(
                "`{}` cannot be used: {}",
                problem.file, problem.problem
            ))
            .hint("`cargo xtask db verify --all` shows which backups can be trusted"),
            None => Failure::untrusted(error.to_string())
                .hint("`cargo xtask db list` shows the backups"),
        },
    })
}
