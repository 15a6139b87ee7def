//! Files that only save time: what they say can be found out anew, so that
//! whatever is wrong with one is as if it were not there.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use super::Vault;
use super::staging::Staging;
use crate::values::digest::Sha256;

const DIGEST_BYTES: usize = 64;

/// What is remembered of a million backups. More is damage.
const MAX_BYTES: u64 = 256 << 20;

impl Vault {
    /// What was written under this name with this header, when its digest is its own.
    pub(super) fn read_sealed(&self, name: &str, header: &[u8]) -> Option<Vec<u8>> {
        let file = self.open_regular(name).ok()?;
        let metadata = file.metadata().ok()?;
        // Others may write into a folder that is not private.
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return None;
        }
        let length = metadata.len().min(MAX_BYTES);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let rest = bytes.strip_prefix(header)?;
        let (digest, body) = rest.split_at_checked(DIGEST_BYTES)?;
        let is_whole = Sha256::of(body).to_string().as_bytes() == digest;
        let begin = bytes.len() - body.len();
        is_whole.then(|| bytes.split_off(begin))
    }

    /// Not flushed to disk: one that a power cut tears does not match its digest.
    pub(super) fn write_sealed(
        &self,
        name: &str,
        header: &[u8],
        body: &[u8],
        (staging, mut file): (Staging, std::fs::File),
    ) -> io::Result<()> {
        file.write_all(header)?;
        file.write_all(Sha256::of(body).to_string().as_bytes())?;
        file.write_all(body)?;
        std::fs::rename(staging.file(STAGED), self.folder.join(name))
    }
}

/// What such a file is called until it is whole.
pub(super) const STAGED: &str = "sealed";
