//! Values as `COPY` writes and reads them.

use std::borrow::Cow;

use anyhow::{Context, Result};

use crate::values::portable::cell::{Cell, Kind, hex, unhex};

/// What stands between two tabs; `None` is NULL.
pub fn unescaped(field: &[u8]) -> Option<Cow<'_, [u8]>> {
    if field == b"\\N" {
        return None;
    }
    if !field.contains(&b'\\') {
        return Some(Cow::Borrowed(field));
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        // The server writes no other ones.
        bytes.push(match rest.next() {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 11,
            Some(other) => *other,
            None => b'\\',
        });
    }
    Some(Cow::Owned(bytes))
}

pub fn cell(field: Option<Cow<'_, [u8]>>, kind: Kind) -> Result<Cell> {
    let Some(field) = field else {
        return Ok(Cell::Null);
    };
    let text = match std::str::from_utf8(&field) {
        Ok(text) => text,
        // Of a database whose encoding is none.
        Err(_) => return Ok(Cell::TextBytes(field.into_owned())),
    };
    Ok(match kind {
        Kind::Boolean => Cell::Bool(text == "t"),
        Kind::Integer => Cell::Integer(text.parse().context("an integer is none")?),
        Kind::Real => Cell::Real(text.parse().context("a floating-point number is none")?),
        Kind::Decimal => Cell::Decimal(text.to_owned()),
        Kind::Bytes => {
            let digits = text.strip_prefix("\\x").context("bytes are not in hex")?;
            Cell::Bytes(unhex(digits).context("bytes are not in hex")?)
        }
        Kind::Json => Cell::Json(text.to_owned()),
        Kind::Text | Kind::Any => Cell::Text(text.to_owned()),
    })
}

/// Appends it, or says why a column of this kind cannot have it.
pub fn append(cell: &Cell, kind: Kind, out: &mut Vec<u8>) -> Result<(), String> {
    match (cell, kind) {
        (Cell::Null, _) => out.extend_from_slice(b"\\N"),
        (Cell::Bytes(bytes), Kind::Bytes) => {
            out.extend_from_slice(b"\\\\x");
            out.extend_from_slice(hex(bytes).as_bytes());
        }
        (Cell::Bytes(_), _) => return Err("its type is not `bytea`, and the value is bytes".into()),
        // What would be read with backslashes of its own.
        (_, Kind::Bytes) => {
            let what = cell.describe();
            return Err(format!(
                "its type is `bytea`, and the value is {what}, not {{\"bytes\": …}}"
            ));
        }
        (Cell::Bool(value), Kind::Integer | Kind::Decimal | Kind::Real) => {
            out.push(if *value { b'1' } else { b'0' });
        }
        (Cell::Bool(value), _) => out.push(if *value { b't' } else { b'f' }),
        (Cell::Integer(number), _) => out.extend_from_slice(number.to_string().as_bytes()),
        (Cell::Real(number), _) => out.extend_from_slice(format!("{number:?}").as_bytes()),
        (Cell::Decimal(text) | Cell::Text(text) | Cell::Json(text), _) => {
            if text.contains('\0') {
                return Err("PostgreSQL has no text with a NUL in it".into());
            }
            escape(text.as_bytes(), out);
        }
        (Cell::TextBytes(bytes), _) => {
            if bytes.contains(&0) {
                return Err("PostgreSQL has no text with a NUL in it".into());
            }
            escape(bytes, out);
        }
    }
    Ok(())
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    let special = [b'\\', b'\n', b'\r', b'\t'];
    if !special.iter().any(|byte| text.contains(byte)) {
        out.extend_from_slice(text);
        return;
    }
    for byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.push(*other),
        }
    }
}
