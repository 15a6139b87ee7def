//! JSON on its way to stdout: what JSON lets stand and a terminal would obey becomes `\u…`.

use std::io::{self, Write};

use super::{is_plain, steers};

pub struct Escaping<W> {
    to: W,
    /// The beginning of a character whose end has not come yet.
    begun: Vec<u8>,
}

impl<W: Write> Escaping<W> {
    pub fn new(to: W) -> Escaping<W> {
        let begun = Vec::new();
        Escaping { to, begun }
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        if !text.contains(steers) {
            return self.to.write_all(text.as_bytes());
        }
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            if steers(c) {
                escaped += &format!("\\u{:04x}", u32::from(c));
            } else {
                escaped.push(c);
            }
        }
        self.to.write_all(escaped.as_bytes())
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.begun.is_empty() && is_plain(buffer) {
            self.to.write_all(buffer)?;
            return Ok(buffer.len());
        }
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(buffer);
        let whole = match std::str::from_utf8(&bytes) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        self.begun = bytes.split_off(whole);
        let text = String::from_utf8(bytes).map_err(io::Error::other)?;
        self.write_text(&text)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_wherever_it_is_cut() {
        let text = "{\"a\": \"é \u{202e}🦀\u{9b}\"}\n";
        for at in 0..=text.len() {
            let mut escaping = Escaping::new(Vec::new());
            let (one, other) = text.as_bytes().split_at(at);
            escaping.write_all(one).expect("write");
            escaping.write_all(other).expect("write");
            assert_eq!(escaping.begun, b"");
            let written = String::from_utf8(escaping.to).expect("UTF-8");
            assert_eq!(written, "{\"a\": \"é \\u202e🦀\\u009b\"}\n");
        }
    }
}
