//! Foreign keys of the tables that an import changes, and of those that refer to them: how many rows
//! refer to rows that are not there. No other table is looked at.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::export;
use super::inspect::quoted;
use crate::values::failure::Failure;
use crate::values::portable::fit::Landing;
use crate::values::words::on_one_line;

/// By table and number of the key: the parent, and how many rows refer to none.
pub type Broken = BTreeMap<(String, i64), (String, u64)>;

/// Of the tables that are filled and of those that refer to them.
pub fn broken(connection: &Connection, landing: &Landing) -> Result<Broken> {
    let context = "cannot check the foreign keys";
    let mut broken = Broken::new();
    for table in affected(connection, landing).context(context)? {
        let mut statement = connection
            .prepare_cached(
                "SELECT fkid, parent, count(*) FROM pragma_foreign_key_check(?1, 'main') GROUP BY 1, 2",
            )
            .context(context)?;
        let found = statement.query_map([&table], |row| {
            let rows: i64 = row.get(2)?;
            Ok((row.get(0)?, (row.get(1)?, rows.unsigned_abs())))
        })?;
        for key in found {
            let (number, found) = key.context(context)?;
            broken.insert((table.clone(), number), found);
        }
    }
    Ok(broken)
}

fn affected(connection: &Connection, landing: &Landing) -> rusqlite::Result<Vec<String>> {
    let is_landed = |name: &str| landing.wanted().any(|table| table.name == name);
    let mut affected = Vec::new();
    for (name, _) in export::names(connection)? {
        let parents = export::parents(connection, &name)?;
        if is_landed(&name) || parents.iter().any(|(_, parent)| is_landed(parent)) {
            affected.push(name);
        }
    }
    Ok(affected)
}

/// What was broken before is not this file's fault.
pub fn require(before: &Broken, after: &Broken) -> Result<(), Failure> {
    let earlier = |key| before.get(key).map_or(0, |(_, rows)| *rows);
    let worse = after.iter().find(|(key, (_, rows))| *rows > earlier(key));
    let Some((key, (parent, rows))) = worse else {
        return Ok(());
    };
    let were = match earlier(key) {
        0 => String::new(),
        were => format!(", and {were} did before"),
    };
    Err(Failure::refused(format!(
        "the rows do not fit together: {rows} of `{}` would refer to rows of `{}` that are not there{were}",
        on_one_line(&key.0),
        on_one_line(parent)
    ))
    .hint("mend the rows, or import the tables that they refer to as well"))
}

/// Why the keys of a table cannot be checked: its schema says so, whatever rows there are.
pub fn fault(connection: &Connection, table: &str) -> Option<String> {
    let check = format!("PRAGMA main.foreign_key_check({})", quoted(table));
    let fault = connection.prepare(&check).err()?;
    Some(on_one_line(&fault.to_string()).into_owned())
}
