//! What has the id of a backup at a place, and is another one: what is said of it.

use super::Place;
use crate::values::failure::Failure;
use crate::values::manifest::{Manifest, manifest_file_name};

impl Manifest {
    /// Whether two manifests of one id are of two backups. A rekey gives a backup another dump, and
    /// leaves what tells it from others.
    pub fn is_another(&self, other: &Manifest) -> bool {
        let is_rekeyed = self.dump.file != other.dump.file
            && self.created_at == other.created_at
            && self.database == other.database;
        self != other && !is_rekeyed
    }
}

/// `there` is a manifest of the same id that is not `here`; `more` is how many others there are.
pub fn taken(place: &Place, here: &Manifest, there: &Manifest, more: &str) -> Failure {
    let id = &here.id;
    let name = manifest_file_name(id);
    match here.is_another(there) {
        // Of another database, or of another vault of this one: its only copy, maybe.
        true => Failure::refused(format!(
            "at {place} `{name}`{more} is a backup of the {}, which is not overwritten",
            there.database
        ))
        .hint(
            "leave that one as it is, and give each database and each vault a prefix of its own, in \
             `OFFSITE_URL` or `database/db.toml`",
        ),
        false => Failure::untrusted(format!(
            "at {place} there is another dump of `{id}`{more}, from before or after a rekey, which \
             is not overwritten"
        ))
        .hint(format!(
            "if it is to be replaced, remove `{name}` and `{}` there",
            there.dump.file
        )),
    }
}
