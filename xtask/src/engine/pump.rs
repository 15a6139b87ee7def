//! Bytes from one stream to another, counted, and stopped by a signal.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::is_unreadable;

const BUFFER_BYTES: usize = 1 << 20;

pub fn pump(
    from: &mut dyn Read,
    to: &mut dyn Write,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        interrupt.check()?;
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.context("cannot read")?,
        };
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).context("cannot write")?;
        progress.advance(read as u64);
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
