//! How many sessions dump or restore at once.

use super::Postgres;

const MAX_JOBS_UNASKED: usize = 4;

impl Postgres {
    /// One stream needs no room beside itself: more is what somebody asks for. Text is always one.
    pub fn dump_jobs(&self) -> u8 {
        match self.selection.kind.plain {
            true => 1,
            false => self.jobs.unwrap_or(1),
        }
    }

    pub fn restore_jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs
            .map_or_else(|| cores().min(MAX_JOBS_UNASKED), usize::from)
    }
}
