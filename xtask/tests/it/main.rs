//! The integration tests: one binary, so that they share one PostgreSQL server and one link step.

mod cluster;
mod contract;
mod exec;
mod harness;
mod project;
mod pty;
mod tidy;
mod urls;
