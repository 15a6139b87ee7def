//! Values: what the parts of the house tell each other.
//!
//! No files are written here, no process is started, no clock is read. The
//! one exception is [`verified_dump`], which reads the bytes that it vouches for.

pub mod cause;
pub mod chosen;
pub mod codec;
pub mod database;
pub mod database_url;
pub mod diff;
pub mod digest;
pub mod effect;
pub mod encryption;
pub mod exclusive;
pub mod failure;
pub mod id;
pub mod journal;
pub mod kind;
pub mod loss;
pub mod manifest;
pub mod nearest;
pub mod offsite;
pub mod others;
pub mod pattern;
pub mod pin;
pub mod plan;
pub mod platform;
pub mod portable;
pub mod progress;
pub mod reach;
pub mod receipt;
pub mod retention;
pub mod rows;
pub mod schema;
pub mod summary;
pub mod survey;
pub mod verified_dump;
pub mod words;
