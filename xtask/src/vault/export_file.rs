//! Exports, and receipts: files and folders outside of the vault, where a person wants them. What has
//! their name is whole: they are written beside, flushed and renamed. Only their owner may read them.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::{NamedTempFile, TempDir};

use crate::durable;
use crate::values::failure::Failure;
use crate::values::portable::csv_folder::{Files, Folder};

const SUFFIX: &str = ".partial";
/// Between the name and that.
const RANDOM_LETTERS: usize = 6;

/// A file that is being written.
pub struct Staged {
    file: NamedTempFile,
    path: PathBuf,
    replaces: bool,
}

/// A folder of which the same is true.
pub struct StagedFolder {
    folder: TempDir,
    _lock: File,
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

/// What nothing takes the place of.
pub struct Kept<'a> {
    pub vault: &'a Path,
    /// Of SQLite, the file.
    pub database: Option<&'a Path>,
}

impl Kept<'_> {
    /// Refuses a place in the vault, what is the database's, and what is there, unless it is a
    /// regular file that is to be replaced.
    pub fn refuse(&self, path: &Path, replaces: bool) -> Result<()> {
        let shown = path.display();
        let (parent, _) = beside(path)?;
        let parent = parent.canonicalize();
        let parent = parent.with_context(|| format!("cannot look for `{shown}`"))?;
        if self
            .vault
            .canonicalize()
            .is_ok_and(|vault| parent.starts_with(vault))
        {
            return Err(Failure::refused(format!(
                "`{shown}` is in the vault, which is for backups"
            ))
            .hint("name a file outside of it")
            .into());
        }
        if self.is_beside_database(path, &parent) {
            return Err(
                Failure::refused(format!("`{shown}` is a name that the database uses"))
                    .hint("name another file")
                    .into(),
            );
        }
        let found = path.symlink_metadata();
        let Some(found) = found.ok().filter(|found| replaces && !found.is_dir()) else {
            return refuse_existing(path);
        };
        if !found.is_file() {
            return Err(
                Failure::refused(format!("`{shown}` is no regular file, and stays"))
                    .hint("name another one")
                    .into(),
            );
        }
        if self.is_of_database(&found) {
            return Err(
                Failure::refused(format!("`{shown}` is the database itself"))
                    .hint("name another file")
                    .into(),
            );
        }
        Ok(())
    }

    /// By device and inode, whatever it is called; so is what SQLite keeps beside it.
    fn is_of_database(&self, found: &Metadata) -> bool {
        let files = self.of_database().filter_map(|file| file.metadata().ok());
        let mut places = files.map(|file| (file.dev(), file.ino()));
        places.any(|place| place == (found.dev(), found.ino()))
    }

    /// Also what is not there: SQLite would take it for its own, and remove or replay it.
    fn is_beside_database(&self, path: &Path, parent: &Path) -> bool {
        let place = path.file_name().map(|name| parent.join(name));
        let is_free = path.symlink_metadata().is_err();
        is_free && self.of_database().any(|file| Some(file) == place)
    }

    fn of_database(&self) -> impl Iterator<Item = PathBuf> {
        let file = self.database.map(|file| file.canonicalize());
        let file = file.and_then(|file| file.ok().or_else(|| self.database.map(Path::to_owned)));
        let suffixes = ["", "-wal", "-shm", "-journal"];
        suffixes.into_iter().filter_map(move |suffix| {
            let mut name = file.as_ref()?.as_os_str().to_owned();
            name.push(suffix);
            Some(PathBuf::from(name))
        })
    }
}

/// Removes what exports to this name left that were killed, and names it. Who still writes holds a lock.
pub fn remove_left_overs(path: &Path) -> Result<Vec<String>> {
    let (parent, prefix) = beside(path)?;
    let context = || format!("cannot look for what is left beside `{}`", path.display());
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(&parent).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let middle = name
            .strip_prefix(&prefix)
            .and_then(|rest| rest.strip_suffix(SUFFIX));
        let is_ours = middle.is_some_and(|middle| {
            middle.len() == RANDOM_LETTERS
                && middle.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let kind = entry.file_type().with_context(context)?;
        if !is_ours || !(kind.is_file() || kind.is_dir()) {
            continue;
        }
        let left = entry.path();
        if File::open(&left).is_ok_and(|file| file.try_lock().is_ok()) {
            let gone = match kind.is_dir() {
                true => std::fs::remove_dir_all(&left),
                false => std::fs::remove_file(&left),
            };
            gone.with_context(|| format!("cannot remove `{}`", left.display()))?;
            removed.push(left.display().to_string());
        }
    }
    Ok(removed)
}

/// Until it has its name; the lock ends with the process.
fn hold(file: &File, path: &Path) -> Result<()> {
    let held = file.try_lock();
    held.with_context(|| format!("cannot lock a file beside `{}`", path.display()))
}

impl Staged {
    pub fn create(path: &Path, replaces: bool, kept: &Kept) -> Result<Staged> {
        kept.refuse(path, replaces)?;
        let (parent, prefix) = beside(path)?;
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(SUFFIX)
            .rand_bytes(RANDOM_LETTERS)
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&parent)
            .with_context(|| format!("cannot create a file beside `{}`", path.display()))?;
        hold(file.as_file(), path)?;
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
            name(&staged, &self.path)?;
            // There is nothing left under the name that it had.
            let _ = staged.keep();
        }
        flush_parent(&self.path)
    }
}

impl StagedFolder {
    pub fn create(path: &Path, kept: &Kept) -> Result<StagedFolder> {
        kept.refuse(path, false)?;
        let (parent, prefix) = beside(path)?;
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(SUFFIX)
            .rand_bytes(RANDOM_LETTERS)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a folder beside `{}`", path.display()))?;
        let lock = File::open(folder.path()).context("cannot open the new folder")?;
        hold(&lock, path)?;
        Ok(StagedFolder {
            folder,
            _lock: lock,
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
        name(self.folder.path(), &self.path)?;
        // There is nothing left under the name that it had.
        let _ = self.folder.keep();
        flush_parent(&self.path)
    }
}

/// What has come to that name meanwhile stays.
fn name(staged: &Path, path: &Path) -> Result<()> {
    let named = durable::rename_without_overwriting(staged, path);
    if let Err(error) = &named
        && error.kind() == ErrorKind::AlreadyExists
    {
        refuse_existing(path)?;
    }
    named.with_context(|| format!("cannot write `{}`", path.display()))
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
