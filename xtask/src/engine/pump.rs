//! Bytes from one stream to another, counted, and stopped by a signal.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;
use crate::values::progress::Progress;

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
