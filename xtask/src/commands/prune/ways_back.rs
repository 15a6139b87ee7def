//! Which backups the present schema would go back to.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::engine::Engine;
use crate::values::id::Reason;
use crate::values::retention::Candidate;
use crate::vault::Backup;

/// Of the backups that were taken before migrations, the newest that leads back from the history
/// as it is now, and the newest that has this very history. Where no history fits, the newest. And of
/// all full ones that are no safety copies the newest that leads back: it may undo less. Each also
/// of those that are known to be good, and of those that are surely this server's.
pub fn ways_back(
    engine: &mut dyn Engine,
    mine: &[&Backup],
    candidates: &[Candidate],
) -> Result<BTreeSet<usize>> {
    let history = match engine.exists()? {
        true => engine.history()?,
        false => Vec::new(),
    };
    let now: BTreeSet<i64> = history.iter().map(|applied| applied.version).collect();
    let pre_migrate = |backup: &Backup| backup.manifest.reason == Reason::PreMigrate;
    let full =
        |backup: &Backup| backup.manifest.is_full() && backup.manifest.reason != Reason::PreRestore;
    type Of<'a> = &'a dyn Fn(&Backup) -> bool;
    type Wanted<'a> = &'a dyn Fn(&BTreeSet<i64>) -> bool;
    let newest = |is_of: Of, wanted: Wanted, (also_bad, also_elsewhere): (bool, bool)| {
        let mut all = mine.iter().zip(candidates);
        all.position(|(backup, candidate)| {
            let then = backup.manifest.migrations.applied.iter();
            is_of(backup)
                && (also_bad || !candidate.is_bad)
                && (also_elsewhere || candidate.part.is_none())
                && wanted(&then.map(|applied| applied.version).collect())
        })
    };
    let leads_back = |then: &BTreeSet<i64>| then.is_subset(&now) && *then != now;
    let also = [(true, true), (false, true), (true, false), (false, false)];
    let mut found = BTreeSet::new();
    for also in also {
        found.extend(newest(&pre_migrate, &leads_back, also));
        found.extend(newest(&pre_migrate, &|then| *then == now, also));
    }
    if found.is_empty() {
        for also in also {
            found.extend(newest(&pre_migrate, &|_| true, also));
        }
    }
    for also in also {
        found.extend(newest(&full, &leads_back, also));
    }
    Ok(found)
}
