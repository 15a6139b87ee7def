//! The keys of a run: read when a story needs them, never shown, never written.

use std::cell::{Cell, OnceCell, RefCell};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::config::{self, PassphraseSource};
use crate::interrupt::{Interrupt, Interrupted};
use crate::tool;
use crate::values::encryption::{
    self, Encryption, Identities, Passphrase, Seal, keys_in, not_built,
};
use crate::values::failure::Failure;

mod opening;
mod sealing;

/// A file of keys has a few KiB.
const MAX_KEYS_BYTES: u64 = 1 << 20;
/// Somebody may have to find a token, or type.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Default)]
pub struct Keys {
    /// How backups are encrypted, as somebody has named it.
    pub named: Option<Seal>,
    pub identities: Identities,
    /// As those before were, where nobody has named anything.
    like_before: OnceCell<Seal>,
    /// How the dump was encrypted that this run opened.
    opened: OnceCell<Encryption>,
    typed: RefCell<Option<Typed>>,
    /// Why the passphrase that is set may be that of an SSH key, and none of backups.
    of_ssh_key: Option<&'static str>,
    /// What a hint begins with: the verb, and the backup once it is known which one is opened.
    verb: RefCell<String>,
    /// That nobody here can restore is said once.
    said: Cell<bool>,
}

/// A passphrase that a person typed and that was right, and what it opens.
struct Typed {
    passphrase: Passphrase,
    identities: Identities,
}

impl Keys {
    /// How backups of this run are encrypted; nothing: they are not.
    pub fn seal(&self) -> Option<&Seal> {
        self.named.as_ref().or_else(|| self.like_before.get())
    }
}

/// `verb` is what a hint begins with.
pub fn load(
    wanted: &config::Encryption,
    verb: &'static str,
    interrupt: &Interrupt,
) -> Result<Keys> {
    let encrypts = !wanted.recipients.is_empty()
        || !wanted.recipients_files.is_empty()
        || (wanted.passphrase.is_some() && !wanted.is_declined);
    if !encryption::IS_BUILT {
        if encrypts {
            let message =
                "backups are to be encrypted, and this program was built without encryption";
            return Err(not_built(message, verb).into());
        }
        return Ok(Keys {
            verb: RefCell::new(verb.into()),
            ..Keys::default()
        });
    }
    let passphrase = wanted.passphrase.as_ref();
    let passphrase = passphrase
        .map(|source| passphrase_of(source, interrupt))
        .transpose()?;
    let mut identities = Identities::default();
    for path in &wanted.identities {
        let text = read_keys(path, "identity")?;
        identities.add(&text).map_err(|error| {
            Failure::usage(format!(
                "the identity file `{}` cannot be used: {error}",
                path.display()
            ))
            .hint("`age-keygen -o key.txt` makes one, and an SSH key's file is one")
        })?;
    }
    let has_opened = passphrase
        .as_ref()
        .map(|passphrase| identities.add_passphrase(passphrase));
    let of_ssh_key = match has_opened {
        Some(true) => Some("the passphrase opens the SSH key"),
        Some(false) if identities.wants_passphrase() => {
            Some("the passphrase does not open the SSH key")
        }
        _ => None,
    };
    let named = match recipients(wanted)?.as_slice() {
        [] if wanted.is_declined || of_ssh_key.is_some() => None,
        [] => passphrase.as_ref().and_then(Seal::with_passphrase),
        keys => Some(seal_for(keys.iter().map(String::as_str))?),
    };
    Ok(Keys {
        named,
        identities,
        of_ssh_key,
        verb: RefCell::new(verb.into()),
        ..Keys::default()
    })
}

pub fn seal_for<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Seal, Failure> {
    Seal::for_recipients(keys).map_err(|error| {
        Failure::usage(format!("a recipient cannot be used: {error}")).hint(
            "`age-keygen` shows the public key of a new pair; of an SSH key it is the `.pub` file",
        )
    })
}

fn recipients(wanted: &config::Encryption) -> Result<Vec<String>> {
    let mut keys = wanted.recipients.clone();
    for path in &wanted.recipients_files {
        let text = read_keys(path, "recipients")?;
        let context = || format!("the recipients file `{}` cannot be used", path.display());
        let text = String::from_utf8(text).map_err(|_| {
            Failure::usage(format!("{}: it is not UTF-8", context())).hint("a public key a line")
        })?;
        let before = keys.len();
        for (at, key) in keys_in(&text) {
            // Each on its own, so that the line can be named.
            Seal::for_recipients([key]).map_err(|error| {
                Failure::usage(format!("{}: line {at}: {error}", context()))
                    .hint("a public key a line; lines that begin with `#` are passed over")
            })?;
            keys.push(key.to_owned());
        }
        if keys.len() == before {
            let message = format!("{}: it names nobody", context());
            return Err(Failure::usage(message).hint("a public key a line").into());
        }
    }
    Ok(keys)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_KEYS_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What stands in the place of its name may be the passphrase, and is not repeated.
fn read_passphrase(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path).map_err(|error| {
        Failure::usage(format!(
            "the file that `--passphrase-file` or `XTASK_DB_PASSPHRASE_FILE` names cannot be read: \
             {error}"
        ))
        .hint("name a file that exists and that you may read; the passphrase is the line in it")
    })
}

fn read_keys(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    read(path).map_err(|error| {
        Failure::usage(format!(
            "the {what} file `{}` cannot be read: {error}",
            path.display()
        ))
        .hint("name a file that exists and that you may read")
    })
}

fn passphrase_of(source: &PassphraseSource, interrupt: &Interrupt) -> Result<Passphrase> {
    let (text, place) = match source {
        PassphraseSource::Both => {
            return Err(
                Failure::usage("`passphrase_file` and `passphrase_command` are both set")
                    .hint("`cargo xtask db config` shows where; take one of them out")
                    .into(),
            );
        }
        PassphraseSource::File(path) => (read_passphrase(path)?, "what the passphrase file holds"),
        PassphraseSource::Command(command) => (
            printed_by(command, interrupt)?,
            "what the passphrase command prints",
        ),
    };
    let text = String::from_utf8(text).ok();
    let passphrase = text.as_deref().and_then(Passphrase::new);
    passphrase.ok_or_else(|| {
        Failure::usage(format!(
            "{place} is no passphrase: it must be one line, and not empty"
        ))
        .hint("the first line is the passphrase, and there is no other")
        .into()
    })
}

/// Its words are the user's own, so a shell reads them. Why it failed is not repeated: it may say
/// more than it should. What only leads to the database or to places off-site it has no use for.
fn printed_by(command: &str, interrupt: &Interrupt) -> Result<Vec<u8>> {
    let is_ours = |name: &str| {
        ["DATABASE_URL", "SCRATCH_DATABASE_URL", "PGPASSWORD"].contains(&name)
            || name.starts_with("OFFSITE_")
    };
    let printed = tool::printed(command, is_ours, MAX_KEYS_BYTES, PATIENCE, interrupt);
    printed.map_err(|error| match error.is::<Interrupted>() {
        true => error,
        false => Failure::refused("the passphrase command failed, or took too long")
            .hint("run it by hand: it must print the passphrase and end well")
            .into(),
    })
}
