//! What migrations do to a database: one survey against another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::database::EngineKind;
use super::loss::LossName;
use super::schema::{Column, Relation, RelationKind, display_name};
use super::survey::Survey;
use super::words::on_one_line;
use comparison::Comparison;

mod comparison;
mod narrowing;

/// What became of one table; only tables of which something changed are named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableEffect {
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    /// When it has another name now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<String>,
    /// `None`: it was not there, or has no rows of its own.
    pub rows_before: Option<u64>,
    pub rows_after: Option<u64>,
    /// One line each.
    pub changes: Vec<String>,
}

impl TableEffect {
    pub fn title(&self) -> String {
        let name = display_name(&self.schema, &self.name);
        match &self.renamed_to {
            Some(now) => format!("{name} → {}", on_one_line(now)),
            None => name,
        }
    }
}

/// Data that is gone after the migrations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    pub schema: String,
    pub table: String,
    /// `None`: rows, or the whole table.
    pub column: Option<String>,
    /// `2 of 5 rows are gone`.
    pub what: String,
}

impl Loss {
    /// As it is declared: `books`, `shop.books`, `users.phone`.
    pub fn name(&self) -> LossName {
        let path = [
            Some(self.schema.as_str()),
            Some(&self.table),
            self.column.as_deref(),
        ];
        let is_default = matches!(self.schema.as_str(), "main" | "public");
        let parts: Vec<&str> = path
            .into_iter()
            .flatten()
            .skip(usize::from(is_default))
            .collect();
        LossName::of(&parts)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.what)
    }
}

/// All that changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Effect {
    pub tables: Vec<TableEffect>,
    pub losses: Vec<Loss>,
    /// Left by a `CREATE INDEX CONCURRENTLY` that failed, now or before.
    pub invalid_indexes: Vec<String>,
}

impl Effect {
    /// Of migrations that ran between the two surveys.
    pub fn between(before: &Survey, after: &Survey, engine: EngineKind) -> Effect {
        let mut effect = Effect {
            invalid_indexes: invalid_indexes(&after.contents.relations),
            ..Effect::default()
        };
        let pairing = Pairing::of(before, after);
        for (then, now) in &pairing.pairs {
            let comparison = Comparison {
                before,
                after,
                engine,
                then,
            };
            match now {
                Some(now) => comparison.changed(now, &mut effect),
                None => comparison.dropped(&mut effect),
            }
        }
        for now in pairing.added {
            effect.tables.push(TableEffect {
                schema: now.schema.clone(),
                name: now.name.clone(),
                kind: now.kind,
                renamed_to: None,
                rows_before: None,
                rows_after: after.rows_of(now),
                changes: vec![format!("new {}", now.kind)],
            });
        }
        effect.large_objects(before, after);
        effect
    }

    /// They are in no table, and named as where PostgreSQL keeps them.
    fn large_objects(&mut self, before: &Survey, after: &Survey) {
        let count = |survey: &Survey| survey.contents.large_objects.unwrap_or(0);
        let (before, after) = (count(before), count(after));
        if after < before {
            self.losses.push(Loss {
                schema: "pg_catalog".into(),
                table: "pg_largeobject".into(),
                column: None,
                what: format!("{} of {before} large objects are gone", before - after),
            });
        }
    }
}

fn invalid_indexes(relations: &[Relation]) -> Vec<String> {
    let invalid = relations.iter().flat_map(|relation| {
        let parts = relation.indexes.iter().filter(|index| !index.valid);
        parts.map(|index| display_name(&relation.schema, &index.name))
    });
    invalid.collect()
}

impl Survey {
    pub fn rows_of(&self, relation: &Relation) -> Option<u64> {
        let mut tables = self.contents.tables.iter();
        let found = tables.find(|table| table.key() == relation.key());
        found.map(|table| table.rows)
    }

    /// A column that takes no NULL has a value in each row, and was not counted.
    pub fn values_in(&self, relation: &Relation, column: &Column) -> Option<u64> {
        if column.not_null {
            return self.rows_of(relation);
        }
        let of_table = self.values.get(&relation.full_name())?;
        of_table.get(&column.name).copied()
    }
}

/// Which table of before is which one of after: by what they are known by, then by name.
struct Pairing<'a> {
    pairs: Vec<(&'a Relation, Option<&'a Relation>)>,
    added: Vec<&'a Relation>,
}

impl<'a> Pairing<'a> {
    fn of(before: &'a Survey, after: &'a Survey) -> Pairing<'a> {
        let then = &before.contents.relations;
        let now = &after.contents.relations;
        let known: BTreeSet<i64> = then.iter().filter_map(|r| before.mark(r)).collect();
        let by_name: BTreeMap<_, _> = now.iter().map(|r| (r.key(), r)).collect();
        let marks = now.iter().filter_map(|r| Some((after.mark(r)?, r)));
        let by_mark: BTreeMap<i64, &Relation> = marks.collect();
        let is_other = |now: &Relation| after.mark(now).is_some_and(|mark| known.contains(&mark));
        let pair = |relation: &'a Relation| {
            let mark = before.mark(relation);
            let same = mark.and_then(|mark| by_mark.get(&mark).copied());
            // One that was made anew under its name may have been filled from it; one that was
            // there before was not, and is looked at by itself.
            let named = by_name.get(&relation.key()).copied();
            let found = same.or(named.filter(|now| !is_other(now)));
            (
                relation,
                found.filter(|now| relation.kind.may_become(now.kind)),
            )
        };
        let pairs: Vec<_> = then.iter().map(pair).collect();
        let taken: BTreeSet<_> = pairs
            .iter()
            .filter_map(|(_, now)| Some(now.as_ref()?.key()))
            .collect();
        let added = now.iter().filter(|r| !taken.contains(&r.key())).collect();
        Pairing { pairs, added }
    }
}

impl Survey {
    fn mark(&self, relation: &Relation) -> Option<i64> {
        self.marks.get(&relation.full_name()).copied()
    }

    /// Of one that was made anew under the old name, the columns are others.
    fn is_same_table(&self, then: &Relation, now: &Relation, after: &Survey) -> bool {
        let mark = self.mark(then);
        mark.is_some() && mark == after.mark(now)
    }
}
