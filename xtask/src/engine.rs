//! What differs between databases, and nothing else.
//!
//! An engine knows no vault, no id and no terminal. It is synchronous: where
//! its driver is not, it owns a current-thread runtime and blocks on it inside.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::interrupt::Interrupt;
use crate::values::database::{AppliedMigration, Contents, DatabaseFacts, TableRows};
use crate::values::database_url::DatabaseUrl;
use crate::values::exclusive::Before;
use crate::values::failure::Failure;
use crate::values::kind::{Kind, Selection};
use crate::values::manifest::{DumpFormat, Globals, Manifest, Wal};
use crate::values::others::Others;
use crate::values::plan::{Bookkeeping, Migration, MigrationRan};
use crate::values::platform::{Platform, Profile};
use crate::values::progress::Progress;
use crate::values::rows::{Rows, Shape};
use crate::values::survey::{Rehearsed, Survey};
use crate::values::verified_dump::VerifiedDump;

mod aside;
mod migrate;
pub mod portable;
mod postgres;
mod pump;
mod sqlite;

pub use aside::{Aside, Kept, KeptDatabase, SwapBack};
pub use portable::Portable;

/// What a dump was, once all of it has been handed over.
pub struct Dumped {
    /// The moment that the dump holds.
    pub taken_at: DateTime<Utc>,
    pub facts: DatabaseFacts,
    /// Counted in the same moment.
    pub contents: Contents,
    /// The program or library that wrote the dump, with its version.
    pub dump_tool: String,
    pub format: DumpFormat,
    /// What was asked for, and what was found about it.
    pub kind: Kind,
    /// What it does without, because it is the platform's.
    pub platform: Option<Platform>,
    /// Whether the rows of the history, which `contents` has, are in the dump.
    pub has_history: bool,
    pub globals: Option<Globals>,
    pub wal: Option<Wal>,
    /// What the dump does not hold; one line each.
    pub warnings: Vec<String>,
}

/// What a dump needs; found before anything is written.
pub struct DumpEstimate {
    /// Upper bound of what the dump holds before compression.
    pub raw_size_bytes: u64,
    /// Of these, how many also lie uncompressed beside it for a while.
    pub staging_bytes: u64,
}

/// Something that a failed migration left.
pub struct Debris {
    pub what: String,
    /// The SQL that removes it.
    pub clean_up: String,
}

/// How a restore will be done; shown before the question.
pub struct RestoreWay {
    /// One line for a person.
    pub description: String,
    /// Other sessions that will be cut, one line each.
    pub sessions: Vec<String>,
    /// What comes back different, or not at all; one line each.
    pub warnings: Vec<String>,
    /// What would make the result differ from the backup; refused unless forced.
    pub obstacles: Vec<String>,
    /// What others write between the safety backup and the restore is in neither.
    pub loses_late_rows: bool,
    /// What is there cannot be read, so that no backup can be taken of it, and is kept beside.
    pub keeps_unreadable: bool,
}

pub struct Restored {
    /// Where the database that was replaced is kept, if it is.
    pub kept: Option<Kept>,
    /// What could not be set as it was; one line each.
    pub warnings: Vec<String>,
}

/// What a scratch database is wanted for.
pub struct ScratchOrder<'a> {
    pub dump: &'a VerifiedDump,
    /// It was taken by this run: what the engine found when it looked for damage,
    /// it would find again in the same bytes.
    pub is_fresh: bool,
    /// The server to build it on; nothing: beside the live database.
    pub elsewhere: Option<&'a DatabaseUrl>,
    /// A private folder that outlives the scratch.
    pub staging: &'a Path,
    /// The end of a hint when none can be made: how to do without it.
    pub otherwise: &'a str,
    /// Of a rehearsal that is to stay in its scratch database: what the migrations would do
    /// for real beyond it, refused where that is the live database's own server.
    pub reaches: Option<Vec<String>>,
}

/// Of a rehearsal.
pub const NO_REHEARSAL: &str =
    "; or go without this proof: cargo xtask db migrate-safe --no-rehearse";

impl ScratchOrder<'_> {
    fn refuse_reaches(&self, hint: &str) -> Result<()> {
        let reaches = self.reaches.as_deref().unwrap_or_default();
        if reaches.is_empty() {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "a rehearsal would do more than its scratch database can undo; nothing was changed\n  {}",
            reaches.join("\n  ")
        ))
        .hint(hint)
        .into())
    }
}

/// Tables of a backup that are to stand beside what a database holds.
pub struct TablesOrder<'a> {
    /// Where the backup is restored as a whole first, and compared.
    pub scratch: ScratchOrder<'a>,
    pub tables: &'a [TableRows],
    /// The schema that they come into; nothing: each into its own.
    pub schema: Option<&'a str>,
    /// Tables that are dropped first, if they are still as they are here: as they were just backed
    /// up. Nothing else is.
    pub replace: &'a [TableRows],
}

impl TablesOrder<'_> {
    /// Schema and name that a table will have.
    pub fn destination(&self, table: &TableRows) -> (String, String) {
        let schema = self.schema.unwrap_or(&table.schema);
        (schema.to_owned(), table.name.clone())
    }
}

/// What came of it.
pub struct Brought {
    /// What is otherwise than in the backup, or did not come; one line each.
    pub notes: Vec<String>,
}

/// A database whose rows can be read one after the other.
pub trait Readable {
    /// Columns and primary key of a table, given by schema and name.
    fn shape(&mut self, table: &(String, String)) -> Result<Shape>;

    /// Its rows in the order of the first `keys` of these columns, in bounded memory.
    fn rows(
        &mut self,
        table: &(String, String),
        columns: &[String],
        keys: usize,
    ) -> Result<Box<dyn Rows>>;
}

/// A throw-away database that was built from a backup and compared with it.
/// It goes away with the value; the database that it stands for is not touched.
pub trait Scratch: Readable {
    /// What is not as it is in the live database, or was removed; one line each.
    fn warnings(&self) -> &[String];

    /// What it holds now.
    fn survey(&mut self) -> Result<Survey>;

    /// Runs one migration as the live database would; `commits_itself` when it
    /// ends sqlx's transaction.
    fn migrate(&mut self, migration: &Migration, commits_itself: bool) -> Result<Rehearsed>;

    /// Removes it, and says when that failed.
    fn remove(self: Box<Self>) -> Result<()>;
}

/// One database, reached through one engine.
pub trait Engine: Readable + Portable {
    /// Identity and version, also of a database that does not exist yet. Reads only.
    fn facts(&mut self) -> Result<DatabaseFacts>;

    /// Whether there is a database to read; a missing one can still be restored into.
    fn exists(&mut self) -> Result<bool>;

    /// From now on dumps and contents come with a fingerprint of every table's values.
    fn take_fingerprints(&mut self);

    /// From now on nothing is about what belongs to this platform, and dumps do without it. Asks
    /// the database whose it is.
    fn leave_out(&mut self, _profile: Profile) -> Result<()> {
        Ok(())
    }

    /// From now on dumps are of this kind; unasked, they are full.
    fn select(&mut self, selection: &Selection);

    /// The next dump marks its moment with this name, where the server can and the role may.
    fn name_moment(&mut self, _name: &str) {}

    /// Refuses where something lies between that lends a session to others. Reads only.
    fn require_direct(&mut self) -> Result<()> {
        Ok(())
    }

    /// From now on no copy lies on a disk beside a dump that is no folder, or [`Dumped`] says so.
    fn stay_off_the_disk(&mut self) {}

    /// The same for two engines when they lead to one database, whatever their
    /// URLs look like. Also of a database that does not exist yet. Reads only.
    fn place(&mut self) -> Result<String>;

    /// Something that the database holds, by name; `None` when it is empty. Reads only.
    fn holds(&mut self) -> Result<Option<String>>;

    /// Exact row counts and the history, as they are now. Reads only.
    fn contents(&mut self) -> Result<Contents>;

    /// sqlx's bookkeeping table; empty when it does not exist. Reads only.
    fn history(&mut self) -> Result<Vec<AppliedMigration>>;

    /// What a migration that failed half-way may have left and nobody wants. Asked also
    /// when a signal came, and not for ever. Reads only.
    fn debris(&mut self) -> Result<Vec<Debris>> {
        Ok(Vec::new())
    }

    /// From here on, [`Engine::others`] knows what others write; called before a
    /// backup that may have to be brought back.
    fn watch(&mut self) -> Result<()>;

    /// Whether others have written since [`Engine::watch`]. `then` is what the backup holds;
    /// `is_mixed` when migrations of this run are in the database, as a whole or in part.
    fn others(&mut self, then: &Contents, is_mixed: bool) -> Result<Others>;

    /// As `history`, for the last words: also when a signal came, and not for ever.
    fn settled_history(&mut self) -> Result<Vec<AppliedMigration>> {
        self.history()
    }

    /// What earlier runs left beside the database: kept on purpose, or by a
    /// crash. One line each. Reads only.
    fn left_beside(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Where the engine keeps what it replaces; `None` when it keeps nothing.
    fn aside(&mut self) -> Option<&mut dyn Aside> {
        None
    }

    /// Refuses when something else migrates this database; held until the engine is dropped.
    fn lock(&mut self) -> Result<()>;

    /// Finds the tools and refuses when they do not fit. Reads only.
    fn prepare_dump(&mut self) -> Result<DumpEstimate>;

    /// Writes the dump into `sink`. `staging` is an empty private folder that
    /// is removed afterwards, for an engine that cannot stream.
    fn dump(
        &mut self,
        sink: &mut (dyn Write + Send),
        staging: &Path,
        progress: &dyn Progress,
    ) -> Result<Dumped>;

    /// Marks the moment before the first migration where `backup` marked its own; what to say
    /// when that fails.
    fn mark_beginning(&mut self, _backup: &Manifest) -> Result<Option<String>> {
        Ok(None)
    }

    /// Runs the migrations in order; `ran` hears of each one that is committed.
    /// The proof says that there is a way back.
    fn migrate(
        &mut self,
        proof: &VerifiedDump,
        pending: &[Migration],
        ran: &mut dyn FnMut(MigrationRan),
    ) -> Result<()>;

    /// Restores a dump into a scratch database and compares that with the manifest.
    fn scratch(
        &mut self,
        order: &ScratchOrder,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Scratch>>;

    /// No backup has what the next restore replaces: it stays beside, where the engine can keep it.
    fn keep_replaced(&mut self) {}

    /// Keeps other writers out until the restore is done or the engine is
    /// dropped, where the engine can: what is written after the safety backup
    /// would be lost.
    fn hold_writers(&mut self) -> Result<()> {
        Ok(())
    }

    /// As `hold_writers`, and refuses when others have written since [`Engine::watch`].
    fn hold_unwritten(&mut self) -> Result<()> {
        self.hold_writers()
    }

    /// Refuses where other writers cannot be shut out. What a crash must not leave
    /// changed, where that is something. Reads only.
    fn prepare_exclusive(&mut self) -> Result<Option<Before>>;

    /// Shuts other writers out until the engine is dropped, or [`Engine::end_exclusive`].
    fn begin_exclusive(&mut self, before: Option<&Before>) -> Result<()>;

    /// Lets others in: of this run or of an earlier one. Also when a signal came.
    fn end_exclusive(&mut self, _before: &Before) -> Result<()> {
        Ok(())
    }

    /// Whether other writers are kept out.
    fn holds_writers(&self) -> bool {
        false
    }

    /// Decides how to restore; refuses what cannot end well. Reads only. From now on nothing is
    /// about what the backup does without, whatever was left out before.
    fn prepare_restore(&mut self, dump: &VerifiedDump) -> Result<RestoreWay>;

    /// What has one of these names (schema, name) already, one line each; in a database that does
    /// not exist nothing has. Reads only.
    fn taken(&mut self, names: &[(String, String)]) -> Result<Vec<String>>;

    /// Brings tables of a backup beside what is there in one transaction, in which their rows are
    /// counted, or changes nothing. A missing database is created.
    fn bring(&mut self, order: &TablesOrder, progress: &dyn Progress) -> Result<Brought>;

    /// Puts the dump in place of the database, or changes nothing.
    fn restore(
        &mut self,
        dump: &VerifiedDump,
        staging: &Path,
        progress: &dyn Progress,
    ) -> Result<Restored>;
}

/// The engine for a URL. Nothing is connected yet. `jobs` is how many sessions dump or restore at
/// once, where an engine can have more than one; the flag is [`Engine::stay_off_the_disk`].
pub fn open(
    url: &DatabaseUrl,
    folder: &Path,
    bookkeeping: Bookkeeping,
    jobs: Option<u8>,
    stays_off_the_disk: bool,
    interrupt: Interrupt,
) -> Result<Box<dyn Engine>> {
    let mut engine: Box<dyn Engine> = match url {
        DatabaseUrl::Sqlite(url) => {
            Box::new(sqlite::Sqlite::new(url, folder, bookkeeping, interrupt)?)
        }
        DatabaseUrl::Postgres(url) => Box::new(postgres::Postgres::new(
            url.clone(),
            bookkeeping,
            jobs,
            interrupt,
        )?),
    };
    if stays_off_the_disk {
        engine.stay_off_the_disk();
    }
    Ok(engine)
}
