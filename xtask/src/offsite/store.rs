//! A place that was opened.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};

use super::answer::Secrets;
use super::{open, read};
use crate::interrupt::Interrupt;
use crate::runtime::Runtime;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::manifest::{self, Manifest, manifest_file_name};
use crate::values::offsite::{Inventory, Place};
use crate::values::progress::Progress;

/// How many manifests are asked for at once.
const AT_ONCE: usize = 16;

pub struct Offsite {
    pub(super) place: Place,
    pub(super) store: Arc<dyn ObjectStore>,
    /// Where an upload in parts has a name, under which it can be given up later.
    pub(super) multipart: Option<Arc<dyn MultipartStore>>,
    /// What all names begin with.
    pub(super) base: Path,
    pub(super) runtime: Runtime,
    pub(super) secrets: Secrets,
}

impl Offsite {
    pub fn open(place: &Place, interrupt: &Interrupt) -> Result<Offsite> {
        let runtime = Runtime::new(interrupt.clone())?;
        let opened = open::open(place)?;
        Ok(Offsite {
            place: place.clone(),
            store: opened.store,
            multipart: opened.multipart,
            base: opened.base,
            runtime,
            secrets: opened.secrets,
        })
    }

    pub(super) fn path(&self, file: &str) -> Path {
        self.base.clone().join(file)
    }

    /// The error of the library in words for people, without secrets.
    pub(super) fn told(&self, error: Error) -> anyhow::Error {
        self.secrets.told(&self.place, error)
    }

    /// Names and sizes of what lies there; folders in it are other projects'.
    pub fn names(&self) -> Result<Inventory> {
        let place = &self.place;
        let listed = self.runtime.block_on(async {
            let listed = self.store.list_with_delimiter(Some(&self.base)).await;
            listed.map_err(|error| self.told(error))
        });
        let listed = listed.with_context(|| format!("cannot list what is at {place}"))?;
        let mut inventory = Inventory::default();
        for object in listed.objects {
            if let Some(name) = object.location.filename() {
                inventory.add(name, object.size);
            }
        }
        if let Some(folder) = self.place.url.folder() {
            open::add_cut_short(&folder, &mut inventory)?;
        }
        Ok(inventory)
    }

    /// The bytes of one manifest.
    pub fn manifest(&self, id: &BackupId) -> Result<Vec<u8>> {
        self.runtime.block_on(self.manifest_bytes(id))
    }

    /// The bytes of many, in the order of their ids.
    pub fn manifests(&self, ids: &[BackupId]) -> Result<Vec<Result<Vec<u8>>>> {
        let all = stream::iter(ids.iter().map(|id| self.manifest_bytes(id)));
        let all = all.buffered(AT_ONCE).map(Ok).try_collect();
        self.runtime.block_on(all)
    }

    async fn manifest_bytes(&self, id: &BackupId) -> Result<Vec<u8>> {
        let file = manifest_file_name(id);
        let found = self.small(&file).await?;
        found.ok_or_else(|| anyhow::anyhow!("`{file}` is not at {}", self.place))
    }

    /// A small object; nothing when it is not there.
    pub(super) async fn small(&self, file: &str) -> Result<Option<Vec<u8>>> {
        let found = match self.store.get(&self.path(file)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.told(error)),
        };
        anyhow::ensure!(
            found.meta.size <= manifest::MAX_BYTES,
            "`{file}` at {} is larger than a manifest can be",
            self.place
        );
        let mut bytes = Vec::new();
        let mut chunks = found.into_stream();
        while let Some(chunk) = chunks.next().await {
            bytes.extend(chunk.map_err(|error| self.told(error))?);
            anyhow::ensure!(
                bytes.len() as u64 <= manifest::MAX_BYTES,
                "`{file}` at {} is larger than a manifest can be",
                self.place
            );
        }
        Ok(Some(bytes))
    }

    /// Reads the dump that lies there and matches it with `manifest`.
    pub fn matches(&self, manifest: &Manifest, progress: &dyn Progress) -> Result<()> {
        self.fetch(manifest, &mut std::io::sink(), progress)
    }

    /// The same, and everything read goes into `sink`: what it got counts only when this succeeds.
    pub fn fetch(
        &self,
        manifest: &Manifest,
        sink: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<()> {
        progress.begin("read", Some(manifest.dump.size_bytes));
        let read = self.runtime.block_on(async {
            let path = self.path(&manifest.dump.file);
            read::matched(self, &path, &manifest.dump, sink, progress).await
        });
        progress.end();
        read
    }
}

/// There is something of this name, and it is something else.
pub(super) fn another(place: &Place, file: &str) -> Failure {
    Failure::untrusted(format!(
        "at {place} there is a `{file}` with other content, which is not overwritten"
    ))
    .hint(
        "look at what is there, and move it away; but where another database's backups go there as \
         well, give each a prefix of its own",
    )
}
