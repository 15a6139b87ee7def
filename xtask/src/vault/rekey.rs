//! A dump encrypted for others. Its backup keeps its id, its moment and its contents.
//!
//! decrypt and encrypt anew into staging → flush → read back, match and decrypt, byte for
//! byte what it was → name the dump, beside the old one → flush the folder → the new
//! manifest takes the old one's name, in one step → flush → remove the old dump.
//! The manifest names a whole dump at every moment; a crash leaves one too many, which
//! `db list` names and the next rekey of that backup removes, also when there is nothing else to do.
//!
//! Only the beginning of a dump says for whom it is, and it alone could be written anew.
//! All of it is, with another key: who had the old one could still open the rest.

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};

use super::publish::{DUMP, MANIFEST, stage_dump, stage_manifest};
use super::staging::Staging;
use super::{Backup, Vault};
use crate::durable;
use crate::interrupt::Interrupt;
use crate::values::codec::Storing;
use crate::values::digest::{Digesting, Sha256};
use crate::values::encryption::{Identities, Seal};
use crate::values::failure::Failure;
use crate::values::manifest::{Manifest, dump_file_name, manifest_file_name, turn_of};
use crate::values::progress::Progress;
use crate::values::verified_dump::{BUFFER_BYTES, Compressed, Reading, VerifiedDump};

/// What a rekey came to.
pub struct Rekeyed {
    pub backup: Backup,
    /// Dumps of before that could not be removed.
    pub left: Vec<String>,
}

impl Vault {
    /// `dump` is the backup's own, unlocked; one of `identities` must open what it becomes.
    pub fn rekey(
        &self,
        dump: &VerifiedDump,
        seal: &Seal,
        identities: &Identities,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Rekeyed> {
        let id = &dump.manifest().id;
        let context = || format!("cannot encrypt the backup `{id}` anew; it is as it was");
        let staging = self.staging("rekey")?;
        let (manifest, was) = self
            .encrypt(&staging, dump, seal, progress, interrupt)
            .with_context(context)?;
        let manifest = self
            .read_back_rekeyed(&staging, manifest, was, identities, progress, interrupt)
            .with_context(context)?;
        stage_manifest(&staging, &manifest, &manifest.to_json()?).with_context(context)?;
        self.replace(&staging, &manifest).with_context(context)?;
        let left = self.remove_older_than(&manifest)?;
        Ok(Rekeyed {
            backup: Backup {
                dump_path: self.folder.join(&manifest.dump.file),
                manifest_path: self.folder.join(manifest_file_name(&manifest.id)),
                manifest,
            },
            left,
        })
    }

    /// Whether there are dumps of the backup beside the one that its manifest names.
    pub fn has_older_dumps(&self, manifest: &Manifest) -> Result<bool> {
        let mut dumps = self.dumps_of(manifest)?.into_iter();
        Ok(dumps.any(|name| name != manifest.dump.file))
    }

    /// Removes those; returns which of them could not be. The one that stays has been matched.
    pub fn remove_older_dumps(&self, dump: &VerifiedDump) -> Result<Vec<String>> {
        self.remove_older_than(dump.manifest())
    }

    /// The manifest that it will have, and the digest of what is encrypted in it.
    fn encrypt(
        &self,
        staging: &Staging,
        dump: &VerifiedDump,
        seal: &Seal,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(Manifest, Sha256)> {
        let mut manifest = dump.manifest().clone();
        progress.begin("encrypt", Some(manifest.dump.size_bytes));
        let mut storing = Storing::new(stage_dump(staging)?, Some(seal))?;
        let compressed = dump.compressed().context("cannot read the dump")?;
        let copied = copy(compressed, &mut storing, progress, interrupt);
        progress.end();
        let was = copied?;
        let (file, stored) = storing.finish()?;
        // Read again from the disk below: who reads along here is not needed.
        drop(file.finish()?);
        manifest.dump.file = self.next_name(&manifest)?;
        manifest.dump.sha256 = stored.sha256;
        manifest.dump.size_bytes = stored.size_bytes;
        manifest.dump.encryption = Some(seal.encryption().clone());
        Ok((manifest, was))
    }

    fn read_back_rekeyed(
        &self,
        staging: &Staging,
        mut manifest: Manifest,
        was: Sha256,
        identities: &Identities,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Manifest> {
        let file = std::fs::File::open(staging.file(DUMP))?;
        durable::forget_cached(&file, 0);
        let mut dump =
            self.match_bytes(Reading::new(file), manifest.clone(), progress, interrupt)?;
        let opened = dump.unlock(identities);
        opened.map_err(|locked| {
            Failure::untrusted(format!("what it became stays closed: {locked}"))
        })?;
        progress.begin("decrypt", Some(manifest.dump.size_bytes));
        let compressed = dump.compressed().context("cannot read it back")?;
        let found = copy(compressed, &mut std::io::sink(), progress, interrupt);
        progress.end();
        ensure!(found? == was, "it does not hold what the backup holds");
        progress.begin("unpack", Some(manifest.dump.raw_size_bytes));
        let read = dump.read_through(progress, interrupt);
        progress.end();
        read.map_err(|error| super::verify::untrusted(error, &manifest.dump.file))?;
        if let Some(encryption) = &mut manifest.dump.encryption {
            encryption.decrypted = true;
        }
        Ok(manifest)
    }

    /// A name that nothing has.
    fn next_name(&self, manifest: &Manifest) -> Result<String> {
        let (engine, format) = (manifest.database.engine, manifest.dump.format);
        let plain = dump_file_name(&manifest.id, engine, format, 0);
        let turns = self.dumps_of(manifest)?.into_iter();
        let turns = turns.filter_map(|name| turn_of(name.strip_prefix(&plain)?));
        let last = turns.max().unwrap_or(0);
        let next = last.checked_add(1).context("it was encrypted too often")?;
        Ok(dump_file_name(&manifest.id, engine, format, next))
    }

    fn dumps_of(&self, manifest: &Manifest) -> Result<Vec<String>> {
        let dumps = self.names()?.dumps.into_iter();
        let of_id = dumps.filter(|dump| dump.stem == manifest.id.as_str());
        Ok(of_id.map(|dump| dump.file()).collect())
    }

    fn replace(&self, staging: &Staging, manifest: &Manifest) -> Result<()> {
        let dump_path = self.folder.join(&manifest.dump.file);
        let manifest_path = self.folder.join(manifest_file_name(&manifest.id));
        durable::rename_without_overwriting(&staging.file(DUMP), &dump_path)?;
        let named = durable::flush_folder(&self.folder)
            .and_then(|()| std::fs::rename(staging.file(MANIFEST), &manifest_path));
        let Err(error) = named else {
            return Ok(());
        };
        // A rename may have taken effect and its answer been lost.
        match self.read(manifest.id.as_str()) {
            Ok(found) if found.manifest == *manifest => return Ok(()),
            // No manifest names it: the backup is the old one.
            Ok(_) => drop(std::fs::remove_file(&dump_path)),
            Err(_) => {}
        }
        Err(error.into())
    }

    /// Once the manifest that names another one is sure to be found after a power cut.
    fn remove_older_than(&self, manifest: &Manifest) -> Result<Vec<String>> {
        durable::flush_folder(&self.folder).map_err(|error| {
            let id = &manifest.id;
            Failure::incomplete(format!(
                "the backup `{id}` is encrypted anew, and its older dump is still there: {error}"
            ))
            .hint("run the same command again")
        })?;
        let mut left = Vec::new();
        for name in self.dumps_of(manifest)? {
            if name != manifest.dump.file && std::fs::remove_file(self.folder.join(&name)).is_err()
            {
                left.push(name);
            }
        }
        let _ = durable::flush_folder(&self.folder);
        Ok(left)
    }
}

/// The digest of what was copied, all of it.
fn copy(
    mut from: Compressed<'_>,
    to: &mut dyn Write,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Sha256> {
    let mut digested = Digesting::new(to);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).context("cannot decrypt it")?;
        if read == 0 {
            break;
        }
        digested.write_all(&buffer[..read])?;
        progress.advance(read as u64);
        interrupt.check()?;
    }
    from.finish()?;
    Ok(digested.digest())
}
