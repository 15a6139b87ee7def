//! The same of what lies off-site.

use super::doubt::{refuse_future, unusable_newer};
use super::{BoxedIsOurs, find, is_of, latest, may_be_latest};
use crate::commands::Scene;
use crate::values::database::DatabaseFacts;
use crate::values::failure::{Failure, hint_of, is_untrusted};
use crate::values::id::BackupId;
use crate::vault::{Backup, Listing};

const SHOWS: &str = "`cargo xtask db list --offsite` shows what is there";

/// Which copies off-site are of this very database. What is there may be another project's, whose
/// SQLite file has the same name and is not on this machine either. Where the database does not
/// answer, its name must do.
pub fn of_very_offsite<'a>(scene: &'a Scene, now: Option<&'a DatabaseFacts>) -> BoxedIsOurs<'a> {
    match now {
        Some(now) => Box::new(|b| is_of(b, now) && b.manifest.database.path == now.path),
        None => Box::new(|backup| scene.settings.url.may_be(&backup.manifest.database)),
    }
}

/// As [`by_name`](super::by_name), where `listing` says what is in the way of a copy as well;
/// `whence` is where that is.
pub fn offsite<'a>(
    scene: &Scene,
    listing: &'a Listing,
    wanted: &str,
    now: Option<&DatabaseFacts>,
    whence: &str,
) -> Result<&'a Backup, Failure> {
    if wanted != "latest" {
        return find(scene, listing, wanted);
    }
    let is_ours = of_very_offsite(scene, now);
    let newest = latest(listing, &*is_ours);
    // On a new server none is of this very database: doubt is of what the name may mean.
    let like = latest(listing, &|backup| may_be(scene, backup));
    if let Some(unusable) = unusable_newer(scene, listing, newest.or(like)) {
        return Err(unusable.failure);
    }
    let Some(newest) = newest else {
        let url = &scene.settings.url;
        let failure = Failure::untrusted(format!("there is no backup of `{url}` at {whence}"));
        return Err(match like {
            Some(like) => failure.hint(of_same_name(scene, like, now)),
            None => failure.hint(SHOWS),
        });
    };
    refuse_future(listing, &*is_ours, newest)?;
    Ok(newest)
}

fn may_be(scene: &Scene, backup: &Backup) -> bool {
    scene.settings.url.may_be(&backup.manifest.database)
}

/// On a new server every database is another one than before, and on another machine a file may
/// lie elsewhere.
fn of_same_name(scene: &Scene, like: &Backup, now: Option<&DatabaseFacts>) -> String {
    let then = &like.manifest.database;
    let command = command(scene, like, now);
    format!("one of the same name is there, of the {then}; when that is what you want: {command}")
}

fn command(scene: &Scene, backup: &Backup, now: Option<&DatabaseFacts>) -> String {
    let id = backup.id();
    if scene.verb.starts_with("pull") {
        return format!("cargo xtask db pull {id}");
    }
    match now.is_some_and(|now| is_of(backup, now)) {
        true => format!("cargo xtask db restore {id}"),
        false => format!("cargo xtask db restore {id} --force"),
    }
}

/// Adds to an error about a copy that cannot be trusted which other one is there.
pub fn with_another_there(
    scene: &Scene,
    listing: &Listing,
    except: Option<&BackupId>,
    now: Option<&DatabaseFacts>,
    mut error: anyhow::Error,
) -> anyhow::Error {
    if !is_untrusted(&error) || hint_of(&error).is_some() {
        return error;
    }
    let is_other = |backup: &&Backup| {
        except != Some(backup.id()) && may_be_latest(backup) && may_be(scene, backup)
    };
    let hint = match listing.backups.iter().find(is_other) {
        Some(other) => format!(
            "the newest of the others there: {}\n{SHOWS}",
            command(scene, other, now)
        ),
        None => SHOWS.to_owned(),
    };
    if let Some(failure) = error.downcast_mut::<Failure>() {
        failure.hint = Some(hint);
    }
    error
}
