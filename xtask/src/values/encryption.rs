//! Encrypted dumps: for whom they are, and what opens them.
//!
//! The format is age's (<https://age-encryption.org/v1>) and the work is its
//! crate's, behind the feature `encryption`. Without the feature, what a
//! manifest says of it is still read and shown, dumps are still matched with
//! their manifests, and nothing is encrypted or opened.

use std::fmt;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::digest::Sha256;
use super::failure::{Failure, builds};
use super::id::BackupId;

#[cfg(feature = "encryption")]
mod sealed;
#[cfg(feature = "encryption")]
pub use sealed::{Identities, Opened, Seal, Sealing, Unlocked};

#[cfg(not(feature = "encryption"))]
mod lean;
#[cfg(not(feature = "encryption"))]
pub use lean::{Identities, Opened, Seal, Sealing, Unlocked};

/// Whether this program can encrypt at all.
pub const IS_BUILT: bool = cfg!(feature = "encryption");

const METHOD: &str = "age";
/// A key is one line; RSA's with 16,384 bits has 2,800 characters.
pub const MAX_RECIPIENT_BYTES: usize = 4096;
pub const MAX_RECIPIENTS: usize = 64;
/// As many characters of a key as tell it from others.
const SHORT: usize = 12;

/// How a dump is encrypted, in its manifest. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encryption {
    pub method: String,
    /// The public keys of those who can open it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// A passphrase opens it, and nothing else does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub passphrase: bool,
    /// When it was read back, all of it was decrypted, and decompressed to as
    /// many bytes as there had been. False: nobody there had a key for it.
    pub decrypted: bool,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Encryption {
    pub fn for_recipients(recipients: Vec<String>) -> Encryption {
        Encryption {
            method: METHOD.into(),
            recipients,
            passphrase: false,
            decrypted: false,
            other: Map::new(),
        }
    }

    pub fn with_passphrase() -> Encryption {
        Encryption {
            passphrase: true,
            ..Encryption::for_recipients(Vec::new())
        }
    }

    /// For whom, in few words.
    pub fn summary(&self) -> String {
        if self.passphrase {
            return "a passphrase".into();
        }
        let names: Vec<String> = self.recipients.iter().map(|key| short(key)).collect();
        names.join(", ")
    }

    pub fn require_known(&self) -> Result<(), Locked> {
        match self.method == METHOD {
            true => Ok(()),
            false => Err(Locked::Unknown(self.method.clone())),
        }
    }
}

/// Enough of a public key to know it by: of an SSH key what `ssh-keygen -l` says.
pub fn short(key: &str) -> String {
    let mut words = key.split_whitespace();
    let (kind, rest) = (words.next().unwrap_or_default(), words.next());
    let blob = rest.and_then(|rest| BASE64_STANDARD.decode(rest).ok());
    match blob {
        Some(blob) => {
            let digest = BASE64_STANDARD_NO_PAD.encode(Sha256::of(&blob).bytes());
            format!("{} SHA256:{}…", first(kind, SHORT), first(&digest, SHORT))
        }
        None => format!("{}…", first(kind, SHORT)),
    }
}

fn first(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// A passphrase. It can be used, and not shown.
#[derive(Clone)]
pub struct Passphrase(String);

impl Passphrase {
    /// One line, without its line break; `None` when that is empty.
    pub fn new(text: &str) -> Option<Passphrase> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let is_one = !line.is_empty() && !line.contains(['\n', '\r', '\0']);
        is_one.then(|| Passphrase(line.to_owned()))
    }

    #[cfg_attr(
        not(feature = "encryption"),
        expect(dead_code, reason = "without the feature there is nothing to open")
    )]
    fn expose(&self) -> &str {
        &self.0
    }
}

/// Whether a secret key is in it, age's or SSH's: what stands where none should is not repeated.
pub fn is_secret(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    text.contains("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY")
}

/// The keys in a list: one a line; empty lines and such as begin with `#` are passed over.
pub fn keys_in(list: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = list.lines().enumerate().map(|(at, line)| (at + 1, line));
    let lines = lines.map(|(at, line)| (at, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Why a text is nobody's public key. The text is not repeated: it may be a secret one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecipient {
    #[error(
        "it is a secret key; a recipient is the public one, which begins with `age1` or `ssh-`"
    )]
    Secret,
    #[error("a public key begins with `age1`, `ssh-ed25519` or `ssh-rsa`")]
    Unknown,
    #[error("it is not a whole `age1…` key: a character is wrong or missing")]
    Age,
    #[error(
        "age plugins are not supported, only keys that begin with `age1` and have no plugin's name"
    )]
    Plugin,
    #[error(
        "it is not a whole SSH key, of a kind that age can encrypt for (`ssh-ed25519`, `ssh-rsa`)"
    )]
    Ssh,
    #[error("an RSA key must have 2,048 bits or more, and not more than 4,096")]
    Rsa,
    #[error("a key has at most {MAX_RECIPIENT_BYTES} characters")]
    Length,
    #[error("there are more than {MAX_RECIPIENTS} of them")]
    Many,
}

/// Why something holds no secret key that can be used. Nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    #[error("it holds no `AGE-SECRET-KEY-1…` and no SSH key")]
    None,
    #[error("line {0} is no `AGE-SECRET-KEY-1…`")]
    Line(usize),
    #[error("it is a public key; an identity is the secret one")]
    Public,
    #[error("it is encrypted itself; decrypt it with `age --decrypt` first")]
    Encrypted,
    #[error("age cannot use an SSH key of this kind (`ssh-ed25519` and `ssh-rsa` it can)")]
    Ssh,
}

/// Why a dump stays closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locked {
    /// There is no key at hand.
    NoKey,
    /// There are keys, and none of them is right.
    WrongKey,
    /// There is a key that might, and a passphrase closes it that is not at hand.
    ClosedKey,
    /// The dump cannot be read.
    Unread(String),
    /// What begins it is not what age writes.
    Damaged(String),
    /// Encrypted by a way that this program does not know.
    Unknown(String),
    /// This program was built without encryption.
    NotBuilt,
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Locked::NoKey => f.write_str("it is encrypted, and there is no key at hand"),
            Locked::WrongKey => f.write_str("it is encrypted, and no key at hand opens it"),
            Locked::ClosedKey => f.write_str(
                "it is encrypted, and the SSH key at hand has a passphrase, which is not at hand",
            ),
            Locked::Unread(why) => write!(f, "it cannot be read: {why}"),
            Locked::Damaged(why) => write!(f, "it cannot be decrypted, it is damaged: {why}"),
            Locked::Unknown(method) => write!(
                f,
                "it is encrypted by `{method}`, which this program does not know"
            ),
            Locked::NotBuilt => {
                f.write_str("it is encrypted, and this program was built without encryption")
            }
        }
    }
}

impl std::error::Error for Locked {}

/// Whether a step failed because what it is about is for another key than those at hand.
pub fn is_for_another_key(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(Locked::is_for_another_key)
}

impl Locked {
    /// Another key than those that were tried may open it.
    pub fn is_for_another_key(&self) -> bool {
        matches!(self, Locked::NoKey | Locked::WrongKey | Locked::ClosedKey)
    }

    /// What a story says of it; `verb` is what the next command begins with.
    pub fn refusal(&self, id: &BackupId, encryption: &Encryption, verb: &str) -> Failure {
        let message = match self {
            Locked::NoKey | Locked::WrongKey | Locked::ClosedKey => {
                format!(
                    "the backup `{id}` stays closed: {self}; it is for {}",
                    encryption.summary()
                )
            }
            _ => format!("the backup `{id}` stays closed: {self}"),
        };
        let key = if encryption.passphrase {
            "--passphrase-file FILE"
        } else {
            "--identity FILE"
        };
        match self {
            Locked::NoKey => Failure::untrusted(message).hint(format!(
                "name the key that opens it: cargo xtask db {verb} {key}"
            )),
            Locked::WrongKey => Failure::untrusted(message)
                .hint(format!("name another key: cargo xtask db {verb} {key}")),
            Locked::ClosedKey => Failure::untrusted(message).hint(format!(
                "name the passphrase of the SSH key: cargo xtask db {verb} --passphrase-file FILE"
            )),
            Locked::Damaged(_) | Locked::Unread(_) => Failure::untrusted(message)
                .hint("`cargo xtask db verify --all` shows which backups are as they were written"),
            Locked::Unknown(_) => Failure::untrusted(message)
                .hint("use the version of this program that took the backup, or a newer one"),
            Locked::NotBuilt => not_built(message, verb),
        }
    }
}

/// Refused by a program that was built without encryption.
pub fn not_built(message: impl Into<String>, verb: &str) -> Failure {
    Failure::refused(message).hint(builds("encryption", verb))
}
