//! Questions. Only the exact word is a yes, and only a terminal is asked.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};
use dialoguer::Select;
use dialoguer::console::{Key, Term};
use dialoguer::theme::{SimpleTheme, Theme};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Ui, clean};
use crate::interrupt::{Interrupt, Interrupted};

/// How soon a signal is seen.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Yes,
    /// Any other word, an empty line, Escape, or the end of input.
    No,
    /// There is no terminal to ask on.
    Nobody,
}

impl Ui {
    /// Asks for the word `yes`.
    pub fn confirm(&self, interrupt: &Interrupt) -> Result<Answer> {
        if !self.attended {
            return Ok(Answer::Nobody);
        }
        match self.ask("type `yes` to go on, anything else stops", interrupt)? {
            Some(word) if word == "yes" => Ok(Answer::Yes),
            _ => Ok(Answer::No),
        }
    }

    /// Asks for a line. `None` without a terminal, and after Escape or the end of input.
    pub fn ask(&self, question: &str, interrupt: &Interrupt) -> Result<Option<String>> {
        if !self.attended {
            return Ok(None);
        }
        self.ask_for(question, true, interrupt)
    }

    /// As [`Ui::ask`], for what nobody is to read on the screen.
    pub fn ask_secret(&self, question: &str, interrupt: &Interrupt) -> Result<Option<String>> {
        if !self.attended {
            return Ok(None);
        }
        self.ask_for(question, false, interrupt)
    }

    fn ask_for(
        &self,
        question: &str,
        is_shown: bool,
        interrupt: &Interrupt,
    ) -> Result<Option<String>> {
        let mut prompt = String::new();
        SimpleTheme
            .format_input_prompt(&mut prompt, &clean(question), None)
            .context("cannot write the question")?;
        let typed = attend(interrupt, move || {
            let term = Term::stderr();
            term.write_str(&prompt)?;
            let word = read_word(&term, is_shown);
            term.write_line("")?;
            word
        })?;
        match typed {
            Ok(line) => Ok(line),
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(Interrupted.into()),
            // A terminal that is gone has nothing more to say.
            Err(_) => Ok(None),
        }
    }

    /// Lets a person choose a line; `None` when they would rather not.
    pub fn pick(
        &self,
        prompt: &str,
        lines: &[String],
        interrupt: &Interrupt,
    ) -> Result<Option<usize>> {
        let (prompt, lines) = (prompt.to_owned(), lines.to_vec());
        let picked = attend(interrupt, move || {
            Select::new()
                .with_prompt(prompt)
                .items(lines)
                .default(0)
                .max_length(15)
                .interact_on_opt(&Term::stderr())
                .map_err(|dialoguer::Error::IO(error)| error)
        })?;
        match picked {
            Ok(picked) => Ok(picked),
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(Interrupted.into()),
            // A terminal that is gone has nothing more to say.
            Err(_) => Ok(None),
        }
    }
}

/// Lets a thread of its own wait for keys, so that a signal is seen at any
/// moment: the libraries below look for one only between two keys. Keys are
/// taken one by one from before the question is shown until it is answered, so
/// that none is lost; then the terminal is as it was found.
fn attend<T: Send + 'static>(
    interrupt: &Interrupt,
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<io::Result<T>> {
    let _keys = KeyByKey::begin().context("cannot ask the terminal how it is")?;
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        // The other end is gone when a signal came first.
        let _ = answer.send(ask());
    });
    loop {
        match answered.recv_timeout(POLL) {
            _ if interrupt.is_raised() => break,
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the asking thread panicked"),
        }
    }
    let _ = Term::stderr().write_line("");
    Err(Interrupted.into())
}

/// A terminal that hands over every key at once and does not echo it; Ctrl-C
/// still is a signal. Put back when dropped.
struct KeyByKey {
    before: Termios,
}

impl KeyByKey {
    fn begin() -> rustix::io::Result<KeyByKey> {
        let before = tcgetattr(io::stdin())?;
        let mut during = before.clone();
        during.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Now, &during)?;
        Ok(KeyByKey { before })
    }
}

impl Drop for KeyByKey {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        let _ = Term::stderr().show_cursor();
    }
}

/// A line, or `None` after Escape or Ctrl-D. dialoguer's own input passes over
/// both, and a person who presses them wants out.
fn read_word(term: &Term, is_shown: bool) -> io::Result<Option<String>> {
    let mut word = String::new();
    loop {
        match term.read_key()? {
            Key::Enter => return Ok(Some(word)),
            // Ctrl-D; a zero is what it becomes for a reader that was not there yet.
            Key::Escape | Key::Char('\u{4}' | '\0') => return Ok(None),
            Key::Backspace if word.pop().is_some() => {
                if is_shown {
                    term.clear_chars(1)?;
                }
            }
            Key::Char('\u{15}') => {
                if is_shown {
                    term.clear_chars(word.chars().count())?;
                }
                word.clear();
            }
            Key::Char(c) if !c.is_control() => {
                word.push(c);
                if is_shown {
                    write!(&mut &*term, "{c}")?;
                }
            }
            // A key that is no letter is not part of the word, and is not passed over either.
            _ => word.push('\u{fffd}'),
        }
    }
}
