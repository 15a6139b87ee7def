//! The remove order of the vault, at a place: manifest first, dump second.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use object_store::{Attributes, Error, ObjectStoreExt};

use super::Offsite;
use crate::durable;
use crate::values::failure::Failure;
use crate::values::manifest::{Manifest, manifest_file_name};

/// For one request: neither a signal nor a hanging server may part the two.
const PATIENCE: Duration = Duration::from_secs(60);

impl Offsite {
    /// To be called by the one run that copies or removes this backup. When this fails, the copy is
    /// as it was, or the error says what is left of it.
    pub fn remove(&self, manifest: &Manifest) -> Result<()> {
        let context = || format!("the copy of `{}` at {} stays", manifest.id, self.place);
        let name = manifest_file_name(&manifest.id);
        let found = self.runtime.block_on(self.small(&name));
        let found = found.with_context(context)?.unwrap_or_default();
        // What was decided about is what is there.
        if Manifest::parse(&found).ok().as_ref() != Some(manifest) {
            let what = "its manifest is gone, or another one than before";
            return Err(anyhow::Error::from(Failure::refused(what)).context(context()));
        }
        self.delete(&name).with_context(context)?;
        let Err(error) = self.delete(&manifest.dump.file) else {
            return Ok(());
        };
        let error = error.context("its dump cannot be removed");
        let _private = self.private_files();
        let mut notes = Vec::new();
        let back = self.create(&name, found, Attributes::new(), &mut notes);
        Err(match self.in_time(back) {
            Ok(()) => error.context(context()),
            Err(back) => error.context(format!(
                "`{}` is left at {} without its manifest, which cannot be put back: {back:#}",
                manifest.dump.file, self.place
            )),
        })
    }

    /// What is gone already is gone.
    fn delete(&self, file: &str) -> Result<()> {
        let path = self.path(file);
        self.in_time(async {
            match self.store.delete(&path).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.told(error)),
            }
        })?;
        match self.place.url.folder() {
            None => Ok(()),
            Some(folder) => durable::flush_folder(&folder)
                .with_context(|| format!("cannot flush `{}` to disk", folder.display())),
        }
    }

    fn in_time(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let done = async { tokio::time::timeout(PATIENCE, work).await };
        let done = self.runtime.block_on_to_the_end(done);
        done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer: what came of it is not known")))
    }
}
