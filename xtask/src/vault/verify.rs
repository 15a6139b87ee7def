//! Bytes against manifest: the only place where a proof is made.

use anyhow::Result;

use super::{Backup, Vault};
use crate::interrupt::{Interrupt, Interrupted};
use crate::values::failure::Failure;
use crate::values::manifest::Manifest;
use crate::values::progress::Progress;
use crate::values::verified_dump::{NotVerified, Reading, VerifiedDump};

impl Vault {
    /// Reads the dump of a published backup and matches it with its manifest. One that was rekeyed
    /// since it was listed has another dump by now: then that is meant.
    pub fn verify(
        &self,
        backup: &Backup,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<VerifiedDump> {
        let verified = self.verify_listed(backup, progress, interrupt);
        match &verified {
            Err(error) if !error.is::<Interrupted>() => match self.rekeyed_since(backup) {
                Some(now) => self.verify_listed(&now, progress, interrupt),
                None => verified,
            },
            _ => verified,
        }
    }

    /// The same backup, whose manifest names another dump and says the same of all else.
    fn rekeyed_since(&self, backup: &Backup) -> Option<Backup> {
        let now = self.read(backup.id().as_str()).ok()?;
        let mut then = backup.manifest.clone();
        let is_another = now.manifest.dump.file != then.dump.file;
        then.dump = now.manifest.dump.clone();
        (is_another && now.manifest == then).then_some(now)
    }

    fn verify_listed(
        &self,
        backup: &Backup,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<VerifiedDump> {
        let file = self
            .open_regular(&backup.manifest.dump.file)
            .map_err(|error| {
                Failure::untrusted(format!(
                    "the dump `{}` cannot be opened: {error}",
                    backup.dump_path.display()
                ))
            })?;
        self.match_bytes(
            Reading::new(file),
            backup.manifest.clone(),
            progress,
            interrupt,
        )
    }

    pub(super) fn match_bytes(
        &self,
        reading: Reading,
        manifest: Manifest,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<VerifiedDump> {
        let name = self.folder.join(&manifest.dump.file).display().to_string();
        progress.begin("verify", Some(manifest.dump.size_bytes));
        let verified = VerifiedDump::read_back(reading, manifest, progress, interrupt);
        progress.end();
        verified.map_err(|error| untrusted(error, &name))
    }
}

/// `name` is the dump's.
pub(super) fn untrusted(error: NotVerified, name: &str) -> anyhow::Error {
    match error {
        NotVerified::Interrupted(Interrupted) => Interrupted.into(),
        NotVerified::Read(error) => {
            Failure::untrusted(format!("the dump `{name}` cannot be read: {error}")).into()
        }
        error => Failure::untrusted(format!("the dump `{name}` cannot be trusted: {error}")).into(),
    }
}
