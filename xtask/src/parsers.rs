//! The parsers of what comes from outside, for property tests and fuzzing.
//! Not a part of what this crate promises to its users.

pub use crate::interrupt::Interrupt;
pub use crate::migrations::read as read_migrations;
pub use crate::migrations::{expected_losses, reaches};
pub use crate::values::database::EngineKind;
pub use crate::values::database_url::DatabaseUrl;
pub use crate::values::digest::Sha256;
pub use crate::values::encryption::{Identities, Passphrase, Seal, keys_in};
pub use crate::values::failure::Failure;
pub use crate::values::id::{BackupId, Label, Reason};
pub use crate::values::kind::{Kind, Only};
pub use crate::values::loss::LossName;
pub use crate::values::manifest::{
    Manifest, sealed as sealed_manifest, sealed_ending, split_dump_name, turn_of,
};
pub use crate::values::offsite::part_bytes;
pub use crate::values::pattern::Pattern;
pub use crate::values::plan::{Migration, Source};
pub use crate::values::portable;
pub use crate::values::reach::{Reach, ReachKind, Within};
pub use crate::values::retention;
