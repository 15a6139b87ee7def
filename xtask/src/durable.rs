//! Files that survive a power cut.
//!
//! A file is on disk when its bytes were flushed *and* the folder that names
//! it was flushed. Nothing here knows what the files mean.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rustix::fs::{AtFlags, CWD, RenameFlags};

/// Creates a folder and its parents; the folder itself gets mode `0700`.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a file that did not exist, mode `0600`, never through a symbolic link.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Makes the names in a folder survive a power cut.
pub fn flush_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Moves `from` to `to` and fails with `AlreadyExists` rather than overwrite.
///
/// Some file systems (older NFS, some FUSE) know no atomic no-replace rename;
/// there a hard link does the same: it refuses an existing name as well.
pub fn rename_without_overwriting(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
            std::fs::remove_file(from)
        }
        done => Ok(done?),
    }
}

/// Bytes that an unprivileged user may still write to the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let statistics = rustix::fs::statvfs(path)?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}

/// Lets the next reader of what was flushed, from a place in the file on, see
/// the disk. Only a hint, and only where the system takes it.
pub fn forget_cached(file: &File, from: u64) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, from, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from);
}

/// How many bytes lie unflushed before the disk is asked to take them.
const FLUSH_BYTES: usize = 16 << 20;

/// A file whose bytes go to the disk while more of them come, so that little is
/// left to wait for at the end. `R` goes along and sees what is there already.
pub struct FlushedEarly<R> {
    file: File,
    written_bytes: u64,
    unflushed_bytes: usize,
    wake: SyncSender<u64>,
    flusher: JoinHandle<io::Result<R>>,
}

impl<R: Send + 'static> FlushedEarly<R> {
    /// `flushed` is told, in another thread, that so many of the first bytes are
    /// on the disk.
    pub fn new(
        file: File,
        mut reader: R,
        flushed: impl Fn(&mut R, u64) + Send + 'static,
    ) -> io::Result<FlushedEarly<R>> {
        let (wake, woken) = sync_channel(1);
        let same = file.try_clone()?;
        let flush = move || {
            for written_bytes in woken {
                same.sync_data()?;
                flushed(&mut reader, written_bytes);
            }
            Ok(reader)
        };
        let flusher = std::thread::Builder::new()
            .name("flush".into())
            .spawn(flush)?;
        Ok(FlushedEarly {
            file,
            written_bytes: 0,
            unflushed_bytes: 0,
            wake,
            flusher,
        })
    }

    /// Flushes what is left. A failure of any flush is a failure of the file:
    /// the system tells it only once.
    pub fn finish(self) -> io::Result<R> {
        drop(self.wake);
        let flushed = self.flusher.join();
        let reader = flushed.map_err(|_| io::Error::other("the flushing thread panicked"))??;
        self.file.sync_all()?;
        Ok(reader)
    }
}

impl<R> Write for FlushedEarly<R> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.written_bytes += written as u64;
        self.unflushed_bytes += written;
        if self.unflushed_bytes >= FLUSH_BYTES {
            self.unflushed_bytes = 0;
            // One that is busy flushes these with its next turn; one that has
            // failed is heard of at the end.
            let _ = self.wake.try_send(self.written_bytes);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
