//! Which statements of a migration can have written a table anew.

use super::sql::{Piece, for_each_statement};
use crate::values::database::EngineKind;
use crate::values::plan::Migration;
use crate::values::schema::display_name;
use crate::values::survey::Rewritten;
use crate::values::words::on_one_line;

/// By the words of the file: statements that name the table and can do it; where there is none, those that
/// can do it to a table that they do not name: a partition of theirs, or by code that they run.
pub fn rewritten(migration: &Migration, tables: &[String]) -> Vec<Rewritten> {
    let text = migration.sql.as_str();
    let mut found: Vec<Suspect> = Vec::new();
    for_each_statement(text, EngineKind::Postgresql, |piece| {
        let line = text[..piece.at(0)].matches('\n').count() + 1;
        if let Some((tables, what)) = suspect(&piece) {
            found.push(Suspect { line, what, tables });
        }
    });
    let of_table = |table: &String| {
        let named = found.iter().filter(|suspect| suspect.names(table));
        let mut suspects: Vec<String> = named.map(Suspect::shown).collect();
        if suspects.is_empty() {
            suspects = found.iter().map(Suspect::shown).collect();
        }
        Rewritten {
            table: table.clone(),
            by: suspects,
        }
    };
    tables.iter().map(of_table).collect()
}

struct Suspect {
    line: usize,
    what: &'static str,
    /// Nothing: any.
    tables: Vec<Vec<String>>,
}

impl Suspect {
    /// `table` as it is shown. Without a schema a statement may mean one of any.
    fn names(&self, table: &str) -> bool {
        self.tables.iter().any(|path| match path.as_slice() {
            [.., schema, name] => display_name(schema, name) == table,
            [name] => {
                let name = on_one_line(name);
                table == name || table.ends_with(&format!(".{name}"))
            }
            [] => false,
        })
    }

    fn shown(&self) -> String {
        format!("line {}: {}", self.line, self.what)
    }
}

/// What can write a table anew, and the tables that it names.
fn suspect(piece: &Piece) -> Option<(Vec<Vec<String>>, &'static str)> {
    if piece.is(0, "alter")
        && (piece.is(1, "table") || piece.skip(1, &["materialized", "view"]) > 0)
    {
        let begin = if piece.is(1, "table") { 2 } else { 3 };
        let what = if begin == 2 {
            "ALTER TABLE"
        } else {
            "ALTER MATERIALIZED VIEW"
        };
        let begin = begin + piece.skip(begin, &["if", "exists"]);
        let begin = begin + piece.skip(begin, &["only"]);
        return can_rewrite(piece, begin).then(|| (paths(piece, begin), what));
    }
    let after = |count: usize, words: &[&str]| count + piece.skip(count, words);
    if piece.is(0, "truncate") {
        return Some((
            paths(piece, after(after(1, &["table"]), &["only"])),
            "TRUNCATE",
        ));
    }
    if piece.is(0, "cluster") {
        return Some((paths(piece, after(1, &["verbose"])), "CLUSTER"));
    }
    if piece.is(0, "refresh") {
        let begin = after(after(1, &["materialized", "view"]), &["concurrently"]);
        return Some((paths(piece, begin), "REFRESH MATERIALIZED VIEW"));
    }
    if piece.is(0, "vacuum") {
        // `VACUUM FULL t`, `VACUUM (FULL, ANALYZE) t`
        let full = (1..piece.len()).find(|i| piece.is(*i, "full"))?;
        let end = (full..piece.len()).find(|i| piece.is_sign(*i, ')'));
        let begin = after(end.map_or(full, |end| end) + 1, &["analyze"]);
        return Some((paths(piece, begin), "VACUUM FULL"));
    }
    let code = [
        ("do", "DO"),
        ("call", "CALL"),
        ("select", "SELECT"),
        ("execute", "EXECUTE"),
    ];
    let code = code.iter().find(|(word, _)| piece.is(0, word))?;
    Some((Vec::new(), code.1))
}

/// A type, a column whose values are computed, where the rows are kept.
fn can_rewrite(piece: &Piece, begin: usize) -> bool {
    const REWRITES: [&str; 6] = [
        "type",
        "logged",
        "unlogged",
        "method",
        "tablespace",
        "expression",
    ];
    const NO_COLUMN: [&str; 7] = [
        "constraint",
        "primary",
        "unique",
        "foreign",
        "check",
        "exclude",
        "table",
    ];
    let adds = |i: usize| piece.is(i, "add") && !piece.is_any(i + 1, &NO_COLUMN);
    (begin..piece.len()).any(|i| piece.is_any(i, &REWRITES) || adds(i))
}

/// Names with commas between them.
fn paths(piece: &Piece, mut i: usize) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    while let Some((path, end)) = piece.path(i) {
        paths.push(path.into_iter().map(|part| part.into_owned()).collect());
        let star = usize::from(piece.is_sign(end, '*'));
        if !piece.is_sign(end + star, ',') {
            break;
        }
        i = end + star + 1;
        i += piece.skip(i, &["only"]);
    }
    paths
}
