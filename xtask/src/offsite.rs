//! Copies of backups on other hardware, through `object_store`.
//!
//! It knows no database, no terminal and no vault: what it copies is a
//! [`VerifiedDump`](crate::values::verified_dump::VerifiedDump) with the bytes of its
//! manifest, and what it fetches goes into a writer. Synchronous outside, like an engine.
//! Retries are the library's, and so are credentials, which come from the environment
//! or the machine and are never printed.
//!
//! A copy counts once the dump was read back from there and matched with the manifest;
//! the manifest comes last, as in the vault. Nothing that lies there is overwritten.

#[cfg(not(feature = "offsite"))]
mod absent;
#[cfg(feature = "offsite")]
mod answer;
#[cfg(feature = "offsite")]
mod open;
#[cfg(feature = "offsite")]
mod push;
#[cfg(feature = "offsite")]
mod read;
#[cfg(feature = "offsite")]
mod remove;
#[cfg(feature = "offsite")]
mod store;
#[cfg(feature = "offsite")]
mod upload;

#[cfg(not(feature = "offsite"))]
pub use absent::Offsite;
#[cfg(feature = "offsite")]
pub use store::Offsite;

#[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
use crate::values::{failure::Failure, offsite::Place};

/// This program was built without what the place needs.
#[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
fn not_built(place: &Place) -> Failure {
    let feature = place.url.kind().feature();
    Failure::usage(format!(
        "{place} cannot be used: this program was built without the feature `{feature}`"
    ))
    .hint(format!(
        "add `--features {feature}` to the alias `xtask` in `.cargo/config.toml`, and run the \
         command again"
    ))
}
