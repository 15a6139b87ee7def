//! Flags and help, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use backup::Backup;
pub use look::{Diff, Drill, Log, Verify};
pub use migrate_safe::{MigrateSafe, OnFailure};
pub use prune::Prune;
pub use restore::Restore;

mod backup;
mod look;
mod migrate_safe;
mod prune;
mod restore;

/// The command line of this workspace's own `cargo xtask`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Back up, migrate and restore the database
    Db(Db),
}

/// `db …`; another project's xtask can make it one of its own subcommands.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Db {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 unexpected, database untouched; 2 wrong usage; 3 refused, database untouched;
4 a backup cannot be trusted, database untouched; 5 failed after the first change, follow the hint;
6 done, but a copy or an alert is missing; 130 interrupted, the last line says what holds";

/// Each of them is a session of the server and a process here.
const JOBS: std::ops::RangeInclusive<i64> = 1..=64;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Options {
    /// The database [env: DATABASE_URL, also in `.env`] [default: sqlite://database/app.db]
    #[arg(long, value_name = "URL", global = true)]
    pub database_url: Option<String>,
    /// The migrations folder [default: `migrations` in the project]
    #[arg(long, value_name = "DIR", global = true)]
    pub source: Option<PathBuf>,
    /// The vault, where backups are kept [default: `database/backups` in the project]
    #[arg(long, value_name = "DIR", global = true)]
    pub backups: Option<PathBuf>,
    /// The project [default: the nearest folder upwards with `migrations/` or `database/`]
    #[arg(long, value_name = "DIR", global = true)]
    pub project: Option<PathBuf>,
    /// One JSON document on stdout, nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but errors and questions
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Take a backup, read it back and match it
    Backup(Backup),
    /// Show the backups in the vault, newest first
    List,
    /// Show the database, its migrations and its newest backup
    Status,
    /// Show what was done with the vault, and whether its journal is whole
    Log(Log),
    /// Match backups with their manifests
    Verify(Verify),
    /// Show what differs between two backups, or a backup and the database
    Diff(Diff),
    /// Restore backups into scratch databases and compare
    Drill(Drill),
    /// Take a backup, rehearse the pending migrations on it, then run them
    MigrateSafe(MigrateSafe),
    /// Put a backup in place of the database, or change nothing
    Restore(Restore),
    /// Remove databases that restores replaced and kept
    Prune(Prune),
}

impl Verb {
    /// What `--jobs` says, of the verbs that have it.
    pub fn jobs(&self) -> Option<u8> {
        match self {
            Verb::Backup(arguments) => arguments.jobs,
            Verb::MigrateSafe(arguments) => arguments.jobs,
            Verb::Restore(arguments) => arguments.jobs,
            Verb::Drill(arguments) => arguments.jobs,
            Verb::List
            | Verb::Status
            | Verb::Verify(_)
            | Verb::Log(_)
            | Verb::Diff(_)
            | Verb::Prune(_) => None,
        }
    }
}

impl Verb {
    /// Whether backups of this run fingerprint what they hold.
    pub fn fingerprint(&self) -> bool {
        match self {
            Verb::Backup(arguments) => arguments.fingerprint,
            Verb::MigrateSafe(arguments) => arguments.fingerprint,
            _ => false,
        }
    }
}
