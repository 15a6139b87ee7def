//! As what a value of a file must be found again in the database. Nothing passes for the same that
//! somebody could tell apart, but for the columns of which the plan says so.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::cell::{Cell, Kind};
use super::head::ColumnHead;
use super::moment::moment;
use super::number::canonical;
use super::outline::ColumnOutline;
use crate::values::database::EngineKind;

/// How a value of the file and what the database has of it are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Type and value.
    Exactly,
    /// The number, whatever it is kept as: `1.10` is `1.1`, and true is 1.
    AsNumber,
    /// The same with four bytes: what does not fit into them is another number.
    AsSmallReal,
    /// Letter by letter: a number is its digits, and `007` is not 7.
    AsText,
    /// The same, but for blanks at the end.
    AsPadded,
    /// Numbers as numbers and text as text, value by value.
    ByItsType,
    /// A date, a time of day or both; in a column with time zones, the moment.
    AsTime { has_zone: bool },
    /// What the JSON says, however it is written.
    AsJson,
    /// Only whether there is one: the type keeps all of it, and has its own way to write it.
    Presence,
}

/// Where a value comes from and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Between {
    pub from: EngineKind,
    pub to: EngineKind,
    /// Whether somebody has edited the rows: then they need not stand as the database writes them.
    pub is_edited: bool,
}

impl Compare {
    pub fn choose(from: &ColumnHead, to: &ColumnOutline, between: Between) -> Compare {
        let is_same = between.from == between.to && from.data_type == to.data_type;
        match between.to {
            _ if is_same && !between.is_edited => Compare::Exactly,
            EngineKind::Sqlite => into_sqlite(from.kind, to.kind),
            EngineKind::Postgresql => into_postgres(from, to, between, is_same),
        }
    }

    /// As what the value counts.
    pub fn of(self, cell: &Cell) -> Cow<'_, Cell> {
        let counted = match (self, cell) {
            (Compare::Exactly, _) | (_, Cell::Null) => return Cow::Borrowed(cell),
            (Compare::Presence, _) => Cell::Bool(true),
            (_, Cell::Bytes(_) | Cell::TextBytes(_)) => return Cow::Borrowed(cell),
            (Compare::AsNumber, cell) => number(&digits(cell)),
            (Compare::AsSmallReal, Cell::Real(number)) => small(*number),
            (Compare::AsSmallReal | Compare::ByItsType, Cell::Text(text) | Cell::Json(text)) => {
                match is_plain(text) {
                    true => number(text),
                    false => Cell::Text(text.clone()),
                }
            }
            (Compare::AsSmallReal | Compare::ByItsType, cell) => number(&digits(cell)),
            (Compare::AsText, cell) => Cell::Text(digits(cell).into_owned()),
            (Compare::AsPadded, cell) => Cell::Text(digits(cell).trim_end_matches(' ').to_owned()),
            (Compare::AsTime { has_zone }, cell) => {
                let text = digits(cell);
                Cell::Text(moment(&text, has_zone).unwrap_or_else(|| text.into_owned()))
            }
            (Compare::AsJson, cell) => json(&digits(cell)),
        };
        Cow::Owned(counted)
    }
}

fn into_sqlite(from: Kind, to: Kind) -> Compare {
    match (from, to) {
        (Kind::Text | Kind::Json, _) => Compare::AsText,
        // What becomes text there is still the number that it was.
        (Kind::Any, Kind::Any) => Compare::ByItsType,
        _ => Compare::AsNumber,
    }
}

/// `is_same`: the type is, of the same engine.
fn into_postgres(
    from: &ColumnHead,
    to: &ColumnOutline,
    between: Between,
    is_same: bool,
) -> Compare {
    let to_type = to.data_type.as_str();
    let is_text = to_type == "text" || to_type.starts_with("character varying");
    match to.kind {
        Kind::Bytes => Compare::Exactly,
        Kind::Json if to_type == "json" => Compare::AsText,
        Kind::Json => Compare::AsJson,
        Kind::Integer | Kind::Real | Kind::Decimal | Kind::Boolean => match from.kind {
            Kind::Text | Kind::Json | Kind::Bytes => Compare::AsText,
            _ if to_type == "real" => Compare::AsSmallReal,
            Kind::Any => Compare::ByItsType,
            _ => Compare::AsNumber,
        },
        Kind::Text | Kind::Any if is_text => Compare::AsText,
        Kind::Text | Kind::Any if to_type.starts_with("character(") => Compare::AsPadded,
        Kind::Text | Kind::Any => match time_zone(to_type) {
            Some(has_zone) if is_same || between.from != between.to => Compare::AsTime { has_zone },
            // SQLite's text is seldom written as PostgreSQL writes it.
            _ if between.from != between.to && keeps_all(to_type) => Compare::Presence,
            _ => Compare::AsText,
        },
    }
}

/// Types that write in a way of their own what they have read, and all of it: nothing is rounded,
/// cut or dropped. Of any other a text must come back as it was.
fn keeps_all(data_type: &str) -> bool {
    matches!(
        data_type.trim_end_matches("[]"),
        "smallint"
            | "integer"
            | "bigint"
            | "numeric"
            | "boolean"
            | "text"
            | "character varying"
            | "uuid"
            | "inet"
            | "cidr"
            | "macaddr"
            | "macaddr8"
            | "int4range"
            | "int8range"
            | "numrange"
            | "int4multirange"
            | "int8multirange"
            | "nummultirange"
    )
}

/// Whether a type that is a time has a zone; nothing for all other types.
fn time_zone(data_type: &str) -> Option<bool> {
    let has_zone = data_type.ends_with(" with time zone");
    match data_type {
        "date" => Some(false),
        _ if data_type.starts_with("timestamp") => Some(has_zone),
        _ if data_type.starts_with("time") && !has_zone => Some(false),
        _ => None,
    }
}

/// As the engines are told it.
fn digits(cell: &Cell) -> Cow<'_, str> {
    match cell {
        Cell::Bool(value) => Cow::Borrowed(if *value { "1" } else { "0" }),
        Cell::Integer(number) => Cow::Owned(number.to_string()),
        Cell::Real(number) if number.is_finite() => Cow::Owned(format!("{number:?}")),
        Cell::Real(number) => Cow::Borrowed(super::value::real_name(*number)),
        Cell::Decimal(text) | Cell::Text(text) | Cell::Json(text) => Cow::Borrowed(text),
        Cell::Null | Cell::TextBytes(_) | Cell::Bytes(_) => Cow::Borrowed(""),
    }
}

fn number(text: &str) -> Cell {
    match canonical(text) {
        // A double has two zeros.
        Some(zero) if zero == "0" && text.starts_with('-') => Cell::Decimal("-0".to_owned()),
        Some(number) => Cell::Decimal(number),
        None => Cell::Text(text.to_owned()),
    }
}

/// What four bytes hold is written with as few digits as tell it from its neighbours among those.
fn small(real: f64) -> Cell {
    let short = real as f32;
    match f64::from(short) == real {
        true => number(&format!("{short:?}")),
        false => number(&digits(&Cell::Real(real))),
    }
}

/// Whether a text that became a number would be written as the same text again.
fn is_plain(text: &str) -> bool {
    let is_whole = || {
        text.parse()
            .is_ok_and(|whole: i64| whole.to_string() == text)
    };
    let is_broken = || {
        let read = text.parse::<f64>();
        read.is_ok_and(|real| {
            real.fract() != 0.0 && !text.contains('e') && format!("{real:?}") == text
        })
    };
    is_whole() || is_broken()
}

/// Keys in their order, and each number written in one way.
fn json(text: &str) -> Cell {
    match serde_json::from_str(text) {
        Ok(value) => Cell::Text(one_way(value).to_string()),
        // Beyond what is read here, such as a number of a thousand digits.
        Err(_) => Cell::Bool(true),
    }
}

fn one_way(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            Value::Array(vec![
                Value::String(canonical(&text).unwrap_or(text)),
                Value::Null,
            ])
        }
        Value::Array(values) => {
            let values = values.into_iter().map(one_way).collect();
            Value::Array(vec![Value::Array(values)])
        }
        Value::Object(fields) => {
            let field = |(name, value)| (name, one_way(value));
            let sorted: BTreeMap<String, Value> = fields.into_iter().map(field).collect();
            Value::Object(sorted.into_iter().collect())
        }
        other => other,
    }
}
