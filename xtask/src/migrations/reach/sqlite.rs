//! What the head of an SQLite statement says about how far it reaches.

use super::super::sql::Piece;
use super::Verdict;
use crate::values::reach::ReachKind::{Outside, OwnTransaction};

const INSIDE: &[&str] = &[
    "alter",
    "analyze",
    "delete",
    "drop",
    "insert",
    "reindex",
    "release",
    "replace",
    "savepoint",
    "select",
    "update",
    "values",
    "with",
];

/// Modules that are in SQLite itself and keep what they hold in the database.
const MODULES_INSIDE: &[&str] = &[
    "dbstat",
    "fts3",
    "fts4",
    "fts4aux",
    "fts5",
    "fts5vocab",
    "geopoly",
    "json_each",
    "json_tree",
    "rtree",
    "rtree_i32",
    "sqlite_dbpage",
    "sqlite_stmt",
];

/// Where SQLite puts files, for the whole process. All other pragmas are of the connection, or of the
/// file: `journal_mode`, `page_size`, `auto_vacuum`, `user_version` and the like stand in its header, so a
/// rehearsal changes them in its own copy, and a restore brings the file with its header.
const PRAGMAS_OUTSIDE: &[&str] = &["temp_store_directory", "data_store_directory"];

pub fn head(s: Piece) -> Verdict {
    match s.word(0).to_ascii_lowercase().as_str() {
        inside if INSIDE.contains(&inside) => Verdict::Inside,
        // It says what a statement would do, and does nothing of it.
        "explain" => Verdict::Inside,
        "attach" | "detach" => Verdict::reach(Outside, s.phrase(2, s.len().min(5))),
        "begin" | "commit" | "end" => Verdict::reach(OwnTransaction, s.phrase(2, s.len().min(2))),
        "rollback" if s.is(1, "to") || s.is(2, "to") => Verdict::Inside,
        "rollback" => Verdict::reach(OwnTransaction, s.phrase(1, 1)),
        "vacuum" => match (1..s.len().min(3)).find(|i| s.is(*i, "into")) {
            Some(_) => Verdict::reach(Outside, "VACUUM INTO a file".to_owned()),
            None => Verdict::Inside,
        },
        "pragma" => pragma(s),
        "create" => create(s),
        _ => Verdict::Unknown,
    }
}

fn pragma(s: Piece) -> Verdict {
    let Some((path, end)) = s.path(1) else {
        return Verdict::Unknown;
    };
    let is_outside = path
        .last()
        .is_some_and(|name| PRAGMAS_OUTSIDE.contains(&&**name));
    match is_outside && end < s.len() {
        true => Verdict::reach(Outside, s.phrase(1, end)),
        false => Verdict::Inside,
    }
}

fn create(s: Piece) -> Verdict {
    let modifiers = ["temp", "temporary", "unique"];
    let i = if s.is_any(1, &modifiers) { 2 } else { 1 };
    if s.is_any(i, &["table", "index", "view", "trigger"]) {
        return Verdict::Inside;
    }
    if !s.is(i, "virtual") {
        return Verdict::Unknown;
    }
    let module = s.find(i, &["using"]).and_then(|using| s.name(using + 1));
    match module {
        Some(module) if MODULES_INSIDE.contains(&&*module) => Verdict::Inside,
        // The code of an extension, and what it reads, such as a CSV file.
        _ => Verdict::reach(Outside, {
            let end = s.find(i, &["using"]).map_or(3, |using| using + 2);
            s.phrase(3, end.min(10))
        }),
    }
}
