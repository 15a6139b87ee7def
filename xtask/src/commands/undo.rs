//! `db restore --undo`: what the last restore replaced takes its place again.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::restore::{self, Order};
use super::{Scene, choose};
use crate::cli::Restore;
use crate::engine::{Engine, KeptDatabase, Restored, SwapBack};
use crate::ui;
use crate::values::database::{Contents, DatabaseFacts};
use crate::values::failure::Failure;
use crate::values::journal::{Deed, Ending, Entry, Line};
use crate::values::words::on_one_line;
use crate::vault::{Backup, Listing};

pub(super) const COMMAND: &str = "cargo xtask db restore --undo";

#[derive(Serialize)]
struct Document<'a> {
    swapped_back: &'a str,
    kept_database: Option<&'a str>,
    database: &'a DatabaseFacts,
    warnings: &'a [String],
}

/// What the last restore replaced.
enum WayBack<'a> {
    /// The database itself, kept beside.
    Kept(KeptDatabase),
    /// The backup that it took first.
    Safety(&'a Backup),
}

impl WayBack<'_> {
    fn at(&self) -> DateTime<Utc> {
        match self {
            WayBack::Kept(kept) => kept.since,
            WayBack::Safety(backup) => backup.manifest.created_at,
        }
    }

    fn is_of(&self, entry: &Entry) -> bool {
        match self {
            WayBack::Kept(kept) => entry.kept.as_deref() == Some(kept.name.as_str()),
            WayBack::Safety(backup) => entry.safety.as_ref() == Some(backup.id()),
        }
    }
}

pub fn run(scene: &Scene, arguments: &Restore) -> Result<()> {
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    let listing = scene.vault.list()?;
    let kept = newest_kept(&mut *engine)?;
    match way_back(&listing, &scene.vault.journal()?, &now, kept)? {
        WayBack::Kept(kept) => swap_back(scene, arguments, &mut *engine, &now, &kept),
        WayBack::Safety(chosen) => {
            let what = "no replaced database is kept for this: restoring the backup that the last \
                        restore took first";
            restore::say_all(scene, vec![what.into()], asks(arguments));
            let order = Order {
                deed: Deed::Undo,
                chosen,
                listing: &listing,
                now: &now,
            };
            restore::restore(scene, arguments, &mut *engine, &order)
        }
    }
}

fn asks(arguments: &Restore) -> bool {
    !(arguments.yes || arguments.force)
}

fn newest_kept(engine: &mut dyn Engine) -> Result<Option<KeptDatabase>> {
    let Some(aside) = engine.aside() else {
        return Ok(None);
    };
    Ok(aside.list()?.into_iter().next())
}

/// The newer of the two, because each belongs to a restore: one that swapped
/// keeps a database after it has taken its backup, one in place keeps none.
/// The journal knows of restores that came to nothing, and of such as left
/// neither of the two.
fn way_back<'a>(
    listing: &'a Listing,
    journal: &[Line],
    now: &DatabaseFacts,
    kept: Option<KeptDatabase>,
) -> Result<WayBack<'a>, Failure> {
    let database = now.to_string();
    // Tables that came beside what is there replaced something if a backup of it was taken.
    let is_about = |entry: &&Entry| {
        entry.database == database
            && (matches!(entry.deed, Deed::Restore | Deed::Undo)
                || (entry.deed == Deed::Bring && entry.safety.is_some()))
    };
    let entries = journal.iter().filter_map(|line| line.entry.as_ref());
    let entries: Vec<&Entry> = entries.filter(is_about).collect();
    let last = entries.iter().rev().find(|e| e.ending == Ending::Done);
    let last = last.copied();
    let is_ours = choose::ours(listing, now);
    let ours = listing.backups.iter().filter(|backup| is_ours(backup));
    let safety = choose::newest_safety(ours, journal);
    let way = match (kept, safety) {
        // The name of a kept database says no more than the second.
        (Some(kept), Some(safety))
            if safety.manifest.created_at.timestamp() > kept.since.timestamp() =>
        {
            WayBack::Safety(safety)
        }
        (Some(kept), _) => WayBack::Kept(kept),
        (None, Some(safety)) => WayBack::Safety(safety),
        (None, None) => {
            return Err(last.map_or_else(
                || nothing(format!("of the {now} no restore is known")),
                |last| is_not_there(last, now),
            ));
        }
    };
    if choose::is_from_the_future(way.at(), Utc::now()) {
        return Err(nothing(
            "what the last restore replaced is dated in the future: by the clock, which one is \
             the last cannot be told"
                .into(),
        ));
    }
    match last {
        Some(last) if last.at > way.at() && !way.is_of(last) => Err(is_not_there(last, now)),
        _ => Ok(way),
    }
}

fn is_not_there(last: &Entry, now: &DatabaseFacts) -> Failure {
    let what = format!("what the {} of {} replaced", last.deed, ui::time(last.at));
    // A file that no backup could be taken of; what a server keeps would have been found.
    match last.kept.as_ref().filter(|_| now.path.is_some()) {
        Some(kept) => nothing(format!(
            "{what} was kept as `{}`, and does not come back by itself",
            on_one_line(kept)
        )),
        None => nothing(format!("{what} is not there any more, or was never kept")),
    }
}

fn nothing(why: String) -> Failure {
    Failure::refused(format!("there is nothing to undo: {why}"))
        .hint("`cargo xtask db list` shows the backups; cargo xtask db restore ID restores one")
}

fn swap_back(
    scene: &Scene,
    arguments: &Restore,
    engine: &mut dyn Engine,
    now: &DatabaseFacts,
    kept: &KeptDatabase,
) -> Result<()> {
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("restore", &scene.who)?;
    scene.say_unfinished();
    let exists = engine.exists()?;
    if exists {
        engine.lock()?;
    }
    if newest_kept(engine)?.is_none_or(|newest| newest.name != kept.name) {
        return Err(
            Failure::refused("another restore was done meanwhile; nothing was changed")
                .hint(COMMAND)
                .into(),
        );
    }
    let contents = exists.then(|| engine.contents());
    let aside = engine.aside().context("this engine keeps no databases")?;
    let way = aside.look_into(kept)?;
    show(scene, now, kept, &way, contents, asks(arguments));
    if asks(arguments) {
        let lost = "everything written since then will be in the database that is kept, and not in this one";
        restore::confirm(scene, lost, COMMAND)?;
    }
    let work = || aside.swap_back(kept);
    let swapped = scene
        .change(Deed::Undo, now, None, work, |_| {})
        .with_context(|| format!("`{}` was not swapped back", on_one_line(&kept.name)))?;
    report(scene, now, kept, &way, &swapped)
}

fn show(
    scene: &Scene,
    now: &DatabaseFacts,
    kept: &KeptDatabase,
    way: &SwapBack,
    contents: Option<Result<Contents>>,
    asks: bool,
) {
    let (name, age) = (on_one_line(&kept.name), ui::age(kept.since, Utc::now()));
    let mut lines = vec![
        format!(
            "kept      `{name}`, replaced {age} ago ({})",
            ui::time(kept.since)
        ),
        format!("goes into {now}"),
        "how       swapped in by name; the present database is kept".into(),
        match contents {
            None => "now       the database does not exist".into(),
            Some(Ok(found)) => restore::loss("kept one", &way.contents, &found),
            Some(Err(error)) => format!("now       the database cannot be read: {error:#}"),
        },
    ];
    lines.extend(restore::cut_and_warned(&way.sessions, &way.warnings));
    restore::say_all(scene, lines, asks);
}

fn report(
    scene: &Scene,
    now: &DatabaseFacts,
    back: &KeptDatabase,
    way: &SwapBack,
    swapped: &Restored,
) -> Result<()> {
    let name = on_one_line(&back.name);
    scene
        .ui
        .say(format!("swapped `{name}` back: it is the {now}"));
    if let Some(kept) = &swapped.kept {
        let kept = on_one_line(&kept.name);
        scene.ui.say(format!(
            "what it replaced is kept as `{kept}`; to swap that back: {COMMAND}"
        ));
    }
    scene.ui.emit(&Document {
        swapped_back: &back.name,
        kept_database: swapped.kept.as_ref().map(|kept| kept.name.as_str()),
        database: &now.for_show(),
        warnings: &way.warnings,
    })
}
