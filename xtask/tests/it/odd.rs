//! Odd input: names, words and files that break a tool which pastes, splits, cuts or prints them.
//!
//! Names inside of a database are in `contract/*/odd_names.sql`, migration files in `compat/odd.rs`.

mod databases;
mod formats;
mod large;
mod screen;
mod words;

use std::path::Path;

/// Each means something to a shell, an option parser, a URL, a path, a format or a terminal.
const NAMES: &[&str] = &[
    "-rf",
    "--help",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "%s %n %20",
    "{} {0}",
    "select",
    "UPPER Case",
    "new\nline\terror: forged",
    "\u{1b}[31mred\u{1b}]0;owned\u{7}\u{9b}2J",
    "😀 \u{202e}emoji",
    "q'u\"o\\te",
    " around ",
    "host=x port=1",
    "postgres:x?y#z&w",
    "..",
    "*",
    "~",
];

/// Nothing in here was run by a shell.
#[track_caller]
fn assert_nothing_ran(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("list a folder") {
        let entry = entry.expect("list a folder");
        assert_ne!(entry.file_name(), "pwned", "in {folder:?}");
        if entry.file_type().expect("its type").is_dir() {
            assert_nothing_ran(&entry.path());
        }
    }
}
