//! Rows of one table in two databases, both read in the order of the same key, side by side.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use anyhow::Result;
use serde::{Serialize, Serializer};

use super::words::on_one_line;

/// As much of a value as a line for a person shows.
const SHOWN_CHARS: usize = 200;

/// Shown as it would stand in SQL, so that NULL, '' and 'NULL' are three.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    /// A number or a truth value as the server writes it.
    Plain(String),
    Text(String),
    /// Of SQLite, which takes any bytes for text.
    BrokenText(Vec<u8>),
    Blob(Vec<u8>),
}

/// What the values of a column are compared by when rows are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As SQLite orders values of any type, text by its bytes.
    AnyType,
    Number,
    Bytes,
}

/// What a table is read by.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shape {
    pub columns: Vec<(String, Order)>,
    /// The columns of the primary key; empty when there is none.
    pub key: Vec<String>,
}

/// The rows of one table, in the order of the key.
pub trait Rows {
    fn next(&mut self) -> Result<Option<Vec<Value>>>;
}

/// Which columns of both tables are read, those of the key first.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Matching {
    pub key: Vec<String>,
    /// The other columns that both have.
    pub columns: Vec<String>,
    /// Both have the same primary key. Without one, all columns are the key, and rows are only
    /// removed and added; as often as they are there.
    pub by_primary_key: bool,
}

/// A row that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    Removed { key: Vec<Value>, values: Vec<Value> },
    Added { key: Vec<Value>, values: Vec<Value> },
    Changed { key: Vec<Value>, columns: Vec<Cell> },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    pub column: String,
    pub a: Value,
    pub b: Value,
}

impl Matching {
    /// `None`: there is nothing that tells which row of A is which row of B.
    pub fn of(a: &Shape, b: &Shape) -> Option<Matching> {
        let order = |shape: &Shape, name: &str| {
            let mut columns = shape.columns.iter();
            columns.find(|(n, _)| n == name).map(|(_, order)| *order)
        };
        let is_alike = |name: &String| order(a, name) == order(b, name);
        let common = a.columns.iter().map(|(name, _)| name);
        let common: Vec<&String> = common.filter(|n| order(b, n).is_some()).collect();
        if !a.key.is_empty() && a.key == b.key && a.key.iter().all(is_alike) {
            let columns = common.into_iter().filter(|name| !a.key.contains(name));
            return Some(Matching {
                key: a.key.clone(),
                columns: columns.cloned().collect(),
                by_primary_key: true,
            });
        }
        let all_in_both = a.columns.len() == common.len() && b.columns.len() == common.len();
        let all_alike = all_in_both && common.iter().all(|name| is_alike(name));
        all_alike.then(|| Matching {
            key: common.into_iter().cloned().collect(),
            columns: Vec::new(),
            by_primary_key: false,
        })
    }

    /// Walks along both; `found` hears of each row that is not the same in both.
    pub fn compare(
        &self,
        a: &mut dyn Rows,
        b: &mut dyn Rows,
        found: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let keys = self.key.len();
        let (mut left, mut right) = (a.next()?, b.next()?);
        loop {
            let order = match (&left, &right) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(l), Some(r)) => compare_keys(&l[..keys], &r[..keys]),
            };
            let l = (order != Ordering::Greater).then(|| left.take()).flatten();
            let r = (order != Ordering::Less).then(|| right.take()).flatten();
            match (l, r) {
                (Some(mut key), Some(other)) => {
                    let columns = self.cells(&key, &other);
                    left = a.next()?;
                    right = b.next()?;
                    key.truncate(keys);
                    if !columns.is_empty() {
                        found(Change::Changed { key, columns })?;
                    }
                }
                (Some(mut key), None) => {
                    left = a.next()?;
                    let values = key.split_off(keys);
                    found(Change::Removed { key, values })?;
                }
                (None, Some(mut key)) => {
                    right = b.next()?;
                    let values = key.split_off(keys);
                    found(Change::Added { key, values })?;
                }
                (None, None) => return Ok(()),
            }
        }
    }

    /// Also of the key: 1 and 1.0 are one key.
    fn cells(&self, a: &[Value], b: &[Value]) -> Vec<Cell> {
        let names = self.key.iter().chain(&self.columns);
        let pairs = names.zip(a.iter().zip(b));
        let cell = |(column, (a, b)): (&String, (&Value, &Value))| Cell {
            column: column.clone(),
            a: a.clone(),
            b: b.clone(),
        };
        pairs.filter(|(_, (a, b))| a != b).map(cell).collect()
    }

    /// `- 3: title = 'x'`, `+ 4: title = 'y'`, `~ 5: title: 'x' → 'y'`.
    pub fn line(&self, change: &Change) -> String {
        let key_text = |key: &[Value]| {
            let values: Vec<String> = key.iter().map(Value::shown).collect();
            match values.as_slice() {
                [one] if self.by_primary_key => one.clone(),
                values => format!("({})", values.join(", ")),
            }
        };
        let with = |sign: &str, key: &[Value], values: &[Value]| {
            let pairs = self.columns.iter().zip(values);
            let pairs = pairs.map(|(name, v)| format!("{} = {}", on_one_line(name), v.shown()));
            let pairs: Vec<String> = pairs.collect();
            let separator = if pairs.is_empty() { "" } else { ": " };
            format!("{sign} {}{separator}{}", key_text(key), pairs.join(", "))
        };
        match change {
            Change::Removed { key, values } => with("-", key, values),
            Change::Added { key, values } => with("+", key, values),
            Change::Changed { key, columns } => {
                let cell = |cell: &Cell| {
                    let name = on_one_line(&cell.column);
                    format!("{name}: {} → {}", cell.a.shown(), cell.b.shown())
                };
                let cells: Vec<String> = columns.iter().map(cell).collect();
                format!("~ {}: {}", key_text(key), cells.join("; "))
            }
        }
    }
}

fn compare_keys(a: &[Value], b: &[Value]) -> Ordering {
    let pairs = a.iter().zip(b);
    let orders = pairs.map(|(a, b)| a.order(b));
    orders.fold(Ordering::Equal, Ordering::then)
}

impl Value {
    /// As both engines were asked to order: NULL, numbers, text, bytes.
    fn order(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
            (Value::Real(a), Value::Real(b)) => a.total_cmp(b),
            (Value::Integer(a), Value::Real(b)) => compare_numbers(*a, *b),
            (Value::Real(a), Value::Integer(b)) => compare_numbers(*b, *a).reverse(),
            (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
            _ => match (self.text(), other.text()) {
                (Some(a), Some(b)) => a.as_bytes().cmp(b.as_bytes()),
                _ => self.rank().cmp(&other.rank()),
            },
        }
    }

    /// As what compares text gets it: broken text with replacements.
    fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Plain(text) | Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::BrokenText(bytes) => Some(String::from_utf8_lossy(bytes)),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Integer(_) | Value::Real(_) => 1,
            Value::Plain(_) | Value::Text(_) | Value::BrokenText(_) => 2,
            Value::Blob(_) => 3,
        }
    }

    /// On one line, and not all of a long one.
    fn shown(&self) -> String {
        let text = self.to_string();
        let mut characters = text.chars();
        let mut short: String = characters.by_ref().take(SHOWN_CHARS).collect();
        if characters.next().is_some() {
            short.push('…');
        }
        on_one_line(&short).into_owned()
    }
}

fn compare_numbers(integer: i64, real: f64) -> Ordering {
    // What is larger than any integer stays so as one of 128 bits.
    let whole = real.trunc() as i128;
    let order = i128::from(integer).cmp(&whole);
    order.then_with(|| 0.0_f64.total_cmp(&(real.fract() + 0.0)))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Real(number) => write!(f, "{number:?}"),
            Value::Plain(text) => f.write_str(text),
            Value::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Value::BrokenText(bytes) => write!(f, "CAST({} AS TEXT)", Value::Blob(bytes.clone())),
            Value::Blob(bytes) => {
                f.write_str("x'")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
