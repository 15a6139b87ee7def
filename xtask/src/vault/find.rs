//! What is in the vault, newest first.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::{DirEntry, File};
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::TimeDelta;

use super::Vault;
use crate::cores::{self, WORTH_A_THREAD};
use crate::values::id::BackupId;
use crate::values::kind::Kind;
use crate::values::manifest::{self, BadManifest, Manifest, manifest_file_name};
use crate::values::pin;

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

    /// Whether nobody has removed it since it was listed, which begins with its manifest.
    pub fn is_there(&self) -> bool {
        self.manifest_path.symlink_metadata().is_ok()
    }
}

/// Something in the vault that is no backup and looks as if it should be one.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Problem {
    pub file: String,
    pub problem: String,
}

impl Problem {
    pub fn of_journal(error: &anyhow::Error) -> Problem {
        Problem {
            file: super::journal::FILE_NAME.into(),
            problem: format!("{error:#}"),
        }
    }

    /// Of the backup that it is a part of.
    pub fn id(&self) -> Option<BackupId> {
        let stem = match self.file.strip_suffix(".json") {
            Some(stem) => stem,
            None => manifest::split_dump_name(&self.file)?.0,
        };
        stem.parse().ok()
    }

    /// Whether it is a dump that no manifest names, or that lies beside its backup's own.
    pub fn is_orphan(&self) -> bool {
        !self.file.ends_with(".json")
    }

    pub(super) fn orphan(dump: &NamedDump) -> Problem {
        Problem {
            file: dump.file(),
            problem: "an orphan: a dump without a manifest, left by a crash".into(),
        }
    }

    /// Of a backup whose manifest names another dump.
    pub(super) fn older(dump: &NamedDump) -> Problem {
        Problem {
            file: dump.file(),
            problem: format!(
                "an older dump of `{}`, left by a rekey; the same rekey again removes it",
                dump.stem
            ),
        }
    }
}

#[derive(Debug, Default)]
pub struct Listing {
    /// Newest first.
    pub backups: Vec<Backup>,
    pub problems: Vec<Problem>,
    /// The ids that have a pin, also such as have no backup.
    pub pins: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    #[error("no backup has `{0}` in its id")]
    None(String),
    #[error("no backup has the id `{wanted}`")]
    Longer {
        wanted: String,
        candidates: Vec<BackupId>,
    },
    #[error("`{wanted}` is in the id of {} backups", .candidates.len())]
    Ambiguous {
        wanted: String,
        candidates: Vec<BackupId>,
    },
}

impl Listing {
    /// By whole id, or by a part that only one id has. What is a whole id is no part of another one.
    pub fn find(&self, wanted: &str) -> Result<&Backup, NotFound> {
        if let Some(backup) = self.backups.iter().find(|b| b.id().as_str() == wanted) {
            return Ok(backup);
        }
        let has_part = |b: &&Backup| !wanted.is_empty() && b.id().as_str().contains(wanted);
        let found: Vec<_> = self.backups.iter().filter(has_part).collect();
        let is_id = wanted.parse::<BackupId>().is_ok();
        let candidates = || found.iter().map(|b| b.id().clone()).collect();
        let wanted = wanted.to_owned();
        match found.as_slice() {
            [] => Err(NotFound::None(wanted)),
            _ if is_id => Err(NotFound::Longer {
                wanted,
                candidates: candidates(),
            }),
            [one] => Ok(one),
            _ => Err(NotFound::Ambiguous {
                wanted,
                candidates: candidates(),
            }),
        }
    }

    /// A manifest that could not be read, or a dump that has none, by whole id or part of it.
    pub fn problem_with(&self, wanted: &str) -> Option<&Problem> {
        let is_id = wanted.parse::<BackupId>().is_ok();
        self.problems.iter().find(|problem| match is_id {
            true => problem.id().is_some_and(|id| id.as_str() == wanted),
            false => !wanted.is_empty() && problem.file.contains(wanted),
        })
    }
}

/// A backup waits for its snapshot after its id was made; none waits that long.
const LONGEST_WAIT: TimeDelta = TimeDelta::days(1);

/// The files of a vault, by name only.
#[derive(Default)]
pub(super) struct Names {
    pub manifests: Vec<NamedManifest>,
    pub dumps: Vec<NamedDump>,
    /// What pins are called without their ending.
    pub pins: Vec<String>,
}

pub(super) struct NamedManifest {
    /// What `<id>.json` is called without its ending.
    pub stem: String,
    pub entry: DirEntry,
}

pub(super) struct NamedDump {
    pub stem: String,
    pub ending: String,
}

impl NamedDump {
    pub fn file(&self) -> String {
        format!("{}{}", self.stem, self.ending)
    }
}

impl Vault {
    /// Reads all manifests. A folder that does not exist is an empty vault.
    pub fn list(&self) -> Result<Listing> {
        let names = self.names()?;
        let stems: Vec<String> = names.manifests.into_iter().map(|m| m.stem).collect();
        let mut listing = self.read_all(&stems);
        listing.add_orphans(names.dumps);
        listing.sort();
        listing.pins = names.pins;
        Ok(listing)
    }

    /// Reads manifests, newest first, until `wanted` is among them and no other
    /// one can be newer. Also returns how many backups there are: as many as
    /// manifests.
    ///
    /// Ids begin with the time, and the moment that a backup holds comes soon
    /// after it; so a few manifests tell what ten thousand would.
    pub fn newest(&self, wanted: impl Fn(&Listing) -> Option<&Backup>) -> Result<(Listing, usize)> {
        let manifests = self.names()?.manifests.into_iter();
        let mut stems: Vec<String> = manifests.map(|manifest| manifest.stem).collect();
        stems.retain(|stem| stem.starts_with("backup_"));
        stems.sort_unstable_by(|a, b| b.cmp(a));
        let mut listing = Listing::default();
        let (mut read, mut next) = (0, WORTH_A_THREAD);
        while read < stems.len() {
            let until = stems.len().min(read + next);
            listing.append(self.read_all(&stems[read..until]));
            listing.sort();
            (read, next) = (until, next * 2);
            if let Some(backup) = wanted(&listing)
                && let Some(unread) = stems.get(read)
                && is_surely_older(unread, backup)
            {
                break;
            }
        }
        Ok((listing, stems.len()))
    }

    pub(super) fn names(&self) -> Result<Names> {
        let context = || format!("cannot read the vault `{}`", self.folder.display());
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Names::default()),
            entries => entries.with_context(context)?,
        };
        let mut names = Names::default();
        for entry in entries {
            let entry = entry.with_context(context)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if let Some(stem) = name.strip_suffix(".json") {
                let stem = stem.to_owned();
                names.manifests.push(NamedManifest { stem, entry });
                continue;
            }
            match manifest::split_dump_name(&name) {
                Some((stem, ending)) => names.dumps.push(NamedDump {
                    stem: stem.to_owned(),
                    ending: ending.to_owned(),
                }),
                None => {
                    let pin = name.strip_suffix(pin::ENDING);
                    names.pins.extend(pin.map(str::to_owned));
                }
            }
        }
        Ok(names)
    }

    /// In their order. On all cores: a large vault is bound by opening its files.
    pub fn read_all(&self, stems: &[String]) -> Listing {
        let mut listing = Listing::default();
        for share in cores::on_all(stems, |share| self.read_some(share)) {
            listing.append(share);
        }
        listing
    }

    fn read_some(&self, stems: &[String]) -> Listing {
        let mut listing = Listing::default();
        for stem in stems {
            match self.read(stem) {
                Ok(backup) => listing.backups.push(backup),
                Err(problem) => listing.problems.push(Problem {
                    file: format!("{stem}.json"),
                    problem,
                }),
            }
        }
        listing
    }

    /// One backup, by its whole id.
    pub fn read(&self, stem: &str) -> Result<Backup, String> {
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
    let length = file.metadata()?.len().min(manifest::MAX_BYTES);
    // One more, and one read sees the end of it.
    let mut bytes = Vec::with_capacity(usize::try_from(length)? + 1);
    file.take(manifest::MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > manifest::MAX_BYTES {
        return Err(BadManifest::TooLarge.into());
    }
    Ok(Manifest::parse(&bytes)?)
}

/// By name alone: whether the backup, if it is one, was taken before the other.
fn is_surely_older(stem: &str, than: &Backup) -> bool {
    let horizon = BackupId::new(
        than.manifest.created_at - LONGEST_WAIT,
        &Kind::default(),
        None,
        1,
    );
    let id: Option<BackupId> = stem.parse().ok();
    id.is_some_and(|id| id.time() < horizon.time())
}

impl Listing {
    fn append(&mut self, mut more: Listing) {
        self.backups.append(&mut more.backups);
        self.problems.append(&mut more.problems);
    }

    pub fn sort(&mut self) {
        self.backups
            .sort_by(|a, b| (b.manifest.created_at, b.id()).cmp(&(a.manifest.created_at, a.id())));
        self.problems.sort_by(|a, b| a.file.cmp(&b.file));
    }

    fn add_orphans(&mut self, dumps: Vec<NamedDump>) {
        let named = self.backups.iter();
        let named = named.map(|b| (b.id().as_str(), b.manifest.dump.file.as_str()));
        let named: HashMap<&str, &str> = named.collect();
        let unread = self.problems.iter().map(|p| p.file.as_str());
        let unread: HashSet<&str> = unread.filter_map(|f| f.strip_suffix(".json")).collect();
        let problem_with = |dump: &NamedDump| match named.get(dump.stem.as_str()) {
            Some(file) => (*file != dump.file()).then(|| Problem::older(dump)),
            None => (!unread.contains(dump.stem.as_str())).then(|| Problem::orphan(dump)),
        };
        let mut orphans: Vec<Problem> = dumps.iter().filter_map(problem_with).collect();
        self.problems.append(&mut orphans);
    }
}
