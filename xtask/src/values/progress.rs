//! How far a long step is, told to whoever wants to show it.

/// Receives what a long step has done; called from the thread that does it.
pub trait Progress: Sync {
    /// A step begins; `total_bytes` is an estimate of how much it will move.
    fn begin(&self, step: &str, total_bytes: Option<u64>);
    /// The same for a step that is counted in rows.
    fn begin_rows(&self, step: &str, rows: u64);
    /// That many more bytes were moved, or rows.
    fn advance(&self, amount: u64);
    /// The step is over, well or badly.
    fn end(&self);
}

/// For a step that is too short to be shown.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn begin_rows(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
