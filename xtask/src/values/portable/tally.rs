//! What the rows of a table come to: how many, and a digest in which their order has no part.

use super::cell::{Cell, hex};
use crate::values::digest::Sha256;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub rows: u64,
    sum: u128,
    bytes: Vec<u8>,
}

/// What one row is known by: a change of it shows, whatever the rest of the table says.
pub type Check = String;

impl Tally {
    /// The check of the row that was added.
    pub fn add<'c>(&mut self, cells: impl IntoIterator<Item = &'c Cell>) -> Check {
        self.bytes.clear();
        for cell in cells {
            cell.append_to(&mut self.bytes);
        }
        let half = Sha256::of(&self.bytes).half();
        self.rows += 1;
        self.sum = self.sum.wrapping_add(half);
        hex(&half.to_be_bytes()[..4])
    }

    pub fn digest(&self) -> String {
        format!("{:032x}", self.sum)
    }

    /// What came on top of the earlier rows.
    pub fn since(&self, earlier: &Tally) -> Tally {
        Tally {
            rows: self.rows.wrapping_sub(earlier.rows),
            sum: self.sum.wrapping_sub(earlier.sum),
            bytes: Vec::new(),
        }
    }

    pub fn is_same_as(&self, other: &Tally) -> bool {
        self.rows == other.rows && self.sum == other.sum
    }
}
