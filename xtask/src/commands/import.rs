//! `db import`: the rows of a file take their place in the database, or nothing changes. The file
//! is read as a whole before anybody is asked, and once more while its rows are written.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Scene, backup, restore};
use crate::cli;
use crate::engine::{Engine, Restored};
use crate::ui::{self, Table};
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::Reason;
use crate::values::journal::Deed;
use crate::values::portable::fit::{Landed, Landing, Mode, fit};
use crate::values::portable::intake::{Intake, Inventory};
use crate::values::portable::outline::Outline;
use crate::values::portable::{Nowhere, Sink, csv_folder, read_file};
use crate::values::words::{on_one_line, shell_quoted};
use crate::vault::Backup;
use crate::vault::export_file::{self, Found, Opened};

#[derive(Serialize)]
struct Document<'a> {
    imported: String,
    rows: u64,
    tables: Vec<TableDocument<'a>>,
    edited: bool,
    safety_backup: &'a str,
    database: &'a DatabaseFacts,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct TableDocument<'a> {
    schema: &'a str,
    name: &'a str,
    rows_before: u64,
    rows_imported: u64,
}

pub fn run(scene: &Scene, arguments: &cli::Import) -> Result<()> {
    refuse_url(&arguments.file)?;
    let found = export_file::find(&arguments.file)?;
    let inventory = read(scene, &found, arguments.edited, &mut Nowhere)
        .with_context(|| format!("`{}` cannot be imported", arguments.file.display()))?;
    let mut engine = scene.engine()?;
    let now = engine.facts()?;
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("import", &scene.who)?;
    scene.say_unfinished();
    scene.end_left_exclusive(&mut *engine)?;
    engine.lock()?;

    let landing = plan(&mut *engine, arguments, &inventory)?;
    let command = command(arguments);
    show(
        scene,
        &mut *engine,
        &inventory,
        &landing,
        &now,
        !arguments.yes,
    )?;
    refuse_rows(&landing, arguments, &command)?;
    if !arguments.yes {
        restore::confirm(scene, promise(landing.mode), &command)?;
    }
    engine.prepare_import(&landing)?;
    let (safety, proof) = backup::take(scene, &mut *engine, Reason::PreImport, None)?;
    let mut again = |sink: &mut dyn Sink| {
        let read = read(scene, &found, arguments.edited, sink)?;
        if read == inventory {
            return Ok(());
        }
        Err(Failure::untrusted("the file was changed while it was imported").into())
    };
    let imported = scene.change(
        Deed::Import,
        &now,
        || engine.import(&proof, &landing, &mut again),
        |entry| entry.backup = Some(safety.id().clone()),
    );
    let imported =
        imported.with_context(|| format!("`{}` was not imported", arguments.file.display()))?;
    report(
        scene,
        arguments,
        &inventory,
        &landing,
        (&now, &safety),
        &imported,
    )
}

fn refuse_url(file: &Path) -> Result<(), Failure> {
    super::refuse_url(&file.to_string_lossy())
}

/// All of it, from its beginning; what is not whole ends it.
fn read(scene: &Scene, found: &Found, is_edited: bool, sink: &mut dyn Sink) -> Result<Inventory> {
    let mut intake = Intake::new(sink, is_edited, scene.interrupt.clone());
    match found {
        Found::Folder(path) => csv_folder::read(&Opened(path.clone()), &mut intake)?,
        Found::File(path) => {
            let mut open = || Ok(Box::new(export_file::open(path)?) as Box<dyn BufRead>);
            read_file(&mut open, &mut intake)?;
        }
    }
    intake.finish()
}

fn plan(
    engine: &mut dyn Engine,
    arguments: &cli::Import,
    inventory: &Inventory,
) -> Result<Landing> {
    let mode = match (arguments.replace, arguments.append) {
        (true, _) => Mode::Replace,
        (_, true) => Mode::Append,
        _ => Mode::IntoEmpty,
    };
    let outline = engine.outline()?;
    let mut landing = fit(&inventory.head, &outline, &arguments.tables, mode)?;
    for (landed, found) in landing.tables.iter_mut().zip(&inventory.tables) {
        if let Some(landed) = landed {
            landed.rows_to_come = found.tally.rows;
        }
    }
    if landing.wanted().next().is_none() {
        return Err(Failure::refused("there is no table to import in the file").into());
    }
    if mode == Mode::Replace {
        refuse_children(&landing, &outline)?;
    }
    Ok(landing)
}

/// Rows that refer to those that would be deleted, and are not in the file themselves.
fn refuse_children(landing: &Landing, outline: &Outline) -> Result<(), Failure> {
    let is_landed = |schema: &str, name: &str| {
        landing
            .wanted()
            .any(|table| table.schema == schema && table.name == name)
    };
    let others = outline
        .tables
        .iter()
        .filter(|table| !is_landed(&table.schema, &table.name));
    for child in others.filter(|table| table.rows > 0) {
        let parent = child
            .parents
            .iter()
            .find(|(schema, name)| is_landed(schema, name));
        if let Some((_, parent)) = parent {
            return Err(Failure::refused(format!(
                "rows of `{}` refer to rows of `{}`, which would be deleted",
                child.title(),
                on_one_line(parent)
            ))
            .hint("import both tables, or add the rows with `--append`"));
        }
    }
    Ok(())
}

fn command(arguments: &cli::Import) -> String {
    let mut command = format!(
        "cargo xtask db import {}",
        shell_quoted(&arguments.file.to_string_lossy())
    );
    for table in &arguments.tables {
        command += &format!(" --table {}", shell_quoted(table));
    }
    let flags = [
        (arguments.replace, " --replace"),
        (arguments.append, " --append"),
        (arguments.edited, " --edited"),
    ];
    for (_, flag) in flags.into_iter().filter(|(is_given, _)| *is_given) {
        command += flag;
    }
    command
}

fn promise(mode: Mode) -> &'static str {
    match mode {
        Mode::IntoEmpty => "the rows are added in one transaction, after a backup",
        Mode::Append => {
            "the rows are added to those that are there, in one transaction, after a backup"
        }
        Mode::Replace => {
            "the rows that are there will be deleted, and those of the file added, in one transaction, \
             after a backup"
        }
    }
}

/// An import never merges unless that was asked for.
fn refuse_rows(landing: &Landing, arguments: &cli::Import, command: &str) -> Result<(), Failure> {
    if arguments.replace || arguments.append {
        return Ok(());
    }
    let Some(full) = landing.wanted().find(|table| table.rows_now > 0) else {
        return Ok(());
    };
    let rows = ui::count(full.rows_now, "row");
    Err(Failure::refused(format!(
        "the table `{}` is not empty: it has {rows}",
        full.title
    ))
    .hint(format!(
        "to delete them first: {command} --replace; to add to them: {command} --append"
    )))
}

fn show(
    scene: &Scene,
    engine: &mut dyn Engine,
    inventory: &Inventory,
    landing: &Landing,
    now: &DatabaseFacts,
    asks: bool,
) -> Result<()> {
    let head = &inventory.head;
    let database = on_one_line(&head.database);
    let mut lines = vec![
        format!(
            "exported  {} of the {} database `{database}`",
            ui::time(head.taken_at),
            head.engine
        ),
        format!("goes into {now}"),
    ];
    let mut table = Table::new(&["table", "rows now", "rows to come"])
        .right(1)
        .right(2);
    for landed in landing.wanted() {
        table.row(&[&landed.title, &landed.rows_now, &landed.rows_to_come]);
    }
    lines.push(table.to_string().trim_end().to_owned());
    for landed in landing
        .wanted()
        .filter(|landed| !landed.defaults.is_empty())
    {
        let columns = landed.defaults.join("`, `");
        lines.push(format!(
            "note: `{}`: the file has no `{columns}`, which get their defaults",
            landed.title
        ));
    }
    for (table, _) in head
        .tables
        .iter()
        .zip(&landing.tables)
        .filter(|(_, landed)| landed.is_none())
    {
        lines.push(format!(
            "note: `{}` of the file is not imported",
            table.title()
        ));
    }
    let rows: u64 = inventory.tables.iter().map(|found| found.edited).sum();
    if inventory.is_edited() {
        lines.push(format!(
            "note: edited since it was exported: {} changed or added",
            ui::count(rows, "row")
        ));
    }
    if head.migrations != engine.history()? {
        lines.push("note: other migrations were applied when it was exported than are now".into());
    }
    restore::say_all(scene, lines, asks);
    Ok(())
}

fn report(
    scene: &Scene,
    arguments: &cli::Import,
    inventory: &Inventory,
    landing: &Landing,
    (now, safety): (&DatabaseFacts, &Backup),
    imported: &Restored,
) -> Result<()> {
    let rows = landing.wanted().map(|table| table.rows_to_come).sum();
    let tables = ui::count(landing.wanted().count() as u64, "table");
    scene.ui.say(format!(
        "imported {tables}, {}, into the {now}; read back and matched with the file",
        ui::count(rows, "row")
    ));
    for warning in &imported.warnings {
        scene.ui.insist(format!("warning: {warning}"));
    }
    scene
        .ui
        .say(format!("to undo: cargo xtask db restore {}", safety.id()));
    scene.ui.emit(&Document {
        imported: arguments.file.display().to_string(),
        rows,
        tables: landing.wanted().map(document_of).collect(),
        edited: inventory.is_edited(),
        safety_backup: safety.id().as_str(),
        database: &now.for_show(),
        warnings: &imported.warnings,
    })
}

fn document_of(table: &Landed) -> TableDocument<'_> {
    TableDocument {
        schema: &table.schema,
        name: &table.name,
        rows_before: table.rows_now,
        rows_imported: table.rows_to_come,
    }
}
