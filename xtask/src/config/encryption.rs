//! For whom backups are encrypted, and where the keys are that open them.

use std::path::{Path, PathBuf};

use super::resolved::Resolved;
use super::{flag, keys};
use crate::cli;
use crate::values::encryption::is_secret;
use crate::values::failure::Failure;

pub struct Encryption {
    /// Public keys.
    pub recipients: Vec<String>,
    /// Files with a public key on each line.
    pub recipients_files: Vec<PathBuf>,
    /// Files with secret keys.
    pub identities: Vec<PathBuf>,
    pub passphrase: Option<PassphraseSource>,
    /// Somebody has said that backups are not to be encrypted.
    pub is_declined: bool,
    pub unencrypted_in_public: bool,
}

/// In the place of all recipients: for nobody in particular.
pub const NOBODY: &str = "none";

/// A passphrase is never a value of its own: not in argv, and not in the environment.
pub enum PassphraseSource {
    File(PathBuf),
    Command(String),
    /// Which of the two is meant is not for us to say.
    Both,
}

/// Flags may name several; where they name one, what is set elsewhere does not count.
pub fn encryption(
    flags: &cli::Encryption,
    resolved: &Resolved,
    here: &Path,
) -> Result<Encryption, Failure> {
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| here.join(path)).collect::<Vec<_>>();
    let mut recipients = flags.recipients.clone();
    let mut recipients_files = paths(&flags.recipients_files);
    if recipients.is_empty() && recipients_files.is_empty() {
        recipients = resolved.get(keys::RECIPIENTS).unwrap_or_default();
        recipients_files.extend(resolved.path(keys::RECIPIENTS_FILE));
    }
    let mut identities = paths(&flags.identities);
    if identities.is_empty() {
        identities.extend(resolved.path(keys::IDENTITY));
    }
    let is_declined = recipients == [NOBODY] && recipients_files.is_empty();
    if is_declined {
        recipients.clear();
    }
    let encryption = Encryption {
        recipients,
        recipients_files,
        identities,
        passphrase: passphrase(flags, resolved, here),
        is_declined,
        unencrypted_in_public: resolved.get(keys::UNENCRYPTED_IN_PUBLIC).unwrap_or(false),
    };
    refuse_keys_for_files(&encryption)?;
    Ok(encryption)
}

fn passphrase(
    flags: &cli::Encryption,
    resolved: &Resolved,
    here: &Path,
) -> Option<PassphraseSource> {
    if let Some(path) = &flags.passphrase_file {
        return Some(PassphraseSource::File(here.join(path)));
    }
    if let Some(command) = &flags.passphrase_command {
        return Some(PassphraseSource::Command(command.clone()));
    }
    let file = resolved.path(keys::PASSPHRASE_FILE);
    match (file, resolved.get(keys::PASSPHRASE_COMMAND)) {
        (Some(_), Some(_)) => Some(PassphraseSource::Both),
        (Some(file), None) => Some(PassphraseSource::File(file)),
        (None, command) => command.map(PassphraseSource::Command),
    }
}

/// The first of each, for `db config`.
pub fn given_by(flags: &cli::Encryption) -> impl Iterator<Item = (&'static str, Option<String>)> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let recipients = (!flags.recipients.is_empty()).then(|| flags.recipients.join("\n"));
    let in_public = flags.unencrypted_in_public.then(|| "true".to_owned());
    [
        (keys::RECIPIENTS.path, recipients),
        (
            keys::RECIPIENTS_FILE.path,
            flags.recipients_files.first().map(text),
        ),
        (keys::IDENTITY.path, flags.identities.first().map(text)),
        (
            keys::PASSPHRASE_FILE.path,
            flags.passphrase_file.as_ref().map(text),
        ),
        (
            keys::PASSPHRASE_COMMAND.path,
            flags.passphrase_command.clone(),
        ),
        (keys::UNENCRYPTED_IN_PUBLIC.path, in_public),
    ]
    .into_iter()
}

/// A secret key where a file was expected is not repeated, whatever it was given by.
fn refuse_keys_for_files(encryption: &Encryption) -> Result<(), Failure> {
    let files = encryption.identities.iter();
    let files = files.chain(&encryption.recipients_files);
    let mut files = files.chain(match &encryption.passphrase {
        Some(PassphraseSource::File(path)) => Some(path),
        _ => None,
    });
    if files.any(|file| is_secret(&file.to_string_lossy())) {
        return Err(
            Failure::usage("a secret key stands where a file was expected").hint(
                "write it into a file that only you can read, and name that: `--identity FILE`",
            ),
        );
    }
    Ok(())
}

/// For a command that is shown, ready for a shell: for whom, and what opens. A pasted one that left
/// these out would write in clear. Never a secret: what may be one, its reader must fill in.
pub fn flags(given: &cli::Encryption) -> Vec<String> {
    let is_public = |key: &&String| {
        let key = key.trim_start();
        let begins = key.starts_with("age1") || key.starts_with("ssh-");
        (begins && !is_secret(key)) || key == NOBODY
    };
    let recipients = given.recipients.iter().filter(is_public);
    let mut flags: Vec<String> = recipients.map(|key| flag("--recipient", key)).collect();
    let files = given.recipients_files.iter();
    let files = files.map(|path| ("--recipients-file", path));
    let identities = given.identities.iter();
    let files = files.chain(identities.map(|path| ("--identity", path)));
    flags.extend(files.map(|(name, path)| flag(name, &path.to_string_lossy())));
    match &given.passphrase_file {
        Some(path) if path.is_file() => {
            flags.push(flag("--passphrase-file", &path.to_string_lossy()));
        }
        Some(_) => flags.push("--passphrase-file FILE".into()),
        None => {}
    }
    if given.passphrase_command.is_some() {
        flags.push("--passphrase-command COMMAND".into());
    }
    flags
}
