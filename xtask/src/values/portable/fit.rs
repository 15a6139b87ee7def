//! Where in a database the tables of a file belong, column by column, and as what a value that
//! was stored there must be found again.

use std::borrow::Cow;

use super::cell::{Cell, Kind};
use super::compare::{Between, Compare};
use super::head::{ColumnHead, SequenceHead, TableHead};
use super::intake::{Found, Inventory};
use super::outline::{ColumnOutline, Outline, TableOutline, is_meant, unknown};
use super::tally::Tally;
use crate::values::database::EngineKind;
use crate::values::failure::Failure;
use crate::values::nearest::nearest;
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
    /// What the whole file came to, where it is found again exactly.
    pub tally: Option<Tally>,
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
    /// As the database calls it.
    pub data_type: String,
    pub compare: Compare,
}

impl Landing {
    pub fn has(&self, schema: &str, name: &str) -> bool {
        self.wanted()
            .any(|table| table.schema == schema && table.name == name)
    }

    pub fn wanted(&self) -> impl Iterator<Item = &Landed> {
        self.tables.iter().flatten()
    }
}

/// `wanted`: the tables that were named; none: all but sqlx's own.
pub fn fit(
    inventory: &Inventory,
    outline: &Outline,
    wanted: &[String],
    mode: Mode,
) -> Result<Landing, Failure> {
    let head = &inventory.head;
    for name in wanted {
        let mut tables = head.tables.iter();
        if !tables.any(|table| is_meant(&table.schema, &table.name, name)) {
            return Err(unknown(name, head.tables.iter().map(TableHead::title)));
        }
    }
    let mut tables: Vec<Option<Landed>> = Vec::new();
    for (table, found) in head.tables.iter().zip(&inventory.tables) {
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
        let between = Between {
            from: head.engine,
            to: outline.engine,
            is_edited: found.is_edited,
        };
        tables.push(Some(land((table, found), there, between)?));
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

/// `table`: as the head has it, and what was found of it in the file.
fn land(
    (table, found): (&TableHead, &Found),
    there: &TableOutline,
    between: Between,
) -> Result<Landed, Failure> {
    let column = |column: &ColumnHead| -> Result<LandedColumn, Failure> {
        let to = find_column(column, table, there)?;
        Ok(LandedColumn {
            name: to.name.clone(),
            kind: to.kind,
            data_type: to.data_type.clone(),
            compare: Compare::choose(column, to, between),
        })
    };
    let columns = table
        .columns
        .iter()
        .map(column)
        .collect::<Result<Vec<_>, _>>()?;
    let is_exact = columns
        .iter()
        .all(|column| column.compare == Compare::Exactly);
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
        rows_to_come: found.tally.rows,
        tally: is_exact.then(|| found.tally.clone()),
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

impl Landed {
    /// What the table was given: counted row by row, unless the file as a whole says it; that it is
    /// still that file is for whoever reads it to require.
    pub fn given(&self, counted: Tally) -> Tally {
        self.tally.clone().unwrap_or(counted)
    }

    /// A row on its way from the file.
    pub fn give(&self, tally: &mut Tally, cells: &[Cell]) {
        if self.tally.is_none() {
            self.add(tally, cells);
        }
    }

    /// A row of the file, or what the database has of it.
    pub fn add(&self, tally: &mut Tally, cells: &[Cell]) {
        if self.tally.is_some() {
            tally.add(cells);
            return;
        }
        let counted = cells.iter().zip(&self.columns);
        let counted: Vec<Cow<'_, Cell>> = counted
            .map(|(cell, column)| column.compare.of(cell))
            .collect();
        tally.add(counted.iter().map(AsRef::as_ref));
    }

    /// Columns of which no more is compared than whether there is a value.
    pub fn hardly_compared(&self) -> impl Iterator<Item = &LandedColumn> {
        let columns = self.columns.iter();
        columns.filter(|column| column.compare == Compare::Presence)
    }
}

/// Rows that refer to those that would be deleted, and are not in the file themselves.
pub fn refuse_children(landing: &Landing, outline: &Outline) -> Result<(), Failure> {
    let tables = outline.tables.iter();
    let others = tables.filter(|table| !landing.has(&table.schema, &table.name));
    for child in others.filter(|table| table.rows > 0) {
        let mut parents = child.parents.iter();
        if let Some((_, parent)) = parents.find(|(schema, name)| landing.has(schema, name)) {
            return Err(children_refusal(&child.title(), parent));
        }
    }
    Ok(())
}

pub fn children_refusal(child: &str, parent: &str) -> Failure {
    Failure::refused(format!(
        "rows of `{child}` refer to rows of `{}`, which would be deleted",
        on_one_line(parent)
    ))
    .hint("import both tables, or add the rows with `--append`")
}

/// Foreign keys that could not be checked when the rows are there.
pub fn refuse_faulty_keys(landing: &Landing, outline: &Outline) -> Result<(), Failure> {
    for table in &outline.tables {
        let is_changed = landing.has(&table.schema, &table.name);
        let refers = || {
            table
                .parents
                .iter()
                .any(|(schema, name)| landing.has(schema, name))
        };
        if let Some(fault) = table.key_fault.as_ref().filter(|_| is_changed || refers()) {
            return Err(Failure::refused(format!(
                "the foreign keys of `{}` cannot be checked: {fault}",
                table.title()
            ))
            .hint("give the columns that they refer to a PRIMARY KEY or a UNIQUE index"));
        }
    }
    Ok(())
}
