//! `db config`, `db prune`, `db pin` and `db unpin`.

use super::{begun, said, steady};
use crate::project::Project;

#[test]
fn of_db_prune() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "prune", "--help"]), @"
    exit code 0
    --- stdout
    Remove backups that no rule keeps; databases that restores kept

    Usage: cargo xtask db prune [OPTIONS]

    Options:
          --keep-last <N>            Keep the newest N, however old they are [default: 3]
          --keep-hourly <N>          Keep the last backup of each of N hours (UTC) that have one
      [default: 0]
          --keep-daily <N>           The same for days [default: 30]
          --keep-weekly <N>          The same for ISO weeks [default: 12]
          --keep-monthly <N>         The same for months [default: 12]
          --keep-yearly <N>          The same for years [default: 0]
          --keep-within <TIME>       Keep all that are no older than TIME: `36h`, `30d`, `12w`, `6m`,
                                     `1y`, `forever` [default: 0d]
          --keep-manual <TIME>       Keep all that a person asked for, so long [default: 0d]
          --keep-pre-migrate <TIME>  Keep all that were taken before a migration, so long [default: 90d]
          --keep-pre-restore <TIME>  Keep all that a restore took first, so long; no other rule keeps
                                     those [default: 90d]
          --kept                     Instead of backups, the databases that restores of this one
                                     replaced and kept
          --older-than <DAYS>        Of those, only the ones that were replaced at least this many days
                                     ago
          --offsite                  Instead of backups in the vault, their copies, by the policy of
                                     each place in `database/db.toml`
          --dry-run                  Show what would be removed; remove nothing
      -y, --yes                      Answer the question with `yes`
      -h, --help                     Print help

    Options of every verb:
          --database-url <URL>  The database [env: DATABASE_URL, also in `.env`] [default:
                                sqlite://database/app.db]
          --profile <NAME>      Its platform: supabase, neon, vercel, rds, none [default: by host]
          --source <DIR>        The migrations folder [default: `migrations` in the project]
          --backups <DIR>       The vault of backups [default: `database/backups` in the project]
          --offsite-url <URL>   A place off-site for copies of backups, such as `s3://bucket/prefix`;
                                may be given more than once [env: OFFSITE_URL]
          --project <DIR>       The project [default: the nearest folder upwards with `migrations/` or
                                `database/`]
          --json                One JSON document on stdout, nothing else there
      -q, --quiet               Say nothing but errors and questions
      -v, --verbose             Say more

    Encryption:
          --recipient <KEY>               Encrypt backups for this public key (`age1…`, `ssh-ed25519 …`,
                                          `ssh-rsa …`); may be repeated. Unnamed: for those of the
                                          backup before; `none`: for nobody, unencrypted [env:
                                          XTASK_DB_RECIPIENTS, separated by commas]
          --recipients-file <FILE>        The same for every line of this file; may be repeated [env:
                                          XTASK_DB_RECIPIENTS_FILE]
          --identity <FILE>               A file with a secret key (age's, or an SSH key) that opens
                                          backups; may be repeated [env: XTASK_DB_IDENTITY]
          --passphrase-file <FILE>        The passphrase of backups, where there are no recipients, or
                                          of an SSH key: the line in this file [env:
                                          XTASK_DB_PASSPHRASE_FILE]
          --passphrase-command <COMMAND>  The same: what this command of a shell prints; other programs
                                          of this machine can see the command, so it must not hold the
                                          passphrase itself [env: XTASK_DB_PASSPHRASE_COMMAND]
          --unencrypted-in-public         Take, fetch, export unencrypted also in GitHub Actions of a
                                          public repository [env: XTASK_DB_UNENCRYPTED_IN_PUBLIC=true]
    ");
}

/// Keeps one, whatever day it is of.
const LEAST: [&str; 6] = [
    "db",
    "prune",
    "--keep-last=1",
    "--keep-daily=0",
    "--keep-weekly=0",
    "--keep-monthly=0",
];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [&LEAST, more].concat()
}

/// Three backups; the first was taken before a migration.
fn backed_up() -> Project {
    let project = begun();
    project.run(["db", "backup", "second"]).expect_code(0);
    project.run(["db", "backup", "third"]).expect_code(0);
    project
}

#[test]
fn a_prune_shows_and_refuses() {
    let _steady = steady();
    let project = backed_up();
    insta::assert_snapshot!(said(&project, with(&["--dry-run"])), @"
    exit code 0
    --- stderr
    backups of the SQLite database `[DIR]/project/database/app.db`:
             id                                    age   size  why
     keep    backup_[TIME]_third  [AGE]  [SIZE]  newest, last 1 of 1
     remove  backup_[TIME]_second  [AGE]  [SIZE]  nothing keeps it
     keep    backup_[TIME]_pre-migrate  [AGE]  [SIZE]  undoes the last migration, pre-migrate for 90d
    keeps 2 of 3 backups: [SIZE] before, [SIZE] after
    ");
    insta::assert_snapshot!(said(&project, with(&[])), @"
    exit code 3
    --- stderr
    backups of the SQLite database `[DIR]/project/database/app.db`:
             id                                    age   size  why
     keep    backup_[TIME]_third  [AGE]  [SIZE]  newest, last 1 of 1
     remove  backup_[TIME]_second  [AGE]  [SIZE]  nothing keeps it
     keep    backup_[TIME]_pre-migrate  [AGE]  [SIZE]  undoes the last migration, pre-migrate for 90d
    keeps 2 of 3 backups: [SIZE] before, [SIZE] after
    error: there is no terminal to ask on, and `--yes` was not given; nothing was changed

    hint: cargo xtask db prune --keep-last 1 --keep-daily 0 --keep-weekly 0 --keep-monthly 0 --yes
    ");
}

#[test]
fn a_pin_and_a_prune_that_removes() {
    let _steady = steady();
    let project = backed_up();
    insta::assert_snapshot!(said(&project, ["db", "pin", "second", "--note", "the import"]), @"
    exit code 0
    --- stderr
    pinned backup_[TIME]_second: the import
    ");
    insta::assert_snapshot!(said(&project, with(&["--yes"])), @"
    exit code 0
    --- stderr
    backups of the SQLite database `[DIR]/project/database/app.db`:
           id                                    age   size  why
     keep  backup_[TIME]_third  [AGE]  [SIZE]  newest, last 1 of 1
     keep  backup_[TIME]_second  [AGE]  [SIZE]  pinned: the import
     keep  backup_[TIME]_pre-migrate  [AGE]  [SIZE]  undoes the last migration, pre-migrate for 90d
    keeps 3 of 3 backups: [SIZE] before, [SIZE] after
    ");
    insta::assert_snapshot!(said(&project, ["db", "unpin", "second"]), @"
    exit code 0
    --- stderr
    unpinned backup_[TIME]_second
    ");
    insta::assert_snapshot!(said(&project, with(&["--yes"])), @"
    exit code 0
    --- stderr
    backups of the SQLite database `[DIR]/project/database/app.db`:
             id                                    age   size  why
     keep    backup_[TIME]_third  [AGE]  [SIZE]  newest, last 1 of 1
     remove  backup_[TIME]_second  [AGE]  [SIZE]  nothing keeps it
     keep    backup_[TIME]_pre-migrate  [AGE]  [SIZE]  undoes the last migration, pre-migrate for 90d
    keeps 2 of 3 backups: [SIZE] before, [SIZE] after
    removed 1 backup
    ");
}

#[test]
fn a_policy_that_keeps_nothing() {
    let _steady = steady();
    let project = Project::new();
    let nothing = [
        "--keep-last=0",
        "--keep-pre-migrate=0d",
        "--keep-pre-restore=0d",
        "--yes",
    ];
    let nothing = [&LEAST[..2], &LEAST[3..], &nothing].concat();
    insta::assert_snapshot!(said(&project, nothing), @"
    exit code 3
    --- stderr
    error: the policy keeps nothing: every `keep_` setting is 0

    hint: say what stays, such as: cargo xtask db prune --keep-daily 30
    ");
}

#[test]
fn settings_and_where_they_come_from() {
    let _steady = steady();
    let project = Project::new().env("XTASK_DB_KEEP_DAILY", "14");
    project.write(
        "database/db.toml",
        "[retention]\nkeep_weekly = 8\nprune_after_backup = true\n",
    );
    project.write(".env", "XTASK_DB_KEEP_YEARLY=5\n");
    // Of one section: others get more keys, and columns that fit them.
    let all = said(&project, ["db", "config"]);
    let lines = all.lines().filter(|line| line.contains(" retention."));
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    insta::assert_snapshot!(words.collect::<Vec<_>>().join("\n"), @"
    retention.keep_last 3 default XTASK_DB_KEEP_LAST
    retention.keep_hourly 0 default XTASK_DB_KEEP_HOURLY
    retention.keep_daily 14 environment: XTASK_DB_KEEP_DAILY XTASK_DB_KEEP_DAILY
    retention.keep_weekly 8 database/db.toml line 2 XTASK_DB_KEEP_WEEKLY
    retention.keep_monthly 12 default XTASK_DB_KEEP_MONTHLY
    retention.keep_yearly 5 .env: XTASK_DB_KEEP_YEARLY XTASK_DB_KEEP_YEARLY
    retention.keep_within 0d default XTASK_DB_KEEP_WITHIN
    retention.keep_manual 0d default XTASK_DB_KEEP_MANUAL
    retention.keep_pre_migrate 90d default XTASK_DB_KEEP_PRE_MIGRATE
    retention.keep_pre_restore 90d default XTASK_DB_KEEP_PRE_RESTORE
    retention.prune_after_backup true database/db.toml line 3 XTASK_DB_PRUNE_AFTER_BACKUP
    retention.kept_days 7 default XTASK_DB_KEPT_DAYS
    ");
    project.write("database/db.toml", "[retention]\nkeep_weakly = 8\n");
    insta::assert_snapshot!(said(&project, ["db", "config"]), @"
    exit code 2
    --- stderr
    error: `[DIR]/project/database/db.toml` line 2: `[retention]` has no key `keep_weakly`

    hint: is `keep_weekly` meant?
    ");
}
