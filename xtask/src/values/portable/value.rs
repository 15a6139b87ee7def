//! A value as JSON. What JSON has, and every reader of JSON keeps, stands as it is; all else is an
//! object that says what it is: `{"bytes": "00ff"}`, `{"integer": "9007199254740993"}`.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::cell::{Cell, Kind, hex, unhex};
use super::number;

/// Appends it.
pub fn write(cell: &Cell, out: &mut String) {
    match cell {
        Cell::Null => out.push_str("null"),
        Cell::Bool(true) => out.push_str("true"),
        Cell::Bool(false) => out.push_str("false"),
        Cell::Integer(number) if number.unsigned_abs() <= number::SAFE_INTEGER => {
            // Writing into a string does not fail.
            let _ = write!(out, "{number}");
        }
        Cell::Integer(number) => tagged("integer", &number.to_string(), out),
        Cell::Real(number) if number.is_finite() => {
            let _ = write!(out, "{number:?}");
        }
        Cell::Real(number) => tagged("real", real_name(*number), out),
        Cell::Decimal(digits) if number::is_safe(digits) => out.push_str(digits),
        Cell::Decimal(digits) => tagged("decimal", digits, out),
        Cell::Text(text) => string(text, out),
        Cell::TextBytes(bytes) => in_hex("text_bytes", bytes, out),
        Cell::Bytes(bytes) => in_hex("bytes", bytes, out),
        Cell::Json(json) if is_one_line(json) => {
            out.push_str("{\"json\": ");
            out.push_str(json);
            out.push('}');
        }
        Cell::Json(json) => tagged("json_text", json, out),
    }
}

/// What stands in a line may not end it, and what is around a value is not kept.
fn is_one_line(json: &str) -> bool {
    let is_json = || serde_json::from_str::<&RawValue>(json).is_ok_and(|raw| raw.get() == json);
    !json.contains(['\n', '\r']) && !steers(json) && is_json()
}

pub fn real_name(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn tagged(tag: &str, text: &str, out: &mut String) {
    out.push_str("{\"");
    out.push_str(tag);
    out.push_str("\": ");
    string(text, out);
    out.push('}');
}

/// A large value is not looked through for what JSON would escape.
fn in_hex(tag: &str, bytes: &[u8], out: &mut String) {
    out.push_str("{\"");
    out.push_str(tag);
    out.push_str("\": \"");
    out.push_str(&hex(bytes));
    out.push_str("\"}");
}

/// A JSON string in which nothing is left that would steer a terminal.
pub fn string(text: &str, out: &mut String) {
    let start = out.len();
    match serde_json::to_string(text) {
        Ok(quoted) => out.push_str(&quoted),
        // A string always is one in JSON.
        Err(_) => out.push_str("\"\""),
    }
    if !text.is_ascii() && steers(text) || text.contains('\u{7f}') {
        let quoted = out.split_off(start);
        for c in quoted.chars() {
            if is_control(c) {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            } else {
                out.push(c);
            }
        }
    }
}

fn steers(text: &str) -> bool {
    text.chars().any(is_control)
}

/// Control characters, and those that turn the direction of what follows.
fn is_control(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control()
}

/// `kind`: of the column, which says what a number with a point is.
pub fn read(raw: &str, kind: Kind) -> Result<Cell, String> {
    match raw.as_bytes().first() {
        Some(b'n') => Ok(Cell::Null),
        Some(b't') => Ok(Cell::Bool(true)),
        Some(b'f') => Ok(Cell::Bool(false)),
        Some(b'"') => Ok(Cell::Text(text(raw)?)),
        Some(b'{') => read_tagged(raw),
        Some(b'[') => Err(
            "a list is no value; an array is the text that PostgreSQL writes, such as \"{1,2}\""
                .into(),
        ),
        _ => read_number(raw, kind),
    }
}

fn text(raw: &str) -> Result<String, String> {
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

pub fn read_number(raw: &str, kind: Kind) -> Result<Cell, String> {
    let is_whole = !raw.contains(['.', 'e', 'E']);
    if kind == Kind::Decimal {
        return Ok(Cell::Decimal(raw.to_owned()));
    }
    if is_whole && kind != Kind::Real {
        return match raw.parse() {
            Ok(number) => Ok(Cell::Integer(number)),
            Err(_) => Err(format!("{raw} does not fit into 64 bits")),
        };
    }
    match raw.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Cell::Real(number)),
        _ => Err(format!("{raw} is no number that a double can hold")),
    }
}

fn read_tagged(raw: &str) -> Result<Cell, String> {
    let tags = "an object is one of {\"bytes\": …}, {\"text_bytes\": …}, {\"integer\": …}, \
                {\"real\": …}, {\"decimal\": …}, {\"json\": …} and {\"json_text\": …}";
    let fields = super::row::fields(raw).map_err(|error| error.to_string())?;
    let [(tag, value)] = fields.as_slice() else {
        return Err(tags.into());
    };
    if *tag == "json" {
        return Ok(Cell::Json(value.get().to_owned()));
    }
    let text = text(value.get()).map_err(|_| format!("`{tag}` wants a text"))?;
    from_tag(tag, &text)?.ok_or_else(|| tags.into())
}

/// `None` when there is no such tag.
pub fn from_tag(tag: &str, text: &str) -> Result<Option<Cell>, String> {
    let bytes =
        || unhex(text).ok_or_else(|| "there are other letters than hexadecimal digits".to_owned());
    Ok(Some(match tag {
        "bytes" => Cell::Bytes(bytes()?),
        "text_bytes" => Cell::TextBytes(bytes()?),
        "integer" => Cell::Integer(
            text.parse()
                .map_err(|_| format!("`{text}` is no integer of 64 bits"))?,
        ),
        "real" => Cell::Real(match text {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ if number::is_number(text) => {
                text.parse().map_err(|_| format!("`{text}` is no number"))?
            }
            _ => return Err(format!("`{text}` is no number")),
        }),
        "decimal" => match text {
            "NaN" | "Infinity" | "-Infinity" => Cell::Decimal(text.to_owned()),
            _ if number::is_number(text) => Cell::Decimal(text.to_owned()),
            _ => return Err(format!("`{text}` is no number")),
        },
        "json_text" => Cell::Json(text.to_owned()),
        "text" => Cell::Text(text.to_owned()),
        _ => return Ok(None),
    }))
}
