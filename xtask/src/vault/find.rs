//! What is in the vault, newest first.

use std::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Vault;
use crate::values::id::BackupId;
use crate::values::manifest::{self, BadManifest, Manifest, manifest_file_name};

/// A published backup: its manifest was read; its dump was not looked at.
#[derive(Debug, Clone)]
pub struct Backup {
    pub manifest: Manifest,
    pub dump_path: PathBuf,
    pub manifest_path: PathBuf,
}

impl Backup {
    pub fn id(&self) -> &BackupId {
        &self.manifest.id
    }
}

/// Something in the vault that is no backup and looks as if it should be one.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Problem {
    pub file: String,
    pub problem: String,
}

#[derive(Debug, Default)]
pub struct Listing {
    /// Newest first.
    pub backups: Vec<Backup>,
    pub problems: Vec<Problem>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    #[error("no backup has `{0}` in its id")]
    None(String),
    #[error("`{wanted}` is in the id of {} backups", .candidates.len())]
    Ambiguous {
        wanted: String,
        candidates: Vec<BackupId>,
    },
}

impl Listing {
    /// By whole id, or by a part that only one id has.
    pub fn find(&self, wanted: &str) -> Result<&Backup, NotFound> {
        if let Some(backup) = self.backups.iter().find(|b| b.id().as_str() == wanted) {
            return Ok(backup);
        }
        let has_part = |b: &&Backup| !wanted.is_empty() && b.id().as_str().contains(wanted);
        let found: Vec<_> = self.backups.iter().filter(has_part).collect();
        match found.as_slice() {
            [] => Err(NotFound::None(wanted.to_owned())),
            [one] => Ok(one),
            more => Err(NotFound::Ambiguous {
                wanted: wanted.to_owned(),
                candidates: more.iter().map(|b| b.id().clone()).collect(),
            }),
        }
    }

    /// A manifest that could not be read, by whole id or part of it.
    pub fn problem_with(&self, wanted: &str) -> Option<&Problem> {
        self.problems
            .iter()
            .find(|p| !wanted.is_empty() && p.file.contains(wanted))
    }
}

impl Vault {
    /// Reads all manifests. A folder that does not exist is an empty vault.
    pub fn list(&self) -> Result<Listing> {
        let context = || format!("cannot read the vault `{}`", self.folder.display());
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Listing::default()),
            entries => entries.with_context(context)?,
        };
        let mut listing = Listing::default();
        let mut dumps = Vec::new();
        for entry in entries {
            let name = entry
                .with_context(context)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if let Some(stem) = name.strip_suffix(".json") {
                match self.read(stem) {
                    Ok(backup) => listing.backups.push(backup),
                    Err(problem) => listing.problems.push(Problem {
                        file: name,
                        problem,
                    }),
                }
            } else if name.ends_with(".dump.zst") || name.ends_with(".db.zst") {
                dumps.push(name);
            }
        }
        listing.add_orphans(dumps);
        listing
            .backups
            .sort_by(|a, b| (b.manifest.created_at, b.id()).cmp(&(a.manifest.created_at, a.id())));
        listing.problems.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(listing)
    }

    fn read(&self, stem: &str) -> Result<Backup, String> {
        let id: BackupId = stem.parse().map_err(|error| format!("{error}"))?;
        let manifest = self
            .read_manifest(&id)
            .map_err(|error| match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            })?;
        if manifest.id != id {
            return Err(format!("it is the manifest of `{}`", manifest.id));
        }
        Ok(Backup {
            dump_path: self.folder.join(&manifest.dump.file),
            manifest_path: self.folder.join(manifest_file_name(&id)),
            manifest,
        })
    }

    fn read_manifest(&self, id: &BackupId) -> Result<Manifest, Box<dyn Error + Send + Sync>> {
        let file = self.open_regular(&manifest_file_name(id))?;
        manifest_in(file)
    }
}

/// Reads no more than a manifest can have.
pub(super) fn manifest_in(file: File) -> Result<Manifest, Box<dyn Error + Send + Sync>> {
    let mut bytes = Vec::new();
    file.take(manifest::MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > manifest::MAX_BYTES {
        return Err(BadManifest::TooLarge.into());
    }
    Ok(Manifest::parse(&bytes)?)
}

impl Listing {
    fn add_orphans(&mut self, dumps: Vec<String>) {
        for file in dumps {
            let stem = file.split_once('.').map_or(file.as_str(), |(stem, _)| stem);
            let stem = file
                .strip_suffix(".dump.zst")
                .or(file.strip_suffix(".db.zst"))
                .unwrap_or(stem);
            let has_manifest = self.backups.iter().any(|b| b.manifest.dump.file == file)
                || self
                    .problems
                    .iter()
                    .any(|p| p.file.strip_suffix(".json") == Some(stem));
            if !has_manifest {
                let problem = "an orphan: a dump without a manifest, left by a crash".into();
                self.problems.push(Problem { file, problem });
            }
        }
    }
}
