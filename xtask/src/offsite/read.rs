//! Reads what lies there, in bounded pieces, and matches it.

use std::io::Write;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt};

use super::Offsite;
use crate::durable;
use crate::values::digest::Digesting;
use crate::values::failure::Failure;
use crate::values::manifest::StoredDump;
use crate::values::progress::Progress;

/// Each request is for no more: the library's time limit is one for a whole request, and what is
/// lost with a broken one is read again.
const PIECE_BYTES: u64 = 16 << 20;

/// Fails with [`Failure::untrusted`] when it is not what the manifest says.
pub(super) async fn matched(
    offsite: &Offsite,
    path: &Path,
    expected: &StoredDump,
    sink: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    let place = &offsite.place;
    let file = &expected.file;
    let untrusted = |what: String| {
        Failure::untrusted(format!(
            "the copy `{file}` at {place} cannot be trusted: {what}"
        ))
    };
    let cannot = |error: Error| match error {
        Error::NotFound { .. } => untrusted("it is not there".into()).into(),
        Error::Precondition { .. } => untrusted("it changed while it was read".into()).into(),
        error => offsite
            .told(error)
            .context(format!("cannot read `{file}` at {place}")),
    };
    let found = offsite.store.head(path).await.map_err(cannot)?;
    if found.size != expected.size_bytes {
        let (found, expected) = (found.size, expected.size_bytes);
        let what = format!("it has {found} bytes, its manifest says {expected}");
        return Err(untrusted(what).into());
    }
    let mut digested = Digesting::new(sink);
    let mut at = 0;
    while at < found.size {
        let end = found.size.min(at + PIECE_BYTES);
        let options = GetOptions::new()
            .with_range(Some(at..end))
            .with_if_match(found.e_tag.clone());
        let piece = offsite
            .store
            .get_opts(path, options)
            .await
            .map_err(cannot)?;
        if let GetResultPayload::File(file, _) = &piece.payload {
            // From the disk, not from what the kernel remembers of the writing.
            durable::forget_cached(file, at);
        }
        let mut chunks = piece.into_stream();
        while let Some(chunk) = chunks.try_next().await.map_err(cannot)? {
            digested
                .write_all(&chunk)
                .with_context(|| format!("cannot write what was read of `{file}`"))?;
            at += chunk.len() as u64;
            progress.advance(chunk.len() as u64);
        }
        if at != end {
            let what = format!("it ended after {at} of {} bytes", found.size);
            return Err(untrusted(what).into());
        }
    }
    let (_, digest, _) = digested.finish();
    if digest != expected.sha256 {
        let expected = expected.sha256;
        let what = format!("its SHA-256 is {digest}, its manifest says {expected}");
        return Err(untrusted(what).into());
    }
    Ok(())
}
