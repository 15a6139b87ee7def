//! The flags of the verbs that look at backups.

use clap::Args;

use super::JOBS;

#[derive(Debug, Args)]
pub struct List {
    /// The copies at the places off-site instead
    #[arg(long)]
    pub offsite: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Ask the places off-site what they hold, instead of the journal
    #[arg(long)]
    pub offsite: bool,
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
    /// The copies at the places off-site instead: their bytes are read and matched
    #[arg(long)]
    pub offsite: bool,
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
