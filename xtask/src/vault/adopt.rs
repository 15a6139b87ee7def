//! A backup that comes from elsewhere takes its place in the vault, in the publish order.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::publish::DUMP;
use super::{Backup, Staging, Vault};
use crate::durable;
use crate::interrupt::{Interrupt, Interrupted};
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::manifest::{self, Manifest, manifest_file_name};
use crate::values::progress::Progress;
use crate::values::verified_dump::{Reading, VerifiedDump};
use crate::values::words::shell_quoted;

const POLL: Duration = Duration::from_millis(100);

impl Vault {
    /// The command that makes room for another backup of this id. A pin stays.
    pub fn moved_away(&self, id: &BackupId) -> String {
        let parts = self.names_of(id);
        let parts = parts.filter(|path| path.symlink_metadata().is_ok());
        let files = parts.map(|path| shell_quoted(&path.display().to_string()));
        format!("mv {} /elsewhere/", files.collect::<Vec<_>>().join(" "))
    }

    /// `fetch` writes the dump; `bytes` are those of the manifest, and stay as they are.
    pub fn adopt(
        &self,
        manifest: Manifest,
        bytes: &[u8],
        progress: &dyn Progress,
        interrupt: &Interrupt,
        fetch: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<(Backup, VerifiedDump)> {
        let id = manifest.id.clone();
        let context = || format!("cannot take `{id}` into the vault");
        let claimed = self.claim_staging(&format!("pull-{id}"));
        let staging = claimed.with_context(context)?.ok_or_else(|| {
            Failure::refused(format!("another run is fetching `{id}`"))
                .hint("wait until it has ended, then run the command again")
        })?;
        if self.is_taken(&id).with_context(context)? {
            return Err(self.refuse_taken(&id, progress, interrupt));
        }
        self.require_free(manifest.dump.size_bytes)?;
        let path = staging.file(DUMP);
        let mut file = durable::create_private_file(&path).with_context(context)?;
        fetch(&mut file)?;
        file.sync_all().with_context(context)?;
        let reading = Reading::new(File::open(&path).with_context(context)?);
        // From the disk, not from what the kernel remembers of the writing.
        durable::forget_cached(reading.file(), 0);
        let dump = self.match_bytes(reading, manifest.clone(), progress, interrupt)?;
        self.name_both(staging, dump, manifest, bytes)
    }

    fn refuse_taken(
        &self,
        id: &BackupId,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> anyhow::Error {
        let Ok(here) = self.read(id.as_str()) else {
            let what = "that is no backup, which is not overwritten";
            let failure = Failure::refused(format!("the vault has a part of `{id}` {what}"));
            return self.with_way(failure, id).into();
        };
        let failure = Failure::refused(format!("the vault has a `{id}`, which is not overwritten"));
        match self.verify(&here, progress, interrupt) {
            Ok(_) => {
                let hint = "it matches its manifest; to restore it: cargo xtask db restore";
                failure.hint(format!("{hint} {id}")).into()
            }
            Err(error) if error.is::<Interrupted>() => error,
            Err(error) => error.context(self.with_way(failure, id)),
        }
    }

    fn with_way(&self, failure: Failure, id: &BackupId) -> Failure {
        let away = self.moved_away(id);
        failure.hint(format!(
            "move it away: {away}\nthen: cargo xtask db pull {id}"
        ))
    }

    /// The manifest as it lies in the vault, byte for byte.
    pub fn manifest_bytes(&self, backup: &Backup) -> Result<Vec<u8>> {
        let name = manifest_file_name(backup.id());
        let mut bytes = Vec::new();
        self.open_regular(&name)
            .and_then(|file| file.take(manifest::MAX_BYTES).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read `{}`", backup.manifest_path.display()))?;
        let found = Manifest::parse(&bytes)
            .with_context(|| format!("`{}` cannot be used", backup.manifest_path.display()))?;
        anyhow::ensure!(
            found == backup.manifest,
            "`{}` changed while it was read",
            backup.manifest_path.display()
        );
        Ok(bytes)
    }

    /// Held by the one run that copies this backup; waits for another one, as long as that lasts.
    pub fn claim_copying(
        &self,
        id: &BackupId,
        interrupt: &Interrupt,
        waiting: &dyn Fn(),
    ) -> Result<Staging> {
        let mut is_said = false;
        loop {
            if let Some(staging) = self.try_claim_copying(id)? {
                return Ok(staging);
            }
            if !is_said {
                waiting();
                is_said = true;
            }
            interrupt.check()?;
            std::thread::sleep(POLL);
            // Its owner may have been killed meanwhile.
            self.remove_left_overs()?;
        }
    }

    /// The same at once; nothing while another run has it.
    pub fn try_claim_copying(&self, id: &BackupId) -> Result<Option<Staging>> {
        let claimed = self.claim_staging(&format!("copy-{id}"));
        claimed.with_context(|| format!("cannot begin to copy `{id}`"))
    }

    /// Whether what lies in `folder` would be lost with the vault's disk; as far as can be told.
    pub fn shares_disk_with(&self, folder: &Path) -> bool {
        let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
        // A vault that is not there yet will be on the disk of what is to hold it.
        let vault = self.folder.ancestors().find_map(device);
        device(folder).is_some_and(|there| vault == Some(there))
    }
}
