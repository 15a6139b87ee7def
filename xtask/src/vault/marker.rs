//! `.unfinished`: there while a run changes the live database. Found by
//! another run, it says that one was cut short.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use anyhow::{Context, Result};

use super::Vault;
use crate::durable;
use crate::values::journal::Entry;

const FILE_NAME: &str = ".unfinished";
const MAX_BYTES: u64 = 64 << 10;

impl Vault {
    /// On disk before the first change. Takes the place of an older one: who
    /// goes on has been told of that.
    pub fn mark_unfinished(&self, entry: &Entry) -> Result<()> {
        let staging = self.staging("mark")?;
        let write = || -> io::Result<()> {
            let path = staging.file(FILE_NAME);
            let mut staged = durable::create_private_file(&path)?;
            staged.write_all(&serde_json::to_vec(entry)?)?;
            staged.sync_all()?;
            std::fs::rename(&path, self.folder.join(FILE_NAME))?;
            durable::flush_folder(&self.folder)
        };
        write().with_context(|| format!("cannot write into the vault `{}`", self.folder.display()))
    }

    pub fn mark_finished(&self) -> Result<()> {
        match std::fs::remove_file(self.folder.join(FILE_NAME)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.with_context(|| {
                format!(
                    "cannot remove `{FILE_NAME}` from the vault `{}`",
                    self.folder.display()
                )
            }),
        }
    }

    /// Whether something was begun and not ended that [`Vault::unfinished`] cannot tell.
    pub fn has_unreadable_mark(&self) -> bool {
        let found = self.folder.join(FILE_NAME).symlink_metadata();
        found.is_ok() && self.unfinished().is_none()
    }

    /// What was begun and not ended. To be asked by one who holds the lock, or
    /// who knows that nobody does. A mark that cannot be read says nothing.
    pub fn unfinished(&self) -> Option<Entry> {
        let file: File = self.open_regular(FILE_NAME).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}
