//! What an engine can do for `db export` and `db import`.

use anyhow::Result;

use super::Restored;
use crate::values::portable::Sink;
use crate::values::portable::fit::Landing;
use crate::values::portable::outline::Outline;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// A database whose rows can be written into a file and read from one.
pub trait Portable {
    /// Its tables, and how many rows they have. Reads only.
    fn outline(&mut self) -> Result<Outline>;

    /// Hands over the rows of these tables, of all but sqlx's own when none is named; all of them
    /// of one moment. Reads only.
    fn export(&mut self, wanted: &[String], sink: &mut dyn Sink) -> Result<()>;

    /// Where rows are to be replaced, nobody else writes to their tables, or it is noticed, from
    /// before the backup until the import is done or the engine is dropped.
    fn prepare_import(&mut self, landing: &Landing) -> Result<()>;

    /// Puts the rows that `source` hands over where the landing says, and finds them there again,
    /// or changes nothing. The proof says that there is a way back.
    fn import(
        &mut self,
        proof: &VerifiedDump,
        landing: &Landing,
        source: &mut dyn FnMut(&mut dyn Sink) -> Result<()>,
        progress: &dyn Progress,
    ) -> Result<Restored>;
}

/// So many rows are read back between two words of how far it is.
pub const ROWS_A_WORD: u64 = 512;

/// The rows are to be those of the file; what triggers keep up beside them is not.
pub fn silent_triggers(title: &str) -> String {
    format!(
        "the triggers of `{title}` did not fire: what they keep up (search indexes, audits, sums) is as it was"
    )
}
