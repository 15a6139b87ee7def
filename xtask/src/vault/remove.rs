//! The remove order, the reverse of the publish order: manifest first, dump second.
//!
//! The manifest is not unlinked at once. It goes into a staging folder, the folder of the vault is
//! flushed, and only when the dump is gone as well, it is. So what cannot be done is undone, what is
//! cut short is put back by the next run, and a power cut leaves a backup, an orphan, or nothing.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::OFlags;

use super::find::manifest_in;
use super::staging::Staging;
use super::{Backup, Vault};
use crate::durable;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::manifest::manifest_file_name;

/// How the name of its staging folder begins.
pub(super) const PURPOSE: &str = "remove";
const MANIFEST: &str = "manifest";

/// In an error of [`Vault::remove`]: the backup is not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HalfRemoved {
    #[error("it is gone, and its dump may be back after a power cut")]
    Unflushed,
    #[error("its dump is there and its manifest is not, until the next run puts it back")]
    WithoutManifest,
}

impl Vault {
    /// Whether the name of its dump leads to a regular file of this folder, or to nothing.
    pub fn has_own_dump(&self, backup: &Backup) -> bool {
        match backup.dump_path.symlink_metadata() {
            Ok(found) => found.is_file(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    /// Whether its dump is there, and as long as the manifest says. What is in it, only a
    /// verification tells.
    pub fn has_whole_dump(&self, backup: &Backup) -> bool {
        let found = backup.dump_path.symlink_metadata();
        found.is_ok_and(|found| found.is_file() && found.len() == backup.manifest.dump.size_bytes)
    }

    /// To be called by one who holds the lock alone. When this fails the backup is as it was, but
    /// for a [`HalfRemoved`].
    pub fn remove(&self, backup: &Backup) -> Result<()> {
        let context = || format!("the backup `{}` cannot be removed", backup.id());
        self.refuse_another(backup).with_context(context)?;
        let staging = self.staging(PURPOSE).with_context(context)?;
        self.remove_with(backup, staging).with_context(context)
    }

    /// What was decided about is what is there.
    fn refuse_another(&self, backup: &Backup) -> Result<()> {
        let id = backup.id();
        let found = self.read(id.as_str()).map_err(Failure::refused)?;
        anyhow::ensure!(
            found.manifest == backup.manifest,
            "its manifest is another one than before"
        );
        anyhow::ensure!(self.has_own_dump(backup), "its dump is no regular file");
        anyhow::ensure!(!self.is_pinned(id), "it was pinned meanwhile");
        Ok(())
    }

    fn remove_with(&self, backup: &Backup, staging: Staging) -> Result<()> {
        let aside = staging.file(MANIFEST);
        durable::rename_without_overwriting(&backup.manifest_path, &aside)?;
        let dump_gone =
            durable::flush_folder(&self.folder).and_then(|()| unlink(&backup.dump_path));
        if let Err(error) = dump_gone {
            let back = durable::rename_without_overwriting(&aside, &backup.manifest_path);
            if let Err(why) = back.and_then(|()| durable::flush_folder(&self.folder)) {
                staging.leave();
                let error = anyhow::Error::from(error).context(why);
                return Err(error.context(HalfRemoved::WithoutManifest));
            }
            return Err(error.into());
        }
        let flushed = durable::flush_folder(&self.folder);
        flushed.map_err(|error| anyhow::Error::from(error).context(HalfRemoved::Unflushed))
    }

    /// The manifest that a removal had taken off its name, when its dump is still there.
    pub(super) fn put_back(&self, staging: &Path) -> io::Result<Option<BackupId>> {
        let aside = staging.join(MANIFEST);
        let opened = File::options()
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&aside);
        let Some(manifest) = opened.ok().and_then(|file| manifest_in(file).ok()) else {
            return Ok(None);
        };
        let dump = self.folder.join(&manifest.dump.file);
        let back = dump.symlink_metadata().and_then(|_| {
            let name = self.folder.join(manifest_file_name(&manifest.id));
            durable::rename_without_overwriting(&aside, &name)
        });
        match back {
            Ok(()) => durable::flush_folder(&self.folder).map(|()| Some(manifest.id)),
            // The dump is gone; or another backup has the name, which counts.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Of a lost dump only the manifest is left to remove.
fn unlink(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
