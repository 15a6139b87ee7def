//! A copy: dump, read back, manifest last. Nothing is overwritten.

use std::io::Read;

use anyhow::{Context, Result};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use super::store::another;
use super::{Offsite, open};
use crate::values::digest::Sha256;
use crate::values::failure::{Failure, is_untrusted};
use crate::values::manifest::{Manifest, manifest_file_name};
use crate::values::offsite::{PlaceKind, Pushed, taken};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// What is no larger is sent in one request.
const LARGEST_SINGLE_BYTES: u64 = 8 << 20;

impl Offsite {
    /// Sends a backup, unless it is there already. `begun` is told before anything is sent, with what
    /// the store calls an upload in parts. Also returns what is worth knowing.
    pub fn push(
        &self,
        dump: &VerifiedDump,
        manifest: &[u8],
        progress: &dyn Progress,
        begun: &mut dyn FnMut(Option<&str>),
    ) -> Result<(Pushed, Vec<String>)> {
        let id = &dump.manifest().id;
        let mut notes = Vec::new();
        let _private = self.private_files();
        let pushed = self.push_both(dump, manifest, progress, begun, &mut notes);
        let pushed = pushed.with_context(|| format!("cannot copy `{id}` to {}", self.place))?;
        Ok((pushed, notes))
    }

    fn push_both(
        &self,
        dump: &VerifiedDump,
        manifest: &[u8],
        progress: &dyn Progress,
        begun: &mut dyn FnMut(Option<&str>),
        notes: &mut Vec<String>,
    ) -> Result<Pushed> {
        let then = dump.manifest();
        let name = manifest_file_name(&then.id);
        let file = &then.dump.file;
        let (there, head) = self.runtime.block_on(async {
            let there = self.small(&name).await?;
            Ok((there, self.head(&self.path(file)).await?))
        })?;
        if let Some(there) = there.as_ref().filter(|there| *there != manifest) {
            return Err(self.another_manifest(then, there).into());
        }
        let was_there = head.is_some();
        if !was_there {
            self.send(dump, progress, begun, notes)?;
        }
        if let Err(error) = self.matches(then, progress) {
            return Err(match (is_untrusted(&error), was_there) {
                (true, true) => error.context(another(&self.place, file)),
                (true, false) => error.context(self.take_back(file)),
                // Without a manifest it is no copy, and the next run need only read it.
                (false, true) => error,
                (false, false) => error.context("what was sent is there, and was not read back"),
            });
        }
        if there.is_none() {
            self.runtime
                .block_on(self.put_manifest(&name, manifest, notes))?;
        }
        Ok(match was_there && there.is_some() {
            true => Pushed::AlreadyThere,
            false => Pushed::Copied,
        })
    }

    fn another_manifest(&self, here: &Manifest, there: &[u8]) -> Failure {
        let there = Manifest::parse(there).ok();
        match there.filter(|there| there.id == here.id && there != here) {
            Some(there) => taken(&self.place, here, &there, ""),
            None => another(&self.place, &manifest_file_name(&here.id)),
        }
    }

    fn send(
        &self,
        dump: &VerifiedDump,
        progress: &dyn Progress,
        begun: &mut dyn FnMut(Option<&str>),
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let then = dump.manifest();
        if let Some(folder) = self.place.url.folder() {
            for removed in open::remove_cut_short(&folder, &then.id)? {
                notes.push(format!(
                    "removed `{removed}`, which a run that was cut short had left at {}",
                    self.place
                ));
            }
        }
        progress.begin("copy", Some(then.dump.size_bytes));
        let sent = match then.dump.size_bytes {
            ..=LARGEST_SINGLE_BYTES => {
                begun(None);
                self.send_whole(dump, progress, notes)
            }
            _ => self.send_parts(dump, progress, begun),
        };
        progress.end();
        sent
    }

    fn send_whole(
        &self,
        dump: &VerifiedDump,
        progress: &dyn Progress,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let then = &dump.manifest().dump;
        let mut bytes = Vec::new();
        dump.stored()
            .take(LARGEST_SINGLE_BYTES + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot read the dump `{}`", then.file))?;
        anyhow::ensure!(
            Sha256::of(&bytes) == then.sha256,
            "the dump `{}` changed while it was copied",
            then.file
        );
        let length = bytes.len() as u64;
        let created = self.create(&then.file, bytes, self.attributes(dump.manifest()), notes);
        self.runtime.block_on(created)?;
        progress.advance(length);
        Ok(())
    }

    async fn put_manifest(&self, name: &str, bytes: &[u8], notes: &mut Vec<String>) -> Result<()> {
        self.create(name, bytes.to_vec(), Attributes::new(), notes)
            .await?;
        let found = self.small(name).await?;
        anyhow::ensure!(
            found.as_deref() == Some(bytes),
            "`{name}` at {} does not read back as it was written",
            self.place
        );
        Ok(())
    }

    /// Makes an object that was not there a moment ago. The server refuses when it is there now;
    /// for one that cannot, it was looked, and that is said.
    pub(super) async fn create(
        &self,
        file: &str,
        bytes: Vec<u8>,
        attributes: Attributes,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let path = self.path(file);
        let payload = PutPayload::from(bytes.clone());
        let put = |mode: PutMode| {
            let options = PutOptions {
                mode,
                attributes: attributes.clone(),
                ..PutOptions::default()
            };
            self.store.put_opts(&path, payload.clone(), options)
        };
        match put(PutMode::Create).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) => {
                // A first try may have arrived, and only its answer been lost.
                match self.small(file).await? {
                    Some(there) if there == bytes => Ok(()),
                    _ => Err(another(&self.place, file).into()),
                }
            }
            Err(error) if cannot_create(&error) => {
                if self.head(&path).await?.is_some() {
                    return Err(another(&self.place, file).into());
                }
                put(PutMode::Overwrite)
                    .await
                    .map_err(|error| self.told(error))?;
                notes.push(format!(
                    "{} cannot refuse to overwrite; it was looked before `{file}` was written",
                    self.place
                ));
                Ok(())
            }
            Err(error) => Err(self.told(error)),
        }
    }

    pub(super) async fn head(&self, path: &Path) -> Result<Option<u64>> {
        match self.store.head(path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.told(error)),
        }
    }

    /// What the object says of itself, where the store keeps such words.
    pub(super) fn attributes(&self, manifest: &Manifest) -> Attributes {
        if self.place.url.kind() == PlaceKind::Folder {
            return Attributes::new();
        }
        let mut attributes = Attributes::new();
        let mut add = |name: &'static str, value: String| {
            attributes.insert(Attribute::Metadata(name.into()), value.into());
        };
        add("sha256", manifest.dump.sha256.to_string());
        add("backup", manifest.id.to_string());
        attributes
    }

    /// It was ours, and it is not what was sent.
    fn take_back(&self, file: &str) -> String {
        let path = self.path(file);
        let removed = self
            .runtime
            .block_on_to_the_end(self.store.delete(&path))
            .map_err(|error| self.told(error));
        match removed {
            Ok(()) => "what was sent does not read back, and was removed again".into(),
            Err(error) => {
                format!("what was sent does not read back, and `{file}` is left there: {error:#}")
            }
        }
    }

    /// While it lives, what is made in a folder is for this user only.
    pub(super) fn private_files(&self) -> Option<PrivateFiles> {
        let is_folder = self.place.url.kind() == PlaceKind::Folder;
        is_folder.then(|| PrivateFiles(rustix::process::umask(rustix::fs::Mode::from(0o077))))
    }
}

/// Some servers know no condition for a PUT, some file systems no hard link.
fn cannot_create(error: &Error) -> bool {
    if matches!(
        error,
        Error::NotImplemented { .. } | Error::NotSupported { .. }
    ) {
        return true;
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(found) = cause {
        let unsupported = found.downcast_ref::<std::io::Error>().is_some_and(|error| {
            use std::io::ErrorKind::{PermissionDenied, Unsupported};
            // The second is what Linux says of a hard link on FAT.
            matches!(error.kind(), Unsupported | PermissionDenied)
        });
        if unsupported || found.to_string().contains("<Code>NotImplemented</Code>") {
            return true;
        }
        cause = found.source();
    }
    false
}

pub(super) struct PrivateFiles(rustix::fs::Mode);

impl Drop for PrivateFiles {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}
