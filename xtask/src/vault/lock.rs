//! One migrate-safe or restore at a time; the lock names its holder.
//!
//! The lock is the kernel's and ends with its process, also after `kill -9`.
//! The text in the file is for people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{SecondsFormat, Utc};

use super::Vault;
use crate::interrupt::Interrupt;
use crate::values::failure::Failure;
use crate::values::manifest::RanOn;
use crate::values::words::shell_quoted;

const FILE_NAME: &str = ".lock";
const MAX_HOLDER_BYTES: u64 = 1000;
const POLL: Duration = Duration::from_millis(50);

/// Held until dropped.
pub struct VaultLock {
    file: File,
    exclusive: bool,
}

impl Drop for VaultLock {
    fn drop(&mut self) {
        if self.exclusive {
            // A stale holder in a free lock would only confuse a reader.
            let _ = self.file.set_len(0);
        }
    }
}

impl Vault {
    /// For what replaces or changes the database: alone, or refused at once.
    pub fn lock(&self, verb: &str, who: &RanOn) -> Result<VaultLock> {
        let mut file = self.open_lock_file()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.locked()),
            Err(TryLockError::Error(error)) => {
                return Err(error).context(format!("cannot lock `{}`", self.folder.display()));
            }
        }
        self.write_holder(&mut file, verb, who)?;
        Ok(VaultLock {
            file,
            exclusive: true,
        })
    }

    fn write_holder(&self, file: &mut File, verb: &str, who: &RanOn) -> Result<()> {
        let holder = format!(
            "pid {}, `db {verb}` of {}@{}, since {}",
            std::process::id(),
            who.user.as_deref().unwrap_or("unknown"),
            who.host.as_deref().unwrap_or("unknown"),
            Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
        );
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{holder}"))
            .with_context(|| format!("cannot write the lock of `{}`", self.folder.display()))
    }

    /// For what adds to the vault, such as a backup: beside others of its kind, not beside a
    /// migration, a restore or a pruning. Waits for those up to `patience`, and says once for whom.
    pub fn lock_shared(
        &self,
        (who, verb): (&RanOn, &str),
        patience: Duration,
        interrupt: &Interrupt,
        waiting: &dyn Fn(&str),
    ) -> Result<VaultLock> {
        let mut file = self.open_lock_file()?;
        let deadline = Instant::now() + patience;
        let mut said = false;
        loop {
            match file.try_lock_shared() {
                Ok(()) => {
                    // Of several backups at once the last one is named.
                    self.write_holder(&mut file, verb, who)?;
                    return Ok(VaultLock {
                        file,
                        exclusive: false,
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    if !said {
                        waiting(&self.holder());
                        said = true;
                    }
                    interrupt.check()?;
                    std::thread::sleep(POLL);
                }
                Err(TryLockError::WouldBlock) => return Err(self.locked()),
                Err(TryLockError::Error(error)) => {
                    return Err(error).context(format!("cannot lock `{}`", self.folder.display()));
                }
            }
        }
    }

    /// Whether a migration or a restore is under way; as far as can be told.
    pub fn is_locked(&self) -> bool {
        let file = self.open_regular(FILE_NAME);
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn open_lock_file(&self) -> Result<File> {
        use rustix::fs::OFlags;
        let path = self.folder.join(FILE_NAME);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
            .open(&path);
        // What it is says more than why it could not be opened.
        if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            let path = path.display().to_string();
            let quoted = shell_quoted(&path);
            return Err(Failure::refused(format!(
                "the lock of the vault, `{path}`, is not a regular file"
            ))
            .hint(format!("move it away: mv {quoted} {quoted}.old"))
            .into());
        }
        opened.with_context(|| {
            format!(
                "cannot open the lock of the vault `{}`",
                self.folder.display()
            )
        })
    }

    /// For people, and no more than a person would read.
    fn holder(&self) -> String {
        let mut holder = String::new();
        if let Ok(file) = self.open_regular(FILE_NAME) {
            // What cannot be read cannot be said.
            let _ = file.take(MAX_HOLDER_BYTES).read_to_string(&mut holder);
        }
        match holder.trim() {
            "" => "another process".to_owned(),
            holder => holder.to_owned(),
        }
    }

    fn locked(&self) -> anyhow::Error {
        let (vault, holder) = (self.folder.display(), self.holder());
        Failure::refused(format!("the vault `{vault}` is locked by {holder}"))
            .hint("wait until it has ended, then run the command again")
            .into()
    }
}
