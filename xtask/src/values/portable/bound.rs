//! A row must end somewhere: what is no export is not read into memory as a whole.

use std::cell::Cell as Counter;
use std::io::{Error, ErrorKind, Read, Result};
use std::rc::Rc;

/// More than either engine has in a row that it can write as text.
pub const MAX_ROW_BYTES: u64 = 1 << 30;

pub const TOO_LONG: &str = "a row has more than 1 GiB as text, which only a backup holds";

/// So much may come until somebody allows more.
#[derive(Clone)]
pub struct Allowance {
    left: Rc<Counter<u64>>,
    bound: u64,
}

impl Allowance {
    pub fn new(bound: u64) -> Allowance {
        Allowance {
            left: Rc::new(Counter::new(bound)),
            bound,
        }
    }

    /// A row has ended.
    pub fn renew(&self) {
        self.left.set(self.bound);
    }

    /// An error when there is nothing left.
    pub fn spend(&self, bytes: u64) -> Result<()> {
        let left = self.left.get().checked_sub(bytes);
        let left = left.ok_or_else(|| Error::new(ErrorKind::FileTooLarge, self.words()))?;
        self.left.set(left);
        Ok(())
    }

    pub fn bound(&self) -> u64 {
        self.bound
    }

    pub fn words(&self) -> String {
        format!("{} bytes, and no row ends; this is no export", self.bound)
    }
}

pub struct Bounded<R> {
    pub from: R,
    pub allowance: Allowance,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.from.read(buffer)?;
        self.allowance.spend(read as u64)?;
        Ok(read)
    }
}
