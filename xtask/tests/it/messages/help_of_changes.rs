//! The help texts of the verbs that change the live database.

use super::{said, steady};
use crate::project::Project;

#[test]
fn of_db_migrate_safe() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "migrate-safe", "--help"]), @"
    exit code 0
    --- stdout
    Take a backup, rehearse the pending migrations on it, then run them

    Usage: cargo xtask db migrate-safe [OPTIONS]

    Options:
          --dry-run              Show what would run; write nothing
          --target-version <N>   Run migrations up to this version only
          --jobs <N>             PostgreSQL: take the backup through N sessions at once
          --fingerprint          Fingerprint the values of every table; whatever restores the backup
                                 compares them, too
          --rehearse-reaching    Rehearse also what reaches further than its database, such as CREATE
                                 ROLE, on the live database's own server
          --no-rehearse          Do not restore the backup into a scratch database, and run the
                                 migrations unrehearsed
          --accept-loss <NAMES>  Tables and columns whose rows or values may be lost, such as
                                 `books,users.phone`
          --plan <FILE>          Do everything but the jump: write what would happen into FILE, for a
                                 review
          --approve <FILE>       Run only if it is what FILE, written by --plan, says
          --on-failure <WHAT>    When a migration fails on the live database: `ask` whether the backup
                                 is to be restored, `restore` it when nobody else has written since, or
                                 `keep` what there is [default: ask on a terminal, else keep]
          --exclusive            Let nobody else write from before the backup until the migrations have
                                 ended
          --offsite-first        Migrate only when the backup has arrived at all places off-site and was
                                 matched there
      -y, --yes                  Answer the question with `yes`
      -h, --help                 Print help

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

#[test]
fn of_db_restore() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "restore", "--help"]), @"
    exit code 0
    --- stdout
    Put a backup in place of the database, or change nothing

    Usage: cargo xtask db restore [OPTIONS] [latest|ID]

    Arguments:
      [latest|ID]  `latest`, an id, or a part that only one id has [default: ask on a terminal]

    Options:
          --undo                Undo the last restore: swap the database that it kept back, or restore
                                the backup that it took first
          --into <URL>          Restore into this database instead, which is created when it is missing;
                                the live one is not touched
          --only <TABLE[,…]>    Bring back only these tables, beside what is there: with --into, or with
                                --into-schema
          --into-schema <NAME>  PostgreSQL, with --only: into this schema of the live database, which is
                                created when it is missing
          --jobs <N>            PostgreSQL: restore through N sessions at once (unasked: up to 4), and
                                take the safety backup through as many (unasked: one)
      -y, --yes                 Answer the question with `yes`
          --force               As --yes, and go on when the backup is another database's, when the
                                database as it is cannot be backed up first, or when that of --into
                                holds something
      -h, --help                Print help

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
