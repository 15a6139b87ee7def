//! What the tables of a database look like, in words that a backup and the
//! database that comes of it produce alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use super::words::on_one_line;

/// A table, or what is read like one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    pub schema: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "RelationKind::is_table")]
    pub kind: RelationKind,
    pub columns: Vec<Column>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Part>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Part>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Part>,
    /// Of a view: its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    #[default]
    Table,
    Partition,
    View,
    MaterializedView,
    ForeignTable,
    VirtualTable,
}

impl RelationKind {
    pub fn is_table(&self) -> bool {
        *self == RelationKind::Table
    }

    /// Whether one that is found under the name of the other can still be it: a view that
    /// has the name of a table holds none of its rows.
    pub fn may_become(self, now: RelationKind) -> bool {
        let has_rows = |kind| matches!(kind, RelationKind::Table | RelationKind::Partition);
        self == now || (has_rows(self) && has_rows(now))
    }
}

impl fmt::Display for RelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RelationKind::Table => "table",
            RelationKind::Partition => "partition",
            RelationKind::View => "view",
            RelationKind::MaterializedView => "materialized view",
            RelationKind::ForeignTable => "foreign table",
            RelationKind::VirtualTable => "virtual table",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    #[serde(default, skip_serializing_if = "Not::not")]
    pub not_null: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// A constraint, an index or a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub definition: String,
    /// Of an index: an aborted `CREATE INDEX CONCURRENTLY` leaves one that is not.
    /// Of a constraint: `NOT VALID`.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub valid: bool,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Relation {
    pub fn full_name(&self) -> (String, String) {
        (self.schema.clone(), self.name.clone())
    }

    pub fn key(&self) -> (&str, &str) {
        (&self.schema, &self.name)
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display_name(&self.schema, &self.name))
    }
}

/// A table's name for a person: the schema that everything is in is left out.
pub fn display_name(schema: &str, name: &str) -> String {
    let name = on_one_line(name);
    if matches!(schema, "main" | "public") {
        name.into_owned()
    } else {
        format!("{}.{name}", on_one_line(schema))
    }
}

/// In what `found` is not what `then` says; one line each, empty when all is as it was.
///
/// Names, types and flags count. The text of an expression does not: a server
/// may write the same condition differently once it has been dumped and read
/// again. An index that was not valid is left out of a dump by `pg_dump`.
pub fn differences(then: &[Relation], found: &[Relation]) -> Vec<String> {
    let by_name: BTreeMap<_, _> = found.iter().map(|r| (r.key(), r)).collect();
    let mut lines = Vec::new();
    for relation in then {
        match by_name.get(&relation.key()) {
            None => lines.push(format!("{} `{relation}` is missing", relation.kind)),
            Some(found) => relation.compare(found, &mut lines),
        }
    }
    let known: BTreeSet<_> = then.iter().map(Relation::key).collect();
    let more = found.iter().filter(|r| !known.contains(&r.key()));
    lines.extend(more.map(|r| format!("{} `{r}` is not in the manifest", r.kind)));
    lines
}

impl Relation {
    fn compare(&self, found: &Relation, lines: &mut Vec<String>) {
        let mut differs = |what: String| lines.push(format!("{} `{self}`: {what}", self.kind));
        if self.kind != found.kind {
            differs(format!("it is a {}", found.kind));
        }
        for column in &self.columns {
            let name = on_one_line(&column.name);
            match found.columns.iter().find(|c| c.name == column.name) {
                None => differs(format!("the column `{name}` is missing")),
                Some(found) if !column.is_like(found) => differs(format!(
                    "the column `{name}` is {}, the manifest says {}",
                    found.describe(),
                    column.describe()
                )),
                Some(_) => {}
            }
        }
        for column in &found.columns {
            if self.columns.iter().all(|c| c.name != column.name) {
                let name = on_one_line(&column.name);
                differs(format!("the column `{name}` is not in the manifest"));
            }
        }
        let parts = [
            ("constraint", &self.constraints, &found.constraints),
            ("index", &self.indexes, &found.indexes),
            ("trigger", &self.triggers, &found.triggers),
        ];
        for (kind, then, found) in parts {
            compare_parts(kind, then, found, &mut differs);
        }
    }
}

fn compare_parts(kind: &str, then: &[Part], found: &[Part], differs: &mut impl FnMut(String)) {
    let names = |parts: &[Part]| -> BTreeSet<String> {
        parts.iter().map(|part| part.name.clone()).collect()
    };
    for part in then {
        let name = on_one_line(&part.name);
        match found.iter().find(|found| found.name == part.name) {
            None if part.valid || kind != "index" => {
                differs(format!("the {kind} `{name}` is missing"));
            }
            Some(found) if kind == "index" && part.valid && !found.valid => {
                differs(format!("the index `{name}` is not valid"));
            }
            _ => {}
        }
    }
    for name in names(found).difference(&names(then)) {
        differs(format!(
            "the {kind} `{}` is not in the manifest",
            on_one_line(name)
        ));
    }
}

impl Column {
    fn is_like(&self, found: &Column) -> bool {
        self.data_type == found.data_type
            && self.not_null == found.not_null
            && self.default.is_some() == found.default.is_some()
    }

    /// `bigint not null default …`; the default's text is for reading only.
    pub fn describe(&self) -> String {
        let mut text = self.data_type.clone();
        if self.not_null {
            text += " not null";
        }
        if let Some(default) = &self.default {
            text += &format!(" default {default}");
        }
        on_one_line(&text).into_owned()
    }
}
