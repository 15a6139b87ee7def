//! The publish order, so that a power cut leaves too much and never a lie.
//!
//! claim the id → stage the dump → flush → read it back and match (what is flushed
//! is read back while more is packed, the match comes when all is) → stage the
//! manifest, flush, read it back → name the dump without overwriting → flush
//! the folder → name the manifest → flush the folder.
//! The dump is matched *before* it gets a manifest: a backup that does not
//! match its own manifest never exists, not even for a moment.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};

use super::find::manifest_in;
use super::staging::{Staging, is_still};
use super::{Backup, Vault};
use crate::durable::{self, FlushedEarly};
use crate::interrupt::Interrupt;
use crate::values::codec::{Packed, Packer};
use crate::values::database::EngineKind;
use crate::values::encryption::{Encryption, Identities, Locked, Seal};
use crate::values::failure::Failure;
use crate::values::id::{BackupId, Label};
use crate::values::kind::Kind;
use crate::values::manifest::{
    DUMP_ENDINGS, DumpFormat, Manifest, StoredDump, dump_file_name, manifest_file_name,
    sealed_ending,
};
use crate::values::progress::Progress;
use crate::values::verified_dump::{BUFFER_BYTES, Reading, VerifiedDump};

pub(super) const DUMP: &str = "dump";
pub(super) const MANIFEST: &str = "manifest";

/// What the kernel may keep in one piece. It forgets nothing of a piece that is not all flushed, so
/// only whole ones are read back while the file grows.
const LARGEST_PAGE_BYTES: u64 = 2 << 20;

/// Two runs in one second get two ids; more than this many is a mistake.
const MAX_ATTEMPTS: u32 = 1000;

/// A claimed id and a staged file that is being written.
pub struct Draft {
    id: BackupId,
    staging: Staging,
    packer: Packer<FlushedEarly<Reading>>,
    engine: EngineKind,
    encryption: Option<Encryption>,
}

/// A dump that is complete and on disk, under a name that nobody looks at.
pub struct Staged {
    id: BackupId,
    staging: Staging,
    reading: Reading,
    engine: EngineKind,
    packed: Packed,
    encryption: Option<Encryption>,
}

/// A staged dump that was read back and matched with the manifest that it will get.
pub struct ReadBack {
    staging: Staging,
    dump: VerifiedDump,
    /// All of it, with a key that was at hand.
    decrypted: bool,
}

impl Vault {
    /// Claims an id and opens the staged file.
    pub fn draft(
        &self,
        at: DateTime<Utc>,
        kind: &Kind,
        label: Option<&Label>,
        engine: EngineKind,
        seal: Option<&Seal>,
    ) -> Result<Draft> {
        let context = || {
            format!(
                "cannot stage a dump in the vault `{}`",
                self.folder.display()
            )
        };
        for attempt in 1..=MAX_ATTEMPTS {
            let id = BackupId::new(at, kind, label, attempt);
            let Some(staging) = self.claim_staging(id.as_str()).with_context(context)? else {
                continue;
            };
            // Looked at after the claim: whoever published this id has let go of it before.
            if self.is_taken(&id).with_context(context)? {
                continue;
            }
            let packer = stage_dump(&staging).and_then(|file| Packer::new(file, seal));
            return Ok(Draft {
                id,
                packer: packer.with_context(context)?,
                staging,
                engine,
                encryption: seal.map(|seal| seal.encryption().clone()),
            });
        }
        anyhow::bail!(
            "{MAX_ATTEMPTS} backups have the id `{}`",
            BackupId::new(at, kind, label, 1)
        )
    }

    pub(super) fn is_taken(&self, id: &BackupId) -> io::Result<bool> {
        for path in self.names_of(id) {
            match path.symlink_metadata() {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// All that a part of this backup may be called; a pin is none.
    pub(super) fn names_of(&self, id: &BackupId) -> impl Iterator<Item = PathBuf> {
        let dumps = DUMP_ENDINGS.iter().flat_map(move |ending| {
            [0, 1].map(|turn| format!("{id}{ending}{}", sealed_ending(turn)))
        });
        let names = dumps.chain([manifest_file_name(id)]);
        names.map(|name| self.folder.join(name))
    }

    /// Reads back from the disk what was not read of the staged dump, and matches all of it.
    pub fn read_back(
        &self,
        staged: Staged,
        manifest: Manifest,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<ReadBack> {
        let path = staged.staging.file(DUMP);
        let reading = staged.reading;
        anyhow::ensure!(
            is_still(reading.file(), &path),
            "cannot read back `{}`: it is another file now",
            path.display()
        );
        // From the disk, not from what the kernel remembers of the writing.
        durable::forget_cached(reading.file(), reading.at());
        let dump = self.match_bytes(reading, manifest, progress, interrupt)?;
        Ok(ReadBack {
            staging: staged.staging,
            dump,
            decrypted: false,
        })
    }

    /// Makes the backup real.
    pub fn publish(
        &self,
        read_back: ReadBack,
        mut finish: impl FnMut(&mut Manifest),
    ) -> Result<(Backup, VerifiedDump)> {
        let ReadBack {
            staging,
            dump,
            decrypted,
        } = read_back;
        let mut manifest = dump.manifest().clone();
        if let Some(encryption) = &mut manifest.dump.encryption {
            encryption.decrypted = decrypted;
        }
        finish(&mut manifest);
        let bytes = manifest
            .to_json()
            .with_context(|| format!("cannot publish the backup `{}`", manifest.id))?;
        self.name_both(staging, dump, manifest, &bytes)
    }

    /// Dump first, manifest last; both are staged, flushed and matched before.
    pub(super) fn name_both(
        &self,
        staging: Staging,
        dump: VerifiedDump,
        manifest: Manifest,
        bytes: &[u8],
    ) -> Result<(Backup, VerifiedDump)> {
        let context = || format!("cannot publish the backup `{}`", manifest.id);
        let dump_path = self.folder.join(&manifest.dump.file);
        let manifest_path = self.folder.join(manifest_file_name(&manifest.id));

        stage_manifest(&staging, &manifest, bytes).with_context(context)?;
        durable::rename_without_overwriting(&staging.file(DUMP), &dump_path)
            .with_context(context)?;
        let named = durable::flush_folder(&self.folder).and_then(|()| {
            durable::rename_without_overwriting(&staging.file(MANIFEST), &manifest_path)
        });
        if named.is_err() {
            // Without its manifest it is no backup, only a file in the way. It is
            // ours: the rename above would have refused an existing one.
            let _ = std::fs::remove_file(&dump_path);
        }
        named.with_context(context)?;
        durable::flush_folder(&self.folder).with_context(|| {
            format!(
                "the backup `{}` is there and may not survive a power cut",
                manifest.id
            )
        })?;
        Ok((
            Backup {
                manifest,
                dump_path,
                manifest_path,
            },
            dump,
        ))
    }
}

/// The dump's file, and with it who reads it back.
pub(super) fn stage_dump(staging: &Staging) -> io::Result<FlushedEarly<Reading>> {
    let path = staging.file(DUMP);
    let file = durable::create_private_file(&path)?;
    let reading = Reading::new(File::open(&path)?);
    FlushedEarly::new(file, reading, read_ahead)
}

/// Reads back what is on the disk, while more is packed. A failure is left for the last part of
/// the reading, which meets it again.
fn read_ahead(reading: &mut Reading, flushed_bytes: u64) {
    let end = flushed_bytes - flushed_bytes % LARGEST_PAGE_BYTES;
    durable::forget_cached(reading.file(), reading.at());
    let mut buffer = vec![0; BUFFER_BYTES];
    while reading.read_on(&mut buffer, end).is_ok_and(|read| read > 0) {}
}

/// On disk, and as the next one will read it: within its limits, and the same.
pub(super) fn stage_manifest(staging: &Staging, manifest: &Manifest, bytes: &[u8]) -> Result<()> {
    let path = staging.file(MANIFEST);
    let mut staged = durable::create_private_file(&path)?;
    staged.write_all(bytes).and_then(|()| staged.sync_all())?;
    durable::forget_cached(&staged, 0);
    let found = manifest_in(File::open(&path)?);
    let found = found.map_err(|problem| anyhow::anyhow!("its manifest is of no use: {problem}"))?;
    anyhow::ensure!(
        found == *manifest,
        "its manifest does not read back as it was written"
    );
    Ok(())
}

impl Draft {
    pub fn id(&self) -> &BackupId {
        &self.id
    }

    /// An empty private folder that goes away with the draft.
    pub fn workplace(&self) -> Result<std::path::PathBuf> {
        let path = self.staging.file("work");
        durable::create_private_folder(&path)
            .with_context(|| format!("cannot create `{}`", path.display()))?;
        Ok(path)
    }

    /// Ends the compressed stream and flushes it to disk.
    pub fn finish(self) -> Result<Staged> {
        let context = || format!("cannot finish the staged dump of `{}`", self.id);
        let (file, packed) = self.packer.finish().with_context(context)?;
        let reading = file.finish().with_context(context)?;
        Ok(Staged {
            id: self.id,
            staging: self.staging,
            reading,
            engine: self.engine,
            packed,
            encryption: self.encryption,
        })
    }
}

impl ReadBack {
    /// Decrypts and decompresses all of an encrypted dump, to nowhere, when one of the keys opens
    /// it; says why it stays closed when none does.
    pub fn open(
        &mut self,
        identities: &Identities,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<Locked>> {
        match self.dump.unlock(identities) {
            Ok(()) => {}
            Err(locked) if locked.is_for_another_key() => return Ok(Some(locked)),
            Err(locked) => {
                return Err(
                    Failure::untrusted(format!("the dump cannot be trusted: {locked}")).into(),
                );
            }
        }
        if self.dump.manifest().dump.encryption.is_some() {
            let raw_size_bytes = self.dump.manifest().dump.raw_size_bytes;
            progress.begin("decrypt", Some(raw_size_bytes));
            let read = self.dump.read_through(progress, interrupt);
            progress.end();
            let name = &self.dump.manifest().dump.file;
            read.map_err(|error| super::verify::untrusted(error, name))?;
            self.decrypted = true;
        }
        Ok(None)
    }
}

impl Write for Draft {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.packer.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.packer.flush()
    }
}

impl Staged {
    pub fn id(&self) -> &BackupId {
        &self.id
    }

    pub fn stored_dump(&self, format: DumpFormat) -> StoredDump {
        StoredDump {
            file: dump_file_name(
                &self.id,
                self.engine,
                format,
                u32::from(self.encryption.is_some()),
            ),
            sha256: self.packed.stored.sha256,
            size_bytes: self.packed.stored.size_bytes,
            raw_size_bytes: self.packed.raw_size_bytes,
            compression: crate::values::codec::NAME.into(),
            format,
            encryption: self.encryption.clone(),
            other: Default::default(),
        }
    }
}
