//! What the proof costs: the whole of `migrate-safe` with the rehearsal and without it.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Database;
use crate::postgres::{self, with_server};
use crate::process::{self, Cost};
use crate::report::{Report, Target};
use crate::sqlite;
use crate::stage::{Project, Stage};
use crate::turns::{self, Candidate};

const PART: &str = "proof";
const PROVEN: [&str; 3] = ["db", "migrate-safe", "--yes"];
const UNPROVEN: [&str; 4] = ["db", "migrate-safe", "--yes", "--no-rehearse"];
const MOST_TIMES: f64 = 2.2;
const MOST_TINY: Duration = Duration::from_millis(400);
/// Short runs vary more, and cost less.
const TURNS_PER_ROUND: usize = 4;

pub fn price(stage: &Stage, report: &mut Report) -> Result<()> {
    let rounds = stage.settings.rounds;
    let tiny = Case::tiny(stage, "proof-tiny-sqlite", None)?;
    let names = ["tiny SQLite, rehearsed", "tiny SQLite, --no-rehearse"];
    let measured = tiny.measure(report, names, Target::None, rounds * TURNS_PER_ROUND)?;
    report.within(PART, names[0], measured, MOST_TINY);
    if let Some(database) = stage.postgres("proof_tiny") {
        let tiny = Case::tiny(stage, "proof-tiny-postgres", Some(database))?;
        let names = [
            "tiny PostgreSQL, rehearsed",
            "tiny PostgreSQL, --no-rehearse",
        ];
        tiny.measure(report, names, Target::None, rounds * TURNS_PER_ROUND)?;
    }
    let big = Case {
        project: sqlite::filled(stage, "proof-sqlite")?,
        database: None,
        last: Cell::new(0),
    };
    let names = ["SQLite, rehearsed", "SQLite, --no-rehearse"];
    big.measure(report, names, Target::Within(MOST_TIMES), rounds)?;
    sqlite::remove_database(&big.project.sqlite_path())?;
    if let Some(database) = postgres::filled(stage, "proof")? {
        let big = Case {
            project: stage.project("proof-postgres", Some(database.url()))?,
            database: Some(database),
            last: Cell::new(0),
        };
        let names = ["PostgreSQL, rehearsed", "PostgreSQL, --no-rehearse"];
        big.measure(report, names, Target::Within(MOST_TIMES), rounds)?;
        big.database.iter().try_for_each(postgres::drop_database)?;
    }
    Ok(())
}

/// A database that each turn migrates a little further, so that nothing has to be brought back.
struct Case<'a> {
    project: Project<'a>,
    database: Option<Database>,
    /// The version of the newest migration.
    last: Cell<u64>,
}

impl<'a> Case<'a> {
    /// The example application.
    fn tiny(stage: &'a Stage, name: &str, database: Option<Database>) -> Result<Case<'a>> {
        let project = stage.project(name, database.as_ref().map(Database::url))?;
        project.add_example_migrations()?;
        process::run(&mut project.tool(UNPROVEN))?;
        project.remove_backups()?;
        let mut last = 0;
        for entry in fs::read_dir(project.folder.join("migrations"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let (version, _) = name.split_once('_').context("a migration has no version")?;
            last = last.max(version.parse()?);
        }
        Ok(Case {
            project,
            database,
            last: Cell::new(last),
        })
    }

    /// Returns the time of the run with the proof.
    fn measure(
        &self,
        report: &mut Report,
        names: [&'static str; 2],
        target: Target,
        rounds: usize,
    ) -> Result<Duration> {
        let [proven, unproven] = names;
        let candidates = vec![
            Candidate::new(proven, || self.turn(&PROVEN)),
            Candidate::new(unproven, || self.turn(&UNPROVEN)),
        ];
        let measured = turns::take(rounds, candidates)?;
        report.compare(PART, &measured, &[(unproven, target)]);
        Ok(measured
            .first()
            .map_or(Duration::MAX, |measured| measured.wall()))
    }

    /// A migration that costs next to nothing, so that it is the proof that is seen.
    fn turn(&self, arguments: &[&str]) -> Result<Cost> {
        let version = self.last.get() + 1;
        self.last.set(version);
        let file = format!("migrations/{version}_a_turn.sql");
        let sql = format!("ALTER TABLE customers ADD COLUMN turn_{version} TEXT;");
        fs::write(self.project.folder.join(file), sql)?;
        process::settle();
        let mut tool = self.project.tool(arguments);
        let cost = match &self.database {
            None => process::run(&mut tool)?,
            Some(database) => with_server(database, || process::run(&mut tool))?,
        };
        let size_bytes = Some(self.project.remove_backups()?);
        Ok(Cost { size_bytes, ..cost })
    }
}
