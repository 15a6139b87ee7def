//! Exports: files and folders outside of the vault, where a person wants them. What has their name
//! is whole: they are written beside, flushed and renamed. Only their owner may read them.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::{NamedTempFile, TempDir};

use crate::durable;
use crate::values::failure::Failure;
use crate::values::portable::csv_folder::{Files, Folder};

const SUFFIX: &str = ".partial";

/// A file that is being written.
pub struct Staged {
    file: NamedTempFile,
    path: PathBuf,
    replaces: bool,
}

/// A folder of which the same is true.
pub struct StagedFolder {
    folder: TempDir,
    path: PathBuf,
}

/// The files of a folder that is being written.
pub struct Inside(PathBuf);

fn refuse_existing(path: &Path) -> Result<()> {
    let shown = path.display();
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot look for `{shown}`")),
        Ok(found) if found.is_dir() => Err(Failure::refused(format!(
            "the folder `{shown}` is there already, and no folder is ever replaced"
        ))
        .hint("name one that does not exist yet")
        .into()),
        Ok(_) => Err(
            Failure::refused(format!("the file `{shown}` is there already"))
                .hint("name another one, or add `--force` to replace it")
                .into(),
        ),
    }
}

/// Where it is written, and what a name beside it begins with.
fn beside(path: &Path) -> Result<(PathBuf, String)> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new(".")).to_owned();
    let Some(name) = path.file_name() else {
        let shown = path.display();
        return Err(Failure::usage(format!("`{shown}` is no name of a file")).into());
    };
    if !parent.is_dir() {
        return Err(
            Failure::usage(format!("there is no folder `{}`", parent.display()))
                .hint(format!("mkdir -p {}", parent.display()))
                .into(),
        );
    }
    Ok((parent, format!(".{}.", name.to_string_lossy())))
}

impl Staged {
    pub fn create(path: &Path, replaces: bool) -> Result<Staged> {
        let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if !replaces || is_folder {
            refuse_existing(path)?;
        }
        let (parent, prefix) = beside(path)?;
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&parent)
            .with_context(|| format!("cannot create a file beside `{}`", path.display()))?;
        Ok(Staged {
            file,
            path: path.to_owned(),
            replaces,
        })
    }

    pub fn writer(&self) -> Result<File> {
        self.file.as_file().try_clone().context("cannot write")
    }

    /// All of it has been written.
    pub fn publish(self) -> Result<()> {
        let context = || format!("cannot write `{}`", self.path.display());
        self.file.as_file().sync_all().with_context(context)?;
        if self.replaces {
            self.file
                .persist(&self.path)
                .with_context(|| format!("cannot replace `{}`", self.path.display()))?;
        } else {
            let staged = self.file.into_temp_path();
            match durable::rename_without_overwriting(&staged, &self.path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    refuse_existing(&self.path)?
                }
                renamed => {
                    renamed.with_context(|| format!("cannot write `{}`", self.path.display()))?
                }
            }
            // There is nothing left under the name that it had.
            let _ = staged.keep();
        }
        flush_parent(&self.path)
    }
}

impl StagedFolder {
    pub fn create(path: &Path) -> Result<StagedFolder> {
        refuse_existing(path)?;
        let (parent, prefix) = beside(path)?;
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a folder beside `{}`", path.display()))?;
        Ok(StagedFolder {
            folder,
            path: path.to_owned(),
        })
    }

    pub fn files(&self) -> Inside {
        Inside(self.folder.path().to_owned())
    }

    pub fn publish(self) -> Result<()> {
        let context = || format!("cannot write `{}`", self.path.display());
        for entry in std::fs::read_dir(self.folder.path()).with_context(context)? {
            let file = File::open(entry.with_context(context)?.path()).with_context(context)?;
            file.sync_all().with_context(context)?;
        }
        durable::flush_folder(self.folder.path()).with_context(context)?;
        match durable::rename_without_overwriting(self.folder.path(), &self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => refuse_existing(&self.path)?,
            renamed => renamed.with_context(context)?,
        }
        // There is nothing left under the name that it had.
        let _ = self.folder.keep();
        flush_parent(&self.path)
    }
}

fn flush_parent(path: &Path) -> Result<()> {
    let (parent, _) = beside(path)?;
    let flushed = durable::flush_folder(&parent);
    flushed.with_context(|| format!("cannot flush `{}` to disk", parent.display()))
}

impl Files for Inside {
    type File = File;

    fn create(&mut self, name: &str) -> Result<File> {
        let path = self.0.join(name);
        let created = durable::create_private_file(&path);
        created.with_context(|| format!("cannot create `{}`", path.display()))
    }
}

/// An export that is to be read.
pub enum Found {
    File(PathBuf),
    Folder(PathBuf),
}

/// Read more than once, so that nothing is changed because of a file that is not whole: what can
/// be read only once is refused.
pub fn find(path: &Path) -> Result<Found> {
    let shown = path.display();
    let found = path.metadata().map_err(|error| {
        Failure::usage(format!("`{shown}` cannot be read: {error}"))
            .hint("name what `cargo xtask db export` wrote")
    })?;
    if found.is_dir() {
        return Ok(Found::Folder(path.to_owned()));
    }
    if !found.is_file() {
        return Err(
            Failure::usage(format!("`{shown}` is no file that can be read twice"))
                .hint("save it as a file first")
                .into(),
        );
    }
    Ok(Found::File(path.to_owned()))
}

/// From its beginning.
pub fn open(path: &Path) -> Result<BufReader<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    let file = opened.map_err(|error| not_read(path, &error))?;
    Ok(BufReader::with_capacity(1 << 18, file))
}

fn not_read(path: &Path, error: &io::Error) -> Failure {
    Failure::untrusted(format!("`{}` cannot be read: {error}", path.display()))
        .hint("name what `cargo xtask db export` wrote")
}

pub struct Opened(pub PathBuf);

impl Folder for Opened {
    fn open(&self, name: &str) -> Result<Box<dyn Read>> {
        Ok(Box::new(open(&self.0.join(name))?))
    }
}

/// The whole of it, for a pipe.
pub fn stdout() -> impl Write {
    io::stdout().lock()
}
