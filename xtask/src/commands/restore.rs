//! `db restore`: a backup takes the place of the database, or nothing changes.

use anyhow::{Context, Result};
use chrono::Utc;
use serde::Serialize;

use super::choose::{self, IsOurs};
use super::offsite::bring;
use super::{Scene, backup, into, kinds, only, undo};
use crate::cli::Restore;
use crate::engine::{Engine, RestoreWay, Restored};
use crate::interrupt::Interrupted;
use crate::migrations;
use crate::ui::{self, Answer, Table};
use crate::values::database::{Contents, DatabaseFacts, EngineKind};
use crate::values::failure::{Failure, hint_of};
use crate::values::id::Reason;
use crate::values::journal::Deed;
use crate::values::plan::Migration;
use crate::values::verified_dump::VerifiedDump;
use crate::values::words::on_one_line;
use crate::vault::{Backup, Listing};

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
    let mut engine = scene.direct_engine()?;
    let now = engine.facts()?;
    let mut listing = scene.vault.list()?;
    if bring::missing(scene, arguments, &listing, &now)? {
        listing = scene.vault.list()?;
    }
    let is_ours = choose::ours(&listing, &now);
    let chosen = choose_backup(scene, arguments, &listing, &is_ours)?;
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
    let or_another =
        |error| choose::with_alternative(scene, order.listing, &is_ours, Some(chosen), error);
    let dump = match scene.verify(chosen) {
        Ok(dump) => dump,
        Err(_) if !chosen.is_there() => return Err(choose::gone(chosen).into()),
        Err(error) => return Err(or_another(error)?),
    };

    let exists = engine.exists()?;
    if exists {
        engine.lock()?;
    }
    let way = engine.prepare_restore(&dump)?;
    let contents = exists.then(|| engine.contents());
    let asks = !(arguments.yes || arguments.force);
    show(scene, &dump, now, &way, contents.as_ref(), asks);
    refuse_obstacles(&way, arguments, chosen)?;
    if asks {
        let lost = "everything written since the backup will be replaced by the backup";
        confirm(
            scene,
            lost,
            &format!("cargo xtask db restore {}", chosen.id()),
        )?;
    }

    let safety = match exists {
        true => {
            engine.hold_writers()?;
            take_safety_backup(scene, engine, arguments.force)?
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
        || engine.restore(dump, staging.path(), &scene.ui.progress()),
        |entry| {
            entry.backup = Some(id.clone());
            entry.safety = safety.map(|safety| safety.id().clone());
        },
    )
}

pub(super) fn choose_backup<'a>(
    scene: &Scene,
    arguments: &Restore,
    listing: &'a Listing,
    is_ours: IsOurs,
) -> Result<&'a Backup> {
    match arguments.backup.as_deref() {
        Some(wanted) => choose::by_name(scene, listing, wanted, is_ours),
        None if scene.ui.is_attended() => choose::pick(scene, listing, is_ours),
        None => Err(Failure::usage("which backup is to be restored?")
            .hint("cargo xtask db restore latest")
            .into()),
    }
}

pub(super) fn refuse_another_database(
    chosen: &Backup,
    now: &DatabaseFacts,
    is_ours: IsOurs,
    arguments: &Restore,
) -> Result<()> {
    let then = &chosen.manifest.database;
    if then.engine != now.engine {
        return Err(Failure::refused(format!(
            "the backup `{}` is of a {then}, and this is a {now}",
            chosen.id()
        ))
        .hint("set `DATABASE_URL` to a database of the same engine")
        .into());
    }
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

fn refuse_obstacles(way: &RestoreWay, arguments: &Restore, chosen: &Backup) -> Result<()> {
    if way.obstacles.is_empty() || arguments.force {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the restore would not bring back all of the backup: {}",
        way.obstacles.join("; ")
    ))
    .hint(format!(
        "restore as an administrator; or leave them as they are: cargo xtask db restore {} --force",
        chosen.id()
    ))
    .into())
}

/// What will happen, for the one who is asked; a log gets it as well.
fn show(
    scene: &Scene,
    dump: &VerifiedDump,
    now: &DatabaseFacts,
    way: &RestoreWay,
    contents: Option<&Result<Contents>>,
    asks: bool,
) {
    let manifest = dump.manifest();
    let age = ui::old(manifest.created_at, Utc::now());
    let taken = ui::time(manifest.created_at);
    let mut lines = vec![
        format!("backup    {}, {age} ({taken})", manifest.id),
        format!("taken of  {}", manifest.database),
        format!("goes into {now}"),
        format!("how       {}", way.description),
    ];
    if let Some(git) = &manifest.git {
        let dirty = if git.dirty {
            ", with uncommitted changes"
        } else {
            ""
        };
        lines.push(format!("taken at  commit {}{dirty}", git.commit));
    }
    lines.push(migrations_then(scene, dump));
    lines.push(match contents {
        None => "now       the database does not exist".into(),
        Some(Ok(found)) => loss("backup", &manifest.contents(), found),
        Some(Err(error)) => format!("now       the database cannot be read: {error:#}"),
    });
    lines.extend(
        way.sessions
            .iter()
            .map(|session| format!("will be cut: {session}")),
    );
    lines.extend(
        way.warnings
            .iter()
            .map(|warning| format!("warning: {warning}")),
    );
    say_all(scene, lines, asks);
}

/// Before a question also when quiet.
pub(super) fn say_all(scene: &Scene, lines: Vec<String>, asks: bool) {
    for line in lines {
        if asks {
            scene.ui.insist(line)
        } else {
            scene.ui.say(line)
        }
    }
}

fn migrations_then(scene: &Scene, dump: &VerifiedDump) -> String {
    let then = &dump.manifest().migrations.applied;
    let last = match then.last() {
        Some(last) => format!("migration {} was the last one applied", last.version),
        None => "no migration was applied".into(),
    };
    let Ok(available) = migrations::read_if_any(&scene.settings.source) else {
        return format!("then      {last}");
    };
    let is_newer = |m: &&Migration| then.iter().all(|applied| applied.version != m.version);
    let up = available
        .iter()
        .filter(|m| !m.migration_type.is_down_migration());
    let newer = ui::count(up.filter(is_newer).count() as u64, "migration");
    format!("then      {last}; {newer} of this checkout will be pending again")
}

/// Tables whose rows differ; what came after the backup is what will be lost.
pub(super) fn loss(there: &str, then: &Contents, now: &Contents) -> String {
    let rows_in = |contents: &Contents, table: &crate::values::database::TableRows| {
        let found = contents
            .tables
            .iter()
            .find(|t| t.schema == table.schema && t.name == table.name);
        found.map_or_else(|| "none".to_owned(), |found| found.rows.to_string())
    };
    let both = then.tables.iter().chain(&now.tables);
    let mut all: Vec<_> = both.filter(|table| table.kind.is_table()).collect();
    all.sort();
    all.dedup_by(|a, b| a.schema == b.schema && a.name == b.name);
    let header = format!("rows in the {there}");
    let mut table = Table::new(&["table", &header, "rows now"])
        .right(1)
        .right(2);
    let mut differ = 0;
    for rows in all {
        let (in_backup, in_database) = (rows_in(then, rows), rows_in(now, rows));
        if in_backup != in_database {
            differ += 1;
            table.row(&[rows, &in_backup, &in_database]);
        }
    }
    if differ == 0 {
        let tables = now.tables.iter().filter(|table| table.kind.is_table());
        let tables = ui::count(tables.count() as u64, "table");
        return format!("now       {tables}, with as many rows as in the {there}");
    }
    table.to_string().trim_end().to_owned()
}

pub(super) fn confirm(scene: &Scene, lost: &str, command: &str) -> Result<()> {
    if scene.ui.is_attended() {
        scene.ui.insist(lost);
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

/// What is there now, kept before it is replaced.
pub(super) fn take_safety_backup(
    scene: &Scene,
    engine: &mut dyn Engine,
    is_forced: bool,
) -> Result<Option<Backup>> {
    match backup::take(scene, engine, Reason::PreRestore, None) {
        Ok((backup, _)) => Ok(Some(backup)),
        Err(error) if error.chain().any(|cause| cause.is::<Interrupted>()) => Err(error),
        Err(error) if is_forced => {
            scene
                .ui
                .insist(format!("warning: no safety backup: {error:#}"));
            Ok(None)
        }
        Err(error) => {
            let mend = hint_of(&error).unwrap_or_else(|| "mend that".into());
            let failure = Failure::refused(
                "the database as it is now cannot be backed up; nothing was changed",
            );
            Err(error.context(failure.hint(format!(
                "{mend}; or do without a safety backup: add `--force`"
            ))))
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
