//! The migrations folder as sqlx sees it; applied × available → plan.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use sqlx::migrate::{ResolveConfig, resolve_blocking_with_config};

use crate::values::database::AppliedMigration;
use crate::values::failure::Failure;
use crate::values::plan::{Migration, MigrationPlan, PlanProblem, Source};

mod expected_loss;
mod reach;
mod renames;
mod rewrites;
mod sql;

pub use expected_loss::expected_losses;
pub use reach::reaches;
pub use renames::follow;
pub use rewrites::rewritten;

/// Reads all migrations, in the order in which sqlx runs them. What sqlx
/// ignores is ignored; what sqlx refuses is refused, in sqlx's words.
pub fn read(source: &Source) -> Result<Vec<Migration>> {
    let folder = &source.folder;
    if !folder.is_dir() {
        return Err(Failure::refused(format!(
            "there is no migrations folder `{}`",
            folder.display()
        ))
        .hint("name the folder with `--source`, or the project with `--project`")
        .into());
    }
    let mut config = ResolveConfig::new();
    config.ignore_chars(source.ignored_chars.iter().copied());
    let found = resolve_blocking_with_config(folder, &config).map_err(|error| {
        let failure = Failure::refused(format!(
            "the migrations in `{}` cannot be read",
            folder.display()
        ))
        .hint("rename or mend the file; sqlx expects `<VERSION>_<DESCRIPTION>.sql`, in UTF-8");
        anyhow::Error::new(error).context(failure)
    })?;
    // sqlx looks for the end of the SQL behind the NUL for ever, and PostgreSQL ends the session.
    let holds_nul = |(migration, _): &&(Migration, PathBuf)| migration.sql.as_str().contains('\0');
    if let Some((_, path)) = found.iter().find(holds_nul) {
        let path = path.display();
        return Err(Failure::refused(format!(
            "the migration `{path}` holds a NUL, which is in no SQL"
        ))
        .hint("save the file as UTF-8 text")
        .into());
    }
    Ok(found.into_iter().map(|(migration, _)| migration).collect())
}

/// As [`read`], for a backup: it can be taken without any migrations.
pub fn read_if_any(source: &Source) -> Result<Vec<Migration>> {
    if source.folder.is_dir() {
        read(source)
    } else {
        Ok(Vec::new())
    }
}

/// What would run, up to and including `target`; or why nothing may.
pub fn plan(
    available: Vec<Migration>,
    applied: Vec<AppliedMigration>,
    target: Option<i64>,
) -> Result<MigrationPlan, PlanProblem> {
    if let Some(dirty) = applied.iter().find(|migration| !migration.success) {
        return Err(PlanProblem::Dirty(dirty.version));
    }
    let up: Vec<Migration> = available
        .into_iter()
        .filter(|migration| !migration.migration_type.is_down_migration())
        .collect();
    let mut versions = HashSet::new();
    if let Some(twice) = up
        .iter()
        .find(|migration| !versions.insert(migration.version))
    {
        return Err(PlanProblem::Twice(twice.version));
    }
    let checksums: HashMap<i64, &AppliedMigration> = applied
        .iter()
        .map(|migration| (migration.version, migration))
        .collect();
    if let Some(missing) = applied.iter().find(|m| !versions.contains(&m.version)) {
        return Err(PlanProblem::Missing(missing.version));
    }
    for migration in &up {
        if let Some(then) = checksums.get(&migration.version)
            && then.checksum != hexadecimal(&migration.checksum)
        {
            return Err(PlanProblem::Changed(migration.version));
        }
    }
    if let Some(target) = target {
        check_target(target, &versions, &applied)?;
    }
    let is_pending = |migration: &Migration| {
        !checksums.contains_key(&migration.version)
            && target.is_none_or(|target| migration.version <= target)
    };
    let pending = up
        .iter()
        .filter(|migration| is_pending(migration))
        .cloned()
        .collect();
    Ok(MigrationPlan { applied, pending })
}

fn check_target(
    target: i64,
    versions: &HashSet<i64>,
    applied: &[AppliedMigration],
) -> Result<(), PlanProblem> {
    if !versions.contains(&target) {
        return Err(PlanProblem::NoTarget(target));
    }
    match applied.iter().map(|migration| migration.version).max() {
        Some(applied) if target < applied => Err(PlanProblem::TargetTooOld { target, applied }),
        _ => Ok(()),
    }
}

/// SHA-384 of the file, hexadecimal, as sqlx computes it.
pub fn checksum(migration: &Migration) -> String {
    hexadecimal(&migration.checksum)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The refusal for a problem, with what to do about it.
pub fn refusal(problem: &PlanProblem, folder: &Path) -> Failure {
    let folder = folder.display();
    let hint = match problem {
        PlanProblem::Dirty(version) => format!(
            "see what migration {version} left behind, or bring the last backup back: \
             `cargo xtask db restore latest`"
        ),
        PlanProblem::Changed(version) => {
            format!("undo the change to migration {version} in `{folder}` and write a new one")
        }
        PlanProblem::Missing(version) => format!(
            "bring migration {version} back into `{folder}` (is this checkout older than the database?)"
        ),
        PlanProblem::Twice(version) => {
            format!("give one of the files with version {version} in `{folder}` a later version")
        }
        PlanProblem::NoTarget(_) | PlanProblem::TargetTooOld { .. } => {
            "`cargo xtask db status` shows the versions; going back is `cargo xtask db restore`"
                .into()
        }
    };
    Failure::refused(problem.to_string()).hint(hint)
}
