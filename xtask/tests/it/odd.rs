//! Odd input: names, words and files that break a tool which pastes, splits, cuts or prints them.
//!
//! Names inside of a database are in `contract/*/odd_names.sql`, migration files in `compat/odd.rs`.

mod formats;
mod screen;
