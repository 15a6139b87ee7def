//! A row as a JSON object, column by column.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use super::cell::Cell;
use super::head::ColumnHead;
use super::value;

/// `names`: of the columns, each as a JSON string.
pub fn write(names: &[String], cells: &[Cell], out: &mut String) {
    out.push('{');
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(&names[i]);
        out.push_str(": ");
        value::write(cell, out);
    }
    out.push('}');
}

/// The names of columns as they stand in every row.
pub fn names(columns: &[ColumnHead]) -> Vec<String> {
    let quoted = |column: &ColumnHead| {
        let mut name = String::new();
        value::string(&column.name, &mut name);
        name
    };
    columns.iter().map(quoted).collect()
}

/// The values in the order of the columns, whatever order they stand in.
pub fn read(raw: &str, columns: &[ColumnHead]) -> Result<Vec<Cell>, String> {
    let fields = fields(raw).map_err(|error| error.to_string())?;
    let mut cells: Vec<Option<Cell>> = columns.iter().map(|_| None).collect();
    for (i, (name, raw)) in fields.iter().enumerate() {
        let is_next = columns.get(i).is_some_and(|column| column.name == *name);
        let place = match is_next {
            true => i,
            false => (columns.iter().position(|column| column.name == *name))
                .ok_or_else(|| format!("there is no column `{name}`"))?,
        };
        if cells[place].is_some() {
            return Err(format!("the column `{name}` is there twice"));
        }
        let read = value::read(raw.get(), columns[place].kind);
        cells[place] = Some(read.map_err(|error| format!("column `{name}`: {error}"))?);
    }
    let named = cells.into_iter().zip(columns);
    named
        .map(|(cell, column)| {
            cell.ok_or_else(|| format!("the column `{}` is missing", column.name))
        })
        .collect()
}

/// Names, and values as they stand there.
type Fields<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// The fields of an object as they stand there, also those that are there twice.
pub fn fields(raw: &str) -> Result<Fields<'_>, serde_json::Error> {
    struct Reader;

    /// Borrowed where no letter of it is escaped.
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    impl<'de> Visitor<'de> for Reader {
        type Value = Fields<'de>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some((Name(name), value)) = map.next_entry()? {
                fields.push((name, value));
            }
            Ok(fields)
        }
    }

    let mut reader = serde_json::Deserializer::from_str(raw);
    let fields = reader.deserialize_map(Reader)?;
    reader.end()?;
    Ok(fields)
}
