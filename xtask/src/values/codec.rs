//! How a dump is stored: one zstd frame with its own checksum, so that
//! `zstd -dc` reads it without this program.

use std::io::{self, Read, Write};

use super::digest::{Digesting, Sha256};

/// Measured: level 3 keeps up with `pg_dump`, and is smaller than its own compression.
const LEVEL: i32 = 3;

pub const NAME: &str = "zstd";

/// Compresses on all cores, digests and counts what comes out.
pub struct Packer<W: Write> {
    encoder: Digesting<zstd::Encoder<'static, Digesting<W>>>,
}

pub struct Packed {
    pub sha256: Sha256,
    pub size_bytes: u64,
    pub raw_size_bytes: u64,
}

impl<W: Write> Packer<W> {
    pub fn new(sink: W) -> io::Result<Packer<W>> {
        let mut encoder = zstd::Encoder::new(Digesting::new(sink), LEVEL)?;
        encoder.include_checksum(true)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        encoder.multithread(cores.min(16) as u32)?;
        Ok(Packer {
            encoder: Digesting::new(encoder),
        })
    }

    pub fn finish(self) -> io::Result<(W, Packed)> {
        let (encoder, _, raw_size_bytes) = self.encoder.finish();
        let (sink, sha256, size_bytes) = encoder.finish()?.finish();
        Ok((
            sink,
            Packed {
                sha256,
                size_bytes,
                raw_size_bytes,
            },
        ))
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.encoder.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

/// The reverse of [`Packer`]. A frame that ends early is an `UnexpectedEof`.
pub fn unpack<R: Read>(stored: R) -> io::Result<zstd::Decoder<'static, io::BufReader<R>>> {
    zstd::Decoder::new(stored)
}
