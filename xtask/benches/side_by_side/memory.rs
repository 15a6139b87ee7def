//! The memory of the tool's own process does not grow with the database.

use anyhow::Result;

use crate::load;
use crate::postgres::drop_database;
use crate::process;
use crate::report::{Report, mebibytes, milliseconds, table};
use crate::sqlite::remove_database;
use crate::stage::{Project, Stage};

const LIMIT: u64 = 64 << 20;

pub fn peak(stage: &Stage, report: &mut Report) -> Result<()> {
    let mut shown = table(&["database", "verb", "wall", "peak"]);
    for &megabytes in &stage.settings.memory_megabytes {
        let mut peaks = Vec::new();
        let project = stage.project(&format!("memory-sqlite-{megabytes}"), None)?;
        load::sqlite(&project.sqlite_path(), megabytes, stage.settings.seed)?;
        let name = format!("SQLite, {megabytes} MB");
        peaks.extend(of_all_verbs(&project, &name, &mut shown)?);
        remove_database(&project.sqlite_path())?;
        project.remove_backups()?;

        if let Some(database) = stage.postgres("memory") {
            let name = format!("memory-postgres-{megabytes}");
            let project = stage.project(&name, Some(database.url()))?;
            load::postgres(&database, megabytes, stage.settings.seed)?;
            let name = format!("PostgreSQL, {megabytes} MB");
            peaks.extend(of_all_verbs(&project, &name, &mut shown)?);
            drop_replaced(&database);
            drop_database(&database)?;
            project.remove_backups()?;
        }
        let largest = peaks.into_iter().max();
        report.line(
            "memory",
            format!(
                "own process, {megabytes} MB: {}",
                largest.map_or_else(|| "unknown".into(), mebibytes)
            ),
            format!("under {}", mebibytes(LIMIT)),
            largest.map(|peak| peak < LIMIT),
        );
    }
    println!("{shown}");
    Ok(())
}

/// Backup, verify, and a restore over the database with the backup that it takes first.
fn of_all_verbs(project: &Project, name: &str, shown: &mut comfy_table::Table) -> Result<Vec<u64>> {
    let verbs: [&[&str]; 3] = [
        &["db", "backup"],
        &["db", "verify", "latest"],
        &["db", "restore", "latest", "--yes"],
    ];
    let mut peaks = Vec::new();
    for arguments in verbs {
        let cost = process::run(&mut project.tool(arguments))?;
        let peak = cost.peak_bytes.map_or_else(|| "unknown".into(), mebibytes);
        shown.add_row([name, &arguments.join(" "), &milliseconds(cost.wall), &peak]);
        peaks.extend(cost.peak_bytes);
    }
    Ok(peaks)
}

/// What a restore keeps of the database that it replaced.
fn drop_replaced(database: &crate::cluster::Database) {
    let postgres = database.cluster().database("postgres");
    let kept = format!("{}_before_", database.name());
    let names = postgres.psql(&format!(
        "SELECT datname FROM pg_database WHERE starts_with(datname, '{kept}');"
    ));
    for name in names.lines() {
        postgres.psql(&format!("DROP DATABASE \"{name}\";"));
    }
}
