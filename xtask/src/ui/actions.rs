//! GitHub Actions: a job summary and outputs, written where the runner says.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use super::{Ui, clean};

/// A file that the runner reads when the step has ended.
fn file_of(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable)?;
    (!path.is_empty()).then(|| path.into())
}

fn append(path: PathBuf, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Text between the signs of Markdown and HTML, on one line.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in clean(text).chars() {
        match c {
            '\n' | '\r' => plain.push(' '),
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '|' | '[' | ']' | '#' | '~' | '!' | '$' | '@' => {
                plain.push('\\');
                plain.push(c);
            }
            c => plain.push(c),
        }
    }
    plain
}

impl Ui {
    /// A line of Markdown for the summary; names in it went through [`plain`].
    pub fn summarize(&self, line: impl AsRef<str>) {
        let mut summary = self.summary.borrow_mut();
        summary.push_str(line.as_ref());
        summary.push('\n');
    }

    /// An output of the step. One line: ids, digests and numbers.
    pub fn output(&self, name: &str, value: &str) {
        if let Some(path) = file_of("GITHUB_OUTPUT") {
            let line = format!("{name}={}\n", clean(value).replace(['\n', '\r'], " "));
            self.warn_unless(append(path, &line), "the step's outputs");
        }
    }

    /// Writes what was gathered, and how it ended; nothing outside of GitHub Actions.
    pub fn publish_summary(&self, error: &[String], hint: Option<&str>) {
        let mut summary = self.summary.take();
        let Some(path) = file_of("GITHUB_STEP_SUMMARY").filter(|_| !summary.is_empty()) else {
            return;
        };
        for (i, line) in error.iter().enumerate() {
            let word = if i == 0 { "**error:**" } else { "caused by:" };
            // Writing into a string does not fail.
            let _ = writeln!(summary, "\n{word} {}", plain(line));
        }
        if let Some(hint) = hint {
            let _ = writeln!(summary, "\n**hint:** {}", plain(hint));
        }
        self.warn_unless(append(path, &summary), "the job summary");
    }

    fn warn_unless(&self, written: io::Result<()>, what: &str) {
        if let Err(error) = written {
            self.insist(format!("warning: {what} cannot be written: {error}"));
        }
    }
}
