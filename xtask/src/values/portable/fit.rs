//! Where in a database the tables of a file belong, column by column, and as what a value that
//! was stored there must be found again.

use std::borrow::Cow;

use super::cell::{Cell, Kind};
use super::head::{ColumnHead, Head, SequenceHead, TableHead};
use super::nearest::nearest;
use super::number::canonical;
use super::outline::{ColumnOutline, Outline, TableOutline, is_meant, unknown};
use super::tally::Tally;
use crate::values::database::EngineKind;
use crate::values::failure::Failure;
use crate::values::words::on_one_line;

/// What becomes of rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// There are none.
    IntoEmpty,
    /// They are deleted in the same transaction.
    Replace,
    /// They stay.
    Append,
}

#[derive(Debug, Clone)]
pub struct Landing {
    pub mode: Mode,
    /// By the tables of the head; nothing for one that is not imported.
    pub tables: Vec<Option<Landed>>,
}

#[derive(Debug, Clone)]
pub struct Landed {
    pub schema: String,
    pub name: String,
    pub title: String,
    pub rows_now: u64,
    pub rows_to_come: u64,
    /// As many as the file has, in its order.
    pub columns: Vec<LandedColumn>,
    pub sequences: Vec<SequenceHead>,
    /// Columns that the file does not have.
    pub defaults: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct LandedColumn {
    pub name: String,
    pub kind: Kind,
    pub compare: Compare,
}

/// How a value of the file and what the database has of it are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Type and value.
    Exactly,
    /// The value: `1.10` is `1.1`, and true is 1.
    ByValue,
    /// Only whether there is one: the type has its own way to write it.
    Presence,
}

impl Landing {
    pub fn wanted(&self) -> impl Iterator<Item = &Landed> {
        self.tables.iter().flatten()
    }
}

/// `wanted`: the tables that were named; none: all but sqlx's own.
pub fn fit(
    head: &Head,
    outline: &Outline,
    wanted: &[String],
    mode: Mode,
) -> Result<Landing, Failure> {
    for name in wanted {
        let mut tables = head.tables.iter();
        if !tables.any(|table| is_meant(&table.schema, &table.name, name)) {
            return Err(unknown(name, head.tables.iter().map(TableHead::title)));
        }
    }
    let mut tables: Vec<Option<Landed>> = Vec::new();
    for table in &head.tables {
        let is_named = wanted
            .iter()
            .any(|name| is_meant(&table.schema, &table.name, name));
        if !(is_named || wanted.is_empty()) {
            tables.push(None);
            continue;
        }
        let there = find_table(table, head.engine, outline)?;
        if there.is_history && !is_named {
            tables.push(None);
            continue;
        }
        let mut earlier = tables.iter().flatten();
        if earlier.any(|landed| landed.schema == there.schema && landed.name == there.name) {
            return Err(Failure::refused(format!(
                "two tables of the file belong to the table `{}`",
                there.title()
            ))
            .hint("name one of them with `--table`"));
        }
        tables.push(Some(land(table, there, (head.engine, outline.engine))?));
    }
    Ok(Landing { mode, tables })
}

/// By its name; where there is none, by its name in any letters, and in any schema when it comes
/// from another engine.
fn find_table<'a>(
    table: &TableHead,
    from: EngineKind,
    outline: &'a Outline,
) -> Result<&'a TableOutline, Failure> {
    let is_usual = |there: &&TableOutline| matches!(there.schema.as_str(), "main" | "public");
    let fits_schema =
        |there: &&TableOutline| from != outline.engine || there.schema == table.schema;
    let tables: Vec<&TableOutline> = outline.tables.iter().filter(fits_schema).collect();
    let exact = |there: &&&TableOutline| there.name == table.name;
    let alike = |there: &&&TableOutline| there.name.eq_ignore_ascii_case(&table.name);
    let only = |found: Vec<&&'a TableOutline>| match found.as_slice() {
        [one] => Some(**one),
        several => several.iter().map(|one| **one).find(is_usual),
    };
    let found = only(tables.iter().filter(exact).collect());
    let found = found.or_else(|| only(tables.iter().filter(alike).collect()));
    found.ok_or_else(|| {
        let title = table.title();
        let failure = Failure::refused(format!("the database has no table `{title}`"));
        let titles: Vec<String> = outline.tables.iter().map(TableOutline::title).collect();
        let near = nearest(&title, titles.iter().map(String::as_str));
        let near = near.map(|near| format!("; the nearest name is `{near}`"));
        failure.hint(format!(
            "the tables must be there before their rows: cargo xtask db migrate-safe{}",
            near.unwrap_or_default()
        ))
    })
}

/// `engines`: where it comes from and where it goes.
fn land(
    table: &TableHead,
    there: &TableOutline,
    engines: (EngineKind, EngineKind),
) -> Result<Landed, Failure> {
    let column = |column: &ColumnHead| -> Result<LandedColumn, Failure> {
        let found = find_column(column, table, there)?;
        Ok(LandedColumn {
            name: found.name.clone(),
            kind: found.kind,
            compare: compare(column, found, engines),
        })
    };
    let columns = table
        .columns
        .iter()
        .map(column)
        .collect::<Result<Vec<_>, _>>()?;
    let is_filled = |name: &str| columns.iter().any(|column| column.name == name);
    let rest = there
        .columns
        .iter()
        .filter(|column| !column.is_generated && !is_filled(&column.name));
    let defaults = rest
        .map(|column| on_one_line(&column.name).into_owned())
        .collect();
    let sequences = table.sequences.iter().filter_map(|sequence| {
        let place = table
            .columns
            .iter()
            .position(|column| column.name == sequence.column)?;
        Some(SequenceHead {
            column: columns[place].name.clone(),
            last: sequence.last,
        })
    });
    Ok(Landed {
        schema: there.schema.clone(),
        name: there.name.clone(),
        title: there.title(),
        rows_now: there.rows,
        rows_to_come: table.rows,
        sequences: sequences.collect(),
        defaults,
        columns,
    })
}

fn find_column<'a>(
    column: &ColumnHead,
    table: &TableHead,
    there: &'a TableOutline,
) -> Result<&'a ColumnOutline, Failure> {
    let exact = there.columns.iter().find(|c| c.name == column.name);
    let mut alike = there
        .columns
        .iter()
        .filter(|c| c.name.eq_ignore_ascii_case(&column.name));
    let found = exact.or_else(|| alike.next().filter(|_| alike.next().is_none()));
    let (name, title) = (on_one_line(&column.name), table.title());
    let Some(found) = found else {
        let near = nearest(&column.name, there.columns.iter().map(|c| c.name.as_str()));
        let near = near.map(|near| format!("; the nearest name is `{}`", on_one_line(near)));
        return Err(Failure::refused(format!(
            "the table `{title}` has no column `{name}`, and the file has"
        ))
        .hint(format!(
            "the columns must be there before their values: cargo xtask db migrate-safe{}",
            near.unwrap_or_default()
        )));
    };
    if found.is_generated {
        return Err(Failure::refused(format!(
            "the column `{name}` of the table `{title}` is generated, and the file has values for it"
        ))
        .hint("export from a database with the same schema, or take the column out of the file"));
    }
    Ok(found)
}

fn compare(from: &ColumnHead, to: &ColumnOutline, engines: (EngineKind, EngineKind)) -> Compare {
    let to_type = to.data_type.as_str();
    if engines.0 == engines.1 && from.data_type == to_type {
        return Compare::Exactly;
    }
    // SQLite finds again what it was given, or what it takes for the same.
    if engines.1 == EngineKind::Sqlite {
        return Compare::ByValue;
    }
    match to.kind {
        Kind::Text if to_type == "text" || to_type.starts_with("character varying") => {
            Compare::ByValue
        }
        // Four bytes round what eight had.
        Kind::Real if to_type != "double precision" => Compare::Presence,
        Kind::Text | Kind::Json | Kind::Any => Compare::Presence,
        Kind::Integer | Kind::Real | Kind::Decimal | Kind::Boolean | Kind::Bytes => {
            Compare::ByValue
        }
    }
}

impl Landed {
    /// A row of the file, or what the database has of it.
    pub fn add(&self, tally: &mut Tally, cells: &[Cell]) {
        let counted = cells.iter().zip(&self.columns);
        let counted: Vec<Cow<'_, Cell>> = counted
            .map(|(cell, column)| column.compare.of(cell))
            .collect();
        tally.add(counted.iter().map(AsRef::as_ref));
    }

    /// Refuses when the table does not hold what it was given.
    pub fn require(&self, given: &Tally, found: &Tally) -> Result<(), Failure> {
        if given.is_same_as(found) {
            return Ok(());
        }
        let why = match given.rows == found.rows {
            true => "other values than the file has: a type of a column changes them, or a trigger"
                .to_owned(),
            false => format!("{} rows of the {} in the file", found.rows, given.rows),
        };
        Err(
            Failure::refused(format!("the table `{}` would hold {why}", self.title)).hint(
                "nothing was changed; compare the types of its columns with those in the file",
            ),
        )
    }
}

impl Compare {
    /// As what the value counts.
    pub fn of(self, cell: &Cell) -> Cow<'_, Cell> {
        match (self, cell) {
            (Compare::Exactly, _) | (_, Cell::Null) => Cow::Borrowed(cell),
            (Compare::Presence, _) => Cow::Owned(Cell::Bool(true)),
            (Compare::ByValue, cell) => Cow::Owned(by_value(cell)),
        }
    }
}

fn by_value(cell: &Cell) -> Cell {
    let number = |text: &str| match canonical(text) {
        Some(number) => Cell::Decimal(number),
        None => Cell::Text(text.to_owned()),
    };
    match cell {
        Cell::Bool(value) => number(if *value { "1" } else { "0" }),
        Cell::Integer(value) => number(&value.to_string()),
        Cell::Real(value) if value.is_finite() => number(&format!("{value:?}")),
        Cell::Real(value) => Cell::Text(super::value::real_name(*value).to_owned()),
        Cell::Decimal(text) | Cell::Text(text) | Cell::Json(text) => number(text),
        Cell::Null | Cell::TextBytes(_) | Cell::Bytes(_) => cell.clone(),
    }
}
