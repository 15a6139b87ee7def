//! What reaches out from anywhere in a statement: functions that are called, tables that are written.

use std::borrow::Cow;

use super::super::sql::Piece;
use crate::values::database::EngineKind;
use crate::values::reach::ReachKind::{self, Bookkeeping, Outside, Server};

/// Functions of PostgreSQL itself, by the beginning of their names where several begin so.
const OF_SERVER: &[&str] = &[
    "pg_backup_start",
    "pg_backup_stop",
    "pg_cancel_backend",
    "pg_copy_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_create_restore_point",
    "pg_drop_replication_slot",
    "pg_logical_slot_get_binary_changes",
    "pg_logical_slot_get_changes",
    "pg_promote",
    "pg_reload_conf",
    "pg_replication_origin_advance",
    "pg_replication_origin_create",
    "pg_replication_origin_drop",
    "pg_replication_slot_advance",
    "pg_rotate_logfile",
    "pg_stat_reset_replication_slot",
    "pg_stat_reset_shared",
    "pg_stat_reset_slru",
    "pg_sync_replication_slots",
    "pg_switch_wal",
    "pg_terminate_backend",
    "pg_wal_replay_pause",
    "pg_wal_replay_resume",
];
const OF_FILES: &[&str] = &[
    "lo_export",
    "lo_import",
    "pg_file_read",
    "pg_file_rename",
    "pg_file_sync",
    "pg_file_unlink",
    "pg_file_write",
    "pg_logdir_ls",
    "pg_logical_emit_message",
    "pg_ls_archive_statusdir",
    "pg_ls_dir",
    "pg_ls_logdir",
    "pg_ls_tmpdir",
    "pg_ls_waldir",
    "pg_notify",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_stat_file",
];
/// Functions of extensions, which may be in any schema, and schemas that are an extension's own.
const OF_EXTENSIONS: &[&str] = &[
    "http",
    "http_delete",
    "http_get",
    "http_head",
    "http_patch",
    "http_post",
    "http_put",
    "pg_background_launch",
];
const SCHEMAS_OUTSIDE: &[&str] = &["aws_lambda", "aws_s3", "cron", "net"];
const OF_SQLITE: &[&str] = &["edit", "load_extension", "readfile", "writefile"];

/// Catalogs that all databases of a server share.
const SHARED_CATALOGS: &[&str] = &[
    "pg_auth_members",
    "pg_authid",
    "pg_database",
    "pg_db_role_setting",
    "pg_parameter_acl",
    "pg_replication_origin",
    "pg_shdepend",
    "pg_shdescription",
    "pg_shseclabel",
    "pg_subscription",
    "pg_tablespace",
];

/// So many names are looked at in one list, and nobody drops more tables at once.
const MOST_NAMES: usize = 1_000;

/// Behind these, a name with a parenthesis is a table or a definition, and nothing is called.
const NO_CALL_AFTER: &[&str] = &[
    "aggregate",
    "analyze",
    "as",
    "copy",
    "exists",
    "function",
    "into",
    "procedure",
    "recursive",
    "references",
    "routine",
    "table",
    "vacuum",
    "view",
    "with",
];

/// sqlx's table, from how `sqlx.toml` writes it.
pub struct Table<'a> {
    schema: Option<Cow<'a, str>>,
    name: Cow<'a, str>,
}

impl<'a> Table<'a> {
    pub fn new(name: Piece<'a>) -> Option<Table<'a>> {
        let (mut parts, _) = name.path(0)?;
        let name = parts.pop()?;
        Some(Table {
            schema: parts.pop(),
            name,
        })
    }

    fn is(&self, path: &[Cow<str>]) -> bool {
        let [before @ .., name] = path else {
            return false;
        };
        // Where only one of the two says which schema, it may be this one.
        let schemas = self.schema.as_ref().zip(before.last());
        *name == self.name && schemas.is_none_or(|(one, other)| one == other)
    }

    fn is_in(&self, schema: &[Cow<str>]) -> bool {
        let own = self.schema.as_deref().unwrap_or("public");
        schema.last().is_some_and(|schema| schema == own)
    }
}

/// Whether functions are named in this statement without being called.
pub fn only_names_functions(s: Piece) -> bool {
    let names = ["comment", "drop", "grant", "revoke", "security"];
    let routines = [
        "aggregate",
        "extension",
        "function",
        "operator",
        "procedure",
        "routine",
    ];
    s.is_any(0, &names) || (s.is(0, "alter") && s.is_any(1, &routines))
}

/// A call of a function that reaches out, at this token.
pub fn call(s: Piece, i: usize) -> Option<(ReachKind, String)> {
    if !s.is_sign(i + 1, '(') {
        return None;
    }
    let name = s.name(i)?;
    let is_qualified = i >= 2 && s.is_sign(i - 1, '.');
    let first = if is_qualified { i - 2 } else { i };
    let schema = if is_qualified { s.name(first) } else { None };
    let is_one_of = |names: &[&str]| names.contains(&&*name);
    let kind = match s.engine {
        EngineKind::Sqlite => is_one_of(OF_SQLITE).then_some(Outside)?,
        EngineKind::Postgresql => {
            let is_of_system = schema.as_ref().is_none_or(|schema| schema == "pg_catalog");
            let is_outside = schema.is_some_and(|schema| SCHEMAS_OUTSIDE.contains(&&*schema))
                || (is_of_system && is_one_of(OF_FILES))
                || is_one_of(OF_EXTENSIONS)
                || name.starts_with("dblink");
            match is_of_system && is_one_of(OF_SERVER) {
                true => Server,
                false => is_outside.then_some(Outside)?,
            }
        }
    };
    let is_behind = |words: &[&str]| first > 0 && s.is_any(first - 1, words);
    let is_index = || s.is(0, "create") && (1..3).any(|i| s.is(i, "index"));
    if is_behind(NO_CALL_AFTER) || (is_behind(&["on"]) && is_index()) {
        return None;
    }
    let name = s.after(first).phrase(0, i + 1 - first);
    Some((kind, format!("{name}()")))
}

/// A table that is written, made, changed or dropped by what begins at this token, when it is sqlx's
/// or the server's.
pub fn written(s: Piece, i: usize, table: &Table) -> Option<(ReachKind, String)> {
    let (from, is_list) = target(s, i)?;
    let drops_schema = s.is(i, "schema");
    let mut at = from;
    for _ in 0..MOST_NAMES {
        at += usize::from(s.is(at, "only"));
        at += usize::from(s.is_sign(at, '('));
        let (path, mut end) = s.path(at)?;
        let kind = match drops_schema {
            true => table.is_in(&path).then_some(Bookkeeping),
            false => whose(&path, table, s.engine),
        };
        if let Some(kind) = kind {
            let verb = s.after(i).phrase(from - i, from - i);
            let name = s.after(at).phrase(0, end - at);
            let before = i
                .checked_sub(1)
                .map(|before| s.word(before).to_ascii_uppercase());
            return Some((
                kind,
                match before {
                    // `TABLE` alone says nothing.
                    Some(before) if s.is_any(i, &["table", "schema"]) => {
                        format!("{before} {verb} {name}")
                    }
                    _ => format!("{verb} {name}"),
                },
            ));
        }
        end += usize::from(s.is_sign(end, ')')) + usize::from(s.is_sign(end, '*'));
        if !is_list || !s.is_sign(end, ',') {
            return None;
        }
        at = end + 1;
    }
    None
}

fn whose(path: &[Cow<str>], table: &Table, engine: EngineKind) -> Option<ReachKind> {
    if table.is(path) {
        return Some(Bookkeeping);
    }
    let [before @ .., name] = path else {
        return None;
    };
    let schema = before.last();
    if engine == EngineKind::Sqlite {
        None
    } else if schema.is_some_and(|schema| schema == "cron") {
        Some(Outside)
    } else if schema.is_none_or(|schema| schema == "pg_catalog")
        && SHARED_CATALOGS.contains(&&**name)
    {
        Some(Server)
    } else {
        None
    }
}

/// The table that gets a trigger, an index, a rule or a policy: it behaves otherwise from then on.
pub fn attached(s: Piece, table: &Table) -> Option<(ReachKind, String)> {
    if !s.is(0, "create") {
        return None;
    }
    let makes = ["trigger", "index", "rule", "policy"];
    let object = (1..s.len().min(5)).find(|i| s.is_any(*i, &makes))?;
    let before = if s.is(object, "rule") { "to" } else { "on" };
    let at = s.find(object, &[before])? + 1;
    let at = at + usize::from(s.is(at, "only"));
    let (path, end) = s.path(at)?;
    let kind = whose(&path, table, s.engine)?;
    let what = s.phrase(object + 1, object + 1);
    Some((
        kind,
        format!("{what} ON {}", s.after(at).phrase(0, end - at)),
    ))
}

/// Where the name of a written table begins, and whether more may follow.
fn target(s: Piece, i: usize) -> Option<(usize, bool)> {
    // A file of rows has millions of words that are none of these.
    let word = s.word(i);
    if !(4..=8).contains(&word.len()) {
        return None;
    }
    let mut lower = [0; 8];
    let lower = &mut lower[..word.len()];
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    let may = |at: usize, words: &[&str]| at + s.skip(at, words);
    match &*lower {
        b"insert" | b"merge" | b"replace" if s.is(i + 1, "into") => Some((i + 2, false)),
        // `INSERT OR REPLACE INTO` of SQLite
        b"insert" if s.is(i + 1, "or") && s.is(i + 3, "into") => Some((i + 4, false)),
        b"update" if s.is(i + 1, "or") => Some((i + 3, false)),
        b"update" => Some((i + 1, false)),
        b"delete" if s.is(i + 1, "from") => Some((i + 2, false)),
        b"truncate" => Some((may(i + 1, &["table"]), true)),
        b"lock" => Some((may(i + 1, &["table"]), true)),
        b"rename" if s.is(i + 1, "to") => Some((i + 2, false)),
        b"copy" => {
            let rest = s.near(i);
            let (_, end) = rest.path(1)?;
            rest.find(end, &["from"]).map(|_| (i + 1, false))
        }
        b"table" | b"schema" => {
            let before = i.checked_sub(1)?;
            let is_schema = lower == b"schema";
            let changes =
                s.is(before, "drop") || (!is_schema && s.is_any(before, &["alter", "create"]));
            let at = may(may(i + 1, &["if", "exists"]), &["if", "not", "exists"]);
            changes.then_some((at, s.is(before, "drop")))
        }
        _ => None,
    }
}
