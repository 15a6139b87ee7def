//! Questions. Only the exact word is a yes, and only a terminal is asked.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};
use dialoguer::Select;
use dialoguer::console::{Key, Term};
use dialoguer::theme::{SimpleTheme, Theme};

use super::Ui;
use crate::interrupt::{Interrupt, Interrupted};

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
        let term = Term::stderr();
        let mut prompt = String::new();
        SimpleTheme
            .format_input_prompt(
                &mut prompt,
                "type `yes` to go on, anything else stops",
                None,
            )
            .context("cannot write the question")?;
        term.write_str(&prompt)
            .context("cannot write the question")?;
        let typed = read_word(&term);
        term.write_line("")
            .context("cannot write to the terminal")?;
        match typed {
            _ if interrupt.is_raised() => Err(Interrupted.into()),
            Ok(word) if word.as_deref() == Some("yes") => Ok(Answer::Yes),
            Ok(_) => Ok(Answer::No),
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(Interrupted.into()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Answer::No),
            Err(error) => Err(error).context("cannot read the answer"),
        }
    }

    /// Lets a person choose a line; `None` when they would rather not.
    pub fn pick(
        &self,
        prompt: &str,
        lines: &[String],
        interrupt: &Interrupt,
    ) -> Result<Option<usize>> {
        let picked = Select::new()
            .with_prompt(prompt)
            .items(lines)
            .default(0)
            .max_length(15)
            .interact_on_opt(&Term::stderr());
        match picked {
            _ if interrupt.is_raised() => Err(Interrupted.into()),
            Ok(picked) => Ok(picked),
            Err(dialoguer::Error::IO(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                Ok(None)
            }
            Err(dialoguer::Error::IO(error)) if error.kind() == ErrorKind::Interrupted => {
                Err(Interrupted.into())
            }
            Err(error) => Err(error).context("cannot read the choice"),
        }
    }
}

/// A line, or `None` after Escape or Ctrl-D. dialoguer's own input passes over
/// both, and a person who presses them wants out.
fn read_word(term: &Term) -> io::Result<Option<String>> {
    let mut word = String::new();
    loop {
        match term.read_key()? {
            Key::Enter => return Ok(Some(word)),
            Key::Escape | Key::Char('\u{4}') => return Ok(None),
            Key::Backspace if word.pop().is_some() => term.clear_chars(1)?,
            Key::Char('\u{15}') => {
                term.clear_chars(word.chars().count())?;
                word.clear();
            }
            Key::Char(c) if !c.is_control() => {
                word.push(c);
                write!(&mut &*term, "{c}")?;
            }
            _ => {}
        }
    }
}
