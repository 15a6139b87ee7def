//! Two ways to restore. Both build first and change the name's meaning last;
//! neither merges.

use std::path::Path;

use anyhow::{Context, Result};

use super::folder::{self, Input};
use super::target::{self, Target};
use super::toc::Toc;
use super::{Postgres, in_place, plain, platform, programs, rebuild};
use crate::engine::{RestoreWay, Restored};
use crate::tool;
use crate::values::failure::Failure;
use crate::values::platform::{Platform, Profile};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

enum Way {
    /// A new database, swapped in by name.
    Rebuild,
    /// One transaction in the live one; what belongs to other roles stays.
    InPlace(Toc),
}

pub fn prepare(postgres: &mut Postgres, dump: &VerifiedDump) -> Result<RestoreWay> {
    // What is dropped must be in the safety backup, whatever is left out today.
    postgres.profile = profile_of(dump.manifest().platform.as_ref())?;
    let left = platform::left_by(&postgres.url, dump.manifest());
    postgres.left_out = postgres.runtime.block_on(left)?;
    let mut target = postgres.runtime.block_on(target::target(&postgres.url))?;
    let major = target.maintenance.server_major;
    postgres
        .runtime
        .block_on(refuse_prepared_transactions(&mut target))?;
    let (database, now) = (target.database.clone(), target.now.is_some());
    let session = &mut target.maintenance.session;
    let sessions = postgres
        .runtime
        .block_on(target::sessions(session, &database))?;
    let mut way = RestoreWay {
        description: String::new(),
        sessions,
        warnings: Vec::new(),
        obstacles: Vec::new(),
        loses_late_rows: false,
        keeps_unreadable: false,
    };
    if folder::lies_open(postgres, dump) {
        way.warnings.push(
            "it lies unencrypted in a private folder of the vault until it is restored".into(),
        );
    }
    match decide(postgres, &target, dump)? {
        Way::Rebuild if now => {
            let slots = target::slots(&mut target.maintenance.session, &database);
            way.warnings.extend(postgres.runtime.block_on(slots)?);
            let subscriptions = target::subscriptions(&mut target.maintenance.session, &database);
            let subscriptions = postgres.runtime.block_on(subscriptions)?;
            way.warnings
                .extend(subscriptions.iter().map(|name| subscription(name)));
            way.description = format!(
                "built beside, compared, then swapped in by name; the present `{database}` is kept"
            );
        }
        Way::Rebuild => {
            way.description = format!("built beside, compared, then named `{database}`");
        }
        Way::InPlace(toc) => {
            programs::find("psql", major, 0)?;
            describe_in_place(postgres, &target, dump, &toc, &mut way)?;
        }
    }
    let then = &dump.manifest().database.server_version;
    if tool::major_of(then) != Some(major) {
        let now = &target.maintenance.server_version;
        way.warnings.push(format!(
            "the backup was taken on PostgreSQL {then}, this is {now}"
        ));
    }
    Ok(way)
}

fn describe_in_place(
    postgres: &Postgres,
    target: &Target,
    dump: &VerifiedDump,
    toc: &Toc,
    way: &mut RestoreWay,
) -> Result<()> {
    way.loses_late_rows = true;
    way.description = "in one transaction that first drops what you own there".into();
    if let Some(platform) = &dump.manifest().platform {
        way.description += &format!("; what is {}'s stays as it is", platform.profile);
        let lacks = platform::lacks(&postgres.url, platform);
        way.obstacles = postgres.runtime.block_on(lacks)?;
        way.obstacles.extend(toc.given_up(&platform.profile));
    }
    way.warnings.extend(toc.left_out());
    way.warnings.extend(properties_kept(target, dump)?);
    way.warnings.push(
        "stop the application first: what it writes between the safety backup and the \
         restore is in neither"
            .into(),
    );
    let changed = in_place::changed_tables_of_others(postgres, dump);
    way.obstacles.extend(postgres.runtime.block_on(changed)?);
    Ok(())
}

pub fn restore(
    postgres: &mut Postgres,
    dump: &VerifiedDump,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Restored> {
    let target = postgres.runtime.block_on(target::target(&postgres.url))?;
    let way = decide(postgres, &target, dump)?;
    let input = Input::of(postgres, dump, staging, progress)?;
    match way {
        Way::Rebuild => rebuild::restore(postgres, target, &input, staging, progress),
        Way::InPlace(toc) => in_place::restore(postgres, target, &toc, &input, staging, progress),
    }
}

/// Whose part the backup does without.
fn profile_of(platform: Option<&Platform>) -> Result<Profile> {
    let Some(Platform { profile, .. }) = platform else {
        return Ok(Profile::None);
    };
    Profile::parse(profile).map_err(|_| {
        let what = "the backup does without the part of a platform that this program does not know";
        Failure::untrusted(what).into()
    })
}

/// A new database needs the right to make one, and to make everything in it.
fn decide(postgres: &Postgres, target: &Target, dump: &VerifiedDump) -> Result<Way> {
    if let Some(platform) = &dump.manifest().platform {
        return decide_on_platform(postgres, target, dump, platform);
    }
    if plain::is_plain(dump) {
        return decide_plain(target);
    }
    let pg_restore = programs::find_pg_restore(dump, target.maintenance.server_major)?;
    if target.can_create && target.is_superuser {
        return Ok(Way::Rebuild);
    }
    let toc = Toc::read(postgres, &pg_restore, dump)?;
    let database = &target.database;
    match (target.can_create, toc.needs_others(), &target.now) {
        (true, None, _) => Ok(Way::Rebuild),
        (_, _, Some(_)) => Ok(Way::InPlace(toc)),
        (true, Some(what), None) => Err(Failure::refused(format!(
            "the database `{database}` does not exist, and this role cannot make all that the \
             backup holds: {what}"
        ))
        .hint("restore as an administrator")
        .into()),
        (false, _, None) => Err(Failure::refused(format!(
            "the database `{database}` does not exist, and the role may not create it"
        ))
        .hint(format!(
            "create it as an administrator: createdb {database}"
        ))
        .into()),
    }
}

/// Never into a new database, which would lack the platform's part, and which the platform does not
/// know.
fn decide_on_platform(
    postgres: &Postgres,
    target: &Target,
    dump: &VerifiedDump,
    platform: &Platform,
) -> Result<Way> {
    let profile = &platform.profile;
    if plain::is_plain(dump) {
        return Err(Failure::refused(format!(
            "SQL as text is restored into a new database, which would lack the part that is {profile}'s"
        ))
        .hint("unpack the dump into `psql`, see the README")
        .into());
    }
    if target.now.is_none() {
        let database = &target.database;
        return Err(Failure::refused(format!(
            "the database `{database}` does not exist, and the backup lacks the part of it that is {profile}'s"
        ))
        .hint(format!("restore into a database that {profile} has made"))
        .into());
    }
    let pg_restore = programs::find_pg_restore(dump, target.maintenance.server_major)?;
    Ok(Way::InPlace(Toc::read(postgres, &pg_restore, dump)?))
}

/// Text may end a transaction of ours; in a database of its own it does no harm.
fn decide_plain(target: &Target) -> Result<Way> {
    if target.can_create {
        return Ok(Way::Rebuild);
    }
    Err(Failure::refused(
        "SQL as text is restored into a new database, and the role may create none",
    )
    .hint("restore as a role with CREATEDB; or unpack the dump into `psql`, see the README")
    .into())
}

fn subscription(name: &str) -> String {
    format!(
        "the subscription `{name}` comes back disabled, and the kept database holds its slot: \
         end it there (ALTER SUBSCRIPTION … SET (slot_name = NONE); DROP SUBSCRIPTION …), then \
         ALTER SUBSCRIPTION … ENABLE here"
    )
}

/// In place the database itself stays. What of it cannot follow the backup is said.
fn properties_kept(target: &Target, dump: &VerifiedDump) -> Result<Option<String>> {
    let (Some(now), Some(then)) = (&target.now, &dump.manifest().database.properties) else {
        return Ok(None);
    };
    if now.encoding != then.encoding {
        return Err(Failure::refused(format!(
            "the backup has the encoding {}, and the database {} has {}",
            then.encoding, target.database, now.encoding
        ))
        .hint("restore as an administrator, into a database with the backup's encoding")
        .into());
    }
    let same = now.settings == then.settings
        && now.grants == then.grants
        && now.comment == then.comment
        && now.connection_limit == then.connection_limit;
    Ok((!same)
        .then(|| "the database's own settings, grants and comment stay as they are now".into()))
}

pub async fn refuse_prepared_transactions(target: &mut Target) -> Result<()> {
    let prepared: Vec<String> =
        sqlx::query_scalar("SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY 1")
            .bind(&target.database)
            .fetch_all(&mut target.maintenance.session)
            .await
            .context("cannot ask for prepared transactions")?;
    if prepared.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "database `{}` has prepared transactions, which no restore can end: {}",
        target.database,
        prepared.join(", ")
    ))
    .hint("COMMIT PREPARED or ROLLBACK PREPARED each of them, then run the command again")
    .into())
}
