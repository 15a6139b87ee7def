//! The flags about encryption.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Encryption")]
pub struct Encryption {
    /// Encrypt backups for this public key (`age1…`, `ssh-ed25519 …`, `ssh-rsa …`); may be repeated.
    /// Unnamed: for those of the backup before; `none`: for nobody, unencrypted
    /// [env: XTASK_DB_RECIPIENTS, separated by commas]
    #[arg(long = "recipient", value_name = "KEY", global = true)]
    pub recipients: Vec<String>,
    /// The same for every line of this file; may be repeated [env: XTASK_DB_RECIPIENTS_FILE]
    #[arg(long = "recipients-file", value_name = "FILE", global = true)]
    pub recipients_files: Vec<PathBuf>,
    /// A file with a secret key (age's, or an SSH key) that opens backups; may be repeated
    /// [env: XTASK_DB_IDENTITY]
    #[arg(long = "identity", value_name = "FILE", global = true)]
    pub identities: Vec<PathBuf>,
    /// The passphrase of backups, where there are no recipients, or of an SSH key: the line in this
    /// file [env: XTASK_DB_PASSPHRASE_FILE]
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        conflicts_with = "passphrase_command"
    )]
    pub passphrase_file: Option<PathBuf>,
    /// The same: what this command of a shell prints; other programs of this machine can see the
    /// command, so it must not hold the passphrase itself [env: XTASK_DB_PASSPHRASE_COMMAND]
    #[arg(long, value_name = "COMMAND", global = true)]
    pub passphrase_command: Option<String>,
    /// Take, fetch, export unencrypted also in GitHub Actions of a public repository
    /// [env: XTASK_DB_UNENCRYPTED_IN_PUBLIC=true]
    #[arg(long, global = true)]
    pub unencrypted_in_public: bool,
}
