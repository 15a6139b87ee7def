//! What a developer waits for many times a day, alone and through `cargo xtask`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};

use crate::cluster::Database;
use crate::postgres::{drop_database, with_server};
use crate::process::{self, Cost};
use crate::report::{Report, Target};
use crate::sqlite::remove_database;
use crate::stage::{Project, Stage};
use crate::turns::{self, Candidate, Measured};

/// What a machine can do with so many files at all.
const LS: &str = "ls --format=long";
const START: &str = "xtask --version";
const MIGRATE: [&str; 3] = ["db", "migrate-safe", "--yes"];
/// Short runs vary more, and cost less.
const TURNS_PER_ROUND: usize = 4;

pub fn list(stage: &Stage, report: &mut Report) -> Result<()> {
    on_full_vault(stage, report, "list")
}

pub fn status(stage: &Stage, report: &mut Report) -> Result<()> {
    on_full_vault(stage, report, "status")
}

fn on_full_vault(stage: &Stage, report: &mut Report, verb: &'static str) -> Result<()> {
    let project = stage.project(verb, None)?;
    project.add_example_migrations()?;
    process::run(&mut project.tool(MIGRATE))?;
    fill_vault(&project, stage.settings.backups)?;
    let candidates = vec![
        Candidate::new("the tool", || process::run(&mut project.tool(["db", verb]))),
        Candidate::new(LS, || {
            let mut ls = Command::new("ls");
            process::run(ls.arg("--format=long").arg(project.vault()))
        }),
        Candidate::new("the same through cargo", || {
            through_cargo(&project, &[verb])
        }),
        Candidate::new(START, || process::run(&mut project.tool(["--version"]))),
    ];
    let measured = turns::take(stage.settings.rounds * TURNS_PER_ROUND, candidates)?;
    report.compare(verb, &measured, &[(LS, Target::None)]);
    let name = format!("db {verb} of {} backups", stage.settings.backups);
    within(report, verb, &measured, &name, 50);
    // Takes seconds for whole manifests, and would leave the others' caches cold.
    let json = Candidate::new("the same with --json", || {
        process::run(&mut project.tool(["db", verb, "--json"]))
    });
    let measured = turns::take(stage.settings.rounds, vec![json])?;
    report.compare(verb, &measured, &[]);
    Ok(())
}

/// Copies of a real backup, half an hour apart, under names of their own.
fn fill_vault(project: &Project, backups: usize) -> Result<()> {
    let id = project.backup()?;
    let vault = project.vault();
    let manifest = fs::read_to_string(vault.join(format!("{id}.json")))?;
    // Its last lines are its own digest, made anew for each copy.
    let (manifest, _) = manifest
        .split_once("  \"manifest_sha256\"")
        .context("no digest")?;
    let (_, rest) = manifest
        .split_once("\"created_at\": \"")
        .context("no time")?;
    let (created_at, _) = rest.split_once('"').context("no time")?;
    let newest: DateTime<Utc> = created_at.parse().context("no time")?;
    for number in 1..backups {
        let at = newest - TimeDelta::minutes(30) * i32::try_from(number)?;
        let copy = format!("backup_{}", at.format("%Y-%m-%d_%H%M%S"));
        let text = manifest
            .replace(&id, &copy)
            .replace(created_at, &at.to_rfc3339());
        let file = vault.join(format!("{copy}.json"));
        fs::write(file, xtask_db::parsers::sealed_manifest(text.into_bytes()))?;
        let dump = |id: &str| vault.join(format!("{id}.db.zst"));
        fs::copy(dump(&id), dump(&copy))?;
    }
    Ok(())
}

pub fn nothing_pending(stage: &Stage, report: &mut Report) -> Result<()> {
    const PART: &str = "nothing-pending";
    for (engine, project, _) in projects(stage, PART)? {
        project.add_example_migrations()?;
        process::run(&mut project.tool(MIGRATE))?;
        let candidates = vec![
            Candidate::new(engine, || process::run(&mut project.tool(MIGRATE))),
            Candidate::new("the same through cargo", || {
                through_cargo(&project, &MIGRATE[1..])
            }),
            Candidate::new(START, || process::run(&mut project.tool(["--version"]))),
        ];
        let measured = turns::take(stage.settings.rounds * TURNS_PER_ROUND, candidates)?;
        report.compare(PART, &measured, &[(START, Target::None)]);
    }
    Ok(())
}

/// The whole of `migrate-safe` for one migration of a database of a few rows.
pub fn small_migration(stage: &Stage, report: &mut Report) -> Result<()> {
    const PART: &str = "small-migration";
    for (engine, project, database) in projects(stage, PART)? {
        let before = Before::new(&project, database)?;
        let candidates = vec![
            Candidate::new(engine, || {
                before.bring_back()?;
                before.measured(|| process::run(&mut project.tool(MIGRATE)))
            }),
            Candidate::new("the same through cargo", || {
                before.bring_back()?;
                before.measured(|| through_cargo(&project, &MIGRATE[1..]))
            }),
        ];
        let measured = turns::take(stage.settings.rounds * TURNS_PER_ROUND, candidates)?;
        report.compare(PART, &measured, &[]);
        if before.database.is_none() {
            within(report, PART, &measured, engine, 150);
        }
    }
    Ok(())
}

/// One on SQLite and, where there is a server, one on PostgreSQL.
fn projects<'a>(
    stage: &'a Stage,
    part: &str,
) -> Result<Vec<(&'static str, Project<'a>, Option<Database>)>> {
    let sqlite = stage.project(&format!("{part}-sqlite"), None)?;
    let mut projects = vec![("SQLite", sqlite, None)];
    if let Some(database) = stage.postgres("small") {
        let project = stage.project(&format!("{part}-postgres"), Some(database.url()))?;
        projects.push(("PostgreSQL", project, Some(database)));
    }
    Ok(projects)
}

/// A project with all migrations but the last one applied, kept to begin from again.
struct Before<'a> {
    project: &'a Project<'a>,
    database: Option<Database>,
    /// SQLite: the file's copy.
    kept: PathBuf,
}

impl<'a> Before<'a> {
    fn new(project: &'a Project<'a>, database: Option<Database>) -> Result<Before<'a>> {
        project.add_example_migrations()?;
        let entries = fs::read_dir(project.folder.join("migrations"))?;
        let mut files: Vec<PathBuf> = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        let last = files.pop().context("the example has no migrations")?;
        let sql = fs::read(&last)?;
        fs::remove_file(&last)?;
        process::run(&mut project.tool(MIGRATE))?;
        fs::write(&last, sql)?;
        let before = Before {
            project,
            kept: project.folder.join("kept.db"),
            database,
        };
        match &before.database {
            None => drop(fs::copy(project.sqlite_path(), &before.kept)?),
            Some(database) => copy_database(database, database.name(), &kept_name(database)),
        }
        Ok(before)
    }

    fn bring_back(&self) -> Result<()> {
        self.project.remove_backups()?;
        match &self.database {
            None => {
                remove_database(&self.project.sqlite_path())?;
                fs::copy(&self.kept, self.project.sqlite_path())?;
            }
            Some(database) => {
                drop_database(database)?;
                copy_database(database, &kept_name(database), database.name());
            }
        }
        process::settle();
        Ok(())
    }

    fn measured(&self, run: impl FnOnce() -> Result<Cost>) -> Result<Cost> {
        match &self.database {
            None => run(),
            Some(database) => with_server(database, run),
        }
    }
}

fn kept_name(database: &Database) -> String {
    format!("{}_kept", database.name())
}

fn copy_database(server: &Database, from: &str, to: &str) {
    let postgres = server.cluster().database("postgres");
    postgres.psql(&format!("CREATE DATABASE \"{to}\" TEMPLATE \"{from}\";"));
}

fn through_cargo(project: &Project, arguments: &[&str]) -> Result<Cost> {
    let cost = process::run(&mut project.alias(arguments))?;
    // Cargo's memory, not the tool's.
    let peak_bytes = None;
    Ok(Cost { peak_bytes, ..cost })
}

fn within(report: &mut Report, part: &str, measured: &[Measured], name: &str, most_ms: u64) {
    if let Some(ours) = measured.first() {
        report.within(part, name, ours.wall(), Duration::from_millis(most_ms));
    }
}
