//! Names of tables and columns whose loss somebody expects.

use std::fmt;
use std::str::FromStr;

use super::database::EngineKind;

/// `table`, `table.column`, `schema.table` or `schema.table.column`, as SQL writes names: what stands without
/// quotes is lower case.
///
/// Without a schema it means the schema `public` of PostgreSQL, `main` of SQLite, and no other: a name
/// that meant more would let through what nobody looked at. The same two words can be a table with its
/// schema and a column with its table; they are both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LossName(Vec<String>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name of a table or column; such are `books`, `users.phone`, `shop.\"Books\".title`"
)]
pub struct NoLossName(pub String);

impl LossName {
    /// The name that is written with these parts.
    pub fn of(parts: &[&str]) -> LossName {
        LossName(parts.iter().map(|&part| part.to_owned()).collect())
    }

    /// Names with commas between them; at least one.
    pub fn parse_list(text: &str) -> Result<Vec<LossName>, NoLossName> {
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let end = outside_quotes(rest, ',');
            names.push(rest[..end].parse()?);
            match rest.get(end + 1..) {
                Some(more) => rest = more,
                None => return Ok(names),
            }
        }
    }

    /// Whether the loss of this table, and of all that is in it, is expected.
    pub fn matches_table(&self, engine: EngineKind, schema: &str, table: &str) -> bool {
        self.is(engine, &[schema, table])
    }

    /// Whether the loss of this column is expected: by its own name, or because that of its table is.
    pub fn matches_column(
        &self,
        engine: EngineKind,
        schema: &str,
        table: &str,
        column: &str,
    ) -> bool {
        self.matches_table(engine, schema, table) || self.is(engine, &[schema, table, column])
    }

    fn is(&self, engine: EngineKind, path: &[&str]) -> bool {
        let default = match engine {
            EngineKind::Sqlite => "main",
            EngineKind::Postgresql => "public",
        };
        let are = |path: &[&str]| {
            let mut pairs = self.0.iter().zip(path);
            self.0.len() == path.len() && pairs.all(|(one, other)| engine.is_same_name(one, other))
        };
        are(path) || (path[0] == default && are(&path[1..]))
    }
}

impl FromStr for LossName {
    type Err = NoLossName;

    fn from_str(text: &str) -> Result<LossName, NoLossName> {
        let bad = || NoLossName(text.trim().to_owned());
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let end = outside_quotes(rest, '.');
            parts.push(part(rest[..end].trim()).ok_or_else(bad)?);
            match rest.get(end + 1..) {
                Some(more) => rest = more,
                None => break,
            }
        }
        if parts.len() > 3 {
            return Err(bad());
        }
        Ok(LossName(parts))
    }
}

/// Where this sign stands outside of all quotes; else the end.
fn outside_quotes(text: &str, sign: char) -> usize {
    let mut quoted = false;
    let found = text.find(|c: char| {
        quoted ^= c == '"';
        c == sign && !quoted
    });
    found.unwrap_or(text.len())
}

fn part(text: &str) -> Option<String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let inner = quoted.strip_suffix('"')?;
        // Quotes within are doubled, each pair of them.
        let is_even = inner.split("\"\"").all(|between| !between.contains('"'));
        return (!inner.is_empty() && is_even).then(|| inner.replace("\"\"", "\""));
    }
    let may_begin = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let may_follow = |c: char| may_begin(c) || c.is_ascii_digit() || c == '$';
    let is_name = text.starts_with(may_begin)
        && text.chars().all(may_follow)
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_name.then(|| text.to_ascii_lowercase())
}

/// As it is parsed: with quotes where they are needed.
impl fmt::Display for LossName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            if part(name).as_deref() == Some(name) {
                f.write_str(name)?;
            } else {
                write!(f, "\"{}\"", name.replace('"', "\"\""))?;
            }
        }
        Ok(())
    }
}
