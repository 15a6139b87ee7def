//! `db backup`: take a backup, read it back and match it.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::Utc;
use serde::Serialize;

use super::journal::ending_of;
use super::offsite::send::{self, Wanted};
use super::{Scene, choose, prune, refuse_url, surroundings};
use crate::cli;
use crate::engine::{DumpEstimate, Dumped, Engine};
use crate::migrations;
use crate::ui;
use crate::values::cause;
use crate::values::database::DatabaseFacts;
use crate::values::encryption::Encryption;
use crate::values::failure::Failure;
use crate::values::id::{BadLabel, Label, Reason};
use crate::values::journal::{Deed, UNKNOWN};
use crate::values::kind::Selection;
use crate::values::manifest::{DumpFormat, Manifest, MigrationsThen, PendingMigration, Tool};
use crate::values::verified_dump::VerifiedDump;
use crate::vault::{Backup, Staged, VaultLock};

mod kinds;

/// How long a backup waits for a migration or restore that is under way.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Document<'a> {
    backup: &'a Manifest,
    path: String,
    manifest_path: String,
    /// What came of copies off-site, of this backup and of older ones.
    copies: Vec<send::Copy>,
}

pub fn run(scene: &Scene, arguments: &cli::Backup) -> Result<()> {
    let label = arguments.label.as_deref().map(parse_label).transpose()?;
    let selection = kinds::selection(arguments, scene.settings.url.engine())?;
    scene.prepare_vault()?;
    prune::refuse_empty_policy(scene)?;
    let lock = scene.lock_beside_backups("backup")?;
    let (mut engine, facts) = reach(scene).inspect_err(|error| {
        let mut entry = scene.entry(Deed::Backup, ending_of(error), likely(scene));
        entry.note = Some(cause::lines(error).join(": "));
        scene.record(entry);
    })?;
    engine.select(&selection);
    let order = Order {
        reason: Reason::Manual,
        label,
        selection,
    };
    let (backup, proof) = take_as(scene, &mut *engine, &facts, order)?;
    let now = backup.manifest.database.clone();
    // A long upload is in nobody's way.
    drop((engine, lock));
    let copies = send::send(scene, &Wanted::MissingOf(&now, Some((&backup, &proof))));
    let document = Document {
        backup: &backup.manifest.for_show(),
        path: backup.dump_path.display().to_string(),
        manifest_path: backup.manifest_path.display().to_string(),
        copies,
    };
    scene.ui.emit(&document)?;
    let stands = format!("the backup `{}` stands", backup.id());
    send::refuse_missing(&document.copies, &stands)?;
    prune::after(scene, &backup)
}

fn reach(scene: &Scene) -> Result<(Box<dyn Engine>, DatabaseFacts)> {
    let mut engine = scene.engine()?;
    scene.end_left_exclusive(&mut *engine)?;
    let facts = engine.facts()?;
    Ok((engine, facts))
}

/// Which database it would have been, as the journal calls it; by the URL alone, for the server
/// was not reached.
fn likely(scene: &Scene) -> String {
    let facts = scene.settings.url.likely_facts();
    facts.map_or_else(|| UNKNOWN.to_owned(), |facts| facts.to_string())
}

impl Scene<'_> {
    /// For what only adds to the vault.
    pub(super) fn lock_beside_backups(&self, verb: &str) -> Result<VaultLock> {
        let waiting = |holder: &str| self.ui.say(format!("waiting for {holder}"));
        self.vault
            .lock_shared((&self.who, verb), PATIENCE, self.interrupt, &waiting)
    }
}

fn parse_label(text: &str) -> Result<Label, Failure> {
    refuse_url(text)?;
    Label::for_new(text).map_err(|error| {
        let failure = Failure::usage(format!("`{text}` is no label: {error}"));
        let nearest = match error {
            BadLabel::Kind(_) => Label::nearest(&format!("my-{text}")),
            _ => Label::nearest(text).filter(|l| Label::for_new(l.as_str()).is_ok()),
        };
        match nearest {
            Some(nearest) => failure.hint(format!("cargo xtask db backup {}", nearest.as_str())),
            None => failure.hint("cargo xtask db backup before-the-change"),
        }
    })
}

/// Which backup is taken.
struct Order {
    reason: Reason,
    label: Option<Label>,
    selection: Selection,
}

/// A full one. The proof that it returns is what a migration needs.
pub fn take(
    scene: &Scene,
    engine: &mut dyn Engine,
    reason: Reason,
    label: Option<Label>,
) -> Result<(Backup, VerifiedDump)> {
    let selection = Selection::default();
    engine.select(&selection);
    let order = Order {
        reason,
        label,
        selection,
    };
    let facts = engine.facts()?;
    take_as(scene, engine, &facts, order)
}

const LAY_IN_A_FOLDER: &str = "warning: several sessions wrote the dump into a private folder of the vault, \
     where it lay unencrypted until it was packed; it is removed. Without `--jobs` it is never on a disk unencrypted";

/// For the journal: for whom, and what was seen of it.
fn proven(encryption: &Encryption) -> String {
    let decrypted = match encryption.decrypted {
        true => "all of it was decrypted and decompressed when it was read back",
        false => "not decrypted, no key was at hand",
    };
    format!("encrypted for {}; {decrypted}", encryption.summary())
}

/// Stage, dump, flush, read back, match, publish.
fn take_as(
    scene: &Scene,
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    order: Order,
) -> Result<(Backup, VerifiedDump)> {
    let work = || {
        take_of(scene, engine, facts, order)
            .with_context(|| format!("no backup was taken of the {facts}"))
    };
    let taken = scene.recorded_with(Deed::Backup, facts, work, |taken, entry| {
        let Ok((backup, _)) = taken else { return };
        entry.backup = Some(backup.id().clone());
        entry.note = backup.manifest.dump.encryption.as_ref().map(proven);
    })?;
    report(scene, &taken.0);
    Ok(taken)
}

fn take_of(
    scene: &Scene,
    engine: &mut dyn Engine,
    facts: &DatabaseFacts,
    order: Order,
) -> Result<(Backup, VerifiedDump)> {
    scene.settle_seal(engine, facts)?;
    scene.refuse_public()?;
    // What is there is kept for whoever may read it, before it is replaced.
    if matches!(order.reason, Reason::Manual | Reason::PreMigrate) {
        scene.refuse_another_key()?;
    }
    if scene.keys.seal().is_some() && order.selection.globals {
        return Err(globals_are_not_encrypted().into());
    }
    let began = Utc::now();
    let estimate = engine.prepare_dump()?;
    scene
        .vault
        .require_free(needed_bytes(scene, facts, &estimate)?)?;
    let label = order.label.or_else(|| order.reason.label());
    let kind = &order.selection.kind;
    let progress = scene.ui.progress();

    let seal = scene.keys.seal();
    let mut draft = scene
        .vault
        .draft(began, kind, label.as_ref(), facts.engine, seal)?;
    let staging = draft.workplace()?;
    if order.reason == Reason::PreMigrate {
        engine.name_moment(draft.id().as_str());
    }
    let dumped = engine.dump(&mut draft, &staging, &progress)?;
    for warning in &dumped.warnings {
        scene.ui.insist(format!("warning: {warning}"));
    }
    if seal.is_some() && dumped.format == DumpFormat::Directory {
        scene.ui.insist(LAY_IN_A_FOLDER);
    }
    let staged = draft.finish()?;
    let manifest = describe(scene, order.reason, label, dumped, &staged)?;
    let mut read_back = scene
        .vault
        .read_back(staged, manifest, &progress, scene.interrupt)?;
    if let Some(locked) = scene.open_read_back(&mut read_back, &progress)? {
        scene.say_locked(&locked);
    }
    scene.vault.publish(read_back, |manifest| {
        let took = Utc::now() - manifest.created_at;
        manifest.duration_ms = took.num_milliseconds().unsigned_abs();
    })
}

/// The settings of a role can hold a secret, and a manifest is read without a key.
fn globals_are_not_encrypted() -> Failure {
    Failure::refused(
        "`--globals` keeps the roles in the manifest, which is not encrypted; nothing was changed",
    )
    .hint("leave it out; pg_dumpall --globals-only --no-role-passwords | age --recipient age1… > globals.sql.age")
}

/// The previous backup says best how small this one will be; without one,
/// half of the database is assumed. Staged copies need their whole size.
fn needed_bytes(scene: &Scene, facts: &DatabaseFacts, estimate: &DumpEstimate) -> Result<u64> {
    let previous = choose::newest_full(scene, &|backup| choose::is_of(backup, facts))?;
    let previous = previous.map(|backup| backup.manifest.dump);
    let was_encrypted = previous
        .as_ref()
        .is_some_and(|dump| dump.encryption.is_some());
    if was_encrypted && scene.keys.seal().is_none() {
        scene
            .ui
            .insist("warning: the backup before this one is encrypted, and this one will not be");
    }
    let stored = match previous {
        Some(dump) if dump.raw_size_bytes > 0 => {
            let ratio = dump.size_bytes as f64 / dump.raw_size_bytes as f64;
            (estimate.raw_size_bytes as f64 * ratio.min(1.0) * 1.25) as u64
        }
        _ => estimate.raw_size_bytes / 2,
    };
    Ok(stored + estimate.staging_bytes)
}

fn describe(
    scene: &Scene,
    reason: Reason,
    label: Option<Label>,
    dumped: Dumped,
    staged: &Staged,
) -> Result<Manifest> {
    let applied = dumped.contents.applied;
    let table = dumped.contents.history_table;
    let versions: Vec<i64> = applied.iter().map(|migration| migration.version).collect();
    let pending = migrations::read_if_any(&scene.settings.source)?
        .into_iter()
        .filter(|m| !m.migration_type.is_down_migration() && !versions.contains(&m.version))
        .map(|m| PendingMigration {
            version: m.version,
            description: m.description.into_owned(),
        })
        .collect();
    Ok(Manifest {
        format: Manifest::format_of(&dumped.kind, dumped.platform.as_ref()),
        id: staged.id().clone(),
        label,
        reason,
        created_at: dumped.taken_at,
        duration_ms: 0,
        database: dumped.facts,
        tool: Tool {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
        dump_tool: dumped.dump_tool,
        dump: staged.stored_dump(dumped.format),
        tables: dumped.contents.tables,
        large_objects: dumped.contents.large_objects,
        relations: dumped.contents.relations,
        migrations: MigrationsThen {
            applied,
            pending,
            table,
            not_dumped: !dumped.has_history,
        },
        kind: dumped.kind,
        platform: dumped.platform,
        globals: dumped.globals,
        wal: dumped.wal,
        git: surroundings::git(&scene.settings.project, scene.vault.folder()),
        ran_on: scene.who.clone(),
        other: Default::default(),
    })
}

fn report(scene: &Scene, backup: &Backup) {
    let Manifest {
        id,
        dump,
        tables,
        duration_ms,
        ..
    } = &backup.manifest;
    if let Some(globals) = &backup.manifest.globals {
        scene
            .ui
            .detail(format!("  roles and tablespaces by {}", globals.tool));
    }
    let encrypted = match &dump.encryption {
        None => String::new(),
        Some(encryption) => {
            let decrypted = if encryption.decrypted {
                " and decrypted"
            } else {
                ""
            };
            format!("{decrypted}; encrypted for {}", encryption.summary())
        }
    };
    scene.ui.say(format!(
        "backed up as {id}: {}, {}, {}; read back and matched{encrypted}",
        ui::count(tables.len() as u64, "table"),
        ui::count(backup.manifest.rows(), "row"),
        ui::size(dump.size_bytes),
    ));
    if let Some(platform) = &backup.manifest.platform {
        scene.ui.say(platform.summary());
    }
    let wal = backup.manifest.wal.as_ref();
    if let Some(point) = wal.and_then(|wal| wal.restore_point.as_ref()) {
        scene.ui.say(format!(
            "the server's log has the restore point `{0}`, and `{0}_begin` once the first migration begins",
            point.name
        ));
    }
    scene.ui.detail(format!(
        "  {} before compression, SHA-256 {}, {:.1} s",
        ui::size(dump.raw_size_bytes),
        dump.sha256,
        *duration_ms as f64 / 1000.0
    ));
}
