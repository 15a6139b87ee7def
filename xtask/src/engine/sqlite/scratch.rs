//! A scratch database: the backup unpacked into a file of the vault's staging
//! folder, compared, migrated there, removed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::Connection;
use tempfile::TempDir;

use super::inspect::{self, quoted};
use super::watch::Watch;
use super::{Sqlite, migrate, restore};
use crate::engine::{Readable, Scratch, ScratchOrder};
use crate::runtime::Runtime;
use crate::values::database::Contents;
use crate::values::kind::Selection;
use crate::values::plan::Migration;
use crate::values::progress::Progress;
use crate::values::rows::{Rows, Shape};
use crate::values::survey::{Rehearsed, Survey};
use crate::values::verified_dump::LAY_OPEN;

/// Of one table; SQLite takes up to 2,000 columns in an answer.
const COLUMNS_A_QUESTION: usize = 1000;

pub struct SqliteScratch {
    sqlite: Sqlite,
    /// What the comparison has found, until a migration ran.
    compared: Option<Contents>,
    /// Leads to the staging folder when that has a name that sqlx cannot take.
    _link: Option<TempDir>,
    warnings: Vec<String>,
}

pub fn build(
    live: &Sqlite,
    order: &ScratchOrder,
    progress: &dyn Progress,
) -> Result<SqliteScratch> {
    let (dump, staging) = (order.dump, order.staging);
    let link = match staging.to_str() {
        Some(_) => None,
        None => Some(linked(staging).context("cannot link to the staging folder")?),
    };
    let folder = link.as_ref().map(|link| link.path().join(LINK));
    let path = folder.as_deref().unwrap_or(staging).join("scratch.db");
    let compared = match order.is_fresh {
        true => Some(restore::unpack_fresh(live, dump, &path, progress)?),
        false => restore::unpack_and_compare(live, dump, &path, progress).map(|()| None)?,
    };
    Ok(SqliteScratch {
        compared,
        sqlite: Sqlite {
            path,
            create: false,
            read_only: false,
            bookkeeping: live.bookkeeping.clone(),
            runtime: Runtime::new(live.interrupt().clone())?,
            held: None,
            takes_fingerprints: false,
            selection: Selection::default(),
            keeps_replaced: false,
            stays_off_the_disk: false,
            watch: None,
        },
        _link: link,
        warnings: Vec::from_iter(dump.is_encrypted().then(|| LAY_OPEN.into())),
    })
}

const LINK: &str = "staging";

/// A name in UTF-8 for a folder that has none.
fn linked(folder: &Path) -> io::Result<TempDir> {
    let link = tempfile::Builder::new().prefix("xtask-db-").tempdir()?;
    std::os::unix::fs::symlink(folder, link.path().join(LINK))?;
    Ok(link)
}

impl Readable for SqliteScratch {
    fn shape(&mut self, table: &(String, String)) -> Result<Shape> {
        self.sqlite.shape(table)
    }

    fn rows(
        &mut self,
        table: &(String, String),
        columns: &[String],
        keys: usize,
    ) -> Result<Box<dyn Rows>> {
        self.sqlite.rows(table, columns, keys)
    }
}

impl SqliteScratch {
    /// The file is gone before a power cut could matter: the first commit would otherwise wait until
    /// all that was unpacked is on the disk.
    fn unflushed(&self) -> Result<Watch> {
        let mut watch = Watch::begin(&self.sqlite)?;
        self.sqlite.runtime.block_on(async {
            let set = sqlx::raw_sql("PRAGMA synchronous = OFF").execute(watch.connection());
            set.await.context("cannot prepare the scratch database")
        })?;
        Ok(watch)
    }
}

impl Scratch for SqliteScratch {
    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn survey(&mut self) -> Result<Survey> {
        let look = self.sqlite.look();
        let compared = self.compared.take();
        let known = compared.filter(|known| known.history_table.as_deref() == Some(look.history));
        self.sqlite.read(|connection| {
            let contents = match &known {
                Some(known) => known.clone(),
                None => inspect::contents(connection, &look)?,
            };
            survey(connection, contents)
        })
    }

    fn migrate(&mut self, migration: &Migration, _commits_itself: bool) -> Result<Rehearsed> {
        self.compared = None;
        self.sqlite.watch = Some(self.unflushed()?);
        let mut ran = None;
        let one = std::slice::from_ref(migration);
        migrate::migrate(&mut self.sqlite, one, &mut |migration| {
            ran = Some(migration)
        })?;
        let ran = ran.context("the migration did not report that it ran")?;
        Ok(Rehearsed {
            version: ran.version,
            description: ran.description,
            duration_ms: ran.duration_ms,
            locks: Vec::new(),
            rewritten: Vec::new(),
            rewritten_by: Vec::new(),
            touched: Vec::new(),
        })
    }

    fn remove(self: Box<Self>) -> Result<()> {
        let path = &self.sqlite.path;
        std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the scratch database `{}`", path.display()))
    }
}

fn survey(connection: &Connection, contents: Contents) -> Result<Survey> {
    let mut values = BTreeMap::new();
    for relation in contents.relations.iter().filter(|r| r.kind.is_table()) {
        let mut of_table = BTreeMap::new();
        let nullable = relation.columns.iter().filter(|column| !column.not_null);
        let nullable: Vec<_> = nullable.collect();
        for some in nullable.chunks(COLUMNS_A_QUESTION) {
            let counts: Vec<String> = some
                .iter()
                .map(|column| format!("count({})", quoted(&column.name)))
                .collect();
            let table = quoted(&relation.name);
            let question = format!("SELECT {} FROM main.{table}", counts.join(", "));
            let counted = connection.query_row(&question, [], |row| {
                (0..some.len())
                    .map(|i| row.get(i))
                    .collect::<Result<Vec<i64>, _>>()
            });
            let counts =
                counted.with_context(|| format!("cannot count the values of `{relation}`"))?;
            let names = some.iter().map(|column| column.name.clone());
            of_table.extend(names.zip(counts.into_iter().map(i64::unsigned_abs)));
        }
        values.insert((relation.schema.clone(), relation.name.clone()), of_table);
    }
    Ok(Survey {
        contents,
        values,
        ..Survey::default()
    })
}
