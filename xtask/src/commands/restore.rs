//! `db restore`: a backup takes the place of the database, or nothing changes.

use anyhow::{Context, Result};
use serde::Serialize;

use super::choose::{self, IsOurs};
use super::offsite::bring;
use super::{Scene, backup, into, kinds, only, undo};
use crate::cli::Restore;
use crate::engine::{Engine, RestoreWay, Restored};
use crate::interrupt::is_interrupted;
use crate::ui::Answer;
use crate::values::database::{DatabaseFacts, EngineKind};
use crate::values::failure::{Failure, hint_of};
use crate::values::id::Reason;
use crate::values::journal::Deed;
use crate::values::verified_dump::VerifiedDump;
use crate::values::words::on_one_line;
use crate::vault::{Backup, Listing};

mod shown;

pub(super) use shown::{cut_and_warned, heading, loss, say_all};

#[derive(Serialize)]
struct Document<'a> {
    restored: &'a str,
    safety_backup: Option<String>,
    kept_database: Option<&'a str>,
    database: &'a DatabaseFacts,
    warnings: &'a [String],
}

/// What is to be restored, and as what it is written down.
pub(super) struct Order<'a> {
    pub deed: Deed,
    pub chosen: &'a Backup,
    pub listing: &'a Listing,
    pub now: &'a DatabaseFacts,
}

pub fn run(scene: &Scene, arguments: &Restore) -> Result<()> {
    if arguments.undo {
        return undo::run(scene, arguments);
    }
    if let Some(names) = &arguments.only {
        return only::run(scene, arguments, names);
    }
    if let Some(url) = &arguments.into {
        return into::run(scene, arguments, url);
    }
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    let mut listing = scene.vault.list()?;
    if bring::missing(scene, arguments, &listing, &now)? {
        listing = scene.vault.list()?;
    }
    let is_ours = choose::ours(&listing, &now);
    let chosen = choose_backup(scene, arguments, &listing, &is_ours, &now)?;
    kinds::refuse_in_place(chosen)?;
    refuse_another_database(chosen, &now, &is_ours, arguments)?;
    let order = Order {
        deed: Deed::Restore,
        chosen,
        listing: &listing,
        now: &now,
    };
    restore(scene, arguments, &mut *engine, &order)
}

pub(super) fn restore(
    scene: &Scene,
    arguments: &Restore,
    engine: &mut dyn Engine,
    order: &Order,
) -> Result<()> {
    let (chosen, now) = (order.chosen, order.now);
    let is_ours = choose::ours(order.listing, now);
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("restore", &scene.who)?;
    scene.say_unfinished();
    // No reason to refuse: what is there may be what is wrong.
    if let Err(error) = scene.end_left_exclusive(&mut *engine) {
        scene.ui.insist(format!("warning: {error:#}"));
    }
    // Whatever shows that this backup cannot be trusted, the error names one that can.
    let or_another = |error| {
        choose::with_alternative(scene, order.listing, &is_ours, Some(chosen.into()), error)
    };
    let mut dump = match scene.verify(chosen) {
        Ok(dump) => dump,
        Err(_) if !chosen.is_there() => return Err(choose::gone(chosen).into()),
        Err(error) => return Err(or_another(error)?),
    };
    let verb = format!("restore {}{}", chosen.id(), arguments.forced());
    scene.unlock(&mut dump, &verb)?;

    let exists = engine.exists()?;
    if exists {
        engine.lock()?;
        scene.settle_seal(engine, now)?;
    }
    let way = engine.prepare_restore(&dump)?;
    let contents = exists.then(|| engine.contents());
    let asks = !(arguments.yes || arguments.force);
    shown::show(scene, &dump, now, &way, contents.as_ref(), asks);
    let command = format!("cargo xtask db restore {}", chosen.id());
    refuse_obstacles(&way, arguments, &command)?;
    if asks {
        let lost = "everything written since the backup will be replaced by the backup";
        confirm(scene, lost, &command)?;
    }

    let force = match arguments.force || way.keeps_unreadable {
        true => Force::Given,
        false => Force::Missing(&command),
    };
    let safety = match exists_by_now(engine, exists)? {
        true => {
            engine.hold_writers()?;
            take_safety_backup(scene, engine, force)?
        }
        false => None,
    };
    let restored = match replace(scene, engine, order.deed, now, &dump, safety.as_ref()) {
        Ok(restored) => restored,
        Err(error) => {
            let error = or_another(error)?;
            return Err(error).context(format!("the backup `{}` was not restored", chosen.id()));
        }
    };
    say_restored(scene, chosen, now, safety.as_ref(), &restored);
    scene.ui.emit(&Document {
        restored: chosen.id().as_str(),
        safety_backup: safety.map(|backup| backup.id().to_string()),
        kept_database: restored.kept.as_ref().map(|kept| kept.name.as_str()),
        database: &now.for_show(),
        warnings: &restored.warnings,
    })
}

/// Marked in the vault from before the first change until it is known how it ended.
pub(super) fn replace(
    scene: &Scene,
    engine: &mut dyn Engine,
    deed: Deed,
    now: &DatabaseFacts,
    dump: &VerifiedDump,
    safety: Option<&Backup>,
) -> Result<Restored> {
    let staging = scene.vault.staging("restore")?;
    let id = &dump.manifest().id;
    scene.change(
        deed,
        now,
        safety,
        || engine.restore(dump, staging.path(), &scene.ui.progress()),
        |entry| entry.backup = Some(id.clone()),
    )
}

pub(super) fn choose_backup<'a>(
    scene: &Scene,
    arguments: &Restore,
    listing: &'a Listing,
    is_ours: IsOurs,
    now: &DatabaseFacts,
) -> Result<&'a Backup> {
    if arguments.backup.as_deref() == Some("latest") {
        choose::refuse_another_address(scene, listing, is_ours, now)?;
    }
    match arguments.backup.as_deref() {
        Some(wanted) => choose::by_name(scene, listing, wanted, is_ours),
        None if scene.ui.is_attended() => choose::pick(scene, listing, is_ours),
        None => Err(Failure::usage("which backup is to be restored?")
            .hint("cargo xtask db restore latest")
            .into()),
    }
}

pub(super) fn refuse_engine(chosen: &Backup, now: &DatabaseFacts) -> Result<(), Failure> {
    let then = &chosen.manifest.database;
    if then.engine == now.engine {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the backup `{}` is of a {then}, and this is a {now}",
        chosen.id()
    ))
    .hint("set `DATABASE_URL` to a database of the same engine"))
}

pub(super) fn refuse_another_database(
    chosen: &Backup,
    now: &DatabaseFacts,
    is_ours: IsOurs,
    arguments: &Restore,
) -> Result<()> {
    refuse_engine(chosen, now)?;
    let then = &chosen.manifest.database;
    if arguments.force || is_ours(chosen) {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the backup `{}` is of another database, the {then}; this is the {now}",
        chosen.id()
    ))
    .hint(format!(
        "if that is what you want: cargo xtask db restore {} --force",
        chosen.id()
    ))
    .into())
}

/// `command` is what would do it all the same.
pub(super) fn refuse_obstacles(
    way: &RestoreWay,
    arguments: &Restore,
    command: &str,
) -> Result<(), Failure> {
    if way.obstacles.is_empty() || arguments.force {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the restore would not bring back all of the backup: {}",
        way.obstacles.join("; ")
    ))
    .hint(format!(
        "restore as an administrator; or leave them as they are: {command} --force"
    )))
}

pub(super) fn confirm(scene: &Scene, what: &str, command: &str) -> Result<()> {
    if scene.ui.is_attended() {
        scene.ui.insist(what);
    }
    match scene.ui.confirm(scene.interrupt)? {
        Answer::Yes => Ok(()),
        Answer::No => Err(Failure::refused("not confirmed; nothing was changed")
            .hint(format!("only the word `yes` goes on: {command}"))
            .into()),
        Answer::Nobody => Err(Failure::refused(
            "there is no terminal to ask on, and `--yes` was not given; nothing was changed",
        )
        .hint(format!("{command} --yes"))
        .into()),
    }
}

/// Somebody may have made it while the question was.
pub(super) fn exists_by_now(engine: &mut dyn Engine, existed: bool) -> Result<bool> {
    let exists = engine.exists()?;
    if exists && !existed {
        engine.lock()?;
    }
    Ok(exists)
}

/// What `--force` does for one who wants no safety backup.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Force<'a> {
    Nothing,
    /// The command that lacks it.
    Missing(&'a str),
    Given,
}

/// What is there now, kept before it is replaced.
pub(super) fn take_safety_backup(
    scene: &Scene,
    engine: &mut dyn Engine,
    force: Force,
) -> Result<Option<Backup>> {
    // Who forces it does without where that fails, but never has it lie there for everybody.
    scene.refuse_public()?;
    match backup::take(scene, engine, Reason::PreRestore, None) {
        Ok((backup, _)) => Ok(Some(backup)),
        Err(error) if is_interrupted(&error) => Err(error),
        Err(error) if force == Force::Given => {
            scene
                .ui
                .insist(format!("warning: no safety backup: {error:#}"));
            engine.keep_replaced();
            Ok(None)
        }
        Err(error) => {
            let mut hint = hint_of(&error).unwrap_or_else(|| "mend that".into());
            if let Force::Missing(command) = force {
                hint += &format!("\nor do without a safety backup: {command} --force");
            }
            let failure = Failure::refused(
                "the database as it is now cannot be backed up; nothing was changed",
            );
            Err(error.context(failure.hint(hint)))
        }
    }
}

pub(super) fn say_restored(
    scene: &Scene,
    chosen: &Backup,
    now: &DatabaseFacts,
    safety: Option<&Backup>,
    restored: &Restored,
) {
    scene
        .ui
        .say(format!("restored `{}` into the {now}", chosen.id()));
    for warning in &restored.warnings {
        scene.ui.insist(format!("warning: {warning}"));
    }
    // A damaged file of SQLite that was moved aside does not come back by itself.
    let swaps = now.engine == EngineKind::Postgresql && restored.kept.is_some();
    if safety.is_some() || swaps {
        scene.ui.say(format!("to undo: {}", undo::COMMAND));
    }
    if let Some(safety) = safety {
        let id = safety.id();
        let what = "what it replaced is the backup";
        scene.ui.say(format!("{what} `{id}`"));
    }
    if let Some(kept) = &restored.kept {
        scene.ui.say(format!(
            "what it replaced is kept as `{}`; to remove it:",
            on_one_line(&kept.name)
        ));
        scene.ui.say(format!("  {}", kept.remove_command));
    }
}
