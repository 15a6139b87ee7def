//! PostgreSQL with `--jobs`: from how many sessions on it pays, for a backup and for a restore.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Database;
use crate::postgres::{clients_in_shell, drop_database, filled, in_shell, with_server};
use crate::process::{self, Cost};
use crate::report::{Report, Target};
use crate::stage::{Project, Stage};
use crate::turns::{self, Candidate};

const PART: &str = "postgres-jobs";
const DIRECTORY: &str = "pg_dump --format=directory --jobs=2 --compress=0";
const PG_RESTORE: &str = "createdb, pg_restore --jobs=2 of a folder";

/// One part, so that what is restored is what was just seen to be written.
pub fn both(stage: &Stage, report: &mut Report) -> Result<()> {
    let Some(database) = filled(stage, "jobs")? else {
        return Ok(());
    };
    let project = stage.project(PART, Some(database.url()))?;
    backup(stage, &database, &project, report)?;
    restore(stage, &database, &project, report)
}

fn backup(
    stage: &Stage,
    database: &Database,
    project: &Project<'_>,
    report: &mut Report,
) -> Result<()> {
    let out = stage.folder("postgres-jobs-out")?;
    let ours = |name, arguments: &'static [&'static str]| {
        Candidate::new(name, move || {
            let mut backup = project.tool(arguments);
            let cost = with_server(database, || process::run(&mut backup))?;
            let size_bytes = Some(project.remove_backups()?);
            Ok(Cost { size_bytes, ..cost })
        })
    };
    let script = r#"pg_dump --format=directory --jobs=2 --compress=0 --file="$1/dump""#;
    let candidates = vec![
        ours("backup --jobs 2", &["db", "backup", "--jobs", "2"]),
        ours("backup", &["db", "backup"]),
        ours("backup --jobs 4", &["db", "backup", "--jobs", "4"]),
        Candidate::new(DIRECTORY, || in_shell(database, script, &out)),
    ];
    let measured = turns::take(stage.settings.rounds, candidates)?;
    let targets = ["backup", "backup --jobs 4", DIRECTORY].map(|name| (name, Target::None));
    report.compare(PART, &measured, &targets);
    Ok(())
}

/// Into a database that is not there, as in `postgres-restore`.
fn restore(
    stage: &Stage,
    database: &Database,
    project: &Project<'_>,
    report: &mut Report,
) -> Result<()> {
    let id = |arguments: &[&str]| -> Result<String> {
        let document = project.json(arguments)?;
        let id = document.pointer("/backup/id").and_then(Value::as_str);
        Ok(id.context("the document has no id")?.to_owned())
    };
    let stream = id(&["db", "backup", "stream"])?;
    let folder = id(&["db", "backup", "folder", "--jobs", "2"])?;
    let dump = stage.folder("postgres-jobs-dump")?.join("dump");
    let mut pg_dump = database.client("pg_dump");
    pg_dump.args(["--format=directory", "--compress=0", "--file"]);
    process::run(pg_dump.arg(&dump))?;
    drop_database(database)?;

    let restored = |mut command: Command| {
        let cost = with_server(database, || process::run(&mut command))?;
        drop_database(database)?;
        Ok(cost)
    };
    let ours = |name, id: &'_ str, jobs: &'static str| {
        let arguments = ["db", "restore", id, "--yes", "--jobs", jobs].map(str::to_owned);
        Candidate::new(name, move || restored(project.tool(&arguments)))
    };
    let candidates = vec![
        ours("restore --jobs 2, of a folder", &folder, "2"),
        ours("restore --jobs 1, of a folder", &folder, "1"),
        ours("restore --jobs 4, of a folder", &folder, "4"),
        ours("restore --jobs 1, of a stream", &stream, "1"),
        ours("restore --jobs 2, of a stream", &stream, "2"),
        ours("restore --jobs 4, of a stream", &stream, "4"),
        Candidate::new(PG_RESTORE, || {
            let script = r#"createdb --maintenance-db=postgres --template=template0 "$PGDATABASE"
                            pg_restore --exit-on-error --jobs=2 --dbname="$PGDATABASE" "$1""#;
            let mut command = clients_in_shell(database, script)?;
            command.arg(&dump);
            let cost = restored(command)?;
            // The shell's own memory says nothing.
            Ok(Cost {
                peak_bytes: None,
                ..cost
            })
        }),
    ];
    let measured = turns::take(stage.settings.rounds, candidates)?;
    let targets: Vec<_> = measured[1..]
        .iter()
        .map(|m| (m.name, Target::None))
        .collect();
    report.compare(PART, &measured, &targets);
    Ok(())
}
