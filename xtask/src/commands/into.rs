//! `db restore --into URL`: a backup becomes another database, beside the live
//! one or far from it. The live database is asked who it is, and no more.

use anyhow::{Context, Result};
use serde::Serialize;

use super::offsite::bring;
use super::restore::Force;
use super::{Scene, choose, journal, kinds, restore};
use crate::cli::Restore;
use crate::engine::{Engine, RestoreWay, Restored};
use crate::interrupt::is_interrupted;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::database_url::DatabaseUrl;
use crate::values::failure::Failure;
use crate::values::journal::Deed;
use crate::values::words::{on_one_line, shell_quoted};
use crate::vault::Backup;

#[derive(Serialize)]
struct Document<'a> {
    restored: &'a str,
    into: &'a DatabaseFacts,
    safety_backup: Option<String>,
    kept_database: Option<&'a str>,
    warnings: &'a [String],
}

pub fn run(scene: &Scene, arguments: &Restore, text: &str) -> Result<()> {
    let (mut there, url) = open(scene, text)?;
    let now = scene.engine()?.facts()?;
    let facts = there.facts()?;
    let mut listing = scene.vault.list()?;
    if bring::missing(scene, arguments, &listing, &now)? {
        listing = scene.vault.list()?;
    }
    let is_ours = choose::ours(&listing, &now);
    let chosen = restore::choose_backup(scene, arguments, &listing, &is_ours, &now)?;
    let command = format!("cargo xtask db restore {} --into {url}", chosen.id());
    refuse_engine(chosen, &facts)?;
    kinds::refuse_alone(chosen)?;
    let hint = format!(
        "to put the backup in its place: cargo xtask db restore {}",
        chosen.id()
    );
    refuse_live(scene, &mut *there, &now, hint)?;
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("restore", &scene.who)?;
    let progress = scene.ui.progress();
    let mut dump = scene.verify(chosen)?;
    let verb = format!("restore {} --into {url}{}", chosen.id(), arguments.forced());
    scene.unlock(&mut dump, &verb)?;

    let exists = there.exists()?;
    if exists {
        there.lock()?;
    }
    let asked = (chosen, arguments);
    refuse_data(&mut *there, exists, asked, &facts, &command)?;
    let way = there.prepare_restore(&dump)?;
    let asks = !(arguments.yes || arguments.force);
    show(scene, chosen, &facts, &way, exists, asks);
    restore::refuse_obstacles(&way, arguments, &command)?;
    if asks {
        restore::confirm(scene, "the live database is not touched", &command)?;
    }
    // Somebody may have been there while the question was, and others still can be.
    let exists = restore::exists_by_now(&mut *there, exists)?;
    if exists {
        scene.settle_seal(&mut *there, &facts)?;
        there.hold_writers()?;
    }
    let found = refuse_data(&mut *there, exists, asked, &facts, &command)?;
    let safety = match found {
        Found::Nothing => None,
        Found::Something => restore::take_safety_backup(scene, &mut *there, Force::Nothing)?,
        Found::Unreadable => restore::take_safety_backup(scene, &mut *there, Force::Given)?,
    };
    let staging = scene.vault.staging("restore")?;
    let restored = scene.recorded_with(
        Deed::Restore,
        &facts,
        || there.restore(&dump, staging.path(), &progress),
        |done, entry| {
            entry.backup = Some(chosen.id().clone());
            entry.safety = journal::safety_of(done, safety.as_ref());
            let kept = done.as_ref().ok().and_then(|done| done.kept.as_ref());
            entry.kept = kept.map(|kept| kept.name.clone());
        },
    );
    let restored =
        restored.with_context(|| format!("the backup `{}` was not restored", chosen.id()))?;
    report(scene, chosen, &facts, safety.as_ref(), &restored)
}

/// The database, and its URL as it may be shown.
pub(super) fn open(scene: &Scene, text: &str) -> Result<(Box<dyn Engine>, String)> {
    let mut url = DatabaseUrl::parse(text)
        .with_context(|| Failure::usage("the URL of `--into` cannot be used"))?;
    let shown = match url.may_be_shown() {
        true => text.to_owned(),
        false => url.to_string(),
    };
    if let DatabaseUrl::Sqlite(url) = &mut url {
        url.create = true;
    }
    let here = std::env::current_dir().context("cannot ask for the current folder")?;
    let mut there = scene.open(&url, &here)?;
    scene.require_direct(&mut *there)?;
    there.leave_out(scene.settings.profile_for(&url))?;
    Ok((there, shell_quoted(&shown)))
}

pub(super) fn refuse_engine(chosen: &Backup, there: &DatabaseFacts) -> Result<(), Failure> {
    let then = &chosen.manifest.database;
    if then.engine == there.engine {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the backup `{}` is of a {then}, and `--into` leads to a {there}",
        chosen.id()
    ))
    .hint("name a database of the same engine"))
}

/// By what it is, and not by how its URL is spelled.
pub(super) fn refuse_live(
    scene: &Scene,
    there: &mut dyn Engine,
    now: &DatabaseFacts,
    hint: String,
) -> Result<()> {
    let facts = there.facts()?;
    if facts.engine != now.engine || there.place()? != scene.engine()?.place()? {
        return Ok(());
    }
    let what = format!("`--into` leads to the live database itself, the {now}");
    Err(Failure::refused(what).hint(hint).into())
}

/// What the database holds that will be replaced.
enum Found {
    Nothing,
    Something,
    /// What cannot be read is something, too, and cannot be backed up.
    Unreadable,
}

/// What is replaced is what somebody has asked for.
fn refuse_data(
    there: &mut dyn Engine,
    exists: bool,
    (chosen, arguments): (&Backup, &Restore),
    facts: &DatabaseFacts,
    command: &str,
) -> Result<Found> {
    if !exists {
        return Ok(Found::Nothing);
    }
    let is_forced = arguments.force && chosen.manifest.is_full();
    let found = match there.holds() {
        Err(error) if !is_forced || is_interrupted(&error) => return Err(error),
        Err(_) => return Ok(Found::Unreadable),
        Ok(None) => return Ok(Found::Nothing),
        Ok(Some(_)) if is_forced => return Ok(Found::Something),
        Ok(Some(found)) => found,
    };
    let holds = format!(
        "the {facts} is not empty: it holds `{}`",
        on_one_line(&found)
    );
    if !chosen.manifest.is_full() {
        return Err(Failure::refused(format!(
            "{holds}; the backup is no full one and replaces nothing"
        ))
        .hint("name a database that does not exist yet")
        .into());
    }
    Err(Failure::refused(holds)
    .hint(format!(
        "name a database that does not exist yet; or, to replace all that is there: {command} --force"
    ))
    .into())
}

fn show(
    scene: &Scene,
    chosen: &Backup,
    facts: &DatabaseFacts,
    way: &RestoreWay,
    exists: bool,
    asks: bool,
) {
    let manifest = &chosen.manifest;
    let there = if exists {
        ""
    } else {
        ", which does not exist yet"
    };
    let mut lines = restore::heading(manifest, format!("{facts}{there}"));
    lines.push(format!("how       {}", way.description));
    lines.extend(kinds::lines(manifest));
    lines.extend(restore::cut_and_warned(&way.sessions, &way.warnings));
    restore::say_all(scene, lines, asks);
}

fn report(
    scene: &Scene,
    chosen: &Backup,
    facts: &DatabaseFacts,
    safety: Option<&Backup>,
    restored: &Restored,
) -> Result<()> {
    let (id, manifest) = (chosen.id(), &chosen.manifest);
    let tables = ui::count(manifest.tables.len() as u64, "table");
    let rows = ui::count(manifest.rows(), "row");
    scene.ui.say(format!(
        "restored `{id}` into the {facts}: {tables}, {rows}, compared with the manifest"
    ));
    for warning in &restored.warnings {
        scene.ui.insist(format!("warning: {warning}"));
    }
    if let Some(safety) = safety {
        let id = safety.id();
        scene
            .ui
            .say(format!("what was there before is the backup `{id}`"));
    }
    if let Some(kept) = &restored.kept {
        let name = on_one_line(&kept.name);
        scene.ui.say(format!(
            "what was there before is kept as `{name}`; to remove it:"
        ));
        scene.ui.say(format!("  {}", kept.remove_command));
    }
    scene.ui.emit(&Document {
        restored: id.as_str(),
        into: &facts.for_show(),
        safety_backup: safety.map(|safety| safety.id().to_string()),
        kept_database: restored.kept.as_ref().map(|kept| kept.name.as_str()),
        warnings: &restored.warnings,
    })
}
