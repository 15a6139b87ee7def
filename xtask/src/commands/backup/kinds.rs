//! Which kind of backup the flags ask for, and what does not go together.

use crate::cli;
use crate::values::database::EngineKind;
use crate::values::failure::Failure;
use crate::values::kind::{Kind, Only, Selection};

pub fn selection(arguments: &cli::Backup, engine: EngineKind) -> Result<Selection, Failure> {
    let flags = &arguments.kind;
    if engine == EngineKind::Sqlite {
        refuse_for_sqlite(arguments)?;
    }
    let kind = Kind {
        only: match (flags.schema_only, flags.data_only) {
            (true, _) => Some(Only::Schema),
            (_, true) => Some(Only::Data),
            _ => None,
        },
        plain: flags.format.is_some(),
        schemas: flags.schema.clone(),
        tables: flags.table.clone(),
        without_tables: flags.exclude_table.clone(),
        without_rows_of: flags.exclude_table_data.clone(),
        clean: flags.clean,
        no_owner: flags.no_owner,
        no_privileges: flags.no_privileges,
        ..Kind::default()
    };
    let patterns = [
        &kind.schemas,
        &kind.tables,
        &kind.without_tables,
        &kind.without_rows_of,
    ];
    for pattern in patterns.into_iter().flatten() {
        super::refuse_url(pattern)?;
        if pattern.trim().is_empty() {
            return Err(Failure::usage("a pattern is empty")
                .hint("name a table, such as `--table 'shop.*'`"));
        }
    }
    if kind.plain && arguments.jobs.is_some_and(|jobs| jobs > 1) {
        return Err(
            Failure::usage("SQL as text is written by one session, and not by `--jobs`")
                .hint("leave out `--jobs`, or `--format plain`"),
        );
    }
    Ok(Selection {
        kind,
        globals: arguments.globals,
    })
}

/// What SQLite does not have.
fn refuse_for_sqlite(arguments: &cli::Backup) -> Result<(), Failure> {
    let flags = &arguments.kind;
    let missing = [
        (!flags.schema.is_empty(), "--schema", "schemas"),
        (flags.no_owner, "--no-owner", "owners"),
        (flags.no_privileges, "--no-privileges", "grants"),
        (arguments.globals, "--globals", "roles and tablespaces"),
    ];
    match missing.into_iter().find(|(given, _, _)| *given) {
        None => Ok(()),
        Some((_, flag, what)) => Err(Failure::usage(format!(
            "`{flag}` is for PostgreSQL: a SQLite database has no {what}"
        ))
        .hint(format!("leave out `{flag}`"))),
    }
}
