//! What the journal knows of copies.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Place;
use crate::values::id::BackupId;
use crate::values::journal::{Deed, Ending, Entry, Line};
use crate::values::manifest::Manifest;

/// What the journal knows of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Its bytes were read back and matched, last at this moment.
    Matched(DateTime<Utc>),
    /// The same of what the backup was before it was encrypted for others.
    Earlier(DateTime<Utc>),
    /// It did not match, or was not there.
    Bad(DateTime<Utc>),
    /// It was removed on purpose.
    Removed(DateTime<Utc>),
    /// A copy that was begun and not heard of again.
    Begun(Option<Begun>),
}

/// An upload in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// As the store calls it.
    pub upload: String,
    /// The file that it was to become.
    pub dump: Option<String>,
}

/// By the name of a place and its address; with the file of the dump that it is about. Lines of
/// before there was an address are about whatever has the name.
type AtPlaces = BTreeMap<(String, Option<String>), (Known, Option<String>)>;
pub type KnownCopies = BTreeMap<BackupId, AtPlaces>;

impl Entry {
    /// It is about a copy there.
    pub fn set_place(&mut self, place: &Place) {
        self.place = Some(place.name.clone());
        self.address = Some(place.address());
    }

    pub fn is_at(&self, place: &Place) -> bool {
        let address = self.address.as_ref();
        self.place.as_ref() == Some(&place.name) && address.is_none_or(|at| *at == place.address())
    }
}

/// What is known of the copy of a backup as it is now: a rekey gives it another dump.
pub fn known_copy(copies: &KnownCopies, manifest: &Manifest, place: &Place) -> Option<Known> {
    let (known, dump) = at_place(copies, &manifest.id, place)?;
    let is_of_now = match dump {
        Some(dump) => *dump == manifest.dump.file,
        // A journal of before there was encryption.
        None => manifest.dump.encryption.is_none(),
    };
    Some(match known {
        Known::Matched(at) if !is_of_now => Known::Earlier(*at),
        known => known.clone(),
    })
}

/// The same where nobody can say which dump the backup has now.
pub fn last_known(copies: &KnownCopies, id: &BackupId, place: &Place) -> Option<Known> {
    at_place(copies, id, place).map(|(known, _)| known.clone())
}

fn at_place<'a>(
    copies: &'a KnownCopies,
    id: &BackupId,
    place: &Place,
) -> Option<&'a (Known, Option<String>)> {
    let places = copies.get(id)?;
    let known = |address| places.get(&(place.name.clone(), address));
    known(Some(place.address())).or_else(|| known(None))
}

pub fn known_copies(lines: &[Line]) -> KnownCopies {
    let mut copies = KnownCopies::new();
    for entry in lines.iter().filter_map(|line| line.entry.as_ref()) {
        let (Some(id), Some(place)) = (&entry.backup, &entry.place) else {
            continue;
        };
        let whatever = (place.clone(), None);
        let place = (place.clone(), entry.address.clone());
        let begun = || {
            let upload = entry.upload.clone()?;
            let dump = entry.dump.clone();
            Some(Begun { upload, dump })
        };
        let known = match (entry.deed, entry.ending) {
            (Deed::Copy | Deed::Pull | Deed::Verify, Ending::Done) => Known::Matched(entry.at),
            (Deed::Verify, Ending::Failed) => Known::Bad(entry.at),
            (Deed::Remove, Ending::Done) => Known::Removed(entry.at),
            (Deed::Copy, Ending::Begun) => Known::Begun(begun()),
            // It could not clean up behind itself.
            (Deed::Copy, _) if entry.upload.is_some() => Known::Begun(begun()),
            _ => {
                // It was ended in order, and left nothing behind.
                let places = copies.entry(id.clone()).or_default();
                for place in [place, whatever] {
                    if matches!(places.get(&place), Some((Known::Begun(_), _))) {
                        places.remove(&place);
                    }
                }
                continue;
            }
        };
        let places = copies.entry(id.clone()).or_default();
        places.remove(&whatever);
        places.insert(place, (known, entry.dump.clone()));
    }
    copies
}
