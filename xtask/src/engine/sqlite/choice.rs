//! What of a SQLite database goes into SQL as text.

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::inspect::quoted;
use super::literal;
use crate::values::database::{Contents, TableRows};
use crate::values::failure::Failure;
use crate::values::kind::{ForeignKey, Kind, Only};
use crate::values::pattern::Pattern;
use crate::values::schema::Relation;

pub const SCHEMA: &str = "main";

/// What was chosen, in the order in which it is made.
pub struct Choice {
    pub tables: Vec<Entry>,
    /// Indexes, triggers and views, once the rows are there.
    pub others: Vec<Entry>,
    /// Parts of virtual tables without rows, which make them themselves.
    parts_made: Vec<String>,
}

/// A row of `sqlite_schema`.
pub struct Entry {
    kind: String,
    pub name: String,
    /// The table that it belongs to.
    of: String,
    sql: String,
    leaves_rows: bool,
    /// A part of a virtual table.
    pub is_shadow: bool,
    /// A virtual table that makes its own parts, for their rows stay behind.
    makes_parts: bool,
}

impl Entry {
    fn is_virtual(&self) -> bool {
        let begins = self.sql.get(..14);
        begins.is_some_and(|begins| begins.eq_ignore_ascii_case("create virtual"))
    }

    fn is_entered(&self) -> bool {
        self.is_virtual() && !self.makes_parts
    }

    /// A virtual table is entered into the schema: to make it would be to make its shadow tables,
    /// which are there already, with their rows.
    pub fn definition(&self) -> String {
        if !self.is_entered() {
            return self.sql.clone();
        }
        let (name, sql) = (
            literal::text(self.name.as_bytes()),
            literal::text(self.sql.as_bytes()),
        );
        format!(
            "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema(type, name, tbl_name, \
             rootpage, sql) VALUES('table', {name}, {name}, 0, {sql})"
        )
    }

    pub fn has_rows(&self, kind: &Kind) -> bool {
        kind.has_rows() && !self.leaves_rows && !self.is_virtual()
    }

    /// For `DROP`.
    pub fn what(&self) -> &'static str {
        match self.kind.as_str() {
            "view" => "VIEW",
            _ => "TABLE",
        }
    }
}

impl Choice {
    /// `history`: sqlx's table, which rows alone do without unless it is named: what they go into
    /// has its own.
    pub fn of(connection: &Connection, kind: &Kind, history: &str) -> Result<Choice> {
        let entries = entries(connection).context("cannot read the schema")?;
        let (tables, others): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.kind == "table");
        let shadows = shadows(connection, &tables)?;
        let [only, without, no_rows] = [&kind.tables, &kind.without_tables, &kind.without_rows_of];
        let views = others.iter().filter(|entry| entry.kind == "view");
        let names: Vec<&str> = tables
            .iter()
            .chain(views)
            .map(|e| e.name.as_str())
            .collect();
        for pattern in only.iter().chain(without).chain(no_rows) {
            require_match(pattern, &names)?;
        }
        // A shadow table goes where its virtual table goes.
        let belongs = |entry: &Entry| {
            let owner = shadows.iter().find(|(name, _)| *name == entry.name);
            owner.map_or_else(|| entry.name.clone(), |(_, owner)| owner.clone())
        };
        let is_chosen = |name: &str| (only.is_empty() || any(only, name)) && !any(without, name);
        // All of them or none.
        let makes_parts = |owner: &str| {
            let mut parts = shadows.iter().filter(|(_, of)| of == owner).peekable();
            let leaves_rows = |name: &str| !kind.has_rows() || any(no_rows, name);
            parts.peek().is_some()
                && (leaves_rows(owner) || parts.any(|(part, _)| leaves_rows(part)))
        };
        let mut choice = Choice {
            tables: Vec::new(),
            others: Vec::new(),
            parts_made: Vec::new(),
        };
        for mut entry in tables {
            let name = belongs(&entry);
            let is_left = kind.only == Some(Only::Data) && only.is_empty();
            let is_left = is_left && entry.name.eq_ignore_ascii_case(history);
            if is_left || !(is_chosen(&name) || is_chosen(&entry.name) && !only.is_empty()) {
                continue;
            }
            entry.is_shadow = name != entry.name;
            entry.makes_parts = is_chosen(&name) && makes_parts(&name);
            entry.leaves_rows =
                entry.makes_parts || any(no_rows, &name) || any(no_rows, &entry.name);
            match entry.makes_parts {
                // Of rows alone nothing is left.
                true if !kind.has_definitions() => {}
                true if entry.is_shadow => choice.parts_made.push(entry.name),
                _ => choice.tables.push(entry),
            }
        }
        for entry in others {
            let is_wanted = match entry.kind.as_str() {
                // It may need tables that were not chosen.
                "view" if kind.is_partial() => any(only, &entry.name) && is_chosen(&entry.name),
                "view" => true,
                _ => choice.has(&entry.of),
            };
            if is_wanted {
                choice.others.push(entry);
            }
        }
        // A trigger may be of a view.
        let views: Vec<String> = choice.others.iter().map(|e| e.name.clone()).collect();
        choice.others.retain(|entry| {
            let is_there = |name: &String| choice.tables.iter().any(|t| t.name == *name);
            entry.kind == "view" || is_there(&entry.of) || views.contains(&entry.of)
        });
        Ok(choice)
    }

    fn has(&self, name: &str) -> bool {
        let mut all = self.tables.iter().chain(&self.others);
        all.any(|entry| entry.name == name)
    }

    pub fn has_entered(&self) -> bool {
        self.tables.iter().any(Entry::is_entered)
    }

    /// What a later run of the text would find in its way.
    pub fn made(&self) -> impl Iterator<Item = &Entry> {
        let views = self.others.iter().filter(|entry| entry.kind == "view");
        views.chain(&self.tables)
    }

    pub fn has_rows_of(&self, name: &str, kind: &Kind) -> bool {
        let mut tables = self.tables.iter();
        tables.any(|table| table.name.eq_ignore_ascii_case(name) && table.has_rows(kind))
    }

    /// Foreign keys to tables that are not in it, and of rows that are to rows that are not.
    pub fn gaps(&self, connection: &Connection, kind: &Kind) -> Result<Vec<ForeignKey>> {
        let mut gaps = Vec::new();
        for child in &self.tables {
            let keys =
                foreign_keys(connection, &child.name).context("cannot list the foreign keys")?;
            gaps.extend(keys.into_iter().filter(|key| {
                let parent = self.tables.iter().find(|table| table.name == key.refers_to);
                parent.is_none_or(|parent| child.has_rows(kind) && !parent.has_rows(kind))
            }));
        }
        Ok(gaps)
    }

    /// What will be there when the text was read again. A virtual table without rows, and its parts,
    /// are as their module has made them in `proof`.
    pub fn narrow(&self, whole: &Contents, kind: &Kind, proof: &Contents) -> Contents {
        let mut narrowed = whole.clone();
        narrowed
            .relations
            .retain(|relation| self.has(&relation.name));
        narrowed.tables.retain(|table| self.has(&table.name));
        for table in &mut narrowed.tables {
            let entry = self.tables.iter().find(|entry| entry.name == table.name);
            let keeps = entry.is_some_and(|entry| kind.has_rows() && !entry.leaves_rows);
            if !keeps {
                empty(table);
            }
        }
        let made = self.tables.iter().filter(|entry| entry.makes_parts);
        let made: Vec<&String> = made.map(|e| &e.name).chain(&self.parts_made).collect();
        narrowed.tables.retain(|table| !made.contains(&&table.name));
        let found = proof.tables.iter().filter(|t| made.contains(&&t.name));
        narrowed.tables.extend(found.cloned().map(|mut table| {
            table.fingerprint = None;
            table
        }));
        narrowed.tables.sort();
        let parts = proof.relations.iter();
        let parts = parts.filter(|relation| self.parts_made.contains(&relation.name));
        narrowed.relations.extend(parts.cloned());
        narrowed.relations.sort_by_cached_key(Relation::full_name);
        narrowed
    }
}

/// A fingerprint of no rows is a number like any other; none says as much.
fn empty(table: &mut TableRows) {
    table.rows = 0;
    table.fingerprint = None;
}

fn any(patterns: &[String], name: &str) -> bool {
    let mut parsed = patterns
        .iter()
        .filter_map(|p| Pattern::in_schema(p, SCHEMA));
    parsed.any(|pattern| pattern.matches(name))
}

fn require_match(pattern: &str, names: &[&str]) -> Result<(), Failure> {
    let parsed = Pattern::in_schema(pattern, SCHEMA);
    if parsed.is_some_and(|parsed| names.iter().any(|name| parsed.matches(name))) {
        return Ok(());
    }
    Err(
        Failure::usage(format!("there is no table like `{pattern}`")).hint(
            "`*` stands for anything; a name with dots or stars is written in double quotes: \
             '\"Order.Items\"'",
        ),
    )
}

fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    // What has no SQL of its own is made with its table.
    let mut statement = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema \
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Entry {
            kind: row.get(0)?,
            name: row.get(1)?,
            of: row.get(2)?,
            sql: row.get(3)?,
            leaves_rows: false,
            is_shadow: false,
            makes_parts: false,
        })
    })?;
    rows.collect()
}

/// Shadow tables, each with its virtual table.
fn shadows(connection: &Connection, tables: &[Entry]) -> Result<Vec<(String, String)>> {
    let owners: Vec<&str> = tables
        .iter()
        .filter(|entry| entry.is_virtual())
        .map(|entry| entry.name.as_str())
        .collect();
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    let context = "cannot tell which tables are parts of virtual ones";
    let mut statement = connection
        .prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow'")
        .context(context)?;
    let names = statement.query_map([], |row| row.get(0)).context(context)?;
    let names = names.collect::<Result<Vec<String>, _>>().context(context)?;
    let owned = names.into_iter().filter_map(|name| {
        let is_owner = |owner: &&&str| {
            let rest = name.strip_prefix(**owner);
            rest.is_some_and(|rest| rest.starts_with('_'))
        };
        let owner = owners.iter().filter(is_owner).max_by_key(|o| o.len())?;
        let owner = (*owner).to_owned();
        Some((name, owner))
    });
    Ok(owned.collect())
}

/// To tables that there are; a key has no name of its own.
fn foreign_keys(connection: &Connection, table: &str) -> rusqlite::Result<Vec<ForeignKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT k.id, group_concat(k.\"from\", ', '), s.name \
         FROM (SELECT * FROM pragma_foreign_key_list(?1) ORDER BY id, seq) k \
         JOIN sqlite_schema s ON s.type = 'table' AND s.name = k.\"table\" COLLATE NOCASE \
         GROUP BY k.id ORDER BY k.id",
    )?;
    let keys = statement.query_map([table], |row| {
        let (columns, refers_to): (String, String) = (row.get(1)?, row.get(2)?);
        Ok(ForeignKey {
            oid: row.get(0)?,
            schema: SCHEMA.into(),
            table: table.into(),
            name: format!("({columns}) → {refers_to}"),
            refers_to,
        })
    })?;
    keys.collect()
}

/// The columns that a row is written with: not what is computed, and the number of the row where
/// it has one that no column shows.
pub fn stored_columns(connection: &Connection, schema: &str, table: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT name, hidden, pk, upper(type) FROM pragma_table_xinfo(?1, ?2) ORDER BY cid",
    )?;
    let columns = statement.query_map([table, schema], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    let columns = columns.collect::<Result<Vec<(String, i64, i64, String)>, _>>()?;
    let keys: Vec<_> = columns.iter().filter(|(_, _, pk, _)| *pk > 0).collect();
    let shows_number = matches!(keys[..], [(_, _, _, data_type)] if data_type == "INTEGER");
    let is_taken = |name: &&&str| {
        columns
            .iter()
            .any(|(c, _, _, _)| c.eq_ignore_ascii_case(name))
    };
    let free = ["rowid", "_rowid_", "oid"];
    let number = free.iter().find(|name| !is_taken(name)).filter(|name| {
        let question = format!("SELECT {name} FROM {schema}.{}", quoted(table));
        !shows_number && connection.prepare(&question).is_ok()
    });
    let stored = columns.iter().filter(|(_, hidden, _, _)| *hidden == 0);
    let stored = stored.map(|(name, _, _, _)| name.clone());
    Ok(number
        .map(|&name| name.into())
        .into_iter()
        .chain(stored)
        .collect())
}

/// The last numbers that `AUTOINCREMENT` gave, of the tables that were chosen.
pub fn sequences(connection: &Connection, choice: &Choice) -> Result<Vec<(String, i64)>> {
    let is_there: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence')",
        [],
        |row| row.get(0),
    )?;
    if !is_there {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT name, seq FROM sqlite_sequence ORDER BY 1")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut sequences = rows.collect::<Result<Vec<(String, i64)>, _>>()?;
    sequences.retain(|(name, _)| choice.has(name));
    Ok(sequences)
}
