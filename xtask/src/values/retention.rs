//! Which backups are kept, and why each of them is.

mod how_long;

pub use how_long::{HowLong, NotATime};
