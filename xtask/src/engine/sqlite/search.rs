//! Search indexes whose rows are those of another table: they know of no row that came or went
//! without their triggers, and of none at all when there are no triggers.

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::inspect::quoted;
use crate::values::portable::fit::Landing;
use crate::values::words::on_one_line;

/// Those of the tables whose rows have come, and of views, which may show such rows.
pub fn stale(connection: &Connection, landing: &Landing) -> Result<Vec<String>> {
    let context = "cannot look for search indexes";
    let mut statement = connection
        .prepare(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'create virtual%' ORDER BY name",
        )
        .context(context)?;
    let virtuals = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let virtuals = virtuals.context(context)?;
    let mut warnings = Vec::new();
    for found in virtuals {
        let (name, sql): (String, String) = found.context(context)?;
        let Some(content) = content_of(&sql) else {
            continue;
        };
        let is_view = "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'view' AND name = ?1 COLLATE NOCASE";
        let is_view = connection.query_row(is_view, [&content], |row| row.get(0));
        let mut tables = landing.wanted();
        if is_view.context(context)? || tables.any(|t| t.name.eq_ignore_ascii_case(&content)) {
            let table = quoted(&name);
            warnings.push(format!(
                "the search index `{}` finds what was there before; to mend it: INSERT INTO {table}({table}) \
                 VALUES('rebuild');",
                on_one_line(&name)
            ));
        }
    }
    Ok(warnings)
}

/// The value of `content=` among the arguments of FTS4 and FTS5; nothing where it is empty.
fn content_of(sql: &str) -> Option<String> {
    let lower = sql.to_ascii_lowercase();
    let mut values = lower.match_indices("content").filter_map(|(at, word)| {
        let is_whole = lower[..at].ends_with([',', '(', ' ', '\t', '\n', '\r']);
        let rest = sql[at + word.len()..].trim_start();
        is_whole.then_some(rest)?.strip_prefix('=')
    });
    let value = unquoted(values.next()?.trim_start());
    (!value.is_empty()).then_some(value)
}

/// A name or a string at the beginning, in any of SQLite's quotes.
fn unquoted(text: &str) -> String {
    let close = match text.chars().next() {
        Some('[') => ']',
        Some(quote @ ('\'' | '"' | '`')) => quote,
        _ => {
            let bare = text.split([',', ')', ' ', '\t', '\n', '\r']).next();
            return bare.unwrap_or_default().to_owned();
        }
    };
    let mut name = String::new();
    let mut letters = text.chars().skip(1).peekable();
    while let Some(letter) = letters.next() {
        if letter == close && letters.next_if_eq(&close).is_none() {
            break;
        }
        name.push(letter);
    }
    name
}
