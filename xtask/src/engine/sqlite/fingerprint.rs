//! A number that the values of a table's rows make together, in any order: a SHA-256 of each row,
//! half of it taken as a number, all of them added up.

use anyhow::Result;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::inspect::quoted;
use crate::values::digest::Sha256;

/// What a fingerprint begins with. Another way to make it is another method.
const METHOD: &str = "sqlite-values-1";

/// Generated columns are left out: they are made of the others.
pub fn of_table(connection: &Connection, table: &str) -> Result<String> {
    let mut statement = connection.prepare(
        "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY CAST(name AS BLOB)",
    )?;
    let names = statement.query_map([table], |row| row.get(0))?;
    let names = names.collect::<Result<Vec<String>, _>>()?;
    let columns: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let question = format!("SELECT {} FROM main.{}", columns.join(", "), quoted(table));
    let mut statement = connection.prepare(&question)?;
    let mut rows = statement.query([])?;
    let (mut sum, mut bytes) = (0_u128, Vec::new());
    while let Some(row) = rows.next()? {
        bytes.clear();
        for column in 0..columns.len() {
            append(row.get_ref(column)?, &mut bytes);
        }
        sum = sum.wrapping_add(Sha256::of(&bytes).half());
    }
    Ok(format!("{METHOD}:{sum:032x}"))
}

/// 1, 1.0, '1' and x'31' are four values; and where one ends the next one begins.
fn append(value: ValueRef, bytes: &mut Vec<u8>) {
    let mut long = |tag: u8, value: &[u8]| {
        bytes.push(tag);
        bytes.extend((value.len() as u64).to_le_bytes());
        bytes.extend(value);
    };
    match value {
        ValueRef::Null => bytes.push(b'n'),
        ValueRef::Integer(number) => long(b'i', &number.to_le_bytes()),
        ValueRef::Real(number) => long(b'r', &number.to_bits().to_le_bytes()),
        ValueRef::Text(text) => long(b't', text),
        ValueRef::Blob(blob) => long(b'b', blob),
    }
}
