//! A dump in PostgreSQL's directory format, which several sessions can write
//! and read at once: packed as a tar into the one stream of a backup, and
//! unpacked again.
//!
//! `toc.dat` comes first, so that what a dump holds is known from its beginning.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use tar::{Archive, Entry, EntryType, Header};
use tempfile::TempDir;

use super::{Postgres, toc};
use crate::durable;
use crate::engine::pump::{pump, refuse_unreadable};
use crate::interrupt::Interrupt;
use crate::values::failure::Failure;
use crate::values::manifest::DumpFormat;
use crate::values::progress::{Progress, Silent};
use crate::values::verified_dump::{Unpacked, VerifiedDump, is_unreadable};

/// After the last row of a table.
const END_OF_ROWS: [u8; 5] = *b"\\.\n\n\n";
/// The table of contents.
const TOC: &str = "toc.dat";
/// A table of contents has some hundred bytes for each object.
const MAX_TOC_BYTES: u64 = 1 << 30;
/// `blobs_12345.toc` and its like.
const MAX_NAME_BYTES: usize = 64;
const BLOCK_BYTES: u64 = 512;
/// What the vault's disk keeps free beside an unpacked dump.
pub const SPARE_BYTES: u64 = 256 << 20;

/// What `pg_restore` reads: the dump on its stdin, or the folder that came of it.
pub struct Input<'a> {
    pub dump: &'a VerifiedDump,
    pub folder: Option<PathBuf>,
    /// Options of `pg_restore` that leave something out.
    pub without: &'static [&'static str],
    /// For `pg_restore --use-list`.
    pub list: Option<PathBuf>,
    /// For `psql`, in a new database before anything else; errors do not stop it.
    pub before: Option<String>,
}

impl Input<'_> {
    /// Unpacks a dump that is a folder, all of it and matched once more. What could only be
    /// restored with more than the dump holds is left out.
    pub fn of<'a>(
        postgres: &Postgres,
        dump: &'a VerifiedDump,
        staging: &Path,
        progress: &dyn Progress,
    ) -> Result<Input<'a>> {
        let mut folder = None;
        if is_folder(dump) {
            refuse_full_disk(dump, staging)?;
            let path = staging.join("unpacked");
            durable::create_private_folder(&path).context("cannot create the unpacked dump")?;
            progress.begin("unpack", Some(dump.manifest().dump.raw_size_bytes));
            let unpacked = unpack(dump, &path, progress, postgres.interrupt());
            progress.end();
            refuse_unreadable(unpacked)??;
            folder = Some(path);
        }
        Ok(Input {
            dump,
            folder,
            without: &[],
            list: toc::list_without_gaps(postgres, dump, staging)?,
            before: None,
        })
    }

    /// For `pg_restore`.
    pub fn options(&self) -> Vec<String> {
        let list = self.list.iter();
        let list = list.map(|list| format!("--use-list={}", list.display()));
        self.without
            .iter()
            .map(|&option| option.into())
            .chain(list)
            .collect()
    }

    /// Its room is wanted before a safety copy or a log asks for it.
    pub fn make_room(&self) -> Result<()> {
        match &self.folder {
            Some(folder) => {
                std::fs::remove_dir_all(folder).context("cannot remove the unpacked dump")
            }
            None => Ok(()),
        }
    }
}

/// For `pg_restore --list`: a folder with the table of contents and nothing
/// else. Nothing for a dump that `pg_restore` reads as a stream.
pub fn contents_of(dump: &VerifiedDump, interrupt: &Interrupt) -> Result<Option<TempDir>> {
    if !is_folder(dump) {
        return Ok(None);
    }
    let folder = tempfile::Builder::new()
        .prefix("xtask-db-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .context("cannot create a folder for the dump's table of contents")?;
    let extracted = extract_contents(dump, folder.path(), interrupt);
    refuse_unreadable(extracted)??;
    Ok(Some(folder))
}

/// Whether an encrypted dump lies on a disk as it was while it is restored.
pub fn lies_open(postgres: &Postgres, dump: &VerifiedDump) -> bool {
    let is_unpacked = is_folder(dump) || postgres.jobs.is_some_and(|jobs| jobs > 1);
    dump.is_encrypted() && is_unpacked
}

pub fn is_folder(dump: &VerifiedDump) -> bool {
    dump.manifest().dump.format == DumpFormat::Directory
}

/// Before anything is begun: a disk that is full half-way would say less.
fn refuse_full_disk(dump: &VerifiedDump, staging: &Path) -> Result<()> {
    let size = dump.manifest().dump.raw_size_bytes;
    let needed = size.saturating_add(SPARE_BYTES);
    let free = durable::free_bytes(staging).context("cannot ask for free space")?;
    if free >= needed {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the dump is unpacked in the vault before it is restored, which needs {} MiB, and {} MiB are free",
        needed >> 20,
        free >> 20
    ))
    .hint("free some space on the vault's disk, or copy the backup to a vault on another one: `--backups`")
    .into())
}

/// Writes the folder as a tar that every `tar` reads.
pub fn pack(
    folder: &Path,
    at: DateTime<Utc>,
    to: &mut dyn Write,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let files = files_of(folder)?;
    let total = files.iter().map(|(_, size)| size).sum();
    progress.begin("pack", Some(total));
    let packed = files.iter().try_for_each(|(name, size)| {
        pack_file(&folder.join(name), name, *size, at, to, progress, interrupt)
            .with_context(|| format!("cannot pack `{name}`"))
    });
    progress.end();
    packed?;
    // Two empty blocks end a tar.
    to.write_all(&[0; 2 * BLOCK_BYTES as usize])
        .context("cannot end the packed dump")
}

/// Names and sizes, the table of contents first.
fn files_of(folder: &Path) -> Result<Vec<(String, u64)>> {
    let context = || format!("cannot list `{}`", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let metadata = entry.metadata().with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !metadata.is_file() || !is_plain(name.as_bytes()) {
            bail!("`pg_dump` wrote `{name}`, which is not a file of a dump");
        }
        files.push((name, metadata.len()));
    }
    files.sort_by(|(a, _), (b, _)| (a != TOC, a).cmp(&(b != TOC, b)));
    ensure!(
        files.first().is_some_and(|(name, _)| name == TOC),
        "`pg_dump` wrote no table of contents"
    );
    Ok(files)
}

fn pack_file(
    path: &Path,
    name: &str,
    size: u64,
    at: DateTime<Utc>,
    to: &mut dyn Write,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(at.timestamp().unsigned_abs());
    header.set_cksum();
    to.write_all(header.as_bytes())?;
    let file = File::open(path)?;
    let mut counted = file.take(size);
    pump(&mut counted, to, progress, interrupt)?;
    ensure!(counted.limit() == 0, "it became shorter meanwhile");
    require_whole(&counted.into_inner(), name, size)?;
    let padding = size.next_multiple_of(BLOCK_BYTES) - size;
    to.write_all(&[0; BLOCK_BYTES as usize][..padding as usize])?;
    Ok(())
}

/// `pg_restore` takes a table's rows for whole wherever they end; `pg_dump`
/// writes this after the last one.
fn require_whole(file: &File, name: &str, size: u64) -> Result<()> {
    let number = name.strip_suffix(".dat").unwrap_or_default();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let mut end = [0; END_OF_ROWS.len()];
    let at = size.checked_sub(end.len() as u64);
    let read = at.is_some_and(|at| file.read_exact_at(&mut end, at).is_ok());
    ensure!(
        read && end == END_OF_ROWS,
        "the rows of a table do not come to their end"
    );
    Ok(())
}

/// Nothing is made of the files before the digest of the whole has matched.
fn unpack(
    dump: &VerifiedDump,
    folder: &Path,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut archive = Archive::new(dump.unpack().context("cannot read the dump")?);
    let mut room = dump.manifest().dump.raw_size_bytes;
    // Raw: no entry may change what another one is called.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let name = name_of(&entry)?;
        room = room
            .checked_sub(entry.size())
            .ok_or_else(|| refused("it holds more than its manifest says"))?;
        extract(&mut entry, &folder.join(name), progress, interrupt)?;
    }
    let unpacked = archive.into_inner();
    unpacked
        .finish()
        .map_err(|error| Failure::untrusted(error.to_string()).into())
}

fn extract_contents(dump: &VerifiedDump, folder: &Path, interrupt: &Interrupt) -> Result<()> {
    let mut archive = Archive::new(dump.unpack().context("cannot read the dump")?);
    let first = archive.entries()?.raw(true).next();
    let mut first = first
        .ok_or_else(|| refused("it is empty"))?
        .map_err(unreadable)?;
    if name_of(&first)? != TOC {
        return Err(refused("it does not begin with its table of contents").into());
    }
    if first.size() > MAX_TOC_BYTES {
        return Err(refused("its table of contents is too large").into());
    }
    extract(&mut first, &folder.join(TOC), &Silent, interrupt)
}

fn extract(
    entry: &mut Entry<'_, Unpacked<'_>>,
    path: &Path,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let size = entry.size();
    let mut file = match durable::create_private_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(refused("it holds a file twice").into());
        }
        created => created.context("cannot create a file of the unpacked dump")?,
    };
    pump(entry, &mut file, progress, interrupt)?;
    let written = file.metadata().context("cannot ask for a file's size")?;
    if written.len() != size {
        return Err(refused("it ends in the middle of a file").into());
    }
    Ok(())
}

/// The name of a regular file that stays in its folder; all else is none of `pg_dump`'s.
fn name_of(entry: &Entry<'_, Unpacked<'_>>) -> Result<String> {
    let name = entry.path_bytes();
    let shown = String::from_utf8_lossy(&name).into_owned();
    if entry.header().entry_type() != EntryType::Regular || !is_plain(&name) {
        let shown: String = shown.escape_debug().take(MAX_NAME_BYTES).collect();
        return Err(refused(&format!("it holds `{shown}`")).into());
    }
    Ok(shown)
}

fn is_plain(name: &[u8]) -> bool {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= MAX_NAME_BYTES
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(is_usual)
}

fn refused(what: &str) -> Failure {
    Failure::untrusted(format!(
        "the dump is not a packed folder of `pg_dump`: {what}"
    ))
}

/// A header that is none. That the stream itself cannot be read says more.
fn unreadable(error: std::io::Error) -> anyhow::Error {
    let said = error.to_string();
    let error = anyhow::Error::from(error);
    if is_unreadable(&error) {
        return error;
    }
    error.context(refused(&said))
}
