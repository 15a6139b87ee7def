//! `<id>.pin`: a backup that no policy removes.
//!
//! A file of its own, so that the sealed manifest stays as it is. Whatever is in it, and also when
//! a power cut has torn it, its name pins: what it says is for people.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result};

use super::{Backup, Vault};
use crate::durable;
use crate::values::id::BackupId;
use crate::values::pin::{ENDING, Pin};

const MAX_BYTES: u64 = 64 << 10;

fn file_name(id: &BackupId) -> String {
    format!("{id}{ENDING}")
}

impl Vault {
    /// Whether the name is there; if that cannot be told, it is.
    pub fn is_pinned(&self, id: &BackupId) -> bool {
        let found = self.folder.join(file_name(id)).symlink_metadata();
        !found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// On disk when this returns. Takes the place of an older one.
    pub fn pin(&self, backup: &Backup, pin: &Pin) -> Result<()> {
        let id = backup.id();
        let write = || -> Result<()> {
            let staging = self.staging("pin")?;
            let path = staging.file("pin");
            let mut staged = durable::create_private_file(&path)?;
            staged.write_all(&pin.to_json()?)?;
            staged.sync_all()?;
            std::fs::rename(&path, self.folder.join(file_name(id)))?;
            Ok(durable::flush_folder(&self.folder)?)
        };
        write().with_context(|| format!("`{id}` cannot be pinned"))
    }

    /// Whether there was a pin.
    pub fn unpin(&self, id: &BackupId) -> Result<bool> {
        let context = || format!("`{id}` cannot be unpinned");
        match std::fs::remove_file(self.folder.join(file_name(id))) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            removed => removed.with_context(context)?,
        }
        durable::flush_folder(&self.folder).with_context(context)?;
        Ok(true)
    }

    /// What somebody has written on it; nothing when it cannot be read, or was changed.
    pub fn pin_of(&self, id: &BackupId) -> Option<Pin> {
        let file = self.open_regular(&file_name(id)).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Pin::parse(&bytes)
    }
}
