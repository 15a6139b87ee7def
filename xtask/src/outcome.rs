//! From a story's result to an exit code and the last words on the terminal.

use std::ffi::OsString;
use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::interrupt::{self, Interrupt, is_interrupted};
use crate::ui::{self, Ui};
use crate::values::cause;
use crate::values::failure::{Failure, Outcome, hint_of};

#[derive(Serialize)]
struct Document {
    error: ErrorDocument,
    /// What was found before it failed.
    #[serde(flatten)]
    found: Map<String, Value>,
}

#[derive(Serialize)]
struct ErrorDocument {
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    exit_code: u8,
}

/// Runs a story, prints what went wrong, and returns the exit code.
pub fn report(ui: &Ui, story: impl FnOnce(&Interrupt) -> Result<()>) -> u8 {
    let done = Interrupt::install()
        .context("cannot listen for signals")
        .and_then(|interrupt| story(&interrupt));
    let Err(error) = done else {
        ui.publish_summary(&[], None);
        return 0;
    };
    let failure = error.downcast_ref::<Failure>();
    let lines = cause::lines(&error);
    let hint = hint_of(&error);
    let exit_code = if is_interrupted(&error) {
        interrupt::EXIT_CODE
    } else {
        failure
            .map_or(Outcome::Unexpected, |failure| failure.outcome)
            .exit_code()
    };
    let hint = hint.map(|hint| ui.with_flags(&hint));
    if exit_code == interrupt::EXIT_CODE {
        // That it was interrupted is said in the last line, with what it means.
        let others: Vec<String> = lines
            .iter()
            .filter(|l| *l != "interrupted")
            .cloned()
            .collect();
        ui.error(&others, hint.as_deref());
        ui.insist(match failure.map(|failure| failure.outcome) {
            Some(Outcome::AfterChange) => {
                "interrupted: the database may have been changed, see above"
            }
            Some(Outcome::Incomplete) => "interrupted: what was done stands, see above",
            _ => "interrupted: the database is as it was",
        });
    } else {
        ui.error(&lines, hint.as_deref());
    }
    ui.publish_summary(&lines, hint.as_deref());
    let (message, causes) = match lines.split_first() {
        Some((message, causes)) => (message.clone(), causes.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let document = Document {
        error: ErrorDocument {
            message,
            causes,
            hint,
            exit_code,
        },
        found: ui.found(),
    };
    if ui.emit(&document).is_err() {
        // stdout is gone; the exit code still says it all.
        return exit_code;
    }
    exit_code
}

/// Prints what clap has to say: help, or wrong usage. A database URL that
/// stands in the wrong place is not repeated, because it may hold a password;
/// what would steer a terminal is made visible.
pub fn report_usage(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let is_url = |argument: &&OsString| argument.to_string_lossy().contains("://");
    let urls: Vec<&OsString> = arguments.iter().filter(is_url).collect();
    let is_clean = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        ui::clean(&argument) == argument
    };
    if urls.is_empty() && arguments.iter().all(is_clean) {
        // Nothing can be said when neither stdout nor stderr takes it.
        let _ = error.print();
    } else {
        let mut text = error.render().to_string();
        for url in urls {
            let url = url.to_string_lossy();
            text = text.replace(url.as_ref(), "…");
            if let Some((_, value)) = url.split_once('=') {
                text = text.replace(value, "…");
            }
        }
        // Nothing can be said when stderr takes no more.
        let _ = write!(std::io::stderr(), "{}", ui::clean(&text));
    }
    if error.use_stderr() {
        Outcome::Usage.exit_code()
    } else {
        0
    }
}
