//! The flags of `db rekey`.

use clap::Args;

#[derive(Debug, Args)]
pub struct Rekey {
    /// `latest`, an id, or a part that only one id has [default: latest]
    #[arg(value_name = "latest|ID")]
    pub backup: Option<String>,
    /// All backups of this database in the vault
    #[arg(long, conflicts_with = "backup")]
    pub all: bool,
    /// Let this public key open it, too; may be repeated
    #[arg(long = "add-recipient", value_name = "KEY")]
    pub add: Vec<String>,
    /// Let this public key open it no longer; may be repeated
    #[arg(long = "remove-recipient", value_name = "KEY")]
    pub remove: Vec<String>,
}
