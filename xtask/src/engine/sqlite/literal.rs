//! A value of SQLite as it stands in SQL, on one line, and the same when it is read again.

use std::io::Write;

use anyhow::Result;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::values::portable::cell::hex;

/// As many bits as a number has after its point.
const MANTISSA_BITS: u32 = 52;
/// The largest power of two that is an integer for SQLite.
const STEP_BITS: i32 = 62;

/// `asked` is any connection: it says whether a number is read as it is written.
pub fn write(value: ValueRef, asked: &Connection, line: &mut Vec<u8>) -> Result<()> {
    match value {
        ValueRef::Null => line.extend(b"NULL"),
        ValueRef::Integer(number) => write!(line, "{number}")?,
        ValueRef::Real(number) => line.extend(real(number, asked)?.as_bytes()),
        ValueRef::Text(bytes) => line.extend(text(bytes).as_bytes()),
        ValueRef::Blob(bytes) => {
            line.extend(b"X'");
            line.extend_from_slice(hex(bytes).as_bytes());
            line.push(b'\'');
        }
    }
    Ok(())
}

/// The shortest text that is this number, where SQLite finds the same one in it; else the
/// number's own parts, whose products are exact.
fn real(number: f64, asked: &Connection) -> Result<String> {
    if number.is_infinite() {
        return Ok(if number > 0.0 { "9e999" } else { "-9e999" }.into());
    }
    let text = format!("{number:?}");
    let mut statement = asked.prepare_cached("SELECT CAST(?1 AS REAL)")?;
    let read: f64 = statement.query_row([&text], |row| row.get(0))?;
    if read.to_bits() == number.to_bits() {
        return Ok(text);
    }
    Ok(exact(number))
}

fn exact(number: f64) -> String {
    let bits = number.to_bits();
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    let exponent = (bits >> MANTISSA_BITS) & 0x7ff;
    let (mantissa, mut power) = match exponent {
        0 => (mantissa, -1074),
        exponent => (mantissa | 1 << MANTISSA_BITS, exponent as i32 - 1075),
    };
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let mut text = format!("({sign}CAST({mantissa} AS REAL)");
    while power != 0 {
        let step = power.clamp(-STEP_BITS, STEP_BITS);
        let sign = if step > 0 { '*' } else { '/' };
        text += &format!("{sign}{}", 1_u64 << step.unsigned_abs());
        power -= step;
    }
    text + ")"
}

/// What breaks a line, or ends a string for some, is put back by SQLite itself.
const REPLACED: [(char, &str, u8); 3] = [('\n', "\\n", 10), ('\r', "\\r", 13), ('\0', "\\0", 0)];

pub fn text(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let mut line = b"CAST(X'".to_vec();
        line.extend_from_slice(hex(bytes).as_bytes());
        return String::from_utf8_lossy(&line).into_owned() + "' AS TEXT)";
    };
    let mut literal = text.replace('\'', "''");
    let mut calls = Vec::new();
    for (character, name, number) in REPLACED {
        if !literal.contains(character) {
            continue;
        }
        let mut stand_in = name.to_owned();
        while literal.contains(&stand_in) {
            stand_in.push('_');
        }
        literal = literal.replace(character, &stand_in);
        calls.push((stand_in, number));
    }
    let mut text = format!("'{literal}'");
    // The last one first: an earlier stand-in may look like a part of a later one.
    for (stand_in, number) in calls.iter().rev() {
        text = format!("replace({text},'{stand_in}',char({number}))");
    }
    text
}
