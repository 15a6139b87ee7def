//! `.unfinished`: there while a run changes the live database. Found by
//! another run, it says that one was cut short.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};

use super::Vault;
use crate::values::journal::Entry;

const FILE_NAME: &str = ".unfinished";
const MAX_BYTES: u64 = 64 << 10;

impl Vault {
    /// On disk before the first change. Takes the place of an older one: who
    /// goes on has been told of that.
    pub fn mark_unfinished(&self, entry: &Entry) -> Result<()> {
        let bytes = serde_json::to_vec(entry)?;
        self.put(FILE_NAME, &bytes)
            .with_context(|| format!("cannot write into the vault `{}`", self.folder.display()))
    }

    pub fn mark_finished(&self) -> Result<()> {
        let removed = self.take_off(FILE_NAME).map(drop);
        removed.with_context(|| {
            format!(
                "cannot remove `{FILE_NAME}` from the vault `{}`",
                self.folder.display()
            )
        })
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
