//! The remove order, the reverse of the publish order: manifest first, dump second.
//!
//! The manifest is not unlinked at once. It goes into a staging folder, the folder of the vault is
//! flushed, and only when the dump is gone as well, it is. So what cannot be done is undone, and a
//! power cut leaves a backup, an orphan, or nothing.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result};

use super::staging::Staging;
use super::{Backup, Vault};
use crate::durable;
use crate::values::failure::Failure;

const MANIFEST: &str = "manifest";

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

    /// To be called by one who holds the lock alone. When this fails the backup is as it was.
    pub fn remove(&self, backup: &Backup) -> Result<()> {
        let context = || format!("the backup `{}` cannot be removed", backup.id());
        self.refuse_another(backup).with_context(context)?;
        let staging = self.staging("remove").with_context(context)?;
        self.remove_with(backup, &staging).with_context(context)
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

    fn remove_with(&self, backup: &Backup, staging: &Staging) -> Result<()> {
        let aside = staging.file(MANIFEST);
        durable::rename_without_overwriting(&backup.manifest_path, &aside)?;
        let dump_gone =
            durable::flush_folder(&self.folder).and_then(|()| unlink(&backup.dump_path));
        if let Err(error) = dump_gone {
            let back = durable::rename_without_overwriting(&aside, &backup.manifest_path)
                .and_then(|()| durable::flush_folder(&self.folder));
            back.with_context(|| format!("{error}; and its manifest cannot be put back"))?;
            return Err(error.into());
        }
        durable::flush_folder(&self.folder)
            .context("it is gone, and may be back after a power cut, without its manifest")
    }
}

/// Of a lost dump only the manifest is left to remove.
fn unlink(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
