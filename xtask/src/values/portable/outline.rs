//! What a database has that rows can come from and go to.

use super::cell::Kind;
use super::head::{ColumnHead, SequenceHead, TableHead};
use super::order::parents_first;
use crate::values::database::EngineKind;
use crate::values::failure::Failure;
use crate::values::nearest::nearest;
use crate::values::schema::display_name;

#[derive(Debug, Clone)]
pub struct Outline {
    pub engine: EngineKind,
    pub tables: Vec<TableOutline>,
    /// What rows are not taken of; one line each.
    pub left_out: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct TableOutline {
    pub schema: String,
    pub name: String,
    pub rows: u64,
    pub columns: Vec<ColumnOutline>,
    /// The tables that it refers to, itself among them; some may not be in the outline.
    pub parents: Vec<(String, String)>,
    pub sequences: Vec<SequenceHead>,
    /// sqlx's bookkeeping: only taken when somebody names it.
    pub is_history: bool,
    /// Why its foreign keys cannot be checked, if so.
    pub key_fault: Option<String>,
}

#[derive(Debug, Clone)]
pub struct ColumnOutline {
    pub name: String,
    pub data_type: String,
    pub kind: Kind,
    /// Computed from the others.
    pub is_generated: bool,
}

impl TableOutline {
    pub fn title(&self) -> String {
        display_name(&self.schema, &self.name)
    }

    pub fn full_name(&self) -> (String, String) {
        (self.schema.clone(), self.name.clone())
    }

    pub fn head(&self) -> TableHead {
        let columns = self.columns.iter().filter(|column| !column.is_generated);
        let column = |column: &ColumnOutline| ColumnHead {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            kind: column.kind,
        };
        TableHead {
            schema: self.schema.clone(),
            name: self.name.clone(),
            rows: self.rows,
            file: None,
            sequences: self.sequences.clone(),
            columns: columns.map(column).collect(),
        }
    }
}

/// The tables that are meant, all but sqlx's own when none is named; parents first.
pub fn choose(outline: &Outline, wanted: &[String]) -> Result<Vec<usize>, Failure> {
    let mut chosen: Vec<usize> = Vec::new();
    for name in wanted {
        let found =
            (outline.tables.iter()).position(|table| is_meant(&table.schema, &table.name, name));
        let found =
            found.ok_or_else(|| unknown(name, outline.tables.iter().map(TableOutline::title)))?;
        if !chosen.contains(&found) {
            chosen.push(found);
        }
    }
    if wanted.is_empty() {
        chosen = (0..outline.tables.len())
            .filter(|table| !outline.tables[*table].is_history)
            .collect();
    }
    chosen.sort_unstable();
    let place = |name: &(String, String)| {
        chosen
            .iter()
            .position(|table| outline.tables[*table].full_name() == *name)
    };
    let parents = |table: &usize| {
        outline.tables[*table]
            .parents
            .iter()
            .filter_map(place)
            .collect()
    };
    let parents: Vec<Vec<usize>> = chosen.iter().map(parents).collect();
    let order = parents_first(&parents);
    Ok(order.into_iter().map(|place| chosen[place]).collect())
}

/// By its name, with its schema or without where that is the usual one.
pub fn is_meant(schema: &str, name: &str, wanted: &str) -> bool {
    display_name(schema, name) == wanted || format!("{schema}.{name}") == wanted
}

/// A name that is none of these.
pub fn unknown(name: &str, titles: impl Iterator<Item = String>) -> Failure {
    if name.contains("://") {
        return Failure::usage("a database URL stands where a table was expected")
            .hint("put `--database-url` before it, or set `DATABASE_URL`");
    }
    let titles: Vec<String> = titles.collect();
    let failure = Failure::usage(format!("there is no table `{name}`"));
    match nearest(name, titles.iter().map(String::as_str)) {
        Some(nearest) => failure.hint(format!("perhaps `{nearest}` is meant")),
        None => failure.hint("`cargo xtask db status` shows the tables"),
    }
}
