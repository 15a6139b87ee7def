//! One table before and after.

use super::narrowing::narrows;
use super::{Effect, Loss, TableEffect};
use crate::values::database::EngineKind;
use crate::values::schema::{Column, Part, Relation, RelationKind};
use crate::values::survey::Survey;
use crate::values::words::on_one_line;

/// One table that was there before.
pub struct Comparison<'a> {
    pub before: &'a Survey,
    pub after: &'a Survey,
    pub engine: EngineKind,
    pub then: &'a Relation,
}

impl Comparison<'_> {
    pub fn dropped(&self, effect: &mut Effect) {
        let rows_before = self.before.rows_of(self.then);
        effect.tables.push(TableEffect {
            schema: self.then.schema.clone(),
            name: self.then.name.clone(),
            kind: self.then.kind,
            renamed_to: None,
            rows_before,
            rows_after: None,
            changes: vec![format!("the {} is dropped", self.then.kind)],
        });
        // What is computed can be computed again; a partition's rows are missed in its table.
        if let (RelationKind::Table, Some(rows @ 1..)) = (self.then.kind, rows_before) {
            let what = format!("the table is dropped, with {}", counted(rows, "row"));
            effect.losses.push(self.loss(None, what));
        }
    }

    fn loss(&self, column: Option<&str>, what: String) -> Loss {
        Loss {
            schema: self.then.schema.clone(),
            table: self.then.name.clone(),
            column: column.map(str::to_owned),
            what,
        }
    }

    pub fn changed(&self, now: &Relation, effect: &mut Effect) {
        let rows_before = self.before.rows_of(self.then);
        let rows_after = self.after.rows_of(now);
        let mut changes = Vec::new();
        if let (RelationKind::Table, Some(before), Some(after)) =
            (self.then.kind, rows_before, rows_after)
            && after < before
        {
            let gone = before - after;
            let what = format!("{gone} of {before} rows are gone");
            effect.losses.push(self.loss(None, what));
        }
        let gone = rows_before
            .unwrap_or(0)
            .saturating_sub(rows_after.unwrap_or(0));
        self.columns(now, gone, &mut changes, &mut effect.losses);
        let parts = [
            ("constraint", &self.then.constraints, &now.constraints),
            ("index", &self.then.indexes, &now.indexes),
            ("trigger", &self.then.triggers, &now.triggers),
        ];
        // Their texts name the table.
        let is_renamed = self.then.key() != now.key();
        for (kind, then, now) in parts {
            compare_parts(kind, then, now, is_renamed, &mut changes);
        }
        if self.then.kind != RelationKind::Table && self.then.definition != now.definition {
            changes.push("another definition".into());
        }
        let renamed_to = is_renamed.then(|| now.to_string());
        if rows_before != rows_after || !changes.is_empty() || renamed_to.is_some() {
            effect.tables.push(TableEffect {
                schema: self.then.schema.clone(),
                name: self.then.name.clone(),
                kind: self.then.kind,
                renamed_to,
                rows_before,
                rows_after,
                changes,
            });
        }
    }

    /// `gone`: how many rows are.
    fn columns(
        &self,
        now: &Relation,
        gone: u64,
        changes: &mut Vec<String>,
        losses: &mut Vec<Loss>,
    ) {
        let mut added: Vec<&Column> = now.columns.iter().collect();
        for column in &self.then.columns {
            let name = on_one_line(&column.name);
            let values = self.before.values_in(self.then, column);
            let still = added.iter().position(|new| self.is_still(column, now, new));
            let Some(found) = still.map(|at| added.remove(at)) else {
                changes.push(format!(
                    "column {name} is dropped ({})",
                    values_text(values)
                ));
                if let Some(values @ 1..) = values
                    && self.then.kind.is_table()
                {
                    let what = format!("the column is dropped, with {}", counted(values, "value"));
                    losses.push(self.loss(Some(&column.name), what));
                }
                continue;
            };
            let now_called = on_one_line(&found.name);
            if column.name != found.name {
                changes.push(format!("column {name} → {now_called}"));
            }
            let (then, now_is) = (column.describe(), found.describe());
            if then != now_is {
                changes.push(format!("column {now_called}: {then} → {now_is}"));
            }
            let values = (values, self.after.values_in(now, found));
            if let Some(what) = self.lost_values(column, found, values, gone) {
                losses.push(self.loss(Some(&column.name), what));
            }
        }
        let new = added.iter();
        changes.extend(new.map(|c| format!("new column {} {}", on_one_line(&c.name), c.data_type)));
    }

    /// Whether a column is the other one, whatever it is called now. In a table that was made anew
    /// it goes by its name.
    fn is_still(&self, then: &Column, table: &Relation, now: &Column) -> bool {
        if !self.before.is_same_table(self.then, table, self.after) {
            return self.engine.is_same_name(&then.name, &now.name);
        }
        let mark = |survey: &Survey, relation: &Relation, column: &Column| {
            let columns = survey.column_marks.get(&relation.full_name())?;
            columns.get(&column.name).copied()
        };
        mark(self.before, self.then, then) == mark(self.after, table, now)
    }

    /// Of a column that is still there. Rows that are gone take their values
    /// with them; they are counted as rows.
    fn lost_values(
        &self,
        then: &Column,
        now: &Column,
        values: (Option<u64>, Option<u64>),
        gone: u64,
    ) -> Option<String> {
        let (Some(before @ 1..), Some(after), true) =
            (values.0, values.1, self.then.kind.is_table())
        else {
            return None;
        };
        if after < before.saturating_sub(gone) {
            return Some(format!("{} of {before} values are gone", before - after));
        }
        let is_cut =
            self.engine == EngineKind::Postgresql && narrows(&then.data_type, &now.data_type);
        is_cut.then(|| {
            format!(
                "{before} values are cast from {} to {}, which may cut or round them",
                then.data_type, now.data_type
            )
        })
    }
}

fn counted(number: u64, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {word}{ending}")
}

fn values_text(values: Option<u64>) -> String {
    match values {
        Some(values) => counted(values, "value"),
        None => "not counted".into(),
    }
}

fn compare_parts(
    kind: &str,
    then: &[Part],
    now: &[Part],
    is_renamed: bool,
    changes: &mut Vec<String>,
) {
    let find = |parts: &'_ [Part], name: &str| parts.iter().find(|p| p.name == name).cloned();
    for part in then {
        let name = on_one_line(&part.name);
        match find(now, &part.name) {
            None => changes.push(format!("{kind} {name} is dropped")),
            Some(found) if found.definition != part.definition && !is_renamed => {
                changes.push(format!("{kind} {name} is another one"));
            }
            Some(_) => {}
        }
    }
    for part in now.iter().filter(|part| find(then, &part.name).is_none()) {
        changes.push(format!("new {kind} {}", on_one_line(&part.name)));
    }
}
