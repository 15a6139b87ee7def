//! What an engine can do for `db export` and `db import`.

use anyhow::{Result, ensure};

use super::Restored;
use crate::values::failure::Failure;
use crate::values::portable::cell::Cell;
use crate::values::portable::fit::{Landed, Landing};
use crate::values::portable::outline::Outline;
use crate::values::portable::tally::Tally;
use crate::values::portable::told::ROWS_A_WORD;
use crate::values::portable::{Sink, mismatch};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// Hands over the rows of the file, from its beginning.
pub type Source<'a> = &'a mut dyn FnMut(&mut dyn Sink) -> Result<()>;

/// Hands over what a table holds, in the columns that the file has.
pub type Rows<'a> = &'a mut dyn FnMut(&Landed, &mut dyn FnMut(&[Cell])) -> Result<()>;

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
        source: Source,
        progress: &dyn Progress,
    ) -> Result<Restored>;
}

/// What the plan said of rows that are there must still be so.
pub fn require_rows(table: &Landed, rows: u64) -> Result<(), Failure> {
    if rows == table.rows_now {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "somebody has written to the database meanwhile: `{}` has {rows} rows, and had {} when the \
         plan was made",
        table.title, table.rows_now
    ))
    .hint("nothing was changed; run the command again"))
}

/// What the tables hold, in the columns that the file has.
pub fn tallies(landing: &Landing, progress: &dyn Progress, rows: Rows) -> Result<Vec<Tally>> {
    let to_come = landing.wanted().map(|table| table.rows_to_come);
    progress.begin_rows("read back", to_come.sum());
    let mut tallies = Vec::new();
    for table in landing.wanted() {
        let mut tally = Tally::default();
        rows(table, &mut |cells| {
            table.add(&mut tally, cells);
            if tally.rows.is_multiple_of(ROWS_A_WORD) {
                progress.advance(ROWS_A_WORD);
            }
        })?;
        progress.advance(tally.rows % ROWS_A_WORD);
        tallies.push(tally);
    }
    progress.end();
    Ok(tallies)
}

/// Row for row what the file says, and nothing else of what was there before.
pub fn require_same(
    landing: &Landing,
    (earlier, given, found): (&[Tally], &[Tally], &[Tally]),
    rows: Rows,
    source: Source,
) -> Result<()> {
    ensure!(given.len() == found.len(), "a table was not filled");
    let Some(mut search) = mismatch::search(landing, earlier, given, found) else {
        return Ok(());
    };
    if search.is_of_values() {
        rows(search.table, &mut |cells| search.learn(cells))?;
        source(&mut search)?;
    }
    Err(search.refusal().into())
}

/// The rows are to be those of the file; what triggers keep up beside them is not.
pub fn silent_triggers(title: &str) -> String {
    format!(
        "the triggers of `{title}` did not fire: what they keep up (search indexes, audits, sums) is as it was"
    )
}
