//! draft
pub mod cli;
mod commands;
mod config;
mod durable;
mod engine;
mod interrupt;
mod migrations;
mod outcome;
mod tool;
mod ui;
mod values;
mod vault;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// Runs `cargo xtask` with these arguments, the program's name first, and
/// returns the exit code of the table in the README. Errors have been printed.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match cli::Cli::try_parse_from(arguments) {
        Ok(cli::Cli {
            command: cli::Command::Db(db),
        }) => run_db(&db),
        Err(error) => {
            // Nothing can be said when neither stdout nor stderr takes it.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        }
    }
}

/// Runs one `db` verb: for an xtask of one's own that has it among its subcommands.
pub fn run_db(db: &cli::Db) -> ExitCode {
    let ui = ui::Ui::new(db.options.quiet, db.options.verbose, db.options.json);
    ExitCode::from(outcome::report(&ui, |interrupt| {
        commands::run(db, &ui, interrupt)
    }))
}
