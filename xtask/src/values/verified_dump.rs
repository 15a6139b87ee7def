//! The proof that a dump is what its manifest says.
//!
//! No migration runs and no restore starts without a [`VerifiedDump`], and
//! only reading the dump's bytes and matching them makes one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use super::codec;
use super::digest::{Digesting, Sha256};
use super::manifest::Manifest;
use super::progress::Progress;
use crate::interrupt::Interrupt;

pub const BUFFER_BYTES: usize = 1 << 20;

/// A dump whose bytes were read and matched. It keeps the file open, so that
/// what is restored is what was verified, whatever happens to the name.
pub struct VerifiedDump {
    file: File,
    manifest: Manifest,
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
        Ok(VerifiedDump { file, manifest })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The dump as it is stored, from its beginning: for a copy of it.
    #[cfg(feature = "offsite")]
    pub fn stored(&self) -> impl Read + '_ {
        FromStart::new(&self.file)
    }

    /// The dump as the engine wrote it, from its beginning.
    pub fn unpack(&self) -> io::Result<Unpacked<'_>> {
        let stored = Digesting::new(FromStart::new(&self.file));
        Ok(Unpacked {
            decoder: codec::unpack(stored)?,
            expected: self.manifest.dump.sha256,
        })
    }
}

/// A verified dump on its way into an engine, digested once more on the way.
pub struct Unpacked<'a> {
    decoder: zstd::Decoder<'static, io::BufReader<Digesting<FromStart<'a>>>>,
    expected: Sha256,
}

impl Unpacked<'_> {
    /// To be called before anything is made of what was read: fails when the
    /// bytes are no longer those that were verified, or were not all read.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self.decoder, &mut io::sink())?;
        let mut stored = self.decoder.finish();
        io::copy(&mut stored, &mut io::sink())?;
        let (_, found, _) = stored.into_inner().finish();
        if found == self.expected {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the dump changed while it was read: its SHA-256 is now {found}"),
        ))
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
