//! Flags and help, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use backup::{Backup, Format, Kind};
pub use encryption::Encryption;
pub use export::{Export, ExportFormat};
pub use import::Import;
pub use look::{Diff, Drill, List, Log, Status, Verify};
pub use migrate_safe::{MigrateSafe, OnFailure};
pub use offsite::{Pull, Push};
pub use prune::{Pin, Prune, Unpin};
pub use rekey::Rekey;
pub use restore::Restore;

mod backup;
mod encryption;
mod export;
mod import;
mod look;
mod migrate_safe;
mod offsite;
mod prune;
mod rekey;
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
6 done, but a copy is missing, or something could not be removed; 130 interrupted: see its last line";

/// Each of them is a session of the server and a process here.
pub const JOBS: std::ops::RangeInclusive<i64> = 1..=64;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Options {
    /// The database [env: DATABASE_URL, also in `.env`] [default: sqlite://database/app.db]
    #[arg(long, value_name = "URL", global = true)]
    pub database_url: Option<String>,
    /// Its platform: supabase, neon, vercel, rds, none [default: by host]
    #[arg(long, value_name = "NAME", global = true)]
    pub profile: Option<String>,
    /// The migrations folder [default: `migrations` in the project]
    #[arg(long, value_name = "DIR", global = true)]
    pub source: Option<PathBuf>,
    /// The vault of backups [default: `database/backups` in the project]
    #[arg(long, value_name = "DIR", global = true)]
    pub backups: Option<PathBuf>,
    /// A place off-site for copies of backups, such as `s3://bucket/prefix`; may be given more than once [env: OFFSITE_URL]
    #[arg(long, value_name = "URL", global = true)]
    pub offsite_url: Vec<String>,
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
    #[command(flatten)]
    pub encryption: Encryption,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Take a backup, read it back and match it
    Backup(Backup),
    /// Show the backups in the vault, newest first
    List(List),
    /// Show the database, its migrations and its newest backup
    Status(Status),
    /// Show all settings, and where each comes from
    Config,
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
    /// Write rows into a file that can be read, edited and imported
    Export(Export),
    /// Put the rows of such a file into the database, or change nothing
    Import(Import),
    /// Copy backups to the places off-site that do not have them
    Push(Push),
    /// Fetch a backup from off-site into the vault
    Pull(Pull),
    /// Remove backups that no rule keeps; databases that restores kept
    Prune(Prune),
    /// Keep a backup, whatever the rules say
    Pin(Pin),
    /// Let the rules decide about a backup again
    Unpin(Unpin),
    /// Encrypt backups for others than before
    Rekey(Rekey),
}

impl Verb {
    /// What the flags of the verb say, by the names that `database/db.toml` has for them.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        match self {
            Verb::Backup(arguments) => given([
                ("backup.jobs", text(&arguments.jobs)),
                ("backup.fingerprint", said(arguments.fingerprint)),
            ]),
            Verb::MigrateSafe(arguments) => given([
                ("backup.jobs", text(&arguments.jobs)),
                ("backup.fingerprint", said(arguments.fingerprint)),
                ("migrate.exclusive", said(arguments.exclusive)),
                ("migrate.on_failure", arguments.on_failure.map(named)),
            ]),
            Verb::Restore(arguments) => given([("backup.restore_jobs", text(&arguments.jobs))]),
            Verb::Drill(arguments) => given([("backup.restore_jobs", text(&arguments.jobs))]),
            Verb::Prune(arguments) => {
                let mut given = given([("retention.kept_days", text(&arguments.older_than))]);
                given.extend(arguments.keep.given());
                given
            }
            Verb::List(_)
            | Verb::Status(_)
            | Verb::Config
            | Verb::Verify(_)
            | Verb::Push(_)
            | Verb::Pull(_)
            | Verb::Log(_)
            | Verb::Pin(_)
            | Verb::Unpin(_)
            | Verb::Diff(_)
            | Verb::Export(_)
            | Verb::Import(_)
            | Verb::Rekey(_) => Vec::new(),
        }
    }
}

impl Verb {
    /// How a hint calls it.
    pub fn hinted(&self) -> &'static str {
        match self {
            Verb::Backup(_) => "backup",
            Verb::MigrateSafe(_) => "migrate-safe",
            Verb::Restore(_) => "restore latest",
            Verb::Drill(_) => "drill",
            Verb::Import(_) => "import FILE",
            Verb::Rekey(_) => "rekey latest",
            Verb::Diff(_) => "diff latest",
            Verb::List(_) => "list --offsite",
            Verb::Status(_) => "status --offsite",
            Verb::Verify(_) => "verify --offsite",
            Verb::Push(_) => "push",
            Verb::Pull(_) => "pull latest",
            Verb::Prune(_) => "prune --offsite",
            Verb::Config => "config",
            Verb::Log(_) => "log",
            Verb::Pin(_) => "pin ID",
            Verb::Unpin(_) => "unpin ID",
            Verb::Export(_) => "export -o FILE",
        }
    }

    /// Whether it may write or open an encrypted dump. To match one takes no key.
    pub fn takes_keys(&self) -> bool {
        match self {
            Verb::Backup(_)
            | Verb::MigrateSafe(_)
            | Verb::Restore(_)
            | Verb::Drill(_)
            | Verb::Import(_)
            | Verb::Rekey(_) => true,
            Verb::Diff(arguments) => arguments.rows.is_some(),
            _ => false,
        }
    }
}

fn given<const N: usize>(
    given: [(&'static str, Option<String>); N],
) -> Vec<(&'static str, String)> {
    let given = given.into_iter();
    given
        .filter_map(|(name, text)| Some((name, text?)))
        .collect()
}

/// A flag that is not there says nothing.
fn said(flag: bool) -> Option<String> {
    flag.then(|| "true".to_owned())
}

fn text<T: ToString>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(T::to_string)
}

fn named(word: OnFailure) -> String {
    let value = word.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}
