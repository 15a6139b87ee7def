//! The flags of `db backup`.

use clap::Args;

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
}
