//! The local folder of backups.
//!
//! A vault knows no database, no network and no terminal. What it holds:
//! `<id>.dump.zst`, `<id>.tar.zst`, `<id>.db.zst` or `<id>.sql.zst` with `<id>.json` beside it,
//! `<id>.pin` where somebody wants it kept, `.lock`, in a large one `.index` and `.proofs`, and, while something is
//! being written, folders `.<name>.partial`.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::durable;
use crate::values::failure::Failure;

mod adopt;
pub mod export_file;
mod find;
mod index;
mod journal;
mod lock;
mod marker;
mod overview;
mod pin;
mod proofs;
mod publish;
pub mod receipt;
mod rekey;
mod remove;
mod sealed;
mod shut;
mod staging;
mod verify;

pub use find::{Backup, Listing, NotFound, Problem};
pub use lock::VaultLock;
pub use overview::Overview;
pub use publish::{ReadBack, Staged};
pub use remove::HalfRemoved;
pub use staging::{LeftOver, Staging};

pub struct Vault {
    folder: PathBuf,
}

impl Vault {
    /// A vault to look into. The folder need not exist.
    pub fn at(folder: PathBuf) -> Vault {
        Vault { folder }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the folder when it is missing and makes sure that it is a
    /// private one in which files can be made.
    pub fn prepare(&self) -> Result<()> {
        let folder = self.folder.display();
        let missing = self.folder.ancestors().take_while(|path| !path.exists());
        let created: Vec<_> = missing.filter_map(Path::parent).collect();
        if let Some(parent) = self.folder.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot create the folder of the vault `{folder}`"))?;
        }
        match durable::create_private_folder(&self.folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(
                    Failure::refused(format!("the vault `{folder}` is not a folder"))
                        .hint("name a folder with `--backups`")
                        .into(),
                );
            }
            Err(error) => return Err(error).context(format!("cannot create the vault `{folder}`")),
        }
        // A backup survives no power cut in a folder that does not.
        for parent in created {
            durable::flush_folder(parent)
                .with_context(|| format!("cannot flush `{}` to disk", parent.display()))?;
        }
        self.make_private()?;
        self.probe().map_err(|error| {
            anyhow::Error::from(
                Failure::refused(format!(
                    "the vault `{folder}` cannot be written to: {error}"
                ))
                .hint("make the folder writable, or name another one with `--backups`"),
            )
        })
    }

    /// `0700`. A folder that holds other things as well is somebody's for some
    /// other purpose, and is not taken away from those who use it.
    fn make_private(&self) -> Result<()> {
        let folder = self.folder.display();
        let context = || format!("cannot make the vault `{folder}` private");
        let metadata = self.folder.metadata().with_context(context)?;
        if metadata.permissions().mode() & 0o077 == 0 {
            return Ok(());
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).with_context(context)? {
            let name = entry.with_context(context)?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        let is_ours = |name: &String| {
            name.starts_with('.') || name.starts_with("backup_") || name == journal::FILE_NAME
        };
        if !names.is_empty() && !names.iter().any(is_ours) {
            return Err(Failure::refused(format!(
                "`{folder}` may be read by others, and holds `{}` and no backups",
                names[0]
            ))
            .hint(format!(
                "give backups a folder of their own with `--backups`, or: chmod 700 {folder}"
            ))
            .into());
        }
        match std::fs::set_permissions(&self.folder, Permissions::from_mode(0o700)) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Failure::refused(
                format!("`{folder}` may be read by others, and belongs to somebody else"),
            )
            .hint("give backups a folder of their own with `--backups`")
            .into()),
            done => done.with_context(context),
        }
    }

    pub fn is_writable(&self) -> bool {
        rustix::fs::access(&self.folder, rustix::fs::Access::WRITE_OK).is_ok()
    }

    /// The file has no name, where the system can do that: a crash leaves nothing.
    fn probe(&self) -> io::Result<()> {
        tempfile::tempfile_in(&self.folder).map(drop)
    }

    /// Refuses when the file system of the vault has less than that free.
    pub fn require_free(&self, bytes: u64) -> Result<()> {
        let free = durable::free_bytes(&self.folder).with_context(|| {
            format!(
                "cannot ask for the free space of the vault `{}`",
                self.folder.display()
            )
        })?;
        if free >= bytes {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "the vault `{}` has {} MiB free, and the backup may need {} MiB",
            self.folder.display(),
            free >> 20,
            (bytes >> 20) + 1
        ))
        .hint("free some space, or name a vault on another disk with `--backups`")
        .into())
    }

    fn open_regular(&self, name: &str) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(
            self.folder.join(name),
            flags,
            Mode::empty(),
        )?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "it is not a regular file",
            ));
        }
        Ok(file)
    }
}
