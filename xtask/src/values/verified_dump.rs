//! The proof that a dump is what its manifest says.
//!
//! No migration runs and no restore starts without a [`VerifiedDump`], and
//! only reading the dump's bytes and matching them makes one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use super::codec;
use super::digest::{Digesting, Sha256};
use super::encryption::{Identities, Locked, Opened, Unlocked};
use super::manifest::Manifest;
use super::progress::Progress;
use crate::interrupt::Interrupt;

pub const BUFFER_BYTES: usize = 1 << 20;

/// Said of an encrypted dump that nothing can be made of without a file.
pub const LAY_OPEN: &str = "for this the encrypted backup was unpacked: it lies unencrypted in a private \
     folder of the vault until this has ended";

/// A dump whose bytes were read and matched. It keeps the file open, so that
/// what is restored is what was verified, whatever happens to the name.
///
/// To verify an encrypted one takes no key; to unpack it does.
pub struct VerifiedDump {
    file: File,
    manifest: Manifest,
    unlocked: Option<Unlocked>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotVerified {
    #[error("it has {found} bytes, its manifest says {expected}")]
    Size { expected: u64, found: u64 },
    #[error("its SHA-256 is {found}, its manifest says {expected}")]
    Digest { expected: Sha256, found: Sha256 },
    #[error(transparent)]
    Interrupted(#[from] crate::interrupt::Interrupted),
    #[error("cannot read it")]
    Read(#[from] io::Error),
}

/// A dump that is being read and digested from its beginning on, maybe while
/// its end is not there yet.
pub struct Reading {
    file: File,
    digested: Digesting<io::Sink>,
    at: u64,
}

impl Reading {
    pub fn new(file: File) -> Reading {
        Reading {
            file,
            digested: Digesting::new(io::sink()),
            at: 0,
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// How far it was read.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Reads on, at most to `end`; how many bytes, none at the end of the file.
    pub fn read_on(&mut self, buffer: &mut [u8], end: u64) -> io::Result<usize> {
        let left = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..length], self.at)?;
        self.digested.write_all(&buffer[..read])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl VerifiedDump {
    /// Reads what is left of `reading` and matches all of it with `manifest`.
    /// The vault's verify step is the only caller.
    pub(crate) fn read_back(
        mut reading: Reading,
        manifest: Manifest,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<VerifiedDump, NotVerified> {
        let expected = manifest.dump.size_bytes;
        let found = reading.file.metadata()?.len();
        if found != expected {
            return Err(NotVerified::Size { expected, found });
        }
        progress.advance(reading.at);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = reading.read_on(&mut buffer, u64::MAX)?;
            if read == 0 {
                break;
            }
            progress.advance(read as u64);
            interrupt.check()?;
        }
        let Reading { file, digested, .. } = reading;
        let (_, found, _) = digested.finish();
        if found != manifest.dump.sha256 {
            return Err(NotVerified::Digest {
                expected: manifest.dump.sha256,
                found,
            });
        }
        Ok(VerifiedDump {
            file,
            manifest,
            unlocked: None,
        })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The dump as it is stored, from its beginning: for a copy of it.
    #[cfg(feature = "offsite")]
    pub fn stored(&self) -> impl Read + '_ {
        FromStart::new(&self.file)
    }

    /// From here on it can be unpacked. Nothing to do for one that is not encrypted.
    pub fn unlock(&mut self, identities: &Identities) -> Result<(), Locked> {
        let Some(encryption) = &self.manifest.dump.encryption else {
            return Ok(());
        };
        if self.unlocked.is_none() {
            encryption.require_known()?;
            self.unlocked = Some(identities.unlock(FromStart::new(&self.file))?);
        }
        Ok(())
    }

    pub fn is_encrypted(&self) -> bool {
        self.manifest.dump.encryption.is_some()
    }

    pub fn is_locked(&self) -> bool {
        self.is_encrypted() && self.unlocked.is_none()
    }

    /// The dump as it was compressed, decrypted.
    pub fn compressed(&self) -> io::Result<Compressed<'_>> {
        let stored = FromStart::new(&self.file);
        let tap = Tap(Arc::new(Mutex::new(Digesting::new(stored))));
        let reader = match (&self.manifest.dump.encryption, &self.unlocked) {
            (None, _) => Opening::Plain(tap.clone()),
            (Some(_), Some(unlocked)) => Opening::Sealed(Box::new(unlocked.open(tap.clone())?)),
            (Some(_), None) => return Err(io::Error::other(Locked::NoKey.to_string())),
        };
        Ok(Compressed {
            reader,
            tap,
            expected: self.manifest.dump.sha256,
        })
    }

    /// The dump as the engine wrote it, from its beginning.
    pub fn unpack(&self) -> io::Result<Unpacked<'_>> {
        Ok(Unpacked {
            decoder: codec::unpack(self.compressed()?)?,
        })
    }

    /// Decrypts and decompresses all of it, to nowhere: every part of an encrypted
    /// dump, the frame in it and the frame's own checksum are what they should be,
    /// and what comes out is as long as what went in.
    pub fn read_through(
        &self,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(), NotVerified> {
        let mut unpacked = self.unpack()?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut found = 0;
        loop {
            let read = unpacked.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            found += read as u64;
            progress.advance(read as u64);
            interrupt.check()?;
        }
        unpacked.finish()?;
        let expected = self.manifest.dump.raw_size_bytes;
        if found != expected {
            return Err(NotVerified::Size { expected, found });
        }
        Ok(())
    }
}

/// The stored bytes, digested as they are read, by whoever reads them.
#[derive(Clone)]
struct Tap<'a>(Arc<Mutex<Digesting<FromStart<'a>>>>);

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut digested = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digested.read(buffer)
    }
}

enum Opening<'a> {
    Plain(Tap<'a>),
    Sealed(Box<Opened<Tap<'a>>>),
}

/// A verified dump, decrypted and still compressed, digested once more on the way.
pub struct Compressed<'a> {
    reader: Opening<'a>,
    tap: Tap<'a>,
    expected: Sha256,
}

impl Read for Compressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.reader {
            Opening::Plain(tap) => tap.read(buffer),
            Opening::Sealed(opened) => opened.read(buffer),
        }
    }
}

impl Compressed<'_> {
    /// To be called before anything is made of what was read: fails when the
    /// bytes are no longer those that were verified.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        io::copy(&mut self.tap, &mut io::sink())?;
        drop(self.reader);
        let digested = self.tap.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = digested.digest();
        if found == self.expected {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the dump changed while it was read: its SHA-256 is now {found}"),
        ))
    }
}

/// A verified dump on its way into an engine.
pub struct Unpacked<'a> {
    decoder: zstd::Decoder<'static, io::BufReader<Compressed<'a>>>,
}

impl Unpacked<'_> {
    /// To be called before anything is made of what was read: fails when the
    /// bytes are no longer those that were verified, or were not all read.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self.decoder, &mut io::sink())?;
        let mut stored = self.decoder.finish();
        io::copy(&mut stored, &mut io::sink())?;
        stored.into_inner().finish()
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer);
        read.map_err(|error| io::Error::new(error.kind(), Unreadable(error)))
    }
}

/// The dump is what its manifest says, and still cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("the dump cannot be unpacked: {0}")]
pub struct Unreadable(io::Error);

/// Whether a step failed because of the dump, and not because of where it went.
pub fn is_unreadable(error: &anyhow::Error) -> bool {
    let inner = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>()?.get_ref()?;
        error.is::<Unreadable>().then_some(())
    };
    error.chain().find_map(inner).is_some()
}

/// Reads a file from its start without moving an offset that others share.
struct FromStart<'a> {
    file: &'a File,
    offset: u64,
}

impl<'a> FromStart<'a> {
    fn new(file: &'a File) -> FromStart<'a> {
        FromStart { file, offset: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
