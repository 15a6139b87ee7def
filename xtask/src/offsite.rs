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
