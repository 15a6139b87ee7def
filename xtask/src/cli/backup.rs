//! The flags of `db backup`.

use clap::{Args, ValueEnum};

use super::JOBS;

#[derive(Debug, Args)]
pub struct Backup {
    /// Words at the end of the backup's id: letters, digits, `.`, `_`, `-`
    pub label: Option<String>,
    /// PostgreSQL: dump through N sessions at once; the vault's disk must hold the dump
    /// uncompressed for a while
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(JOBS))]
    pub jobs: Option<u8>,
    /// Fingerprint the values of every table; whatever restores this backup compares them, too
    #[arg(long)]
    pub fingerprint: bool,
    /// PostgreSQL: keep roles and tablespaces of the server in the manifest, without passwords
    #[arg(long)]
    pub globals: bool,
    #[command(flatten)]
    pub kind: Kind,
}

/// What makes a backup another one than a full one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Less than all of the database; such a backup never takes its place")]
pub struct Kind {
    /// Definitions without rows
    #[arg(long, conflicts_with = "data_only")]
    pub schema_only: bool,
    /// Rows without definitions
    #[arg(long)]
    pub data_only: bool,
    /// `plain`: SQL as text, for psql or sqlite3 [default: what restores fastest]
    #[arg(long, value_name = "plain", value_enum, hide_possible_values = true)]
    pub format: Option<Format>,
    /// PostgreSQL: only schemas like PATTERN, as pg_dump reads it
    #[arg(long, value_name = "PATTERN")]
    pub schema: Vec<String>,
    /// Only tables like PATTERN, such as `shop.*` or '"Order Items"'
    #[arg(long, value_name = "PATTERN")]
    pub table: Vec<String>,
    /// No tables like PATTERN
    #[arg(long, value_name = "PATTERN")]
    pub exclude_table: Vec<String>,
    /// No rows of tables like PATTERN
    #[arg(long, value_name = "PATTERN", conflicts_with = "schema_only")]
    pub exclude_table_data: Vec<String>,
    /// Of `--format plain`: drop first what it makes
    #[arg(long, requires = "format", conflicts_with = "data_only")]
    pub clean: bool,
    /// Of `--format plain`, PostgreSQL: leave out who owns what
    #[arg(long, requires = "format")]
    pub no_owner: bool,
    /// Of `--format plain`, PostgreSQL: leave out who may do what
    #[arg(long, requires = "format")]
    pub no_privileges: bool,
}

/// How a dump is written when it is not for the engine alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Plain,
}
