//! `<id>.pin`: a backup that no policy removes.
//!
//! A file of its own, so that the sealed manifest stays as it is. Whatever is in it, and also when
//! a power cut has torn it, its name pins: what it says is for people.

use std::io::{ErrorKind, Read};

use anyhow::{Context, Result};

use super::{Backup, Vault};
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
        let bytes = pin.to_json()?;
        self.put(&file_name(id), &bytes)
            .with_context(|| format!("`{id}` cannot be pinned"))
    }

    /// Whether there was a pin.
    pub fn unpin(&self, id: &BackupId) -> Result<bool> {
        self.take_off(&file_name(id))
            .with_context(|| format!("`{id}` cannot be unpinned"))
    }

    /// What somebody has written on it; nothing when it cannot be read, or was changed.
    pub fn pin_of(&self, id: &BackupId) -> Option<Pin> {
        let file = self.open_regular(&file_name(id)).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Pin::parse(&bytes)
    }
}
