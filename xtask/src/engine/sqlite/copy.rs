//! SQLite's online backup API: page by page, one transaction for everybody else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::interrupt::Interrupt;
use crate::values::failure::Failure;
use crate::values::progress::Progress;

/// 8 MiB of the usual pages: small enough to see Ctrl-C, large enough to cost nothing.
const PAGES_A_STEP: i32 = 2048;
const POLL: Duration = Duration::from_millis(25);

/// Copies all of `from` over `to`. What `to` was stays until the last page is
/// there; an error or a crash before that leaves it as it was.
pub fn copy(
    from: &Connection,
    to: &mut Connection,
    patience: Duration,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    copy_if(from, to, patience, progress, interrupt, &|| Ok(()))
}

/// As [`copy`]; once `to` is locked and before anything is written, `is_right`
/// has the last word.
pub fn copy_if(
    from: &Connection,
    to: &mut Connection,
    patience: Duration,
    progress: &dyn Progress,
    interrupt: &Interrupt,
    is_right: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let page_bytes: u64 = from
        .query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))
        .context("cannot read the page size")?
        .unsigned_abs();
    // Two disks are at work, and "disk is full" alone does not say which of them is.
    let into = to.path().unwrap_or_default().to_owned();
    let backup = Backup::new(from, to).context("cannot begin to copy")?;
    let mut deadline = Instant::now() + patience;
    let mut copied = 0;
    // A step of no pages takes the locks.
    let mut pages = 0;
    loop {
        interrupt.check()?;
        let stepped = backup.step(pages);
        match stepped.with_context(|| format!("cannot copy the pages into `{into}`"))? {
            StepResult::Done => return Ok(()),
            StepResult::More if pages == 0 => {
                is_right()?;
                pages = PAGES_A_STEP;
            }
            StepResult::More => deadline = Instant::now() + patience,
            StepResult::Busy | StepResult::Locked if Instant::now() < deadline => {
                std::thread::sleep(POLL);
            }
            _ => return Err(locked(patience)),
        }
        let at = backup.progress();
        let now = u64::try_from(at.pagecount - at.remaining).unwrap_or(0) * page_bytes;
        progress.advance(now.saturating_sub(copied));
        copied = copied.max(now);
    }
}

pub fn locked(patience: Duration) -> anyhow::Error {
    Failure::refused(format!(
        "the database is locked: another process was still reading or writing it after {} s",
        patience.as_secs()
    ))
    .hint("stop the program that uses the database, then run the command again")
    .into()
}
