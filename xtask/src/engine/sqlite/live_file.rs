//! The bytes of the live file, where they are what a reading connection sees.
//!
//! Through SQLite's pager a copy costs as much as packing it. A file that
//! cannot change while it is read needs no pager and no copy, and when that is
//! so is what SQLite's locks say: in WAL mode, when the log has no bytes *after*
//! a connection has begun to read. A log that it needs cannot be emptied, so it
//! needs none. What others append from then on stays in the log, because a
//! checkpoint moves nothing into the file that the oldest reader does not see.
//!
//! With a rollback journal the file cannot change either, but there writers wait
//! for a reader, and a copy that lets them go on is made no faster this way. It is
//! read all the same where no copy may lie on a disk.
//!
//! It is read through the handle that the connection has: a file of our own
//! would, when it is closed, take all locks of this process with it (POSIX).

use std::borrow::Borrow;
use std::io::{self, Read};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, ffi};

const HEADER_BYTES: usize = 100;

/// The database file of a connection that reads, and reads on until this is dropped.
pub struct LiveFile<C: Borrow<Connection> = Connection> {
    connection: C,
    size_bytes: u64,
    /// Read first, and once more at the end.
    header: [u8; HEADER_BYTES],
    at: u64,
}

/// Whether the file alone is what `source`, which has begun to read in WAL mode, sees until it ends.
pub fn has_empty_log(source: &Connection) -> Result<bool> {
    ensure!(!source.is_autocommit(), "nothing keeps the file as it is");
    let Some(path) = source.path() else {
        return Ok(false);
    };
    let log = std::fs::metadata(format!("{path}-wal"));
    Ok(log.is_ok_and(|log| log.len() == 0))
}

pub fn is_wal(source: &Connection) -> Result<bool> {
    let mode: String = source
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .context("cannot read the journal mode")?;
    Ok(mode == "wal")
}

impl<C: Borrow<Connection>> LiveFile<C> {
    /// Of a connection that has begun to read, with a rollback journal or of which
    /// [`has_empty_log`] was true. `None` when it is not stored as usual.
    pub fn new(connection: C) -> Result<Option<LiveFile<C>>> {
        let number = |pragma: &str| -> rusqlite::Result<u64> {
            let number: i64 = connection
                .borrow()
                .query_row(pragma, [], |row| row.get(0))?;
            Ok(number.unsigned_abs())
        };
        let size_bytes = number("PRAGMA page_count")? * number("PRAGMA page_size")?;
        let mut file = LiveFile {
            connection,
            size_bytes,
            header: [0; HEADER_BYTES],
            at: 0,
        };
        // An empty one becomes a database only when SQLite copies it.
        if size_bytes == 0 {
            return Ok(None);
        }
        file.header = file.read_header().context("cannot read the header")?;
        let is_usual = file.header.starts_with(b"SQLite format 3\0");
        Ok(is_usual.then_some(file))
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// To be called when all is read. Who changes the file changes its header: the locks held,
    /// which those of some network file systems only seem to do.
    pub fn require_unchanged(&self) -> Result<()> {
        let header = self.read_header().context("cannot read the header again")?;
        ensure!(self.at == self.size_bytes, "not all of the file was read");
        ensure!(
            header == self.header,
            "the database was written to although it was locked: its file system keeps no locks"
        );
        Ok(())
    }

    fn read_header(&self) -> io::Result<[u8; HEADER_BYTES]> {
        let mut header = [0; HEADER_BYTES];
        self.read_exact_at(&mut header, 0)?;
        Ok(header)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let length = buffer.len().try_into().map_err(io::Error::other)?;
        let offset = offset.try_into().map_err(io::Error::other)?;
        let handle = self.handle()?;
        // SAFETY: SQLite keeps the handle and its methods as long as the connection is open, and
        // nobody else uses this connection meanwhile; `buffer` has room for `length` bytes.
        let code = unsafe {
            let methods = (*handle).pMethods.as_ref();
            let read = methods.and_then(|methods| methods.xRead);
            let read = read.ok_or_else(|| io::Error::other("the database file is closed"))?;
            read(handle, buffer.as_mut_ptr().cast(), length, offset)
        };
        as_io(code)
    }

    fn handle(&self) -> io::Result<*mut ffi::sqlite3_file> {
        let mut handle: *mut ffi::sqlite3_file = std::ptr::null_mut();
        // SAFETY: the connection is open, the name ends with a NUL, and what is asked for is one
        // pointer, written to where the last argument points.
        let code = unsafe {
            ffi::sqlite3_file_control(
                self.connection.borrow().handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_FILE_POINTER,
                (&raw mut handle).cast(),
            )
        };
        as_io(code)?;
        if handle.is_null() {
            return Err(io::Error::other("the database has no file"));
        }
        Ok(handle)
    }
}

fn as_io(code: i32) -> io::Result<()> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(io::Error::other(ffi::Error::new(code))),
    }
}

impl<C: Borrow<Connection>> Read for LiveFile<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size_bytes - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        if length > 0 {
            self.read_exact_at(&mut buffer[..length], self.at)?;
            self.at += length as u64;
        }
        Ok(length)
    }
}
