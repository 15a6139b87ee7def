//! Text for places with rules of their own.

use std::borrow::Cow;

/// One word for a POSIX shell.
pub fn shell_quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.-_:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A name in the middle of a line: one with a line break could forge the next line.
pub fn on_one_line(name: &str) -> Cow<'_, str> {
    if name.contains(['\n', '\r']) {
        Cow::Owned(name.replace(['\n', '\r'], "\u{fffd}"))
    } else {
        Cow::Borrowed(name)
    }
}
