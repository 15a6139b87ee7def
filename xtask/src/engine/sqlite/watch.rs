//! Notices what others write, through the connection that the migrations run on.
//!
//! `PRAGMA data_version` of a connection changes with each commit of any other
//! connection and with none of its own. Opened before the backup, it tells what
//! others wrote from ours, migration by migration, without counting a row.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection, SqliteConnection};

use super::{Sqlite, migrate};
use crate::values::failure::Failure;
use crate::values::others::Others;

/// What was sent before, a rollback perhaps, ends first.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Watch {
    connection: SqliteConnection,
    version: i64,
    /// In a transaction that writes, from before the backup to after the last migration.
    shuts_out: bool,
}

impl Watch {
    /// The file is made when it may be, as a backup would.
    pub fn begin(sqlite: &Sqlite) -> Result<Watch> {
        sqlite.require_file()?;
        if let Some(parent) = sqlite.path.parent().filter(|_| sqlite.create) {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot create the folder `{}`", parent.display()))?;
        }
        sqlite.runtime.block_on(async {
            let mut connection = migrate::connect(&sqlite.path, sqlite.create).await?;
            let version = version(&mut connection).await?;
            Ok(Watch {
                connection,
                version,
                shuts_out: false,
            })
        })
    }

    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub fn others(&mut self, sqlite: &Sqlite) -> Result<Others> {
        let version = sqlite.runtime.block_on_to_the_end(async {
            let asked = tokio::time::timeout(PATIENCE, version(&mut self.connection)).await;
            asked.context("the database does not answer")?
        })?;
        if version == self.version {
            return Ok(Others::Silent);
        }
        Ok(Others::Wrote(vec![
            "another program has written to the file since the backup".into(),
        ]))
    }

    pub fn require_silent(&mut self, sqlite: &Sqlite) -> Result<()> {
        match self.others(sqlite)? {
            Others::Silent => Ok(()),
            _ => Err(written().into()),
        }
    }

    pub fn shuts_out(&self) -> bool {
        self.shuts_out
    }

    /// Begins to write, and writes nothing: others can read, and nobody else can write.
    /// sqlx's own transactions become savepoints of this one.
    pub fn shut_out(&mut self, sqlite: &Sqlite) -> Result<()> {
        sqlite.runtime.block_on(async {
            let begun = self.connection.begin_with("BEGIN IMMEDIATE").await;
            let begun = begun.context("cannot keep other writers out");
            // It ends in `commit` or `roll_back`, or with the connection.
            std::mem::forget(begun.map_err(migrate::unless_locked)?);
            self.shuts_out = true;
            self.version = version(&mut self.connection).await?;
            Ok(())
        })
    }

    /// However long it takes: sqlx's thread would go on with it, and what is said of it be wrong.
    pub fn commit(&mut self, sqlite: &Sqlite) -> Result<()> {
        self.shuts_out = false;
        let asked = sqlx::raw_sql("COMMIT").execute(&mut self.connection);
        sqlite.runtime.block_on_to_the_end(asked)?;
        Ok(())
    }

    pub fn roll_back(&mut self, sqlite: &Sqlite) -> Result<()> {
        self.shuts_out = false;
        sqlite.runtime.block_on_to_the_end(async {
            let asked = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection);
            let ended = tokio::time::timeout(PATIENCE, asked).await;
            ended.context("the database does not answer")??;
            Ok(())
        })
    }

    /// As `dump::empty_log`. By this connection, for to it another one's checkpoint looks like
    /// a commit of others, and its own does not.
    pub fn empty_log(&mut self, sqlite: &Sqlite) {
        if !sqlite.stays_off_the_disk || self.shuts_out {
            return;
        }
        // Where it cannot be done, there is a copy, and that is said.
        let _ = sqlite.runtime.block_on_to_the_end(async {
            let asked =
                sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection);
            tokio::time::timeout(PATIENCE, asked).await
        });
    }

    pub async fn close(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }
}

pub fn written() -> Failure {
    Failure::refused("another program has written to the database since the backup")
}

async fn version(connection: &mut SqliteConnection) -> Result<i64> {
    sqlx::query_scalar("PRAGMA data_version")
        .persistent(false)
        .fetch_one(connection)
        .await
        .context("cannot ask whether the database was written to")
}
