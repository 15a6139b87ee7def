//! What the crate `age` does for us.

use std::cell::RefCell;
use std::io::{self, BufReader, Read, Write};
use std::iter::once;

use age::secrecy::{ExposeSecret, SecretString};
use age::stream::{StreamReader, StreamWriter};
use age::{DecryptError, Decryptor, Encryptor, scrypt, ssh, x25519};
use age_core::format::{FileKey, Stanza};

use super::{
    BadIdentity, BadRecipient, Encryption, Locked, MAX_RECIPIENT_BYTES, MAX_RECIPIENTS, Passphrase,
    is_secret, keys_in,
};

/// What `age --passphrase` takes: a second and 256 MiB for each try. The crate would measure
/// how fast it is, and it is slow where nobody asked for an optimised one.
const WORK_FACTOR: u8 = 18;
/// Four times that, for what others wrote. More is an attack.
const MAX_WORK_FACTOR: u8 = 20;
/// Room for many recipients with long keys.
const MAX_HEADER_BYTES: u64 = 1 << 20;
const READ_BYTES: usize = 128 << 10;

/// How dumps are encrypted.
pub struct Seal {
    recipients: Vec<Box<dyn age::Recipient + Send + Sync>>,
    encryption: Encryption,
}

impl Seal {
    /// For each of these public keys; one that is named twice counts once.
    pub fn for_recipients<'a>(
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<Seal, BadRecipient> {
        let (mut recipients, mut names) = (Vec::new(), Vec::new());
        for key in keys {
            let (recipient, name) = recipient(key)?;
            if names.contains(&name) {
                continue;
            }
            recipients.push(recipient);
            names.push(name);
        }
        if names.len() > MAX_RECIPIENTS {
            return Err(BadRecipient::Many);
        }
        if names.is_empty() {
            return Err(BadRecipient::Unknown);
        }
        Ok(Seal {
            recipients,
            encryption: Encryption::for_recipients(names),
        })
    }

    /// Always there: a program without encryption has none.
    pub fn with_passphrase(passphrase: &Passphrase) -> Option<Seal> {
        let mut recipient = scrypt::Recipient::new(secret(passphrase));
        recipient.set_work_factor(WORK_FACTOR);
        Some(Seal {
            recipients: vec![Box::new(recipient)],
            encryption: Encryption::with_passphrase(),
        })
    }

    pub fn encryption(&self) -> &Encryption {
        &self.encryption
    }

    /// Writes what comes before the encrypted bytes.
    pub fn wrap<W: Write>(&self, sink: W) -> io::Result<Sealing<W>> {
        let recipients = self.recipients.iter();
        let recipients = recipients.map(|recipient| &**recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        Ok(Sealing(encryptor.wrap_output(sink)?))
    }
}

fn secret(passphrase: &Passphrase) -> SecretString {
    SecretString::from(passphrase.expose().to_owned())
}

/// The recipient, and the key as it is written down: without whose it is.
fn recipient(key: &str) -> Result<(Box<dyn age::Recipient + Send + Sync>, String), BadRecipient> {
    let key = key.trim();
    if key.len() > MAX_RECIPIENT_BYTES {
        return Err(BadRecipient::Length);
    }
    if is_secret(key) {
        return Err(BadRecipient::Secret);
    }
    if key.starts_with("age1") {
        // What a plugin understands has its name before the last `1`.
        if key.matches('1').count() > 1 && key.parse::<x25519::Recipient>().is_err() {
            return Err(BadRecipient::Plugin);
        }
        let recipient: x25519::Recipient = key.parse().map_err(|_| BadRecipient::Age)?;
        let name = recipient.to_string();
        return Ok((Box::new(recipient), name));
    }
    if !key.starts_with("ssh-") {
        return Err(BadRecipient::Unknown);
    }
    // One blank between the words, as the parser wants them.
    let words: Vec<&str> = key.split_whitespace().take(2).collect();
    let recipient: ssh::Recipient = words.join(" ").parse().map_err(|error| match error {
        ssh::ParseRecipientKeyError::RsaModulusTooLarge
        | ssh::ParseRecipientKeyError::RsaModulusTooSmall => BadRecipient::Rsa,
        _ => BadRecipient::Ssh,
    })?;
    let name = recipient.to_string();
    Ok((Box::new(recipient), name))
}

pub struct Sealing<W>(StreamWriter<W>);

impl<W: Write> Sealing<W> {
    /// Writes the last part, without which nothing is whole.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The secret keys at hand.
#[derive(Default)]
pub struct Identities {
    keys: Vec<Box<dyn age::Identity + Send + Sync>>,
    /// SSH keys that a passphrase protects.
    closed: Vec<ssh::EncryptedKey>,
}

impl Identities {
    fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a passphrase would open a key.
    pub fn wants_passphrase(&self) -> bool {
        !self.closed.is_empty()
    }

    /// What a file of age's identities or an SSH key's file holds.
    pub fn add(&mut self, text: &[u8]) -> Result<(), BadIdentity> {
        if text.starts_with(b"age-encryption.org/") || text.starts_with(b"-----BEGIN AGE") {
            return Err(BadIdentity::Encrypted);
        }
        if text.starts_with(b"-----BEGIN ") {
            return self.add_ssh(text);
        }
        let text = std::str::from_utf8(text).map_err(|_| BadIdentity::None)?;
        let before = self.keys.len();
        for (at, line) in keys_in(text) {
            if line.starts_with("age1") || line.starts_with("ssh-") {
                return Err(BadIdentity::Public);
            }
            let key: x25519::Identity = line.parse().map_err(|_| BadIdentity::Line(at))?;
            self.keys.push(Box::new(key));
        }
        match self.keys.len() == before {
            true => Err(BadIdentity::None),
            false => Ok(()),
        }
    }

    fn add_ssh(&mut self, text: &[u8]) -> Result<(), BadIdentity> {
        match ssh::Identity::from_buffer(text, None) {
            Ok(ssh::Identity::Encrypted(key)) => self.closed.push(key),
            Ok(key @ ssh::Identity::Unencrypted(_)) => self.keys.push(Box::new(key)),
            Ok(ssh::Identity::Unsupported(_)) => return Err(BadIdentity::Ssh),
            Err(_) => return Err(BadIdentity::None),
        }
        Ok(())
    }

    /// It opens what was encrypted with it, and the SSH keys that it protects; whether there are such.
    pub fn add_passphrase(&mut self, passphrase: &Passphrase) -> bool {
        let closed = self.closed.len();
        let keys = &mut self.keys;
        self.closed
            .retain(|key| match key.decrypt(secret(passphrase)) {
                Ok(opened) => {
                    keys.push(Box::new(ssh::Identity::from(opened)));
                    false
                }
                Err(_) => true,
            });
        let has_opened = self.closed.len() < closed;
        let mut identity = scrypt::Identity::new(secret(passphrase));
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        self.keys.push(Box::new(identity));
        has_opened
    }

    /// What a passphrase that was typed opens.
    pub fn opened_by(&self, passphrase: &Passphrase) -> Identities {
        let mut opened = Identities {
            keys: Vec::new(),
            closed: self.closed.clone(),
        };
        opened.add_passphrase(passphrase);
        opened
    }

    /// Whether what is encrypted like this can be opened here, found out by doing both.
    pub fn try_open(&self, seal: &Seal) -> Result<(), Locked> {
        // The same passphrase is at hand for both, and trying it takes two seconds.
        if seal.encryption.passphrase {
            return match self.is_empty() {
                true => Err(Locked::NoKey),
                false => Ok(()),
            };
        }
        let sealed = seal.wrap(Vec::new()).and_then(Sealing::finish);
        let sealed = sealed.map_err(|error| Locked::Unread(error.to_string()))?;
        self.unlock(sealed.as_slice()).map(drop)
    }

    pub fn can_open(&self, seal: &Seal) -> bool {
        self.try_open(seal).is_ok()
    }

    /// Reads the beginning of an encrypted dump.
    pub fn unlock(&self, stored: impl Read) -> Result<Unlocked, Locked> {
        let header = BufReader::new(stored.take(MAX_HEADER_BYTES));
        let decryptor = Decryptor::new_buffered(header).map_err(locked)?;
        let closed = match (self.is_empty(), self.wants_passphrase()) {
            (_, true) => Locked::ClosedKey,
            (true, false) => Locked::NoKey,
            (false, false) => Locked::WrongKey,
        };
        if self.is_empty() {
            return Err(closed);
        }
        let capture = Capture {
            keys: &self.keys,
            file_key: RefCell::default(),
        };
        let decrypted = decryptor.decrypt(once(&capture as &dyn age::Identity));
        match decrypted.map_err(locked) {
            Err(Locked::WrongKey) => return Err(closed),
            decrypted => decrypted?,
        };
        let file_key = capture.file_key.into_inner();
        file_key.map(Unlocked).ok_or(closed)
    }
}

fn locked(error: DecryptError) -> Locked {
    match error {
        DecryptError::NoMatchingKeys
        | DecryptError::DecryptionFailed
        | DecryptError::KeyDecryptionFailed => Locked::WrongKey,
        DecryptError::InvalidMac => Locked::Damaged("its header was changed".into()),
        DecryptError::UnknownFormat => Locked::Unknown("a newer age".into()),
        DecryptError::ExcessiveWork { .. } => {
            Locked::Damaged("its passphrase was made to take too long to try".into())
        }
        DecryptError::Io(error) => {
            use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
            match error.kind() {
                // Of the bytes, and not of the disk.
                UnexpectedEof | InvalidData | InvalidInput | Other => {
                    Locked::Damaged(format!("its header cannot be read: {error}"))
                }
                _ => Locked::Unread(error.to_string()),
            }
        }
        _ => Locked::Damaged("its header is not one of age".into()),
    }
}

/// Tries the keys, and remembers what they unlocked: a passphrase takes a second each time.
struct Capture<'a> {
    keys: &'a [Box<dyn age::Identity + Send + Sync>],
    file_key: RefCell<Option<FileKey>>,
}

impl age::Identity for Capture<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let mut failed = None;
        for key in self.keys {
            match key.unwrap_stanzas(stanzas) {
                None => {}
                Some(Ok(file_key)) => {
                    self.file_key.replace(Some(copy(&file_key)));
                    return Some(Ok(file_key));
                }
                // Another one may still be right.
                Some(Err(error)) => failed = Some(Err(error)),
            }
        }
        failed
    }
}

fn copy(file_key: &FileKey) -> FileKey {
    FileKey::init_with_mut(|copy| copy.copy_from_slice(file_key.expose_secret()))
}

/// What one dump is encrypted with, unwrapped by a key.
pub struct Unlocked(FileKey);

impl age::Identity for Unlocked {
    fn unwrap_stanza(&self, _stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        Some(Ok(copy(&self.0)))
    }
}

impl Unlocked {
    /// The dump from its beginning, decrypted. A stream that was cut short is an error at its end.
    pub fn open<R: Read>(&self, stored: R) -> io::Result<Opened<R>> {
        let stored = BufReader::with_capacity(READ_BYTES, stored);
        let invalid = |error| match error {
            DecryptError::Io(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, locked(error).to_string()),
        };
        let decryptor = Decryptor::new_buffered(stored).map_err(invalid)?;
        let opened = decryptor.decrypt(once(self as &dyn age::Identity));
        opened.map(Opened).map_err(invalid)
    }
}

pub struct Opened<R>(StreamReader<BufReader<R>>);

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
