//! The integration tests: one binary, so that they share one PostgreSQL server and one link step.

mod cluster;
mod compat;
mod contract;
mod damage;
mod exec;
mod hard_to_restore;
mod harness;
mod interrupt;
mod json;
mod lock_waits;
mod locks;
mod messages;
mod order;
mod parallel;
mod pg_bin;
mod project;
mod pty;
mod secrets;
mod servers;
mod setup;
mod stories;
mod terminal;
mod tidy;
mod urls;
mod without_tool;
