//! SQL as text, which `sqlite3` reads: a statement a line, so that nobody need parse it to read it
//! again. What is written is run at once into a database beside, which is then compared.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::Utc;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::choice::{self, Choice};
use super::dump::{begun, check, copy_to_new_file};
use super::inspect::{self, Look, quoted};
use super::spill::spill_into;
use super::{Sqlite, literal};
use crate::engine::{Dumped, Engine};
use crate::interrupt::Interrupt;
use crate::values::database::Contents;
use crate::values::failure::Failure;
use crate::values::kind::{ForeignKey, Kind};
use crate::values::manifest::DumpFormat;
use crate::values::progress::Progress;

const LAY_ON_THE_DISK: &str = "a copy of the database lay unencrypted in the vault, in a private folder, while it was \
     written as text; it is removed";

/// Before a statement of more than one line: how many it has.
pub const LINES: &str = "-- lines: ";
/// A signal is looked for that often.
const ROWS_A_LOOK: usize = 4096;

/// A dump that is no full one.
pub fn dump(
    sqlite: &mut Sqlite,
    sink: &mut (dyn Write + Send),
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Dumped> {
    let mut kind = sqlite.selection.kind.clone();
    let (copied, proof) = (staging.join("copy.db"), staging.join("proof.db"));
    if sqlite.stays_off_the_disk {
        spill_into(staging)?;
    }
    let source = begun(sqlite)?;
    let taken_at = Utc::now();
    progress.begin("copy", None);
    let done = copy_to_new_file(&source, &copied, progress, sqlite.interrupt());
    progress.end();
    drop(source);
    done?;
    // Of the values as well: no other way shows that each came through as text.
    let look = Look {
        history: &sqlite.bookkeeping.table,
        fingerprints: true,
    };
    let whole = check(&copied, sqlite, &look)?;
    let connection = inspect::open_unchanging(&copied)?;
    let history = inspect::bare_name(&sqlite.bookkeeping.table);
    let choice = Choice::of(&connection, &kind, &history)?;
    kind.foreign_keys_left_out = choice.gaps(&connection, &kind)?;
    progress.begin("write SQL", None);
    let script = Script::new(sink, &proof, sqlite.interrupt());
    let written = script.and_then(|script| script.write(&connection, &kind, &choice, progress));
    progress.end();
    written?;
    let found = check(&proof, sqlite, &look)?;
    let expected = choice.narrow(&whole, &kind, &found);
    require_same(&found, &expected)?;
    for path in [copied, proof] {
        std::fs::remove_file(path).context("cannot remove a staged file")?;
    }
    let has_history = whole.applied.is_empty() || choice.has_rows_of(&history, &kind);
    Ok(Dumped {
        taken_at,
        facts: sqlite.facts()?,
        contents: Contents {
            applied: whole.applied,
            relations: match kind.has_definitions() {
                true => expected.relations,
                false => Vec::new(),
            },
            ..expected
        },
        dump_tool: format!("SQLite {}", rusqlite::version()),
        format: DumpFormat::Plain,
        warnings: warnings(sqlite, &kind),
        kind,
        has_history,
        globals: None,
        platform: None,
        wal: None,
    })
}

fn warnings(sqlite: &Sqlite, kind: &Kind) -> Vec<String> {
    let line = |key: &ForeignKey| {
        format!(
            "the foreign key `{}` of `{}` leads to nothing: `{}` or its rows are not in the dump, \
             which cannot be restored alone",
            key.name, key.table, key.refers_to
        )
    };
    let on_the_disk = sqlite.stays_off_the_disk.then(|| LAY_ON_THE_DISK.into());
    let gaps = kind.foreign_keys_left_out.iter();
    on_the_disk.into_iter().chain(gaps.map(line)).collect()
}

/// What came of the text against what was to be written.
fn require_same(found: &Contents, expected: &Contents) -> Result<()> {
    let expected = Contents {
        // Its rows were compared, if they are there.
        applied: found.applied.clone(),
        ..expected.clone()
    };
    let differences = expected.differences(found);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the database cannot be written as SQL text: {}",
        differences.join("; ")
    ))
    .hint("take a full one: cargo xtask db backup")
    .into())
}

struct Script<'a> {
    sink: &'a mut (dyn Write + Send),
    /// Runs every statement that is written.
    proof: Connection,
    interrupt: &'a Interrupt,
}

impl<'a> Script<'a> {
    fn new(
        sink: &'a mut (dyn Write + Send),
        proof: &Path,
        interrupt: &'a Interrupt,
    ) -> Result<Script<'a>> {
        let proof = Connection::open(proof).context("cannot create the staged proof")?;
        proof.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
        Ok(Script {
            sink,
            proof,
            interrupt,
        })
    }

    fn write(
        mut self,
        from: &Connection,
        kind: &Kind,
        choice: &Choice,
        progress: &dyn Progress,
    ) -> Result<()> {
        let encoding: String = from.query_row("PRAGMA encoding", [], |row| row.get(0))?;
        self.statement(&format!("PRAGMA encoding = '{encoding}'"))?;
        self.statement("PRAGMA foreign_keys = OFF")?;
        self.statement("BEGIN")?;
        if kind.clean {
            for entry in choice.made() {
                let (what, name) = (entry.what(), quoted(&entry.name));
                self.statement(&format!("DROP {what} IF EXISTS {name}"))?;
            }
        }
        for table in &choice.tables {
            if kind.has_definitions() {
                self.statement(&table.definition())?;
            } else {
                self.run(&table.definition())?;
            }
        }
        self.all_rows(from, kind, choice, progress)?;
        if kind.has_rows() {
            for (name, seq) in choice::sequences(from, choice)? {
                let name = literal::text(name.as_bytes());
                self.statement(&format!("DELETE FROM sqlite_sequence WHERE name = {name}"))?;
                let row = format!("INSERT INTO sqlite_sequence(name, seq) VALUES({name}, {seq})");
                self.statement(&row)?;
            }
        }
        for entry in &choice.others {
            if kind.has_definitions() {
                self.statement(&entry.definition())?;
            } else {
                self.run(&entry.definition())?;
            }
        }
        if choice.has_entered() && kind.has_definitions() {
            self.statement("PRAGMA writable_schema = OFF")?;
        }
        if kind.has_definitions() && !kind.is_partial() {
            for setting in ["user_version", "application_id"] {
                let question = format!("PRAGMA {setting}");
                let value: i64 = from.query_row(&question, [], |row| row.get(0))?;
                self.statement(&format!("PRAGMA {setting} = {value}"))?;
            }
        }
        self.statement("COMMIT")?;
        let closed = self.proof.close().map_err(|(_, error)| error);
        closed.context("cannot close the staged proof")
    }

    fn all_rows(
        &mut self,
        from: &Connection,
        kind: &Kind,
        choice: &Choice,
        progress: &dyn Progress,
    ) -> Result<()> {
        let tables = choice.tables.iter().filter(|table| table.has_rows(kind));
        let (parts, own): (Vec<_>, Vec<_>) = tables.partition(|table| table.is_shadow);
        // The virtual tables that are there have written into their parts: when they were made, and
        // by triggers on the rows before. A savepoint makes them write what they still hold back.
        let has_filled = !(kind.has_definitions() || parts.is_empty());
        for table in own {
            self.rows(from, &table.name, progress)?;
        }
        if has_filled {
            self.statement("SAVEPOINT parts")?;
        }
        for table in parts {
            if has_filled {
                self.statement(&format!("DELETE FROM {}", quoted(&table.name)))?;
            }
            self.rows(from, &table.name, progress)?;
        }
        match has_filled {
            true => self.statement("RELEASE parts"),
            false => Ok(()),
        }
    }

    /// Into the proof and not into the text.
    fn run(&mut self, sql: &str) -> Result<()> {
        let run = self.proof.execute_batch(sql);
        run.with_context(|| format!("SQLite does not read again: {}", start_of(sql)))
    }

    fn statement(&mut self, sql: &str) -> Result<()> {
        self.run(sql)?;
        let sql = sql.trim_end();
        // A comment at the end would swallow what ends the statement.
        let lines = format!("{sql}\n;\n").lines().count();
        let written = match sql.contains(['\n', '\r']) || sql.contains("--") {
            true => write!(self.sink, "{LINES}{lines}\n{sql}\n;\n"),
            false => writeln!(self.sink, "{sql};"),
        };
        written.context("cannot write")
    }

    fn rows(&mut self, from: &Connection, table: &str, progress: &dyn Progress) -> Result<()> {
        let written = self.rows_of(from, table, progress);
        written.with_context(|| format!("cannot write the rows of `{table}`"))
    }

    fn rows_of(&mut self, from: &Connection, table: &str, progress: &dyn Progress) -> Result<()> {
        let columns = choice::stored_columns(from, choice::SCHEMA, table)?;
        let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let names = names.join(", ");
        let table = quoted(table);
        let is_odd = format!("{table}{names}").contains(['\n', '\r']);
        let mut statement = from.prepare(&format!("SELECT {names} FROM main.{table}"))?;
        let mut rows = statement.query([])?;
        let mut line = Vec::new();
        for number in 1.. {
            let Some(row) = rows.next()? else { break };
            line.clear();
            write!(line, "INSERT INTO {table}({names}) VALUES(")?;
            for column in 0..columns.len() {
                if column > 0 {
                    line.push(b',');
                }
                let value: ValueRef = row.get_ref(column)?;
                literal::write(value, &self.proof, &mut line)?;
            }
            line.extend(b")");
            let sql = std::str::from_utf8(&line).context("a literal is not UTF-8")?;
            if is_odd {
                self.statement(sql)?;
                continue;
            }
            self.run(sql)?;
            line.extend(b";\n");
            self.sink.write_all(&line).context("cannot write")?;
            progress.advance(line.len() as u64);
            if number % ROWS_A_LOOK == 0 {
                self.interrupt.check()?;
            }
        }
        Ok(())
    }
}

fn start_of(sql: &str) -> String {
    sql.chars().take(80).collect()
}
