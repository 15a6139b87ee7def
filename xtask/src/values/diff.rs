//! What two databases, called A and B, do not have in common: two moments of one, as a rule.

use std::collections::BTreeMap;

use serde::Serialize;

use super::database::{AppliedMigration, Contents, TableRows};
use super::schema::{Part, Relation, RelationKind, display_name};
use super::words::on_one_line;

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Diff {
    /// Of every table, view and the like of either.
    pub tables: Vec<TableDiff>,
    /// The migration history and large objects; one line each.
    pub others: Vec<String>,
    /// A manifest of an earlier version does not say what its tables look like.
    pub schema_compared: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableDiff {
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    /// `None`: it is not there, or has no rows of its own.
    pub rows_a: Option<u64>,
    pub rows_b: Option<u64>,
    /// One line each.
    pub changes: Vec<String>,
    /// Of what has rows in both.
    pub content: Option<Content>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Same,
    Differs,
    /// As many rows, and no fingerprints of one method on both sides.
    NotCompared,
}

impl TableDiff {
    pub fn title(&self) -> String {
        display_name(&self.schema, &self.name)
    }

    pub fn differs(&self) -> bool {
        self.rows_a != self.rows_b
            || !self.changes.is_empty()
            || self.content == Some(Content::Differs)
    }
}

type Key<'a> = (&'a str, &'a str);
/// Of one name: its rows and what it looks like, in A and in B.
type Pair<'a> = [(Option<&'a TableRows>, Option<&'a Relation>); 2];

impl Diff {
    pub fn between(a: &Contents, b: &Contents) -> Diff {
        let knows_schema = |c: &Contents| c.tables.is_empty() || !c.relations.is_empty();
        let schema_compared = knows_schema(a) && knows_schema(b);
        let mut pairs: BTreeMap<Key, Pair> = BTreeMap::new();
        for (side, contents) in [a, b].into_iter().enumerate() {
            for table in &contents.tables {
                pairs.entry(table.key()).or_default()[side].0 = Some(table);
            }
            for relation in contents.relations.iter().filter(|_| schema_compared) {
                pairs.entry(relation.key()).or_default()[side].1 = Some(relation);
            }
        }
        let tables = pairs.into_iter().map(|(key, pair)| compare(key, pair));
        let mut others = Vec::new();
        compare_histories(&a.applied, &b.applied, &mut others);
        let (a, b) = (a.large_objects.unwrap_or(0), b.large_objects.unwrap_or(0));
        if a != b {
            others.push(format!("large objects: {a} in A, {b} in B"));
        }
        Diff {
            tables: tables.collect(),
            others,
            schema_compared,
        }
    }

    pub fn differs(&self) -> bool {
        !self.others.is_empty() || self.tables.iter().any(TableDiff::differs)
    }

    pub fn has(&self, content: Content) -> bool {
        let mut tables = self.tables.iter();
        tables.any(|table| table.kind.is_table() && table.content == Some(content))
    }
}

fn compare(key: Key, pair: Pair) -> TableDiff {
    let [(rows_a, a), (rows_b, b)] = pair;
    let kind_of = |rows: Option<&TableRows>, relation: Option<&Relation>| {
        relation.map(|r| r.kind).or(rows.map(|r| r.kind))
    };
    let kinds = [kind_of(rows_a, a), kind_of(rows_b, b)];
    let mut changes = Vec::new();
    match (kinds, a, b) {
        ([Some(_), None], ..) => changes.push("only in A".into()),
        ([None, _], ..) => changes.push("only in B".into()),
        (_, Some(a), Some(b)) => compare_relations(a, b, &mut changes),
        _ => {}
    }
    let content = rows_a.zip(rows_b).map(|(a, b)| {
        let is_same = (a.rows == b.rows).then(|| a.has_same_content(b));
        match is_same {
            None | Some(Some(false)) => Content::Differs,
            Some(Some(true)) => Content::Same,
            Some(None) => Content::NotCompared,
        }
    });
    TableDiff {
        schema: key.0.to_owned(),
        name: key.1.to_owned(),
        kind: kinds.into_iter().flatten().next().unwrap_or_default(),
        rows_a: rows_a.map(|table| table.rows),
        rows_b: rows_b.map(|table| table.rows),
        changes,
        content,
    }
}

fn compare_relations(a: &Relation, b: &Relation, changes: &mut Vec<String>) {
    if a.kind != b.kind {
        changes.push(format!("a {} in A, a {} in B", a.kind, b.kind));
    }
    for column in &a.columns {
        let name = on_one_line(&column.name);
        let other = b.columns.iter().find(|other| other.name == column.name);
        match other.map(|other| (column.describe(), other.describe())) {
            None => changes.push(format!("column {name} only in A: {}", column.describe())),
            Some((a, b)) if a != b => changes.push(format!("column {name}: {a} → {b}")),
            Some(_) => {}
        }
    }
    for column in &b.columns {
        if a.columns.iter().all(|other| other.name != column.name) {
            let name = on_one_line(&column.name);
            changes.push(format!("column {name} only in B: {}", column.describe()));
        }
    }
    let parts = [
        ("constraint", &a.constraints, &b.constraints),
        ("index", &a.indexes, &b.indexes),
        ("trigger", &a.triggers, &b.triggers),
    ];
    for (kind, a, b) in parts {
        compare_parts(kind, a, b, changes);
    }
    // That of a table says more than its parts (a CHECK, in SQLite), and changes with each of them.
    if a.definition != b.definition && changes.is_empty() {
        changes.push("another definition".into());
    }
}

fn compare_parts(kind: &str, a: &[Part], b: &[Part], changes: &mut Vec<String>) {
    for part in a {
        let name = on_one_line(&part.name);
        match b.iter().find(|other| other.name == part.name) {
            None => changes.push(format!("{kind} {name} only in A")),
            // SQLite's foreign keys have no names, and two may be called the same.
            Some(_) if b.contains(part) => {}
            Some(other) if part.definition != other.definition => {
                changes.push(format!("{kind} {name} is another one"));
            }
            Some(other) => {
                let place = if other.valid { "A" } else { "B" };
                changes.push(format!("{kind} {name} is not valid in {place}"));
            }
        }
    }
    for part in b {
        if a.iter().all(|other| other.name != part.name) {
            changes.push(format!("{kind} {} only in B", on_one_line(&part.name)));
        }
    }
}

fn compare_histories(a: &[AppliedMigration], b: &[AppliedMigration], lines: &mut Vec<String>) {
    let line = |migration: &AppliedMigration, what: &str| {
        let AppliedMigration {
            version,
            description,
            ..
        } = migration;
        format!("migration {version} {}: {what}", on_one_line(description))
    };
    for migration in a {
        match b.iter().find(|other| other.version == migration.version) {
            None => lines.push(line(migration, "only in A")),
            Some(other) if other != migration => lines.push(line(migration, "another one in B")),
            Some(_) => {}
        }
    }
    let is_new = |m: &&AppliedMigration| a.iter().all(|other| other.version != m.version);
    lines.extend(b.iter().filter(is_new).map(|m| line(m, "only in B")));
}
