//! One value of one row, as exact as either engine has it.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone)]
pub enum Cell {
    Null,
    Bool(bool),
    Integer(i64),
    Real(f64),
    /// Digits as PostgreSQL wrote them: the zeros at the end count. `NaN` and `Infinity` too.
    Decimal(String),
    /// Text, and all that PostgreSQL reads and writes as text: times, ranges, arrays, …
    Text(String),
    /// SQLite lets a text hold bytes that are no text.
    TextBytes(Vec<u8>),
    Bytes(Vec<u8>),
    /// JSON as it stands, duplicate keys and blanks included.
    Json(String),
}

/// What a column holds when nothing else is said of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// SQLite: each value has its own type.
    Any,
    Text,
    Integer,
    Real,
    Decimal,
    Boolean,
    Bytes,
    Json,
}

/// The same value of the same type: `-0.0` is not `0.0`, and `1` is not `1.0`.
impl PartialEq for Cell {
    fn eq(&self, other: &Cell) -> bool {
        let (mut one, mut another) = (Vec::new(), Vec::new());
        self.append_to(&mut one);
        other.append_to(&mut another);
        one == another
    }
}

impl Cell {
    /// Bytes that no other value has, and that end where the value ends.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        let mut long = |tag: u8, value: &[u8]| {
            bytes.push(tag);
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            bytes.extend_from_slice(value);
        };
        match self {
            Cell::Null => bytes.push(b'n'),
            Cell::Bool(value) => bytes.extend_from_slice(&[b'o', u8::from(*value)]),
            Cell::Integer(number) => long(b'i', &number.to_le_bytes()),
            // There is one NaN.
            Cell::Real(number) if number.is_nan() => bytes.push(b'N'),
            Cell::Real(number) => long(b'r', &number.to_bits().to_le_bytes()),
            Cell::Decimal(digits) => long(b'd', digits.as_bytes()),
            Cell::Text(text) => long(b't', text.as_bytes()),
            Cell::TextBytes(text) => long(b'u', text),
            Cell::Bytes(value) => long(b'b', value),
            Cell::Json(text) => long(b'j', text.as_bytes()),
        }
    }

    /// In a sentence.
    pub fn describe(&self) -> &'static str {
        match self {
            Cell::Null => "NULL",
            Cell::Bool(_) => "a boolean",
            Cell::Integer(_) => "an integer",
            Cell::Real(_) => "a floating-point number",
            Cell::Decimal(_) => "a decimal number",
            Cell::Text(_) => "a text",
            Cell::TextBytes(_) => "a text that is no UTF-8",
            Cell::Bytes(_) => "bytes",
            Cell::Json(_) => "JSON",
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for pair in text.as_bytes().chunks_exact(2) {
        bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(bytes)
}
