//! The flags of `db migrate-safe`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::JOBS;

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
    /// Migrate only when the backup has arrived at all places off-site and was matched there
    #[arg(long, conflicts_with_all = ["dry_run", "plan"])]
    pub offsite_first: bool,
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
