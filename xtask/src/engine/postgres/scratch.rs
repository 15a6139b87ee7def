//! A scratch database: built beside the live one, or on another server, from a
//! backup; compared with it; used; dropped.

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};

use super::folder::{self, Input};
use super::target::{self, Target};
use super::toc::{Toc, beside};
use super::{
    Postgres, connect, inspect, left_beside, migrate, place, plain, programs, rebuild, rows, survey,
};
use crate::engine::{Readable, Scratch, ScratchOrder};
use crate::tool;
use crate::values::database::DatabaseProperties;
use crate::values::database_url::PostgresUrl;
use crate::values::failure::Failure;
use crate::values::plan::Migration;
use crate::values::platform::Platform;
use crate::values::progress::Progress;
use crate::values::rows::{Rows, Shape};
use crate::values::survey::{Rehearsed, Survey};
use crate::values::verified_dump::{LAY_OPEN, VerifiedDump};

mod foreign;
pub mod shared;
mod stand_ins;
pub mod touched;

/// Dropped with its value, also when the story ends early.
pub struct PostgresScratch {
    pub postgres: Postgres,
    pub target: Target,
    pub name: String,
    /// In the scratch database: it keeps other runs from taking it for abandoned.
    guard: Option<PgConnection>,
    warnings: Vec<String>,
    /// Whether what runs here is held to change nothing that the live database sees.
    is_watched: bool,
    /// The foreign data wrappers that lead nowhere here.
    cut_off: Vec<String>,
    /// Whose part is there without rows.
    platform: Option<Platform>,
    is_removed: bool,
}

/// What a scratch database does without.
const BESIDE: &[&str] = &["--no-publications", "--no-subscriptions"];
/// Another server has roles of its own, and a platform's objects are not to be made in its name.
const AWAY: &[&str] = &[
    "--no-publications",
    "--no-subscriptions",
    "--no-owner",
    "--no-privileges",
];

/// A database on the live one's server, or on that of `elsewhere`, which holds
/// what the dump holds. Nothing is left of one that cannot be built. On another server it may have
/// the live one's name, unless somebody else is to have that there.
pub fn build(
    live: &Postgres,
    elsewhere: Option<&PostgresUrl>,
    order: &ScratchOrder,
    may_be_named_alike: bool,
    progress: &dyn Progress,
) -> Result<PostgresScratch> {
    let (dump, staging) = (order.dump, order.staging);
    let url = elsewhere.unwrap_or(&live.url).clone();
    let interrupt = live.interrupt().clone();
    let mut postgres = Postgres::new(url, live.bookkeeping.clone(), live.jobs, interrupt)?;
    postgres.left_out = dump.manifest().platform_schemas().to_vec();
    let mut target = postgres.runtime.block_on(target::target(&postgres.url))?;
    let mut warnings = warnings(&target, dump);
    warnings.extend(folder::lies_open(&postgres, dump).then(|| LAY_OPEN.into()));
    let is_elsewhere = elsewhere.is_some()
        && postgres
            .runtime
            .block_on(is_another(&mut target, live, order))?;
    if !is_elsewhere {
        order.refuse_reaches(REACHES)?;
    }
    if elsewhere.is_some() {
        target.database = dump.manifest().database.name.clone();
    }
    let right = require_right(&mut target, order);
    postgres.runtime.block_on(right)?;
    if !is_elsewhere {
        refuse_what_needs_others(&postgres, &target, order)?;
    }
    let properties = properties_for(&mut target, dump);
    let properties = postgres.runtime.block_on(properties)?;
    let space = left_beside::require_space(&mut target, order);
    warnings.extend(postgres.runtime.block_on(space)?);
    let left = left_beside::drop_abandoned(&postgres, &mut target);
    let left = postgres.runtime.block_on(left)?;
    let removed = |name| format!("removed `{name}`, which a run that was cut short had left");
    warnings.extend(left.iter().map(removed));
    let name = left_beside::scratch_name(&mut target, is_elsewhere && may_be_named_alike);
    let name = postgres.runtime.block_on(name)?;
    let input = input(live, (&postgres, &target), order, is_elsewhere, progress)?;
    let mut scratch = PostgresScratch {
        postgres,
        target,
        name,
        guard: None,
        warnings,
        is_watched: order.reaches.is_some() && !is_elsewhere,
        cut_off: Vec::new(),
        platform: dump.manifest().platform.clone(),
        is_removed: false,
    };
    // When this fails, dropping the value drops what there is of the database.
    let (guard, warnings) = rebuild::build(
        &scratch.postgres,
        &mut scratch.target,
        &input,
        &scratch.name,
        &properties,
        staging,
        progress,
    )
    .map_err(|error| stand_ins::explain(dump, error))?;
    scratch.warnings.extend(warnings);
    scratch.guard = Some(guard);
    if order.reaches.is_some() {
        scratch.cut_off()?;
    }
    Ok(scratch)
}

/// What it is filled from, and what is there before.
fn input<'a>(
    live: &Postgres,
    (postgres, target): (&Postgres, &Target),
    order: &ScratchOrder<'a>,
    is_elsewhere: bool,
    progress: &dyn Progress,
) -> Result<Input<'a>> {
    let (dump, staging) = (order.dump, order.staging);
    let mut input = Input::of(postgres, dump, staging, progress)?;
    input.without = if is_elsewhere { AWAY } else { BESIDE };
    if let Some(platform) = &dump.manifest().platform {
        input.without = AWAY;
        input.before = Some(stand_ins::script(live, platform, order)?);
        // Text is what it is.
        if !plain::is_plain(dump) {
            let is_superuser = target.is_superuser;
            let list = beside::list_beside(postgres, dump, platform, is_superuser, staging);
            input.list = Some(list?);
        }
    }
    Ok(input)
}

const REACHES: &str = "\
set `SCRATCH_DATABASE_URL` to another server, such as a service container; or, if doing it twice does \
no harm: cargo xtask db migrate-safe --rehearse-reaching; or go without this proof: \
cargo xtask db migrate-safe --no-rehearse";

/// Whether the server is not the live database's: by the cluster's identifier,
/// or, where a role may not read that, by the moment in which it was started.
async fn is_another(
    target: &mut Target,
    live: &Postgres,
    order: &ScratchOrder<'_>,
) -> Result<bool> {
    let session = &mut target.maintenance.session;
    let here = inspect::system_identifier(session).await;
    let then = &order.dump.manifest().database.system_identifier;
    if let (Some(then), Some(here)) = (then, here) {
        return Ok(*then != here);
    }
    match target::target(&live.url).await {
        Ok(mut live) => {
            let there = place::started(&mut live.maintenance.session).await?;
            Ok(there != place::started(session).await?)
        }
        // It does not answer, and the other one does; where nothing is rehearsed, that will do.
        Err(_) if order.reaches.is_none() => Ok(true),
        Err(error) => Err(error),
    }
}

fn warnings(target: &Target, dump: &VerifiedDump) -> Vec<String> {
    let then = &dump.manifest().database.server_version;
    let now = &target.maintenance.server_version;
    if tool::major_of(then) == Some(target.maintenance.server_major) {
        return Vec::new();
    }
    vec![format!(
        "the scratch database is on PostgreSQL {now}, the live one on {then}"
    )]
}

async fn require_right(target: &mut Target, order: &ScratchOrder<'_>) -> Result<()> {
    let may_create: bool = sqlx::query_scalar(
        "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(&mut target.maintenance.session)
    .await
    .context("cannot ask what the role may do")?;
    if may_create {
        return Ok(());
    }
    let user = &target.maintenance.user;
    let what = match order.elsewhere {
        Some(_) => format!("the role `{user}` of `SCRATCH_DATABASE_URL` may not create databases"),
        None => format!(
            "the role `{user}` may not create databases, so the backup cannot be restored beside"
        ),
    };
    let hint = format!("{NO_RIGHT}{}", order.otherwise);
    Err(Failure::refused(what).hint(hint).into())
}

const NO_RIGHT: &str = "\
ALTER ROLE … CREATEDB; or set `SCRATCH_DATABASE_URL` to a server where it may, such as a service \
container";

/// A role that cannot make all that the dump holds cannot restore it beside.
fn refuse_what_needs_others(
    postgres: &Postgres,
    target: &Target,
    order: &ScratchOrder,
) -> Result<()> {
    let dump = order.dump;
    // Of text nobody knows before. What is a platform's is made as far as the role can.
    let is_tried = plain::is_plain(dump) || dump.manifest().platform.is_some();
    if target.is_superuser || is_tried {
        return Ok(());
    }
    let pg_restore = programs::find_pg_restore(dump, target.maintenance.server_major)?;
    match Toc::read(postgres, &pg_restore, dump)?.needs_others() {
        None => Ok(()),
        Some(what) => Err(Failure::refused(format!(
            "this role cannot make all that the backup holds in a scratch database: {what}"
        ))
        .hint(format!(
            "set `SCRATCH_DATABASE_URL` to a server where the role is a superuser, such as a \
             service container{}",
            order.otherwise
        ))
        .into()),
    }
}

/// As the live database, as far as a throw-away one needs it.
async fn properties_for(target: &mut Target, dump: &VerifiedDump) -> Result<DatabaseProperties> {
    let mut properties = rebuild::properties_of(dump)?;
    let is_ours: Option<bool> = sqlx::query_scalar(
        "SELECT pg_has_role(current_user, oid, 'USAGE') FROM pg_roles WHERE rolname = $1",
    )
    .bind(&properties.owner)
    .fetch_optional(&mut target.maintenance.session)
    .await
    .context("cannot ask for the owner's role")?;
    if is_ours != Some(true) {
        properties.owner.clone_from(&target.maintenance.user);
    }
    properties.connection_limit = -1;
    properties.is_template = false;
    Ok(properties)
}

impl PostgresScratch {
    fn cut_off(&mut self) -> Result<()> {
        if let Some(guard) = &mut self.guard {
            let cut_off = foreign::cut_off(guard);
            self.cut_off = self.postgres.runtime.block_on(cut_off)?;
        }
        Ok(())
    }

    fn drop_database(&mut self) -> Result<()> {
        let (postgres, maintenance) = (&self.postgres, &mut self.target.maintenance);
        let guard = self.guard.take();
        self.is_removed = true;
        postgres.runtime.block_on_to_the_end(async {
            if let Some(guard) = guard {
                // The server may have ended it; the database goes either way.
                let _ = guard.close().await;
            }
            left_beside::drop_database(postgres, maintenance, &self.name).await
        })
    }
}

impl Drop for PostgresScratch {
    fn drop(&mut self) {
        if !self.is_removed {
            // Marked as it is, the next run finds it and drops it.
            let _ = self.drop_database();
        }
    }
}

impl Readable for PostgresScratch {
    fn shape(&mut self, table: &(String, String)) -> Result<Shape> {
        rows::shape(&self.postgres, Some(&self.name), table)
    }

    fn rows(
        &mut self,
        table: &(String, String),
        columns: &[String],
        keys: usize,
    ) -> Result<Box<dyn Rows>> {
        Ok(Box::new(rows::rows(
            &self.postgres,
            Some(&self.name),
            table,
            columns,
            keys,
        )?))
    }
}

impl Scratch for PostgresScratch {
    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn survey(&mut self) -> Result<Survey> {
        let postgres = &self.postgres;
        postgres.runtime.block_on(async {
            let mut connected = connect::connect_to(&postgres.url, Some(&self.name)).await?;
            let history = postgres.bookkeeping.table.as_str();
            let survey =
                survey::survey(&mut connected.session, history, &postgres.left_out).await?;
            connected.session.close().await?;
            Ok(survey)
        })
    }

    fn migrate(&mut self, migration: &Migration, commits_itself: bool) -> Result<Rehearsed> {
        let scratch = (self.name.as_str(), self.is_watched);
        let (postgres, platform) = (&self.postgres, self.platform.as_ref());
        let ran = migrate::rehearse(postgres, scratch, platform, migration, commits_itself);
        let ran = ran.map_err(|error| stand_ins::explain_key(platform, error));
        ran.map_err(|error| foreign::explain(&self.cut_off, error))
    }

    fn remove(mut self: Box<Self>) -> Result<()> {
        self.drop_database().with_context(|| {
            format!(
                "the scratch database `{}` could not be dropped; the next run drops it",
                self.name
            )
        })
    }
}
