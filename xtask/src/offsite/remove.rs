//! The remove order of the vault, at a place: manifest first, dump second.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use object_store::{Attributes, Error, ObjectStoreExt};

use super::Offsite;
use crate::durable;
use crate::values::failure::Failure;
use crate::values::manifest::{Manifest, manifest_file_name};
use crate::values::offsite::CopyHalfRemoved;

/// For one request: neither a signal nor a hanging server may part the two.
const PATIENCE: Duration = Duration::from_secs(60);

impl Offsite {
    /// To be called by the one run that copies or removes this backup. When this fails the copy is
    /// as it was, but for a [`CopyHalfRemoved`].
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
        let deleted = self.delete(&name).context("its manifest cannot be removed");
        let deleted = deleted.and_then(|()| {
            let dump = self.delete(&manifest.dump.file);
            dump.context("its dump cannot be removed")
        });
        let Err(error) = deleted else {
            return Ok(());
        };
        // An error does not say that nothing was done.
        match self.put_back(&name, found, &manifest.dump.file) {
            Ok(true) => Err(error.context(context())),
            Ok(false) => Ok(()),
            Err(back) => Err(error.context(CopyHalfRemoved {
                dump: manifest.dump.file.clone(),
                place: self.place.to_string(),
                why: format!("{back:#}"),
            })),
        }
    }

    /// Whether the copy is as it was; else it is gone, all of it.
    fn put_back(&self, name: &str, manifest: Vec<u8>, dump: &str) -> Result<bool> {
        let _private = self.private_files();
        self.in_time(async {
            if self.small(name).await?.as_ref() == Some(&manifest) {
                return Ok(true);
            }
            if self.head(&self.path(dump)).await?.is_none() {
                return Ok(false);
            }
            let mut notes = Vec::new();
            self.create(name, manifest, Attributes::new(), &mut notes)
                .await?;
            Ok(true)
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

    fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = async { tokio::time::timeout(PATIENCE, work).await };
        let done = self.runtime.block_on_to_the_end(done);
        done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer: what came of it is not known")))
    }
}
