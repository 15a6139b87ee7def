//! `db export`: the rows of one moment, in a file that a person can read and edit.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Scene;
use crate::cli::{self, ExportFormat};
use crate::ui;
use crate::values::failure::Failure;
use crate::values::portable::csv_folder::CsvFolder;
use crate::values::portable::document::Document as JsonDocument;
use crate::values::portable::head::{Head, TableHead};
use crate::values::portable::ndjson::Lines;
use crate::values::portable::outlet::{Layout, Outlet};
use crate::values::progress::Progress;
use crate::values::words::{on_one_line, shell_quoted};
use crate::vault::export_file::{self, Staged, StagedFolder};

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
    let progress = scene.ui.progress();
    progress.begin("export", None);
    let exported = export(scene, arguments, format, is_stdout, &progress);
    progress.end();
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
        let folder = text.trim_end_matches(".csv").replace('-', "export");
        return Err(
            Failure::usage("CSV has a file for each table, and wants a folder").hint(format!(
                "name one: --format csv -o {}",
                shell_quoted(&folder)
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
    progress: &dyn Progress,
) -> Result<Head> {
    let path = arguments.output.as_path();
    let to = |out| layout(format, Told { out, progress });
    if is_stdout {
        return send(scene, arguments, to(Box::new(export_file::stdout())));
    }
    if format == ExportFormat::Csv {
        let staged = StagedFolder::create(path)?;
        let head = send(scene, arguments, Box::new(CsvFolder::new(staged.files())))?;
        staged.publish()?;
        return Ok(head);
    }
    let staged = Staged::create(path, arguments.force)?;
    let head = send(scene, arguments, to(Box::new(staged.writer()?)))?;
    staged.publish()?;
    Ok(head)
}

fn layout<'a>(format: ExportFormat, told: Told<'a>) -> Box<dyn Layout + 'a> {
    let out = BufWriter::with_capacity(1 << 18, told);
    match format {
        ExportFormat::Json => Box::new(JsonDocument::new(out)),
        ExportFormat::Ndjson | ExportFormat::Csv => Box::new(Lines::new(out)),
    }
}

fn send<'a>(scene: &Scene, arguments: &cli::Export, layout: Box<dyn Layout + 'a>) -> Result<Head> {
    let mut outlet = Outlet::new(layout);
    scene.engine()?.export(&arguments.tables, &mut outlet)?;
    outlet.finish()
}

/// Says how far it is.
struct Told<'a> {
    out: Box<dyn Write>,
    progress: &'a dyn Progress,
}

impl Write for Told<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.progress.advance(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
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
