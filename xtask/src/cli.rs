//! Flags and help, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    Backup {
        /// Words at the end of the backup's id: letters, digits, `.`, `_`, `-`
        label: Option<String>,
        /// PostgreSQL: dump through N sessions at once; the vault's disk must hold the dump
        /// uncompressed for a while
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(JOBS))]
        jobs: Option<u8>,
        /// Fingerprint the values of every table; whatever restores this backup compares them, too
        #[arg(long)]
        fingerprint: bool,
    },
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
            Verb::Backup { jobs, .. } => *jobs,
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
            Verb::Backup { fingerprint, .. } => *fingerprint,
            Verb::MigrateSafe(arguments) => arguments.fingerprint,
            _ => false,
        }
    }
}

#[derive(Debug, Args)]
pub struct Log {
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub last: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// `latest`, an id, or a part that only one id has [default: latest]
    #[arg(value_name = "latest|ID")]
    pub backup: Option<String>,
    /// All backups in the vault
    #[arg(long, conflicts_with = "backup")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// `latest`, an id, a part that only one id has, or `live`
    #[arg(value_name = "A")]
    pub a: String,
    /// The same [default: live, the database as it is now]
    #[arg(value_name = "B")]
    pub b: Option<String>,
    /// List the rows of this table that differ; backups are restored into scratch databases for it
    #[arg(long, value_name = "TABLE")]
    pub rows: Option<String>,
    /// How many of them; the others are counted [default: 100]
    #[arg(long, value_name = "N", requires = "rows")]
    pub limit: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Drill {
    /// `latest`, an id, or a part that only one id has [default: latest]
    #[arg(value_name = "latest|ID")]
    pub backup: Option<String>,
    /// All backups of this database in the vault
    #[arg(long, conflicts_with = "backup")]
    pub all: bool,
    /// PostgreSQL: restore through N sessions at once [default: up to 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(JOBS))]
    pub jobs: Option<u8>,
}

#[derive(Debug, Args)]
pub struct MigrateSafe {
    /// Show what would run; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Run migrations up to this version only
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub target_version: Option<i64>,
    /// PostgreSQL: take the backup through N sessions at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(JOBS))]
    pub jobs: Option<u8>,
    /// Fingerprint the values of every table; whatever restores the backup compares them, too
    #[arg(long)]
    pub fingerprint: bool,
    /// Rehearse also what reaches further than its database, such as CREATE ROLE, on the live
    /// database's own server
    #[arg(long, conflicts_with = "no_rehearse")]
    pub rehearse_reaching: bool,
    /// Do not restore the backup into a scratch database, and run the migrations unrehearsed
    #[arg(long)]
    pub no_rehearse: bool,
    /// Tables and columns whose rows or values may be lost, such as `books,users.phone`
    #[arg(long, value_name = "NAMES", conflicts_with = "no_rehearse")]
    pub accept_loss: Option<String>,
    /// Do everything but the jump: write what would happen into FILE, for a review
    #[arg(long, value_name = "FILE", conflicts_with_all = ["no_rehearse", "dry_run", "approve", "exclusive"])]
    pub plan: Option<PathBuf>,
    /// Run only if it is what FILE, written by --plan, says
    #[arg(long, value_name = "FILE", conflicts_with_all = ["no_rehearse", "dry_run"])]
    pub approve: Option<PathBuf>,
    /// When a migration fails on the live database: `ask` whether the backup is to be restored,
    /// `restore` it when nobody else has written since, or `keep` what there is [default: ask on a terminal, else keep]
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub on_failure: Option<OnFailure>,
    /// Let nobody else write from before the backup until the migrations have ended
    #[arg(long)]
    pub exclusive: bool,
    /// Answer the question with `yes`
    #[arg(long, short)]
    pub yes: bool,
}

/// What is done when a migration fails on the live database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    Ask,
    Restore,
    Keep,
}

#[derive(Debug, Args)]
pub struct Prune {
    /// The databases that restores of this one replaced and kept
    #[arg(long, required = true)]
    pub kept: bool,
    /// Only those that were replaced at least this many days ago
    #[arg(long, value_name = "DAYS")]
    pub older_than: Option<u32>,
    /// Show what would be removed; remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Answer the question with `yes`
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// `latest`, an id, or a part that only one id has [default: ask on a terminal]
    #[arg(value_name = "latest|ID")]
    pub backup: Option<String>,
    /// Undo the last restore: swap the database that it kept back, or restore the backup that it
    /// took first
    #[arg(long, conflicts_with = "backup")]
    pub undo: bool,
    /// Restore into this database instead, which is created when it is missing; the live one is
    /// not touched
    #[arg(long, value_name = "URL", conflicts_with = "undo")]
    pub into: Option<String>,
    /// PostgreSQL: restore through N sessions at once (unasked: up to 4), and take the safety
    /// backup through as many (unasked: one)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(JOBS))]
    pub jobs: Option<u8>,
    /// Answer the question with `yes`
    #[arg(long, short)]
    pub yes: bool,
    /// As --yes, and go on when the backup is another database's, when the database as it is
    /// cannot be backed up first, or when that of --into holds something
    #[arg(long)]
    pub force: bool,
}
