//! Tables of a backup in another file, beside what that holds: the backup is
//! unpacked, compared and attached, and the tables are copied in one transaction.

use std::fmt::Display;
use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::Sqlite;
use super::inspect::{self, BUSY_SLICE, quoted};
use super::{choice, fingerprint, restore};
use crate::engine::{Brought, TablesOrder};
use crate::values::database::TableRows;
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::LAY_OPEN;

pub fn bring(sqlite: &mut Sqlite, order: &TablesOrder, progress: &dyn Progress) -> Result<Brought> {
    sqlite.require_writable()?;
    let scratch = order.scratch.staging.join("scratch.db");
    restore::unpack_and_compare(sqlite, order.scratch.dump, &scratch, progress)?;
    let is_new = !sqlite.path.exists();
    progress.begin("bring over", None);
    let interrupt = sqlite.interrupt();
    let brought = inspect::patiently(interrupt, || {
        let connection = open(sqlite, &scratch)?;
        let notes = inspect::interruptibly(&connection, interrupt, |connection| {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            copy(connection, order)
        })?;
        // The last thing that a signal can stop has ended. What fails is rolled back when the
        // connection is closed.
        inspect::patiently(interrupt, || Ok(connection.execute_batch("COMMIT")?))
            .context("cannot commit")?;
        Ok(notes)
    });
    progress.end();
    // Whoever waited for our lock may be about to write into it: an empty file stays.
    let what = match is_new && sqlite.path.exists() {
        true => "the tables were not brought over; the file, which was missing, is empty",
        false => "the tables were not brought over; the database is as it was",
    };
    let mut notes = brought.context(what)?;
    if order.scratch.dump.is_encrypted() {
        notes.push(LAY_OPEN.into());
    }
    Ok(Brought { notes })
}

/// The file, with the backup attached as `backup`.
fn open(sqlite: &Sqlite, scratch: &Path) -> Result<Connection> {
    let path = sqlite.path.display();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(&sqlite.path, flags)
        .with_context(|| format!("cannot open the database `{path}`"))?;
    connection.busy_timeout(BUSY_SLICE)?;
    require_encoding(&connection, scratch, &path)?;
    // What refers to tables that do not come along is as good as it was.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "writable_schema", false)?;
    let attach = connection.execute("ATTACH ?1 AS backup", [inspect::uri_of_unchanging(scratch)]);
    attach.context("cannot attach the unpacked backup")?;
    Ok(connection)
}

/// SQLite attaches only what has its text in the same encoding. An empty file has none yet.
fn require_encoding(connection: &Connection, scratch: &Path, path: &impl Display) -> Result<()> {
    let ask = |of: &Connection| -> rusqlite::Result<String> {
        of.query_row("PRAGMA encoding", [], |row| row.get(0))
    };
    let context = "cannot ask for the encoding of the text";
    let wanted = ask(&inspect::open_unchanging(scratch)?).context(context)?;
    connection.pragma_update(None, "encoding", &wanted)?;
    let found = ask(connection).context(context)?;
    if found == wanted {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the text in `{path}` is in {found}, and that in the backup in {wanted}: SQLite does not \
         take tables over from one to the other"
    ))
    .hint("name a file behind `--into` that does not exist yet, such as sqlite:rescued.db")
    .into())
}

/// Returns what did not come along.
fn copy(connection: &Connection, order: &TablesOrder) -> Result<Vec<String>> {
    for table in order.replace {
        drop_unwritten(connection, table)?;
    }
    let mut notes = Vec::new();
    for table in order.tables {
        copy_table(connection, table)?;
        notes.extend(left_behind(connection, order, table)?);
    }
    Ok(notes)
}

/// What somebody wrote into it since it was backed up would be nowhere.
fn drop_unwritten(connection: &Connection, table: &TableRows) -> Result<()> {
    if measured(connection, table)? != *table {
        return Err(Failure::refused(format!(
            "somebody has written to `{table}` since it was backed up"
        ))
        .hint("stop the programs that use that file, then run the command again")
        .into());
    }
    let drop = format!("DROP TABLE main.{}", quoted(&table.name));
    let dropped = connection.execute_batch(&drop);
    dropped.with_context(|| format!("cannot drop the table `{table}` that is there"))
}

/// As it is in the live file now, with its fingerprint where that of the table is known.
fn measured(connection: &Connection, table: &TableRows) -> Result<TableRows> {
    let fingerprint = table.fingerprint.as_ref();
    let fingerprint = fingerprint.map(|_| fingerprint::of_table(connection, &table.name));
    Ok(TableRows {
        rows: inspect::count(connection, &table.name)?,
        fingerprint: fingerprint.transpose()?,
        ..table.clone()
    })
}

fn copy_table(connection: &Connection, table: &TableRows) -> Result<()> {
    let sql: Option<String> = connection
        .query_row(
            "SELECT sql FROM backup.sqlite_schema WHERE type = 'table' AND name = ?1",
            [&table.name],
            |row| row.get(0),
        )
        .optional()?;
    let missing = || Failure::untrusted(format!("table `{table}` did not come out of the backup"));
    let sql = sql.ok_or_else(missing)?;
    run(connection, table, &sql)?;
    let name = quoted(&table.name);
    let columns = choice::stored_columns(connection, "backup", &table.name)?;
    let columns: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let columns = columns.join(", ");
    let rows = connection.execute(
        &format!("INSERT INTO main.{name} ({columns}) SELECT {columns} FROM backup.{name}"),
        [],
    );
    rows.with_context(|| format!("cannot copy the rows of `{table}`"))?;
    let mut indexes = connection.prepare(
        "SELECT sql FROM backup.sqlite_schema WHERE type = 'index' AND tbl_name = ?1 \
         AND sql IS NOT NULL ORDER BY rowid",
    )?;
    let indexes = indexes.query_map([&table.name], |row| row.get::<_, String>(0))?;
    for index in indexes {
        run(connection, table, &index?)?;
    }
    keep_counting(connection, table)?;
    match table.difference(&measured(connection, table)?) {
        Some(difference) => Err(Failure::untrusted(difference).into()),
        None => Ok(()),
    }
}

fn run(connection: &Connection, table: &TableRows, sql: &str) -> Result<()> {
    let made = connection.execute_batch(sql).map_err(|error| {
        let is_taken = error.to_string().contains("already exists");
        let error = anyhow::Error::new(error);
        match is_taken {
            true => error.context(
                Failure::refused("something of that name is there already")
                    .hint("name a file that has nothing of that name"),
            ),
            false => error,
        }
    });
    made.with_context(|| format!("cannot make the table `{table}`"))
}

/// Where AUTOINCREMENT goes on, also past rows that were deleted.
fn keep_counting(connection: &Connection, table: &TableRows) -> Result<()> {
    let has = |schema: &str| -> rusqlite::Result<bool> {
        let question =
            format!("SELECT count(*) FROM {schema}.sqlite_schema WHERE name = 'sqlite_sequence'");
        connection.query_row(&question, [], |row| row.get::<_, i64>(0).map(|n| n > 0))
    };
    if !(has("backup")? && has("main")?) {
        return Ok(());
    }
    let name = &table.name;
    connection.execute("DELETE FROM main.sqlite_sequence WHERE name = ?1", [name])?;
    connection.execute(
        "INSERT INTO main.sqlite_sequence SELECT * FROM backup.sqlite_sequence WHERE name = ?1",
        [name],
    )?;
    Ok(())
}

fn left_behind(
    connection: &Connection,
    order: &TablesOrder,
    table: &TableRows,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut triggers = connection.prepare(
        "SELECT name FROM backup.sqlite_schema WHERE type = 'trigger' \
         AND tbl_name = ?1 COLLATE NOCASE ORDER BY name",
    )?;
    for name in triggers.query_map([&table.name], |row| row.get::<_, String>(0))? {
        notes.push(format!("without the trigger `{}` of `{table}`", name?));
    }
    let mut parents = connection.prepare(
        "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1, 'backup') ORDER BY 1",
    )?;
    for parent in parents.query_map([&table.name], |row| row.get::<_, String>(0))? {
        let parent = parent?;
        let is = |table: &&TableRows| table.name.eq_ignore_ascii_case(&parent);
        if !order.tables.iter().any(|table| is(&table)) {
            notes.push(format!(
                "`{table}` refers to `{parent}`, which does not come along"
            ));
        }
    }
    Ok(notes)
}

/// Whatever has one of these names, which SQLite compares without regard to case.
pub fn taken(sqlite: &Sqlite, names: &[(String, String)]) -> Result<Vec<String>> {
    if !sqlite.path.exists() {
        return Ok(Vec::new());
    }
    sqlite.read(|connection| {
        let mut found = Vec::new();
        let mut statement = connection
            .prepare("SELECT name FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE LIMIT 1")?;
        for (_, name) in names {
            let taken = statement.query_row(params![name], |row| row.get::<_, String>(0));
            found.extend(taken.optional()?);
        }
        Ok(found)
    })
}
