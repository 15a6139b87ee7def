//! What the tables of a SQLite file look like.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::inspect::is_of_the_application;
use crate::values::schema::{Column, Part, Relation, RelationKind};

/// Of everything that is read like a table, sorted by name. A view that no
/// longer fits its tables, or what needs a module or function of the
/// application, is listed without columns.
pub fn relations(connection: &Connection) -> Result<Vec<Relation>> {
    let context = "cannot read the schema";
    let mut triggers = triggers(connection).context(context)?;
    let mut relations = Vec::new();
    for (name, kind, sql) in entries(connection).context(context)? {
        let mut relation = Relation {
            schema: "main".into(),
            columns: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
            triggers: triggers.remove(&name).unwrap_or_default(),
            definition: Some(sql),
            name,
            kind,
        };
        match describe(connection, &mut relation) {
            Err(error) if is_its_own(&error) => {}
            done => done.with_context(|| format!("cannot describe `{}`", relation.name))?,
        }
        relations.push(relation);
    }
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(relations)
}

/// Whether only this table or view is at fault, and not the file.
fn is_its_own(error: &rusqlite::Error) -> bool {
    let words = error.to_string();
    let broken = [
        "no such table",
        "no such column",
        "no such module",
        "error in view",
    ];
    is_of_the_application(error) || broken.iter().any(|known| words.contains(known))
}

fn entries(connection: &Connection) -> rusqlite::Result<Vec<(String, RelationKind, String)>> {
    let mut statement = connection.prepare(
        "SELECT name, type = 'view', sql LIKE 'create virtual%', coalesce(sql, '') \
         FROM sqlite_schema WHERE type IN ('table', 'view') \
           AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| {
        let kind = match (row.get(1)?, row.get::<_, Option<bool>>(2)?) {
            (true, _) => RelationKind::View,
            (false, Some(true)) => RelationKind::VirtualTable,
            _ => RelationKind::Table,
        };
        Ok((row.get(0)?, kind, row.get(3)?))
    })?;
    rows.collect()
}

/// By the table's name.
fn triggers(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Vec<Part>>> {
    let mut statement = connection.prepare(
        "SELECT tbl_name, name, coalesce(sql, '') FROM sqlite_schema WHERE type = 'trigger' \
         ORDER BY name",
    )?;
    let mut rows = statement.query([])?;
    let mut triggers = BTreeMap::<String, Vec<Part>>::new();
    while let Some(row) = rows.next()? {
        let part = part(row.get(1)?, row.get(2)?);
        triggers.entry(row.get(0)?).or_default().push(part);
    }
    Ok(triggers)
}

fn part(name: String, definition: String) -> Part {
    Part {
        name,
        definition,
        valid: true,
    }
}

fn describe(connection: &Connection, relation: &mut Relation) -> rusqlite::Result<()> {
    relation.columns = columns(connection, &relation.name)?;
    if relation.kind.is_table() {
        relation.constraints = foreign_keys(connection, &relation.name)?;
        relation.indexes = indexes(connection, &relation.name)?;
    }
    Ok(())
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    // 1 is a hidden column of a virtual table.
    let mut statement = connection.prepare_cached(
        "SELECT name, type, \"notnull\", dflt_value FROM pragma_table_xinfo(?1) \
         WHERE hidden <> 1 ORDER BY cid",
    )?;
    let rows = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            data_type: row.get::<_, String>(1)?.to_lowercase(),
            not_null: row.get(2)?,
            default: row.get(3)?,
        })
    })?;
    rows.collect()
}

fn foreign_keys(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Part>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, \"table\", group_concat(\"from\", ', '), \
           coalesce(group_concat(\"to\", ', '), ''), on_update, on_delete \
         FROM (SELECT * FROM pragma_foreign_key_list(?1) ORDER BY id, seq) GROUP BY id ORDER BY id",
    )?;
    let rows = statement.query_map([table], |row| {
        let (to, from): (String, String) = (row.get(1)?, row.get(2)?);
        let (columns, on_update): (String, String) = (row.get(3)?, row.get(4)?);
        let on_delete: String = row.get(5)?;
        let definition = format!(
            "foreign key ({from}) references {to} ({columns}) on update {on_update} on delete {on_delete}"
        );
        // They have no names of their own.
        Ok(part(format!("({from}) → {to}"), definition))
    })?;
    rows.collect()
}

fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Part>> {
    let mut statement = connection.prepare_cached(
        "SELECT l.name, coalesce(s.sql, CASE l.origin WHEN 'pk' THEN 'primary key' \
           ELSE 'unique' END || ' (' || (SELECT group_concat(coalesce(i.name, '…'), ', ') \
             FROM pragma_index_info(l.name) i) || ')') \
         FROM pragma_index_list(?1) l LEFT JOIN sqlite_schema s \
           ON s.type = 'index' AND s.name = l.name ORDER BY l.name",
    )?;
    let rows = statement.query_map([table], |row| Ok(part(row.get(0)?, row.get(1)?)))?;
    rows.collect()
}
