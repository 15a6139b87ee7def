//! `db export`: the rows of one moment, in a file that a person can read and edit.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Scene;
use crate::cli::{self, ExportFormat};
use crate::engine::Engine;
use crate::ui;
use crate::values::database::DatabaseFacts;
use crate::values::failure::Failure;
use crate::values::portable::csv_folder::CsvFolder;
use crate::values::portable::document::Document as JsonDocument;
use crate::values::portable::head::{Head, TableHead};
use crate::values::portable::ndjson::Lines;
use crate::values::portable::outlet::{Layout, Outlet};
use crate::values::portable::told::Told;
use crate::values::progress::Progress as _;
use crate::values::words::{on_one_line, shell_quoted};
use crate::vault::export_file::{self, Kept, Staged, StagedFolder};

#[derive(Serialize)]
struct Document<'a> {
    exported: String,
    format: &'a str,
    rows: u64,
    tables: Vec<TableDocument<'a>>,
    left_out: &'a [String],
}

#[derive(Serialize)]
struct TableDocument<'a> {
    schema: &'a str,
    name: &'a str,
    rows: u64,
}

pub fn run(scene: &Scene, arguments: &cli::Export) -> Result<()> {
    let path = arguments.output.as_path();
    let is_stdout = path == Path::new("-");
    let format = format(arguments, is_stdout)?;
    if is_stdout && scene.ui.is_json() {
        return Err(Failure::usage("`--json` and `-o -` both want stdout")
            .hint("write a file: -o export.ndjson")
            .into());
    }
    scene.refuse_public_plain("an export is not encrypted")?;
    let exported = export(scene, arguments, format, is_stdout);
    let head = exported.context("nothing was exported")?;
    report(scene, path, format, &head, is_stdout)
}

fn format(arguments: &cli::Export, is_stdout: bool) -> Result<ExportFormat, Failure> {
    let text = arguments.output.to_string_lossy();
    if text.contains("://") {
        return Err(
            Failure::usage("a database URL stands where a file was expected")
                .hint("put `--database-url` before it, or set `DATABASE_URL`"),
        );
    }
    let by_name = match arguments.output.extension() {
        Some(ending) if ending == "json" => ExportFormat::Json,
        Some(ending) if ending == "csv" => ExportFormat::Csv,
        _ if text.ends_with('/') => ExportFormat::Csv,
        _ => ExportFormat::Ndjson,
    };
    let format = arguments.format.unwrap_or(by_name);
    let is_file = is_stdout || text.ends_with(".csv");
    if format == ExportFormat::Csv && is_file {
        let folder = match text.strip_suffix(".csv") {
            Some(folder) if !(is_stdout || folder.is_empty()) => folder,
            _ => "export",
        };
        return Err(
            Failure::usage("CSV has a file for each table, and wants a folder").hint(format!(
                "name one: --format csv -o {}",
                shell_quoted(folder)
            )),
        );
    }
    Ok(format)
}

fn export(
    scene: &Scene,
    arguments: &cli::Export,
    format: ExportFormat,
    is_stdout: bool,
) -> Result<Head> {
    let path = arguments.output.as_path();
    let mut engine = scene.engine()?;
    let engine = &mut *engine;
    let to = |out| layout(format, out);
    if is_stdout {
        let stdout = to(Box::new(export_file::stdout()));
        return send(scene, engine, arguments, stdout);
    }
    let facts = engine.facts()?;
    let kept = kept(scene, &facts);
    if format == ExportFormat::Csv {
        let staged = StagedFolder::create(path, &kept)?;
        remove_left_overs(scene, path)?;
        let folder = Box::new(CsvFolder::new(staged.files()));
        let head = send(scene, engine, arguments, folder)?;
        staged.publish()?;
        return Ok(head);
    }
    let staged = Staged::create(path, arguments.force, &kept)?;
    remove_left_overs(scene, path)?;
    let file = to(Box::new(staged.writer()?));
    let head = send(scene, engine, arguments, file)?;
    staged.publish()?;
    Ok(head)
}

/// What no file that this program writes takes the place of.
pub fn kept<'a>(scene: &'a Scene, live: &'a DatabaseFacts) -> Kept<'a> {
    Kept {
        vault: scene.vault.folder(),
        database: live.path.as_deref().map(Path::new),
    }
}

fn remove_left_overs(scene: &Scene, path: &Path) -> Result<()> {
    for left in export_file::remove_left_overs(path)? {
        scene
            .ui
            .say(format!("removed what a killed export left behind: {left}"));
    }
    Ok(())
}

fn layout<'a>(format: ExportFormat, out: Box<dyn Write + 'a>) -> Box<dyn Layout + 'a> {
    let out = BufWriter::with_capacity(1 << 18, out);
    match format {
        ExportFormat::Json => Box::new(JsonDocument::new(out)),
        ExportFormat::Ndjson | ExportFormat::Csv => Box::new(Lines::new(out)),
    }
}

fn send<'a>(
    scene: &Scene,
    engine: &mut dyn Engine,
    arguments: &cli::Export,
    layout: Box<dyn Layout + 'a>,
) -> Result<Head> {
    let mut outlet = Outlet::new(layout);
    let progress = scene.ui.progress();
    let mut told = Told::new(&mut outlet, &progress, "export");
    let exported = engine.export(&arguments.tables, &mut told);
    progress.end();
    exported?;
    outlet.finish()
}

fn report(
    scene: &Scene,
    path: &Path,
    format: ExportFormat,
    head: &Head,
    is_stdout: bool,
) -> Result<()> {
    for line in &head.left_out {
        scene
            .ui
            .insist(format!("warning: left out: {}", on_one_line(line)));
    }
    let place = match is_stdout {
        true => "stdout".to_owned(),
        false => format!("`{}`", path.display()),
    };
    let tables = ui::count(head.tables.len() as u64, "table");
    let rows = ui::count(head.rows(), "row");
    scene.ui.say(format!(
        "exported {tables}, {rows}, of one moment, into {place}"
    ));
    scene.ui.emit(&Document {
        exported: path.display().to_string(),
        format: match format {
            ExportFormat::Json => "json",
            ExportFormat::Ndjson => "ndjson",
            ExportFormat::Csv => "csv",
        },
        rows: head.rows(),
        tables: head.tables.iter().map(document_of).collect(),
        left_out: &head.left_out,
    })
}

fn document_of(table: &TableHead) -> TableDocument<'_> {
    TableDocument {
        schema: &table.schema,
        name: &table.name,
        rows: table.rows,
    }
}
