//! Every setting, a line each. The line drives what `database/db.toml` may say,
//! the name of the variable, `db config` and what the example must document.

use std::marker::PhantomData;

use super::kinds::{Given, Kind, Place, Shape, UrlText};
use super::offsite::{OptionsText, PlaceText};
use crate::cli::OnFailure;
use crate::values::platform::Profile;
use crate::values::retention::{HowLong, Policy};

/// A setting as the table has it.
pub struct Row {
    /// Section and name, as in the file.
    pub path: &'static str,
    pub shape: Shape,
    pub check: fn(&Given) -> Result<(), String>,
    /// As text; empty: nothing, or what the story sees fit.
    pub default: &'static str,
    /// Where some verb has one.
    pub flag: Option<&'static str>,
    variable: Option<&'static str>,
    pub about: &'static str,
}

/// A row and the type of its value.
pub struct Key<T> {
    pub path: &'static str,
    kind: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    const fn of(path: &'static str) -> Key<T> {
        let kind = PhantomData;
        Key { path, kind }
    }
}

impl Row {
    const fn of<T: Kind>(path: &'static str, about: &'static str) -> Row {
        Row {
            path,
            shape: T::SHAPE,
            check: check::<T>,
            default: "",
            flag: None,
            variable: None,
            about,
        }
    }

    const fn or(mut self, default: &'static str) -> Row {
        self.default = default;
        self
    }

    const fn flag(mut self, flag: &'static str) -> Row {
        self.flag = Some(flag);
        self
    }

    /// For names that were there before the rule.
    const fn variable(mut self, variable: &'static str) -> Row {
        self.variable = Some(variable);
        self
    }

    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(_, name)| name)
    }

    /// `XTASK_DB_` and the name of the key, without its section.
    pub fn variable_name(&self) -> String {
        match self.variable {
            Some(variable) => variable.to_owned(),
            None => format!("{PREFIX}{}", self.name().to_uppercase()),
        }
    }

    /// The same for a place off-site: its own name comes before that of the key.
    pub fn variable_of_place(&self, place: &str) -> String {
        let place = place.to_uppercase().replace('-', "_");
        format!("{PREFIX}OFFSITE_{place}_{}", self.name().to_uppercase())
    }
}

pub const PREFIX: &str = "XTASK_DB_";

fn check<T: Kind>(given: &Given) -> Result<(), String> {
    T::read(given).map(drop)
}

macro_rules! keys {
    ($table:ident { $($name:ident: $kind:ty = $path:literal $(.$with:ident($value:literal))*, $about:literal;)* }) => {
        $(#[doc = $about]  pub const $name: Key<$kind> = Key::of($path);)*
        pub const $table: &[Row] = &[$(Row::of::<$kind>($path, $about)$(.$with($value))*),*];
    };
}

keys! {
    ALL {
        DATABASE_URL: UrlText = "database.url".or("sqlite://database/app.db").flag("--database-url").variable("DATABASE_URL"), "The database, without a password";
        SCRATCH_URL: UrlText = "database.scratch_url".variable("SCRATCH_DATABASE_URL"), "The server for scratch databases, without a password";

        SOURCE: Place = "migrate.source".or("migrations").flag("--source"), "The migrations folder";
        ON_FAILURE: OnFailure = "migrate.on_failure".flag("--on-failure"), "What is done when a migration fails on the live database";
        EXCLUSIVE: bool = "migrate.exclusive".or("false").flag("--exclusive"), "Let nobody else write while migrate-safe runs";

        VAULT: Place = "backup.vault".or("database/backups").flag("--backups"), "The vault, where backups are kept";
        JOBS: u8 = "backup.jobs".flag("--jobs"), "PostgreSQL: dump through so many sessions at once";
        RESTORE_JOBS: u8 = "backup.restore_jobs".flag("--jobs"), "PostgreSQL: restore and drill through so many sessions at once";
        FINGERPRINT: bool = "backup.fingerprint".or("false").flag("--fingerprint"), "Fingerprint the values of every table";
        DRILL_WITHIN: HowLong = "backup.drill_within".or("forever"), "`db status` warns when no backup was restored for so long";

        RECIPIENTS: Vec<String> = "encryption.recipients".flag("--recipient"), "Encrypt backups for these public keys; `none`: for nobody";
        RECIPIENTS_FILE: Place = "encryption.recipients_file".flag("--recipients-file"), "The same for every line of this file";
        IDENTITY: Place = "encryption.identity".flag("--identity"), "The file with the secret key that opens backups";
        PASSPHRASE_FILE: Place = "encryption.passphrase_file".flag("--passphrase-file"), "The file with the passphrase of backups or of an SSH key";
        PASSPHRASE_COMMAND: String = "encryption.passphrase_command".flag("--passphrase-command"), "The command that prints it";
        UNENCRYPTED_IN_PUBLIC: bool = "encryption.unencrypted_in_public".or("false").flag("--unencrypted-in-public"), "Take, fetch and export unencrypted also in a GitHub Actions run of a public repository";

        KEEP_LAST: u32 = "retention.keep_last".or("3").flag("--keep-last"), "Keep the newest so many, however old they are";
        KEEP_HOURLY: u32 = "retention.keep_hourly".or("0").flag("--keep-hourly"), "Keep the last one of each of so many hours that have one";
        KEEP_DAILY: u32 = "retention.keep_daily".or("30").flag("--keep-daily"), "Keep the last one of each of so many days that have one";
        KEEP_WEEKLY: u32 = "retention.keep_weekly".or("12").flag("--keep-weekly"), "The same for ISO weeks";
        KEEP_MONTHLY: u32 = "retention.keep_monthly".or("12").flag("--keep-monthly"), "The same for months";
        KEEP_YEARLY: u32 = "retention.keep_yearly".or("0").flag("--keep-yearly"), "The same for years";
        KEEP_WITHIN: HowLong = "retention.keep_within".or("0d").flag("--keep-within"), "Keep all that are no older than this";
        KEEP_MANUAL: HowLong = "retention.keep_manual".or("0d").flag("--keep-manual"), "Keep all that a person asked for, so long";
        KEEP_PRE_MIGRATE: HowLong = "retention.keep_pre_migrate".or("90d").flag("--keep-pre-migrate"), "Keep all that were taken before a migration, so long";
        KEEP_PRE_RESTORE: HowLong = "retention.keep_pre_restore".or("90d").flag("--keep-pre-restore"), "Keep all that a restore took first, so long; nothing else keeps those";
        PRUNE_AFTER_BACKUP: bool = "retention.prune_after_backup".or("false"), "Prune after each backup and migrate-safe that has ended well";
        KEPT_DAYS: u32 = "retention.kept_days".or("7").flag("--older-than"), "Databases that restores kept are named by `db status` when they are older; said, pruned after backups, too";

        PROFILE: Profile = "postgres.profile".flag("--profile"), "The platform whose part of the database is left alone; nothing said: by the host's name";
        THROUGH_POOLER: bool = "postgres.through_pooler".or("false"), "Work through a pooler, which may lend a session to others";
    }
}

keys! {
    PLACE {
        OFFSITE_NAME: String = "offsite.name", "What the place is called here: letters, digits, `-` and `_`";
        OFFSITE_URL: PlaceText = "offsite.url", "Where it is, without a secret";
        OFFSITE_OPTIONS: OptionsText = "offsite.options", "Options of the library as `name=value`, such as `endpoint=…` and `region=…`; no secrets";
        OFFSITE_KEEP_LAST: u32 = "offsite.keep_last", "Keep the newest so many there; without any `keep_` all stays";
        OFFSITE_KEEP_HOURLY: u32 = "offsite.keep_hourly", "The last one of each of so many hours";
        OFFSITE_KEEP_DAILY: u32 = "offsite.keep_daily", "The same for days";
        OFFSITE_KEEP_WEEKLY: u32 = "offsite.keep_weekly", "The same for ISO weeks";
        OFFSITE_KEEP_MONTHLY: u32 = "offsite.keep_monthly", "The same for months";
        OFFSITE_KEEP_YEARLY: u32 = "offsite.keep_yearly", "The same for years";
        OFFSITE_KEEP_WITHIN: HowLong = "offsite.keep_within", "All that are no older than this";
        OFFSITE_KEEP_MANUAL: HowLong = "offsite.keep_manual", "All that a person asked for, so long";
        OFFSITE_KEEP_PRE_MIGRATE: HowLong = "offsite.keep_pre_migrate", "All that were taken before a migration, so long";
        OFFSITE_KEEP_PRE_RESTORE: HowLong = "offsite.keep_pre_restore", "All that a restore took first, so long";
        OFFSITE_REMOVE_LAST: bool = "offsite.remove_last_copies", "Remove there also what neither the vault nor another place is known to have";
    }
}

/// The `keep_` lines of a section.
pub struct Keeps {
    last: Key<u32>,
    hourly: Key<u32>,
    daily: Key<u32>,
    weekly: Key<u32>,
    monthly: Key<u32>,
    yearly: Key<u32>,
    within: Key<HowLong>,
    manual: Key<HowLong>,
    pre_migrate: Key<HowLong>,
    pre_restore: Key<HowLong>,
}

pub const RETENTION: Keeps = Keeps {
    last: KEEP_LAST,
    hourly: KEEP_HOURLY,
    daily: KEEP_DAILY,
    weekly: KEEP_WEEKLY,
    monthly: KEEP_MONTHLY,
    yearly: KEEP_YEARLY,
    within: KEEP_WITHIN,
    manual: KEEP_MANUAL,
    pre_migrate: KEEP_PRE_MIGRATE,
    pre_restore: KEEP_PRE_RESTORE,
};

pub const OF_PLACE: Keeps = Keeps {
    last: OFFSITE_KEEP_LAST,
    hourly: OFFSITE_KEEP_HOURLY,
    daily: OFFSITE_KEEP_DAILY,
    weekly: OFFSITE_KEEP_WEEKLY,
    monthly: OFFSITE_KEEP_MONTHLY,
    yearly: OFFSITE_KEEP_YEARLY,
    within: OFFSITE_KEEP_WITHIN,
    manual: OFFSITE_KEEP_MANUAL,
    pre_migrate: OFFSITE_KEEP_PRE_MIGRATE,
    pre_restore: OFFSITE_KEEP_PRE_RESTORE,
};

impl Keeps {
    /// What is not given counts as nothing.
    pub fn policy(
        self,
        count: impl Fn(Key<u32>) -> Option<u32>,
        span: impl Fn(Key<HowLong>) -> Option<HowLong>,
    ) -> Policy {
        let count = |key| count(key).unwrap_or_default();
        let span = |key| span(key).unwrap_or_default();
        Policy {
            last: count(self.last),
            hourly: count(self.hourly),
            daily: count(self.daily),
            weekly: count(self.weekly),
            monthly: count(self.monthly),
            yearly: count(self.yearly),
            within: span(self.within),
            manual: span(self.manual),
            pre_migrate: span(self.pre_migrate),
            pre_restore: span(self.pre_restore),
        }
    }
}

/// Sections that may stand in the file.
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&str> = ALL.iter().chain(PLACE).map(Row::section).collect();
    sections.dedup();
    sections
}
