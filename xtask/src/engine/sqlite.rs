//! SQLite, through its online backup API (rusqlite) and sqlx's migrator.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{
    Brought, DumpEstimate, Dumped, Engine, RestoreWay, Restored, Scratch, ScratchOrder, TablesOrder,
};
use crate::interrupt::Interrupt;
use crate::runtime::Runtime;
use crate::values::database::{AppliedMigration, Contents, DatabaseFacts, EngineKind};
use crate::values::database_url::SqliteUrl;
use crate::values::exclusive::Before;
use crate::values::failure::Failure;
use crate::values::kind::Selection;
use crate::values::others::Others;
use crate::values::plan::{Bookkeeping, Migration, MigrationRan};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

mod bring;
mod choice;
mod copy;
mod damaged;
mod describe;
mod dump;
mod export;
mod fingerprint;
mod hold;
mod import;
mod inspect;
mod keys;
mod literal;
mod live_file;
mod load;
mod migrate;
mod restore;
mod rows;
mod scratch;
mod search;
mod spill;
mod text;
mod watch;

pub struct Sqlite {
    path: PathBuf,
    create: bool,
    read_only: bool,
    bookkeeping: Bookkeeping,
    runtime: Runtime,
    held: Option<hold::Hold>,
    takes_fingerprints: bool,
    selection: Selection,
    /// No copy of what it holds is to lie beside a dump.
    stays_off_the_disk: bool,
    /// A restore copies what it replaces beside it first, because no backup has it.
    keeps_replaced: bool,
    /// What the migrations will run on, or did.
    watch: Option<watch::Watch>,
}

impl Sqlite {
    pub fn new(
        url: &SqliteUrl,
        folder: &Path,
        bookkeeping: Bookkeeping,
        interrupt: Interrupt,
    ) -> Result<Sqlite> {
        let path = url.path_in(folder);
        // As the file is found through links, so that two names of one file are one database.
        let path = match path.canonicalize() {
            Ok(canonical) => canonical,
            Err(_) => std::path::absolute(&path)
                .with_context(|| format!("cannot make `{}` absolute", path.display()))?,
        };
        Ok(Sqlite {
            path,
            create: url.create,
            read_only: url.read_only,
            bookkeeping,
            runtime: Runtime::new(interrupt)?,
            held: None,
            takes_fingerprints: false,
            selection: Selection::default(),
            stays_off_the_disk: false,
            keeps_replaced: false,
            watch: None,
        })
    }

    fn interrupt(&self) -> &Interrupt {
        self.runtime.interrupt()
    }

    /// What a missing file holds is nothing, when it may be missing.
    fn read<T: Default>(&self, work: impl Fn(&rusqlite::Connection) -> Result<T>) -> Result<T> {
        let read = inspect::patiently(self.interrupt(), || {
            // Nobody else can read beside this one.
            if let Some(hold::Hold::Exclusive(holder)) = &self.held {
                return inspect::interruptibly(holder, self.interrupt(), &work);
            }
            match inspect::open_to_read(&self.path, self.require_file())? {
                Some(connection) => inspect::interruptibly(&connection, self.interrupt(), &work),
                None => Ok(T::default()),
            }
        });
        read.map_err(|error| damaged::hinted(&self.path, error))
    }

    fn look(&self) -> inspect::Look<'_> {
        inspect::Look {
            history: &self.bookkeeping.table,
            fingerprints: self.takes_fingerprints,
        }
    }

    /// Whoever is the last to leave a file in WAL mode puts it in order.
    fn unwatch(&mut self) {
        if let Some(watch) = self.watch.take() {
            migrate::close(self, watch);
        }
    }

    fn require_writable(&self) -> Result<()> {
        if self.read_only {
            let path = self.path.display();
            return Err(
                Failure::refused(format!("the database `{path}` is opened read-only"))
                    .hint("take `mode=ro` or `immutable=1` out of the database URL")
                    .into(),
            );
        }
        Ok(())
    }

    fn require_file(&self) -> Result<()> {
        if self.create || self.path.exists() {
            return Ok(());
        }
        let path = self.path.display();
        Err(
            Failure::refused(format!("the SQLite database `{path}` does not exist"))
                .hint("check the path; to create it, add `?mode=rwc` to the database URL")
                .into(),
        )
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.unwatch();
    }
}

impl Engine for Sqlite {
    fn facts(&mut self) -> Result<DatabaseFacts> {
        Ok(DatabaseFacts {
            engine: EngineKind::Sqlite,
            name: self
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            host: None,
            port: None,
            user: None,
            path: Some(self.path.display().to_string()),
            server_version: rusqlite::version().to_owned(),
            system_identifier: None,
            properties: None,
            other: Default::default(),
        })
    }

    fn exists(&mut self) -> Result<bool> {
        Ok(self.path.exists())
    }

    fn take_fingerprints(&mut self) {
        self.takes_fingerprints = true;
    }

    fn select(&mut self, selection: &Selection) {
        self.selection = selection.clone();
    }

    fn stay_off_the_disk(&mut self) {
        self.stays_off_the_disk = true;
    }

    fn place(&mut self) -> Result<String> {
        use std::os::unix::fs::MetadataExt;
        if let Ok(file) = self.path.metadata() {
            return Ok(format!("{} {}", file.dev(), file.ino()));
        }
        let name = self.path.file_name().unwrap_or_default();
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let folder = folder.canonicalize().unwrap_or(folder.to_owned());
        Ok(folder.join(name).display().to_string())
    }

    fn holds(&mut self) -> Result<Option<String>> {
        self.read(|connection| {
            let mut names = connection.prepare("SELECT name FROM sqlite_schema LIMIT 1")?;
            let mut rows = names.query([])?;
            let row = rows.next()?;
            Ok(row.map(|row| row.get(0)).transpose()?)
        })
    }

    fn contents(&mut self) -> Result<Contents> {
        self.read(|connection| inspect::contents(connection, &self.look()))
    }

    fn history(&mut self) -> Result<Vec<AppliedMigration>> {
        self.read(|connection| inspect::history(connection, &self.bookkeeping.table))
    }

    fn settled_history(&mut self) -> Result<Vec<AppliedMigration>> {
        match inspect::open_to_read(&self.path, self.require_file())? {
            Some(connection) => {
                // The interrupted statement may still hold its lock for a moment.
                connection.busy_timeout(inspect::BUSY_WAIT)?;
                inspect::history(&connection, &self.bookkeeping.table)
            }
            None => Ok(Vec::new()),
        }
    }

    /// SQLite has no lock that outlives a statement and lets others read; the
    /// vault's lock is the one that counts.
    fn lock(&mut self) -> Result<()> {
        self.require_writable()
    }

    fn prepare_dump(&mut self) -> Result<DumpEstimate> {
        self.require_file()?;
        let size = |suffix: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        let raw_size_bytes = size("") + size("-wal");
        Ok(DumpEstimate {
            raw_size_bytes,
            // A copy; and where it is written as text, the database that the text comes to.
            staging_bytes: match self.selection.kind.is_full() {
                true => raw_size_bytes,
                false => 2 * raw_size_bytes,
            },
        })
    }

    fn dump(
        &mut self,
        sink: &mut (dyn Write + Send),
        staging: &Path,
        progress: &dyn Progress,
    ) -> Result<Dumped> {
        self.require_file()?;
        dump::dump(self, sink, staging, progress)
            .map_err(|error| damaged::hinted(&self.path, error))
            .with_context(|| format!("cannot dump the database `{}`", self.path.display()))
    }

    fn migrate(
        &mut self,
        _proof: &VerifiedDump,
        pending: &[Migration],
        ran: &mut dyn FnMut(MigrationRan),
    ) -> Result<()> {
        migrate::migrate(self, pending, ran)
    }

    /// In a file of its own, wherever that is asked for: nothing is nearer, and nothing is burdened.
    fn scratch(
        &mut self,
        order: &ScratchOrder,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Scratch>> {
        order.refuse_reaches(
            "if doing it twice does no harm: cargo xtask db migrate-safe --rehearse-reaching; or go \
             without this proof: cargo xtask db migrate-safe --no-rehearse",
        )?;
        let built = scratch::build(self, order, progress);
        let context = "cannot build a scratch database from the backup";
        Ok(Box::new(built.context(context)?))
    }

    fn watch(&mut self) -> Result<()> {
        if self.watch.as_ref().is_some_and(watch::Watch::shuts_out) {
            return Ok(());
        }
        // The one before has nothing more to notice.
        self.unwatch();
        dump::empty_log(self);
        self.watch = Some(watch::Watch::begin(self)?);
        Ok(())
    }

    fn others(&mut self, _then: &Contents, _is_mixed: bool) -> Result<Others> {
        match self.watch.take() {
            Some(mut watch) => {
                let others = watch.others(self);
                self.watch = Some(watch);
                others
            }
            None => Ok(Others::Unclear(vec![
                "nobody has watched the file since the backup".into(),
            ])),
        }
    }

    fn keep_replaced(&mut self) {
        self.keeps_replaced = true;
    }

    fn hold_writers(&mut self) -> Result<()> {
        self.unwatch();
        if damaged::damage(self).is_none() {
            dump::empty_log(self);
            self.held = Some(hold::hold(self, None)?);
        }
        Ok(())
    }

    fn hold_unwritten(&mut self) -> Result<()> {
        let mut watch = self.watch.take().ok_or_else(watch::written)?;
        watch.empty_log(self);
        let held = hold::hold(self, Some(&mut || watch.require_silent(self)));
        self.watch = Some(watch);
        self.held = Some(held?);
        // A restore may need the file for itself.
        self.unwatch();
        Ok(())
    }

    fn prepare_exclusive(&mut self) -> Result<Option<Before>> {
        self.require_writable().map(|()| None)
    }

    /// The lock ends with the process, whatever ends that.
    fn begin_exclusive(&mut self, _before: Option<&Before>) -> Result<()> {
        self.unwatch();
        dump::empty_log(self);
        let mut watch = watch::Watch::begin(self)?;
        watch.shut_out(self)?;
        self.watch = Some(watch);
        Ok(())
    }

    fn holds_writers(&self) -> bool {
        self.held.is_some()
    }

    fn prepare_restore(&mut self, dump: &VerifiedDump) -> Result<RestoreWay> {
        self.require_writable()?;
        restore::prepare(self, dump)
    }

    fn taken(&mut self, names: &[(String, String)]) -> Result<Vec<String>> {
        bring::taken(self, names)
    }

    fn bring(&mut self, order: &TablesOrder, progress: &dyn Progress) -> Result<Brought> {
        bring::bring(self, order, progress)
            .with_context(|| format!("cannot write the database `{}`", self.path.display()))
    }

    fn restore(
        &mut self,
        dump: &VerifiedDump,
        staging: &Path,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        restore::restore(self, dump, staging, progress)
            .with_context(|| format!("cannot restore the database `{}`", self.path.display()))
    }
}
