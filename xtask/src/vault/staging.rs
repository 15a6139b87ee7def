//! Where a dump is written while nobody looks.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Vault, remove};
use crate::durable;
use crate::values::id::BackupId;

const SUFFIX: &str = ".partial";

/// A private folder inside the vault, `.<name>.partial`, removed when dropped.
///
/// Its owner holds a lock on the folder itself. A folder whose lock is free
/// was left by a crash, and whoever sees it next may remove it.
pub struct Staging {
    path: PathBuf,
    is_left: bool,
    // Held, not read: closing it frees the lock.
    _lock: File,
}

impl Staging {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// As a crash would, for the next run to look into.
    pub(super) fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        // What cannot be removed now is recognised and removed by the next run.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// What a crashed run left behind.
#[derive(Debug, PartialEq, Eq)]
pub enum LeftOver {
    /// A backup whose removal was cut short before its dump was gone: it is whole again.
    PutBack(BackupId),
    /// A backup that was being made.
    Backup(BackupId, String),
    /// The name of a staging folder.
    Other(String),
}

impl LeftOver {
    fn of(name: String, is_empty: bool) -> LeftOver {
        let stem = name.strip_prefix('.').and_then(|n| n.strip_suffix(SUFFIX));
        match stem.and_then(|stem| stem.parse().ok()) {
            Some(id) if !is_empty => LeftOver::Backup(id, name),
            _ => LeftOver::Other(name),
        }
    }
}

/// Whether the name still leads to the file or folder that is open.
pub(super) fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(named)) => open.ino() == named.ino() && open.dev() == named.dev(),
        _ => false,
    }
}

/// A program that outlived its run may still write into the folder: under
/// another name it does not find it, and the folder can be emptied.
fn set_aside(path: &Path) -> PathBuf {
    let mut aside = path.with_extension("").into_os_string();
    aside.push(format!(".{}{SUFFIX}", std::process::id()));
    match std::fs::rename(path, &aside) {
        Ok(()) => aside.into(),
        Err(_) => path.to_owned(),
    }
}

impl Vault {
    /// `None` when somebody else has a folder of this name.
    pub(super) fn claim_staging(&self, name: &str) -> io::Result<Option<Staging>> {
        let path = self.folder.join(format!(".{name}{SUFFIX}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            created => created?,
        }
        let lock = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        lock.lock()?;
        // Between creation and lock a cleaner may have taken it for a left-over.
        if !is_still(&lock, &path) {
            return Ok(None);
        }
        Ok(Some(Staging {
            path,
            is_left: false,
            _lock: lock,
        }))
    }

    /// A small file, on disk when this returns; takes the place of an older one.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let staging = self.staging("mark")?;
        let path = staging.file("whole");
        let mut staged = durable::create_private_file(&path)?;
        staged.write_all(bytes)?;
        staged.sync_all()?;
        std::fs::rename(&path, self.folder.join(name))?;
        Ok(durable::flush_folder(&self.folder)?)
    }

    /// For good when this returns. Whether it was there.
    pub(super) fn take_off(&self, name: &str) -> io::Result<bool> {
        match std::fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            removed => removed?,
        }
        durable::flush_folder(&self.folder).map(|()| true)
    }

    /// A private folder for a restore.
    pub fn staging(&self, purpose: &str) -> Result<Staging> {
        for attempt in 1..1000 {
            let name = format!("{purpose}-{}-{attempt}", std::process::id());
            let claimed = self.claim_staging(&name).with_context(|| {
                format!(
                    "cannot create a staging folder in the vault `{}`",
                    self.folder.display()
                )
            })?;
            if let Some(staging) = claimed {
                return Ok(staging);
            }
        }
        anyhow::bail!(
            "cannot find a free name for a staging folder in `{}`",
            self.folder.display()
        )
    }

    /// Removes what crashed runs left in staging, and puts back what one had begun to remove.
    pub fn remove_left_overs(&self) -> Result<Vec<LeftOver>> {
        let context = || format!("cannot clean up the vault `{}`", self.folder.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_staging = name.starts_with('.') && name.ends_with(SUFFIX);
            if !is_staging || !entry.file_type().with_context(context)?.is_dir() {
                continue;
            }
            let Ok(folder) = File::open(entry.path()) else {
                continue;
            };
            // Its owner may have ended meanwhile, and another have taken the name.
            if folder.try_lock().is_ok() && is_still(&folder, &entry.path()) {
                if name.starts_with(&format!(".{}-", remove::PURPOSE)) {
                    let back = self.put_back(&entry.path()).with_context(context)?;
                    found.extend(back.map(LeftOver::PutBack));
                }
                // Just claimed by one that has not got the lock yet, and will claim another one.
                let is_empty = entry
                    .path()
                    .read_dir()
                    .is_ok_and(|mut all| all.next().is_none());
                match std::fs::remove_dir_all(set_aside(&entry.path())) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    done => {
                        done.with_context(context)?;
                        found.push(LeftOver::of(name, is_empty));
                    }
                }
            }
        }
        Ok(found)
    }
}
