//! The flags of `db push` and `db pull`.

use clap::Args;

#[derive(Debug, Args)]
pub struct Push {
    /// `latest`, an id, or a part that only one id has [default: whatever is missing there of this
    /// database]
    #[arg(value_name = "latest|ID")]
    pub backup: Option<String>,
    /// All backups in the vault, of other databases as well
    #[arg(long, conflicts_with = "backup")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Pull {
    /// `latest`, an id, or a part that only one id has
    #[arg(value_name = "latest|ID")]
    pub backup: String,
}
