//! Bytes from one stream to another, counted, and stopped by a signal.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::is_unreadable;

const BUFFER_BYTES: usize = 1 << 20;
/// Full buffers that wait for the one who writes.
const AHEAD: usize = 2;

pub fn pump(
    from: &mut dyn Read,
    to: &mut dyn Write,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = read_some(from, &mut buffer, interrupt)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).context("cannot write")?;
        progress.advance(read as u64);
    }
}

/// As [`pump`], and reads on while a thread of its own writes: for a `from`
/// that has work to do, into a `to` that has some too.
pub fn pump_ahead(
    from: &mut dyn Read,
    to: &mut (dyn Write + Send),
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (full, filled) = sync_channel::<Filled>(AHEAD);
        let (empty, emptied) = channel();
        let writing = scope.spawn(move || -> io::Result<()> {
            for Filled { buffer, bytes } in filled {
                to.write_all(&buffer[..bytes])?;
                progress.advance(bytes as u64);
                // Nobody wants it back when all has been read.
                let _ = empty.send(buffer);
            }
            Ok(())
        });
        let read = read_ahead(from, full, &emptied, interrupt);
        let written = writing.join();
        let written = written.map_err(|_| Failure::unexpected("the writing thread panicked"))?;
        // Reading ends early, and well, when nothing more can be written.
        written.context("cannot write")?;
        read
    })
}

/// Of one size for ever: to make one shorter and longer again is to fill it with zeros.
struct Filled {
    buffer: Vec<u8>,
    bytes: usize,
}

fn read_ahead(
    from: &mut dyn Read,
    full: SyncSender<Filled>,
    emptied: &Receiver<Vec<u8>>,
    interrupt: &Interrupt,
) -> Result<()> {
    loop {
        let returned = emptied.try_recv();
        let mut buffer = returned.unwrap_or_else(|_| vec![0; BUFFER_BYTES]);
        let bytes = read_some(from, &mut buffer, interrupt)?;
        if bytes == 0 || full.send(Filled { buffer, bytes }).is_err() {
            return Ok(());
        }
    }
}

fn read_some(from: &mut dyn Read, buffer: &mut [u8], interrupt: &Interrupt) -> Result<usize> {
    loop {
        interrupt.check()?;
        match from.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read.context("cannot read"),
        }
    }
}

/// A dump that cannot be unpacked is not to be trusted; every other failure is
/// left for the caller, who may know better why it happened.
pub fn refuse_unreadable<T>(pumped: Result<T>) -> Result<Result<T>> {
    match pumped {
        Err(error) if is_unreadable(&error) => {
            Err(Failure::untrusted(error.root_cause().to_string()).into())
        }
        pumped => Ok(pumped),
    }
}

/// Whether bytes could not be passed on because the reader has gone.
pub fn nobody_reads(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
