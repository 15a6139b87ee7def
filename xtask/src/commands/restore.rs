//! `db restore`: a backup takes the place of the database, or nothing changes.

use anyhow::{Context, Result};
use chrono::Utc;
use serde::Serialize;

use super::choose::{self, IsOurs};
use super::{Scene, backup};
use crate::cli::Restore;
use crate::engine::{Engine, RestoreWay, Restored};
use crate::interrupt::Interrupted;
use crate::migrations;
use crate::ui::{self, Answer, Table};
use crate::values::database::{Contents, DatabaseFacts};
use crate::values::failure::{Failure, hint_of};
use crate::values::id::Reason;
use crate::values::verified_dump::VerifiedDump;
use crate::vault::{Backup, Listing};

#[derive(Serialize)]
struct Document<'a> {
    restored: &'a str,
    safety_backup: Option<String>,
    kept_database: Option<&'a str>,
    database: &'a DatabaseFacts,
    warnings: &'a [String],
}

pub fn run(scene: &Scene, arguments: &Restore) -> Result<()> {
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    let listing = scene.vault.list()?;
    let is_ours = |backup: &Backup| choose::is_of(backup, &now);
    let chosen = choose_backup(scene, arguments, &listing, &is_ours)?;
    refuse_another_database(chosen, &now, arguments)?;
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("restore", &scene.who)?;
    // Whatever shows that this backup cannot be trusted, the error names one that can.
    let or_another =
        |error| choose::with_alternative(scene, &listing, &is_ours, Some(chosen), error);
    let dump = match scene
        .vault
        .verify(chosen, &scene.ui.progress(), scene.interrupt)
    {
        Ok(dump) => dump,
        Err(error) => return Err(or_another(error)?),
    };

    let exists = engine.exists()?;
    if exists {
        engine.lock()?;
    }
    let way = engine.prepare_restore(&dump)?;
    let contents = exists.then(|| engine.contents());
    show(scene, &dump, &now, &way, contents.as_ref());
    confirm(scene, arguments, &dump)?;

    let safety = match exists {
        true => take_safety_backup(scene, &mut *engine, arguments)?,
        false => None,
    };
    let staging = scene.vault.staging("restore")?;
    let restored = match engine.restore(&dump, staging.path(), &scene.ui.progress()) {
        Ok(restored) => restored,
        Err(error) => {
            let error = or_another(error)?;
            return Err(error).context(format!("the backup `{}` was not restored", chosen.id()));
        }
    };
    report(scene, chosen, &now, safety.as_ref(), &restored)
}

fn choose_backup<'a>(
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

fn refuse_another_database(
    chosen: &Backup,
    now: &DatabaseFacts,
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
    if arguments.force || choose::is_of(chosen, now) {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the backup `{}` is of another database: of the {then}, and this is the {now}",
        chosen.id()
    ))
    .hint(format!(
        "if that is what you want: cargo xtask db restore {} --force",
        chosen.id()
    ))
    .into())
}

fn show(
    scene: &Scene,
    dump: &VerifiedDump,
    now: &DatabaseFacts,
    way: &RestoreWay,
    contents: Option<&Result<Contents>>,
) {
    let say = |line: String| scene.ui.insist(line);
    let manifest = dump.manifest();
    let age = ui::age(manifest.created_at, Utc::now());
    say(format!(
        "backup    {}, {age} old ({})",
        manifest.id,
        ui::time(manifest.created_at)
    ));
    say(format!("goes into {now}"));
    say(format!("how       {}", way.description));
    if let Some(git) = &manifest.git {
        let dirty = if git.dirty {
            ", with uncommitted changes"
        } else {
            ""
        };
        say(format!("taken at  commit {}{dirty}", git.commit));
    }
    show_migrations(scene, dump);
    match contents {
        None => say("now       the database does not exist".into()),
        Some(Ok(found)) => show_loss(scene, &manifest.contents(), found),
        Some(Err(error)) => say(format!("now       the database cannot be read: {error}")),
    }
    for session in &way.sessions {
        say(format!("will be cut: {session}"));
    }
    for warning in &way.warnings {
        say(format!("warning: {warning}"));
    }
}

fn show_migrations(scene: &Scene, dump: &VerifiedDump) {
    let then = &dump.manifest().migrations.applied;
    let newer = migrations::read_if_any(&scene.settings.source).map(|available| {
        let up = available
            .iter()
            .filter(|m| !m.migration_type.is_down_migration());
        up.filter(|m| then.iter().all(|applied| applied.version != m.version))
            .count()
    });
    let last = then
        .last()
        .map_or_else(|| "none".into(), |migration| migration.version.to_string());
    scene.ui.insist(match newer {
        Ok(newer) => format!(
            "migration {last} was the last one applied; {} in this checkout will be pending again",
            ui::count(newer as u64, "migration")
        ),
        Err(_) => format!("migration {last} was the last one applied"),
    });
}

/// Tables whose rows differ; what came after the backup is what will be lost.
fn show_loss(scene: &Scene, then: &Contents, now: &Contents) {
    let rows_in = |contents: &Contents, table: &crate::values::database::TableRows| {
        let found = contents
            .tables
            .iter()
            .find(|t| t.schema == table.schema && t.name == table.name);
        found.map_or_else(|| "none".to_owned(), |found| found.rows.to_string())
    };
    let mut all: Vec<_> = then.tables.iter().chain(&now.tables).collect();
    all.sort();
    all.dedup_by(|a, b| a.schema == b.schema && a.name == b.name);
    let mut table = Table::new(&["table", "rows in the backup", "rows now"])
        .right(1)
        .right(2);
    let mut differ = 0;
    for rows in all {
        let (in_backup, in_database) = (rows_in(then, rows), rows_in(now, rows));
        if in_backup != in_database {
            differ += 1;
            table.row(&[rows.to_string(), in_backup, in_database]);
        }
    }
    let total = now.tables.len() as u64;
    if differ == 0 {
        let tables = ui::count(total, "table");
        scene.ui.insist(format!(
            "now       {tables}, with as many rows as in the backup"
        ));
    } else {
        scene.ui.insist(format!("{table}").trim_end());
    }
}

fn confirm(scene: &Scene, arguments: &Restore, dump: &VerifiedDump) -> Result<()> {
    if arguments.yes || arguments.force {
        return Ok(());
    }
    if scene.ui.is_attended() {
        scene
            .ui
            .insist("everything written since the backup will be replaced by the backup");
    }
    let command = format!("cargo xtask db restore {}", dump.manifest().id);
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
fn take_safety_backup(
    scene: &Scene,
    engine: &mut dyn Engine,
    arguments: &Restore,
) -> Result<Option<Backup>> {
    match backup::take(scene, engine, Reason::PreRestore, None) {
        Ok((backup, _)) => Ok(Some(backup)),
        Err(error) if error.chain().any(|cause| cause.is::<Interrupted>()) => Err(error),
        Err(error) if arguments.force => {
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

fn report(
    scene: &Scene,
    chosen: &Backup,
    now: &DatabaseFacts,
    safety: Option<&Backup>,
    restored: &Restored,
) -> Result<()> {
    scene
        .ui
        .say(format!("restored `{}` into the {now}", chosen.id()));
    for warning in &restored.warnings {
        scene.ui.insist(format!("warning: {warning}"));
    }
    if let Some(safety) = safety {
        scene
            .ui
            .say(format!("to undo: cargo xtask db restore {}", safety.id()));
    }
    if let Some(kept) = &restored.kept {
        scene.ui.say(format!(
            "what it replaced is kept as `{}`; to remove it:",
            kept.name
        ));
        scene.ui.say(format!("  {}", kept.remove_command));
    }
    scene.ui.emit(&Document {
        restored: chosen.id().as_str(),
        safety_backup: safety.map(|backup| backup.id().to_string()),
        kept_database: restored.kept.as_ref().map(|kept| kept.name.as_str()),
        database: now,
        warnings: &restored.warnings,
    })
}
