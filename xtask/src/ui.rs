//! The human: say, show, ask. Text for people goes to stderr, data to stdout.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, BufWriter, IsTerminal, Write};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use escaping::Escaping;

mod actions;
mod ask;
mod escaping;
mod progress;
mod table;
mod words;

pub use actions::plain;
pub use ask::Answer;
pub use progress::Shown;
pub use table::Table;
pub use words::{age, count, duration, old, size, time};

/// Of a document that is on its way out.
const BUFFER_BYTES: usize = 64 << 10;

/// How a command that is shown begins, or ends its beginning where it builds another program first.
const COMMANDS: [&str; 2] = ["cargo xtask db ", " --bin xtask -- db "];

pub struct Ui {
    quiet: bool,
    verbose: bool,
    json: bool,
    /// Somebody can read a question and answer it.
    attended: bool,
    emitted: Cell<bool>,
    /// The flags of this run that say which database and which vault.
    flags: OnceCell<String>,
    /// Markdown, for the summary of a job.
    summary: RefCell<String>,
    /// What was found so far, for the document of a run that fails later.
    found: RefCell<Map<String, Value>>,
}

impl Ui {
    pub fn new(quiet: bool, verbose: bool, json: bool) -> Ui {
        let terminal = io::stderr().is_terminal();
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            console::set_colors_enabled(false);
            console::set_colors_enabled_stderr(false);
        }
        let attended = terminal && io::stdin().is_terminal();
        Ui {
            quiet,
            verbose,
            json,
            attended,
            emitted: Cell::new(false),
            flags: OnceCell::new(),
            summary: RefCell::default(),
            found: RefCell::default(),
        }
    }

    /// From now on every command that is shown repeats these flags: one that
    /// is pasted must not work on another database.
    pub fn repeat_flags(&self, flags: String) {
        // Set once, when the settings are known.
        let _ = self.flags.set(flags);
    }

    pub fn with_flags(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(flags) = self.flags.get().filter(|flags| !flags.is_empty()) {
            for command in COMMANDS {
                text = text.replace(command, &format!("{command}{flags} "));
            }
        }
        text
    }

    /// `error:`, `caused by:`, an empty line, `hint:`.
    pub fn error(&self, lines: &[String], hint: Option<&str>) {
        let red = console::style("error:").red().bold().for_stderr();
        for (i, line) in lines.iter().enumerate() {
            let line = indented(line);
            let line = if i == 0 {
                format!("{red} {line}")
            } else {
                format!("caused by: {line}")
            };
            // There is nobody left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "{line}");
        }
        if let Some(hint) = hint {
            let cyan = console::style("hint:").cyan().bold().for_stderr();
            let _ = writeln!(io::stderr(), "\n{cyan} {}", indented(hint));
        }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    pub fn is_attended(&self) -> bool {
        self.attended
    }

    /// A line for a person.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            eprint_line(&self.with_flags(line.as_ref()));
        }
    }

    /// A line for a person who asked for more.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.verbose {
            eprint_line(line.as_ref());
        }
    }

    /// A line that is said even when quiet: part of a question.
    pub fn insist(&self, line: impl AsRef<str>) {
        eprint_line(&self.with_flags(line.as_ref()));
    }

    /// Data for a person, on stdout; left out when the data is JSON.
    pub fn show(&self, text: impl AsRef<str>) -> Result<()> {
        if self.json {
            return Ok(());
        }
        write_stdout(&clean(text.as_ref()))
    }

    /// The JSON document of this run.
    pub fn emit(&self, document: &impl Serialize) -> Result<()> {
        if !self.json || self.emitted.replace(true) {
            return Ok(());
        }
        let mut stdout = BufWriter::with_capacity(BUFFER_BYTES, Escaping::new(io::stdout().lock()));
        let written = serde_json::to_writer_pretty(&mut stdout, document);
        let ended = written.map_err(io::Error::from).and_then(|()| {
            stdout.write_all(b"\n")?;
            stdout.flush()
        });
        unless_nobody_reads(ended).context("cannot write JSON")
    }

    /// Keeps what was found: should the run fail, its document says it beside the error.
    pub fn keep(&self, name: &str, what: &impl Serialize) -> Result<()> {
        let what = serde_json::to_value(what).context("cannot write JSON")?;
        self.found.borrow_mut().insert(name.to_owned(), what);
        Ok(())
    }

    pub fn found(&self) -> Map<String, Value> {
        self.found.take()
    }

    pub fn progress(&self) -> Shown {
        Shown::new(self.quiet, io::stderr().is_terminal())
    }
}

fn write_stdout(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    unless_nobody_reads(written.and_then(|()| stdout.flush())).context("cannot write to stdout")
}

/// A reader such as `head` that has seen enough is no error of ours.
fn unless_nobody_reads(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A line of progress, for a log.
fn log(line: String) {
    eprint_line(&line);
}

fn eprint_line(line: &str) {
    // There is nobody left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "{}", clean(line));
}

/// Names come from databases and files: what would steer a terminal is made visible.
pub fn clean(text: &str) -> String {
    if is_plain(text.as_bytes()) {
        return text.to_owned();
    }
    let visible = |c| if steers(c) { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

/// What is said in several lines, a name with line breaks perhaps, never looks like a line of ours.
fn indented(text: &str) -> String {
    let text = clean(text);
    let mut lines = text.split('\n');
    let mut indented = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        indented += if line.starts_with("  ") { "\n" } else { "\n  " };
        indented += line;
    }
    indented
}

/// Whether there is nothing but ASCII and line breaks in it, and nothing that steers.
/// Byte by byte: unoptimised, as `cargo xtask` runs, an iterator takes ten times as long.
fn is_plain(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() && matches!(bytes[at], b' '..=b'~' | b'\n') {
        at += 1;
    }
    at == bytes.len()
}

/// Control characters, and those that turn the direction of what follows.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n')
}
