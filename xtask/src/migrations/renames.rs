//! What became of the tables of a SQLite database, which knows them and their columns by nothing but names.

use std::collections::{BTreeMap, BTreeSet};

use super::sql::{Piece, for_each_statement};
use crate::values::database::EngineKind;
use crate::values::plan::Migration;
use crate::values::schema::{Relation, RelationKind};
use crate::values::survey::Survey;

/// Marks what of `before` is still there after the migrations ran, whatever it is called. SQLite runs no SQL that
/// is put together at run time, so who has got which name stands in the files.
pub fn follow(pending: &[Migration], before: &mut Survey, after: &mut Survey) {
    let mut names = Names::of(before);
    names.mark(before);
    let there = tables(&after.contents.relations).map(|table| fold(&table.name));
    names.there = there.collect();
    for migration in pending {
        let text = migration.sql.as_str();
        for_each_statement(text, EngineKind::Sqlite, |s| names.statement(s));
    }
    names.mark(after);
}

/// All as SQLite compares them.
#[derive(Default)]
struct Names {
    tables: BTreeMap<String, Table>,
    /// Of tables that only this connection sees, and sees first.
    temporary: BTreeSet<String>,
    /// Of what is there in the end.
    there: BTreeSet<String>,
    newest: i64,
}

struct Table {
    mark: i64,
    is_virtual: bool,
    columns: BTreeMap<String, i64>,
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn tables(relations: &[Relation]) -> impl Iterator<Item = &Relation> {
    let kinds = [RelationKind::Table, RelationKind::VirtualTable];
    relations.iter().filter(move |r| kinds.contains(&r.kind))
}

impl Names {
    fn of(before: &Survey) -> Names {
        let mut names = Names::default();
        let mut new = || {
            names.newest += 1;
            names.newest
        };
        for relation in tables(&before.contents.relations) {
            let table = Table {
                mark: new(),
                is_virtual: relation.kind == RelationKind::VirtualTable,
                columns: (relation.columns.iter())
                    .map(|column| (fold(&column.name), new()))
                    .collect(),
            };
            names.tables.insert(fold(&relation.name), table);
        }
        names
    }

    /// What has come to its name otherwise is new.
    fn mark(&mut self, survey: &mut Survey) {
        let Names {
            tables: all,
            newest,
            ..
        } = self;
        let mut new = || {
            *newest += 1;
            *newest
        };
        for relation in tables(&survey.contents.relations) {
            let known = all.get(&fold(&relation.name));
            let mark = known.map_or_else(&mut new, |table| table.mark);
            let of_column = |name: &str| known?.columns.get(&fold(name)).copied();
            let columns = relation.columns.iter().map(|column| {
                let mark = of_column(&column.name).unwrap_or_else(&mut new);
                (column.name.clone(), mark)
            });
            let columns = columns.collect();
            survey.column_marks.insert(relation.full_name(), columns);
            survey.marks.insert(relation.full_name(), mark);
        }
    }

    fn statement(&mut self, s: Piece) {
        if s.is(0, "create") {
            self.create(s);
        } else if s.is(0, "drop") && s.is(1, "table") {
            let begin = 2 + s.skip(2, &["if", "exists"]);
            if let Some((name, _)) = self.in_the_file(s, begin) {
                self.tables.remove(&name);
            } else if let Some((path, _)) = s.path(begin) {
                let name = path.last().map_or("", |name| name);
                self.temporary.remove(name);
            }
        } else if s.is(0, "alter")
            && s.is(1, "table")
            && let Some((name, end)) = self.in_the_file(s, 2)
        {
            self.alter(&name, s.after(end));
        }
    }

    /// The name of a table and where it ends; nothing when it is no table of the database itself.
    fn in_the_file(&self, s: Piece, i: usize) -> Option<(String, usize)> {
        let (path, end) = s.path(i)?;
        let (name, schema) = path.split_last()?;
        let is_it = match schema.first() {
            None => !self.temporary.contains(&**name),
            Some(schema) => schema == "main",
        };
        is_it.then(|| (name.to_string(), end))
    }

    fn create(&mut self, s: Piece) {
        let is_temporary = s.is_any(1, &["temp", "temporary"]);
        let at = 1 + usize::from(is_temporary || s.is(1, "virtual"));
        let unless = s.skip(at + 1, &["if", "not", "exists"]);
        let Some((path, _)) = s.path(at + 1 + unless).filter(|_| s.is(at, "table")) else {
            return;
        };
        let (schema, name) = match path.as_slice() {
            [schema, name] => (&**schema, name),
            [name, ..] => ("main", name),
            [] => return,
        };
        if is_temporary || schema == "temp" {
            self.temporary.insert(name.to_string());
        } else if schema == "main" && unless == 0 {
            self.tables.remove(&**name);
        }
    }

    /// `s` is what stands behind the name.
    fn alter(&mut self, name: &str, s: Piece) {
        if s.skip(0, &["rename", "to"]) > 0 {
            if let Some(new) = s.name(2) {
                self.rename(name, &new);
            }
            return;
        }
        let Some(table) = self.tables.get_mut(name) else {
            return;
        };
        let at = 1 + usize::from(s.is(1, "column"));
        let Some(column) = s.name(at) else { return };
        if s.is(0, "rename") && s.is(at + 1, "to") {
            if let (Some(new), Some(mark)) = (s.name(at + 2), table.columns.remove(&*column)) {
                table.columns.insert(new.into_owned(), mark);
            }
        } else if s.is_any(0, &["add", "drop"]) {
            table.columns.remove(&*column);
        }
    }

    /// A virtual table takes those along in which it keeps what it holds.
    fn rename(&mut self, name: &str, new: &str) {
        let Some(table) = self.tables.remove(name) else {
            return;
        };
        if table.is_virtual {
            let begin = format!("{name}_");
            let is_its = |of: &&String| of.starts_with(&begin) && !self.there.contains(*of);
            let own: Vec<String> = self.tables.keys().filter(is_its).cloned().collect();
            for of in own {
                if let Some(table) = self.tables.remove(&of) {
                    let new = format!("{new}_{}", &of[begin.len()..]);
                    self.tables.insert(new, table);
                }
            }
        }
        self.tables.insert(new.to_owned(), table);
    }
}
