//! A large dump in parts, a few of them on their way at once.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload};

use super::Offsite;
use super::store::another;
use crate::values::digest::Digesting;
use crate::values::manifest::Manifest;
use crate::values::offsite::{PartsLeft, part_bytes};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// What is on its way at once, in bytes and in parts.
const IN_FLIGHT_BYTES: u64 = 32 << 20;
const IN_FLIGHT_LEAST: u64 = 2;
/// What is on its way when it is given up may still arrive, and be kept after all.
const SETTLE: Duration = Duration::from_secs(2);
/// How long giving up an upload may take on the way out.
const ABORT_PATIENCE: Duration = Duration::from_secs(20);

/// An upload that was begun and is not complete.
enum Upload {
    /// It has a name at the store.
    Named {
        store: Arc<dyn MultipartStore>,
        id: String,
        parts: Vec<(usize, PartId)>,
    },
    /// The library alone knows it.
    Unnamed(Box<dyn MultipartUpload>),
}

/// The number of a part, its bytes, and what the store calls it.
type Arrived = Result<(usize, u64, Option<PartId>), Error>;
type Sent<'a> = BoxFuture<'a, Arrived>;

impl Upload {
    fn name(&self) -> Option<String> {
        match self {
            Upload::Named { id, .. } => Some(id.clone()),
            Upload::Unnamed(_) => None,
        }
    }

    async fn abort(&mut self, path: &Path) -> Result<(), Error> {
        match self {
            Upload::Named { store, id, .. } => store.abort_multipart(path, id).await,
            Upload::Unnamed(upload) => upload.abort().await,
        }
    }
}

impl Offsite {
    pub(super) fn send_parts(
        &self,
        dump: &VerifiedDump,
        progress: &dyn Progress,
        begun: &mut dyn FnMut(Option<&str>),
    ) -> Result<()> {
        let file = &dump.manifest().dump.file;
        let path = self.path(file);
        let mut upload = self.runtime.block_on(self.begin(&path, dump.manifest()))?;
        begun(upload.name().as_deref());
        let sent = self.runtime.block_on(async {
            self.send_all(&path, &mut upload, dump, progress).await?;
            // Once more: completing an upload overwrites.
            match self.head(&path).await? {
                Some(_) => Err(another(&self.place, file).into()),
                None => self.complete(&path, &mut upload).await,
            }
        });
        let Err(error) = sent else { return Ok(()) };
        match self.give_up(&path, &mut upload) {
            Ok(()) => Err(error),
            Err(left) => Err(error.context(PartsLeft {
                file: file.clone(),
                upload: upload.name(),
                why: format!("{left:#}"),
            })),
        }
    }

    /// Removes what a run that was killed has sent of a dump.
    pub fn abandon(&self, dump: &str, upload: &str) -> Result<()> {
        let Some(store) = &self.multipart else {
            return Ok(());
        };
        let path = self.path(dump);
        let id = upload.to_owned();
        self.runtime.block_on(async {
            match store.abort_multipart(&path, &id).await {
                // It was completed after all, or the store has cleaned up by itself.
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.told(error)),
            }
        })
    }

    async fn begin(&self, path: &Path, manifest: &Manifest) -> Result<Upload> {
        let options = PutMultipartOptions::from(self.attributes(manifest));
        let begun = match &self.multipart {
            Some(store) => {
                store
                    .create_multipart_opts(path, options)
                    .await
                    .map(|id| Upload::Named {
                        store: Arc::clone(store),
                        id,
                        parts: Vec::new(),
                    })
            }
            None => self
                .store
                .put_multipart_opts(path, options)
                .await
                .map(Upload::Unnamed),
        };
        begun.map_err(|error| self.told(error))
    }

    /// Digests what it sends: a dump that changed since it was verified is not completed.
    async fn send_all(
        &self,
        path: &Path,
        upload: &mut Upload,
        dump: &VerifiedDump,
        progress: &dyn Progress,
    ) -> Result<()> {
        let then = &dump.manifest().dump;
        let length = part_bytes(then.size_bytes);
        let most = (IN_FLIGHT_BYTES / length).max(IN_FLIGHT_LEAST) as usize;
        let mut stored = Digesting::new(dump.stored());
        let mut in_flight = FuturesUnordered::new();
        let mut done = Vec::new();
        let mut number = 0;
        loop {
            let mut part = Vec::new();
            (&mut stored)
                .take(length)
                .read_to_end(&mut part)
                .with_context(|| format!("cannot read the dump `{}`", then.file))?;
            if part.is_empty() {
                break;
            }
            in_flight.push(send_part(path, upload, number, part));
            number += 1;
            while in_flight.len() >= most {
                self.arrived(in_flight.next().await, &mut done, progress)?;
            }
        }
        while !in_flight.is_empty() {
            self.arrived(in_flight.next().await, &mut done, progress)?;
        }
        drop(in_flight);
        let (_, digest, _) = stored.finish();
        anyhow::ensure!(
            digest == then.sha256,
            "the dump `{}` changed while it was copied",
            then.file
        );
        if let Upload::Named { parts, .. } = upload {
            *parts = done;
        }
        Ok(())
    }

    fn arrived(
        &self,
        sent: Option<Arrived>,
        done: &mut Vec<(usize, PartId)>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let Some(sent) = sent else { return Ok(()) };
        let (number, length, part) = sent.map_err(|error| self.told(error))?;
        progress.advance(length);
        done.extend(part.map(|part| (number, part)));
        Ok(())
    }

    async fn complete(&self, path: &Path, upload: &mut Upload) -> Result<()> {
        let completed = match upload {
            Upload::Named { store, id, parts } => {
                parts.sort_by_key(|(number, _)| *number);
                let parts = parts.iter().map(|(_, part)| part.clone()).collect();
                store.complete_multipart(path, id, parts).await
            }
            Upload::Unnamed(upload) => upload.complete().await,
        };
        completed.map(drop).map_err(|error| self.told(error))
    }

    /// Also after a signal, but not for ever.
    fn give_up(&self, path: &Path, upload: &mut Upload) -> Result<()> {
        let aborted = async {
            tokio::time::sleep(SETTLE).await;
            upload.abort(path).await?;
            if upload.name().is_some() {
                tokio::time::sleep(SETTLE).await;
                // Mostly there is nothing more, and the store says so in its own way.
                let _ = upload.abort(path).await;
            }
            Ok(())
        };
        let aborted = self
            .runtime
            .block_on_to_the_end(async { tokio::time::timeout(ABORT_PATIENCE, aborted).await });
        match aborted {
            Ok(Ok(()) | Err(Error::NotFound { .. })) => Ok(()),
            Ok(Err(error)) => Err(self.told(error)),
            Err(_) => anyhow::bail!("no answer"),
        }
    }
}

fn send_part<'a>(path: &'a Path, upload: &mut Upload, number: usize, part: Vec<u8>) -> Sent<'a> {
    let length = part.len() as u64;
    let payload = PutPayload::from(part);
    match upload {
        Upload::Named { store, id, .. } => {
            let (store, id) = (Arc::clone(store), id.clone());
            Box::pin(async move {
                let part = store.put_part(path, &id, number, payload).await?;
                Ok((number, length, Some(part)))
            })
        }
        Upload::Unnamed(upload) => {
            let sent = upload.put_part(payload);
            Box::pin(async move { sent.await.map(|()| (number, length, None)) })
        }
    }
}
