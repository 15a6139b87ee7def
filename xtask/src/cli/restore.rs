//! The flags of `db restore`.

use clap::Args;

use super::JOBS;

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
    /// Bring back only these tables, beside what is there: with --into, or with --into-schema
    #[arg(long, value_name = "TABLE[,…]", conflicts_with = "undo")]
    pub only: Option<String>,
    /// PostgreSQL, with --only: into this schema of the live database, which is created when it is
    /// missing
    #[arg(long, value_name = "NAME", requires = "only", conflicts_with = "into")]
    pub into_schema: Option<String>,
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

impl Restore {
    /// For a hint: what was forced is still to be.
    pub fn forced(&self) -> &'static str {
        match self.force {
            true => " --force",
            false => "",
        }
    }
}
