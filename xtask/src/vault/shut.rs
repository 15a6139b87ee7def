//! `.exclusive`: there while a run shuts others out of a database by a setting
//! that outlives it.

use std::io::{ErrorKind, Read};

use anyhow::{Context, Result};

use super::Vault;
use crate::values::exclusive::ShutMark;
use crate::values::failure::Failure;
use crate::values::words::shell_quoted;

const FILE_NAME: &str = ".exclusive";
const MAX_BYTES: u64 = 64 << 10;

impl Vault {
    /// On disk before the setting is changed.
    pub fn mark_shut(&self, mark: &ShutMark) -> Result<()> {
        let bytes = serde_json::to_vec(mark)?;
        self.put(FILE_NAME, &bytes)
            .with_context(|| format!("cannot write into the vault `{}`", self.folder.display()))
    }

    pub fn unmark_shut(&self) -> Result<()> {
        let removed = self.take_off(FILE_NAME).map(drop);
        removed.with_context(|| self.cannot("remove"))
    }

    /// One that cannot be read is an error: somebody may be shut out.
    pub fn shut_mark(&self) -> Result<Option<ShutMark>> {
        let file = match self.open_regular(FILE_NAME) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.with_context(|| self.cannot("read"))?,
        };
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES).read_to_end(&mut bytes);
        read.with_context(|| self.cannot("read"))?;
        let mark = serde_json::from_slice(&bytes).with_context(|| {
            let path = self.folder.join(FILE_NAME).display().to_string();
            Failure::refused(self.cannot("understand")).hint(format!(
                "it may be all that knows of a PostgreSQL database from which others are shut out: \
                 ALTER DATABASE … RESET default_transaction_read_only;\nthen: rm {}",
                shell_quoted(&path)
            ))
        })?;
        Ok(Some(mark))
    }

    fn cannot(&self, what: &str) -> String {
        format!(
            "cannot {what} `{FILE_NAME}` in the vault `{}`",
            self.folder.display()
        )
    }
}
