//! Whether anybody else has written to a database since a moment.

/// What is known of other writers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Others {
    /// Nobody else has written.
    Silent,
    /// Somebody has; one line each of what is seen of it.
    Wrote(Vec<String>),
    /// Something was written, and whether all of it is this run's cannot be told.
    Unclear(Vec<String>),
}
