//! PostgreSQL, through `pg_dump`, `pg_restore` and sqlx.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use self::connect::Connected;
use self::lock::answering;
use super::{
    Aside, Brought, Debris, DumpEstimate, Dumped, Engine, RestoreWay, Restored, Scratch,
    ScratchOrder, TablesOrder,
};
use crate::interrupt::Interrupt;
use crate::runtime::Runtime;
use crate::values::database::{AppliedMigration, Contents, DatabaseFacts};
use crate::values::database_url::{DatabaseUrl, PostgresUrl};
use crate::values::exclusive::Before;
use crate::values::kind::Selection;
use crate::values::manifest::Manifest;
use crate::values::others::Others;
use crate::values::plan::{Bookkeeping, Migration, MigrationRan};
use crate::values::platform::Profile;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

mod along;
mod bring;
mod carve;
mod circle;
mod connect;
mod debris;
mod definitions;
mod describe;
mod dump;
mod exclusive;
mod fill;
mod fingerprint;
mod folder;
mod globals;
mod in_place;
mod inspect;
mod jobs;
mod kept;
mod left_beside;
mod lock;
mod migrate;
mod others;
mod owners;
mod place;
mod plain;
mod platform;
mod policies;
mod pooler;
mod portable;
mod programs;
mod properties;
mod rebuild;
mod replay;
mod restore;
mod rows;
mod scratch;
mod script;
mod select;
mod survey;
mod swap;
mod target;
mod toc;
mod wal;

/// How long a question may take whose answer only explains a failure.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub struct Postgres {
    url: PostgresUrl,
    bookkeeping: Bookkeeping,
    runtime: Runtime,
    /// Holds sqlx's advisory lock.
    lock: Option<Connected>,
    /// How many sessions dump or restore at once, when somebody said so.
    jobs: Option<u8>,
    takes_fingerprints: bool,
    profile: Profile,
    /// Schemas that nothing is about.
    left_out: Vec<String>,
    selection: Selection,
    /// Of the next dump.
    moment: Option<String>,
    /// What has this number or a higher one was written since others are watched.
    watched_since: Option<i64>,
    /// The transaction of an import that replaces rows, begun before the backup.
    import: Option<portable::Work>,
    /// Others are shut out; how to let them in again.
    shut: Option<Before>,
}

impl Postgres {
    pub fn new(
        url: PostgresUrl,
        bookkeeping: Bookkeeping,
        jobs: Option<u8>,
        interrupt: Interrupt,
    ) -> Result<Postgres> {
        Ok(Postgres {
            url,
            bookkeeping,
            runtime: Runtime::new(interrupt)?,
            lock: None,
            jobs,
            takes_fingerprints: false,
            profile: Profile::None,
            left_out: Vec::new(),
            selection: Selection::default(),
            moment: None,
            watched_since: None,
            import: None,
            shut: None,
        })
    }

    fn interrupt(&self) -> &Interrupt {
        self.runtime.interrupt()
    }

    /// Of the session that holds the lock, for what ends all others.
    fn lock_pid(&mut self) -> i32 {
        let held = &mut self.lock;
        let pid = self.runtime.block_on_to_the_end(async {
            let held = answering(held).await?;
            let pid = sqlx::query_scalar("SELECT pg_backend_pid()");
            pid.fetch_one(&mut held.session).await.ok()
        });
        // No session has it.
        pid.unwrap_or(0)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(before) = self.shut.take() {
            // The mark in the vault stays: the next run does it if this fails.
            let _ = self.end_exclusive(&before);
        }
    }
}

impl Engine for Postgres {
    fn facts(&mut self) -> Result<DatabaseFacts> {
        let (held, url) = (&mut self.lock, &self.url);
        let mut facts = self.runtime.block_on(async {
            match answering(held).await {
                Some(held) => inspect::facts(held).await,
                None => target::facts_of_target(url).await,
            }
        })?;
        if let Some(before) = &self.shut {
            exclusive::hide(&mut facts, before);
        }
        Ok(facts)
    }

    fn exists(&mut self) -> Result<bool> {
        self.runtime.block_on(async {
            match connect::connect(&self.url).await {
                Ok(_) => Ok(true),
                Err(error) if connect::is_missing_database(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn take_fingerprints(&mut self) {
        self.takes_fingerprints = true;
    }

    fn leave_out(&mut self, profile: Profile) -> Result<()> {
        platform::leave_out(self, profile)
    }

    fn select(&mut self, selection: &Selection) {
        self.selection = selection.clone();
    }

    fn name_moment(&mut self, name: &str) {
        self.moment = Some(name.to_owned());
    }

    fn require_direct(&mut self) -> Result<()> {
        self.runtime.block_on(pooler::refuse(&self.url))
    }

    fn place(&mut self) -> Result<String> {
        self.runtime.block_on(place::place(&self.url))
    }

    fn holds(&mut self) -> Result<Option<String>> {
        let holds = place::holds(&self.url, &self.left_out);
        self.runtime.block_on(holds)
    }

    fn contents(&mut self) -> Result<Contents> {
        let (table, fingerprints) = (&self.bookkeeping.table, self.takes_fingerprints);
        self.runtime.block_on(async {
            let mut connected = connect::connect(&self.url).await?;
            let session = &mut connected.session;
            inspect::contents(session, table, fingerprints, &self.left_out).await
        })
    }

    fn history(&mut self) -> Result<Vec<AppliedMigration>> {
        let (held, url, table) = (&mut self.lock, &self.url, &self.bookkeeping.table);
        self.runtime.block_on(async {
            match answering(held).await {
                Some(held) => inspect::history(&mut held.session, table).await,
                None => inspect::history(&mut connect::connect(url).await?.session, table).await,
            }
        })
    }

    fn settled_history(&mut self) -> Result<Vec<AppliedMigration>> {
        self.runtime.block_on_to_the_end(async {
            let read = async {
                let mut connected = connect::connect(&self.url).await?;
                inspect::history(&mut connected.session, &self.bookkeeping.table).await
            };
            let read = tokio::time::timeout(LAST_WORDS, read).await;
            read.context("the database does not answer")?
        })
    }

    fn debris(&mut self) -> Result<Vec<Debris>> {
        self.runtime.block_on_to_the_end(async {
            let asked = debris::invalid_indexes(&self.url, &self.left_out);
            let asked = tokio::time::timeout(LAST_WORDS, asked).await;
            asked.context("the database does not answer")?
        })
    }

    fn watch(&mut self) -> Result<()> {
        let (held, url) = (&mut self.lock, &self.url);
        let since = self.runtime.block_on(async {
            match answering(held).await {
                Some(held) => others::since(&mut held.session).await,
                None => others::since(&mut connect::connect(url).await?.session).await,
            }
        })?;
        self.watched_since = Some(since);
        Ok(())
    }

    fn others(&mut self, then: &Contents, is_mixed: bool) -> Result<Others> {
        let since = self.watched_since;
        let since = since.context("nobody has watched the database since the backup")?;
        if is_mixed && let Some(before) = &self.shut {
            let is_intact = exclusive::is_intact(&self.url, before);
            if self.runtime.block_on(is_intact)? {
                return Ok(Others::Silent);
            }
        }
        let watched = others::Watched {
            url: &self.url,
            bookkeeping: &self.bookkeeping.table,
            left_out: &self.left_out,
            since,
        };
        let seen = others::seen(&watched, then, is_mixed);
        self.runtime.block_on(seen)
    }

    fn left_beside(&mut self) -> Result<Vec<String>> {
        self.runtime.block_on(left_beside::lines(&self.url))
    }

    fn aside(&mut self) -> Option<&mut dyn Aside> {
        Some(self)
    }

    fn lock(&mut self) -> Result<()> {
        self.lock = Some(self.runtime.block_on(lock::lock(&self.url))?);
        Ok(())
    }

    fn prepare_dump(&mut self) -> Result<DumpEstimate> {
        let (held, url) = (&mut self.lock, &self.url);
        let raw_size_bytes = self.runtime.block_on(async {
            let mut new;
            let connected = match answering(held).await {
                Some(held) => held,
                None => {
                    new = connect::connect(url).await?;
                    &mut new
                }
            };
            programs::find_both(connected.server_major)?;
            inspect::size_bytes(&mut connected.session).await
        })?;
        let staging_bytes = match self.dump_jobs() {
            1 => 0,
            _ => raw_size_bytes,
        };
        Ok(DumpEstimate {
            raw_size_bytes,
            staging_bytes,
        })
    }

    fn dump(
        &mut self,
        sink: &mut (dyn Write + Send),
        staging: &Path,
        progress: &dyn Progress,
    ) -> Result<Dumped> {
        let mut dumped = dump::dump(self, sink, staging, progress)
            .map_err(lock::explain_shortage)
            .with_context(|| format!("cannot dump the database of `{}`", self.url))?;
        if let Some(before) = &self.shut {
            exclusive::hide(&mut dumped.facts, before);
        }
        Ok(dumped)
    }

    fn mark_beginning(&mut self, backup: &Manifest) -> Result<Option<String>> {
        let marked = async { Ok(wal::mark_beginning(&self.url, backup).await) };
        self.runtime.block_on(marked)
    }

    fn migrate(
        &mut self,
        _proof: &VerifiedDump,
        pending: &[Migration],
        ran: &mut dyn FnMut(MigrationRan),
    ) -> Result<()> {
        migrate::migrate(self, pending, ran)
    }

    fn scratch(
        &mut self,
        order: &ScratchOrder,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Scratch>> {
        let elsewhere = DatabaseUrl::scratch_server(order.elsewhere)?;
        let built = scratch::build(self, elsewhere, order, true, progress);
        let mut built = built
            .map_err(owners::explain_grants)
            .context("cannot build a scratch database from the backup")?;
        if let Some(platform) = &order.dump.manifest().platform {
            built.hang_on(platform)?;
        }
        Ok(Box::new(built))
    }

    fn prepare_exclusive(&mut self) -> Result<Option<Before>> {
        let lock = self.lock_pid();
        let prepared = exclusive::prepare(&self.url, lock);
        self.runtime.block_on(prepared).map(Some)
    }

    fn begin_exclusive(&mut self, before: Option<&Before>) -> Result<()> {
        self.shut = before.cloned();
        let lock = self.lock_pid();
        self.runtime.block_on(exclusive::begin(&self.url, lock))
    }

    fn end_exclusive(&mut self, before: &Before) -> Result<()> {
        let lock = self.lock_pid();
        let ended = exclusive::end(&self.url, before, lock);
        self.runtime.block_on_to_the_end(ended)?;
        self.shut = None;
        Ok(())
    }

    fn holds_writers(&self) -> bool {
        self.shut.is_some()
    }

    fn prepare_restore(&mut self, dump: &VerifiedDump) -> Result<RestoreWay> {
        restore::prepare(self, dump)
    }

    fn taken(&mut self, names: &[(String, String)]) -> Result<Vec<String>> {
        self.runtime.block_on(bring::taken(&self.url, names))
    }

    fn bring(&mut self, order: &TablesOrder, progress: &dyn Progress) -> Result<Brought> {
        bring::bring(self, order, progress)
    }

    fn restore(
        &mut self,
        dump: &VerifiedDump,
        staging: &Path,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        restore::restore(self, dump, staging, progress)
            .map_err(owners::explain_grants)
            .with_context(|| format!("cannot restore the database of `{}`", self.url))
    }
}
