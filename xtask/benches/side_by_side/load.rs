//! A database of a given size, filled with the rows of the shop.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ToSql};

use crate::cluster::Database;
use crate::rows::{CONSTRAINTS_POSTGRES, Field, INDEXES, SCHEMA_POSTGRES, SCHEMA_SQLITE, TABLES};

pub fn sqlite(path: &Path, megabytes: u64, seed: u64) -> Result<()> {
    let mut connection = Connection::open(path).context("cannot create the database")?;
    // The journal mode of most applications; a crash here throws the file away.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA_SQLITE)?;
    for table in TABLES {
        let places = vec!["?"; table.columns].join(", ");
        let insert = format!("INSERT INTO {} VALUES ({places})", table.name);
        let mut insert = transaction.prepare(&insert)?;
        table.rows(megabytes, seed, |row| {
            insert.execute(rusqlite::params_from_iter(&row))?;
            Ok(())
        })?;
    }
    transaction.execute_batch(INDEXES)?;
    transaction.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

impl ToSql for Field {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Field::Integer(number) => number.to_sql(),
            Field::Text(text) => text.to_sql(),
            Field::Bytes(bytes) => bytes.to_sql(),
        }
    }
}

pub fn postgres(database: &Database, megabytes: u64, seed: u64) -> Result<()> {
    let mut psql = database.psql_command();
    psql.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = psql.spawn().context("cannot start `psql`")?;
    let stdin = child.stdin.take().context("stdin is piped")?;
    let fed = feed(BufWriter::new(stdin), megabytes, seed);
    let status = child.wait().context("cannot wait for `psql`")?;
    ensure!(status.success(), "`psql` ended with {status}");
    fed
}

fn feed(mut psql: impl Write, megabytes: u64, seed: u64) -> Result<()> {
    writeln!(psql, "{SCHEMA_POSTGRES}")?;
    for table in TABLES {
        writeln!(psql, "COPY {} FROM STDIN;", table.name)?;
        table.rows(megabytes, seed, |row| {
            let fields: Vec<String> = row.iter().map(copied).collect();
            writeln!(psql, "{}", fields.join("\t"))?;
            Ok(())
        })?;
        writeln!(psql, "\\.")?;
    }
    writeln!(psql, "{INDEXES}\n{CONSTRAINTS_POSTGRES}")?;
    psql.flush()?;
    Ok(())
}

/// As COPY reads it; none of the texts has a tab, a line break or a backslash.
fn copied(field: &Field) -> String {
    match field {
        Field::Integer(number) => number.to_string(),
        Field::Text(text) => text.clone(),
        Field::Bytes(bytes) => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            format!("\\\\x{}", digits.collect::<String>())
        }
    }
}
