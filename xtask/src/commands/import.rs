//! `db import`: the rows of a file take their place in the database, or nothing changes. The file
//! is read as a whole before anybody is asked, and once more while its rows are written.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Scene, backup, restore};
use crate::cli;
use crate::engine::{Engine, Restored};
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::id::Reason;
use crate::values::journal::Deed;
use crate::values::portable::fit::{
    Landed, Landing, Mode, fit, refuse_children, refuse_faulty_keys,
};
use crate::values::portable::intake::{Intake, Inventory};
use crate::values::portable::told::Told;
use crate::values::portable::{Nowhere, Sink, csv_folder, read_file};
use crate::values::progress::Progress as _;
use crate::values::words::shell_quoted;
use crate::vault::Backup;
use crate::vault::export_file::{self, Found, Opened};

mod shown;

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
    let inventory = read(scene, (&found, arguments.edited), &mut Nowhere, "read")
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
    let lines = shown::plan(&inventory, &landing, &now, &engine.history()?);
    restore::say_all(scene, lines, !arguments.yes);
    refuse_rows(&landing, arguments, &command)?;
    if !arguments.yes {
        restore::confirm(scene, promise(landing.mode), &command)?;
    }
    scene.settle_seal(&mut *engine, &now)?;
    engine.prepare_import(&landing)?;
    let (safety, proof) = backup::take(scene, &mut *engine, Reason::PreImport, None)?;
    let progress = scene.ui.progress();
    let mut again = |sink: &mut dyn Sink| {
        let read = read(scene, (&found, arguments.edited), sink, "import")?;
        if read == inventory {
            return Ok(());
        }
        Err(
            Failure::untrusted("the file was changed while it was imported")
                .hint(format!(
                    "nothing was changed; once the file is whole: {command}"
                ))
                .into(),
        )
    };
    let imported = scene.change(
        Deed::Import,
        &now,
        None,
        || {
            let imported = engine.import(&proof, &landing, &mut again, &progress);
            progress.end();
            imported
        },
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
fn read(
    scene: &Scene,
    (found, is_edited): (&Found, bool),
    sink: &mut dyn Sink,
    step: &str,
) -> Result<Inventory> {
    let progress = scene.ui.progress();
    let mut told = Told::new(sink, &progress, step);
    let mut intake = Intake::new(&mut told, is_edited, scene.interrupt.clone());
    let read = match found {
        Found::Folder(path) => csv_folder::read(&Opened(path.clone()), &mut intake),
        Found::File(path) => {
            let mut open = || Ok(Box::new(export_file::open(path)?) as Box<dyn BufRead>);
            read_file(&mut open, &mut intake)
        }
    };
    progress.end();
    read?;
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
    let landing = fit(inventory, &outline, &arguments.tables, mode)?;
    if landing.wanted().next().is_none() {
        return Err(Failure::refused("there is no table to import in the file")
            .hint("name sqlx's own with `--table` if it is meant, or export again")
            .into());
    }
    if mode == Mode::Replace {
        refuse_children(&landing, &outline)?;
    }
    refuse_faulty_keys(&landing, &outline)?;
    Ok(landing)
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
        "imported {tables}, {}, into the {now}; read back and matched with the file{}",
        ui::count(rows, "row"),
        shown::but_for(landing)
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
