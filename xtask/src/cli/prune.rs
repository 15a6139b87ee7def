//! The flags of `db prune`.

use clap::Args;

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
