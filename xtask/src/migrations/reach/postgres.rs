//! What the head of a PostgreSQL statement says about how far it reaches.
//!
//! Every statement of PostgreSQL 18 is in one of the lists; what is in none was not understood.

use super::super::sql::{Kind, Piece};
use super::Verdict;
use crate::values::reach::ReachKind::{Outside, OwnTransaction, Server};

/// They stay in the database, or in the session. `CHECKPOINT` is the server's, but leaves nothing behind;
/// `VACUUM` is always of the database that it runs in; what a function does is looked at where it is called.
const INSIDE: &[&str] = &[
    "analyse",
    "analyze",
    "call",
    "checkpoint",
    "close",
    "cluster",
    "deallocate",
    "declare",
    "delete",
    "discard",
    "execute",
    "fetch",
    "insert",
    "listen",
    "lock",
    "merge",
    "move",
    "refresh",
    "release",
    "reset",
    "savepoint",
    "select",
    "show",
    "table",
    "truncate",
    "unlisten",
    "update",
    "vacuum",
    "values",
    "with",
];

/// What `CREATE`, `ALTER` and `DROP` make in the database itself. A publication is only read by others.
const OBJECTS_INSIDE: &[&str] = &[
    "access",
    "aggregate",
    "cast",
    "collation",
    "conversion",
    "domain",
    "extension",
    "function",
    "index",
    "language",
    "large",
    "operator",
    "policy",
    "privileges",
    "procedure",
    "publication",
    "routine",
    "rule",
    "schema",
    "sequence",
    "server",
    "statistics",
    "table",
    "text",
    "transform",
    "trigger",
    "type",
    "view",
];

/// They stand between the verb and the object.
const MODIFIERS: &[&str] = &[
    "or",
    "replace",
    "global",
    "local",
    "temp",
    "temporary",
    "unlogged",
    "unique",
    "recursive",
    "materialized",
    "constraint",
    "trusted",
    "procedural",
    "default",
    "event",
];

const SHARED_OBJECTS: &[&str] = &["role", "user", "group", "database", "tablespace", "system"];

/// Made to reach out; foreign data wrappers by the end of their names.
const EXTENSIONS_OUTSIDE: &[&str] = &[
    "adminpack",
    "aws_lambda",
    "aws_s3",
    "dblink",
    "http",
    "pg_background",
    "pg_cron",
    "pg_net",
    "plperlu",
    "plpython2u",
    "plpython3u",
    "plpythonu",
    "plsh",
    "pltclu",
];

/// Languages whose code may do what the server's user may.
pub fn is_untrusted(language: &str) -> bool {
    matches!(language, "c" | "plsh" | "plr" | "pljava") || language.ends_with('u')
}

pub fn head(s: Piece) -> Verdict {
    match s.word(0).to_ascii_lowercase().as_str() {
        "" if s.is_sign(0, '(') => Verdict::Inside,
        inside if INSIDE.contains(&inside) => Verdict::Inside,
        "create" | "alter" | "drop" => object(s),
        "comment" | "security" => label(s),
        "grant" | "revoke" => privileges(s),
        "copy" => copy(s),
        "abort" | "begin" | "commit" | "end" | "prepare" | "rollback" | "start" => transaction(s),
        "explain" => explained(s),
        "import" if s.is(1, "foreign") => Verdict::reach(Outside, s.phrase(3, 4)),
        "load" if s.kind(1) == Some(Kind::Text) => Verdict::reach(Outside, s.phrase(1, 2)),
        "notify" if s.name(1).is_some() => Verdict::reach(Outside, s.phrase(1, 2)),
        "reassign" if s.is(1, "owned") => Verdict::reach(Server, s.phrase(3, s.len().min(6))),
        "reindex" => reindex(s),
        // In the files after this one, where a string ends is not what it looks like.
        "set" if (1..3).any(|i| s.is(i, "standard_conforming_strings")) => Verdict::Unknown,
        "set" => Verdict::Inside,
        _ => Verdict::Unknown,
    }
}

fn object(s: Piece) -> Verdict {
    let i = (1..s.len())
        .find(|i| !s.is_any(*i, MODIFIERS))
        .unwrap_or(s.len());
    let is_drop = s.is(0, "drop");
    if s.is(i, "owned") && is_drop {
        return Verdict::reach(Server, s.phrase(3, s.len().min(6)));
    }
    if s.is(i, "system") {
        return Verdict::reach(Server, s.phrase(3, 4));
    }
    // Dropping a door leads nowhere; a subscription calls its publisher when it is dropped.
    let is_mapping = s.is(i, "user") && s.is(i + 1, "mapping");
    let is_foreign_table = s.is(i, "foreign") && s.is(i + 1, "table");
    if is_mapping || is_foreign_table || s.is(i, "server") {
        let keywords = i + if s.is(i, "server") { 1 } else { 2 };
        return match is_drop {
            true => Verdict::Inside,
            false if is_mapping => Verdict::reach(Outside, s.phrase(keywords, keywords)),
            false => Verdict::reach(Outside, named(s, keywords)),
        };
    }
    if s.is(i, "subscription") {
        return Verdict::reach(Outside, named(s, i + 1));
    }
    if s.is_any(i, SHARED_OBJECTS) {
        return Verdict::reach(Server, named(s, i + 1));
    }
    if s.is(0, "create") {
        let name = || s.name(i + 1 + s.skip(i + 1, &["if", "not", "exists"]));
        let name = |is_outside: fn(&str) -> bool| name().is_some_and(|name| is_outside(&name));
        let is_extension = |n: &str| EXTENSIONS_OUTSIDE.contains(&n) || n.ends_with("_fdw");
        if s.is(i, "extension") && name(is_extension) || s.is(i, "language") && name(is_untrusted) {
            return Verdict::reach(Outside, named(s, i + 1));
        }
        if s.is(i, "schema") {
            return elements(s, i + 1);
        }
    }
    let is_wrapper = s.is(i, "foreign") && s.is(i + 1, "data");
    let is_event_trigger = s.is(i, "trigger");
    if s.is_any(i, OBJECTS_INSIDE) || is_wrapper || is_event_trigger {
        return Verdict::Inside;
    }
    Verdict::Unknown
}

/// The words up to `keywords`, `IF EXISTS`, and the name.
fn named(s: Piece, keywords: usize) -> String {
    let keywords =
        keywords + s.skip(keywords, &["if", "exists"]) + s.skip(keywords, &["if", "not", "exists"]);
    let end = s.path(keywords).map_or(keywords, |(_, end)| end);
    s.phrase(keywords, end)
}

/// `CREATE SCHEMA` may have other statements in it, without any sign between them.
fn elements(s: Piece, from: usize) -> Verdict {
    let mut at = from;
    while let Some(i) = s.find(at, &["create", "grant"]) {
        // In itself it has no place, and looking there would never end.
        if s.is(i + 1, "schema") {
            return Verdict::Unknown;
        }
        match head(s.near(i)) {
            Verdict::Inside => at = i + 1,
            other => return other,
        }
    }
    Verdict::Inside
}

/// `COMMENT ON …`, `SECURITY LABEL [FOR …] ON …`
fn label(s: Piece) -> Verdict {
    let Some(on) = s.find(1, &["on"]) else {
        return Verdict::Unknown;
    };
    if s.is_any(on + 1, SHARED_OBJECTS) {
        let head = s.phrase(2, if s.is(0, "comment") { 1 } else { 2 });
        Verdict::reach(Server, format!("{head} {}", named(s.after(on), 2)))
    } else {
        Verdict::Inside
    }
}

fn privileges(s: Piece) -> Verdict {
    let is_grant = s.is(0, "grant");
    let (to, on) = (if is_grant { "to" } else { "from" }, s.find(1, &["on"]));
    let Some(end) = s.find(1, &[to]) else {
        return Verdict::Unknown;
    };
    let all = s.len().min(12);
    match on.filter(|on| *on < end) {
        // A role is granted: to whom, is the server's affair.
        None => Verdict::reach(Server, s.phrase(1, all)),
        Some(on) => {
            let is_shared = s.is_any(on + 1, &["database", "tablespace", "parameter"]);
            // A table may have such a name: then the next word is not one more name.
            let is_table = on + 2 == end || s.is_sign(on + 2, ',') || s.is_sign(on + 2, '.');
            if is_shared && !is_table {
                Verdict::reach(Server, s.phrase(1, all.min(end)))
            } else {
                Verdict::Inside
            }
        }
    }
}

fn copy(s: Piece) -> Verdict {
    let Some(i) = s.find(1, &["from", "to"]) else {
        return Verdict::Unknown;
    };
    let begin = if s.is_sign(1, '(') {
        "COPY (…)".to_owned()
    } else {
        s.phrase(1, s.path(1).map_or(1, |(_, end)| end))
    };
    let direction = s.word(i).to_ascii_uppercase();
    if s.is(i + 1, "program") && s.kind(i + 2) == Some(Kind::Text) {
        return Verdict::reach(Outside, format!("{begin} {direction} PROGRAM …"));
    }
    if s.kind(i + 1) == Some(Kind::Text) {
        return Verdict::reach(Outside, format!("{begin} {direction} a file"));
    }
    if s.is_any(i + 1, &["stdin", "stdout"]) {
        Verdict::Inside
    } else {
        Verdict::Unknown
    }
}

fn transaction(s: Piece) -> Verdict {
    let words = || (1..s.len().min(3)).find(|i| s.kind(*i) != Some(Kind::Word));
    let words = words().unwrap_or(s.len().min(3));
    let own = Verdict::reach(OwnTransaction, s.phrase(words, words));
    match s.word(0).to_ascii_lowercase().as_str() {
        "rollback" if s.find(1, &["to"]).is_some() => Verdict::Inside,
        // Somebody else's, by its name.
        "commit" | "rollback" if s.is(1, "prepared") => Verdict::reach(Server, s.phrase(2, 2)),
        "prepare" if s.is(1, "transaction") => own,
        "prepare" => Verdict::Inside,
        "start" if !s.is(1, "transaction") => Verdict::Unknown,
        _ => own,
    }
}

fn explained(s: Piece) -> Verdict {
    let mut i = 1;
    if s.is_sign(1, '(') {
        let closes = (2..s.len()).find(|i| s.is_sign(*i, ')'));
        i = closes.map_or(s.len(), |end| end + 1);
    }
    while s.is_any(i, &["analyze", "analyse", "verbose"]) {
        i += 1;
    }
    if i == s.len() || s.is(i, "explain") {
        return Verdict::Unknown;
    }
    head(s.after(i))
}

fn reindex(s: Piece) -> Verdict {
    let closes = (2..s.len()).find(|i| s.is_sign(1, '(') && s.is_sign(*i, ')'));
    let object = closes.map_or(1, |end| end + 1);
    // By its name: it may be another one than the name in the connection.
    if s.is_any(object, &["database", "system"]) {
        Verdict::reach(Server, s.phrase(object + 1, s.len().min(10)))
    } else {
        Verdict::Inside
    }
}
