//! The help texts.

use super::{said, steady};
use crate::project::Project;

#[test]
fn of_xtask() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["--help"]), @"
    exit code 0
    --- stdout
    Backs up, proves and migrates a SQLite or PostgreSQL database, in the style of cargo-xtask

    Usage: cargo xtask <COMMAND>

    Commands:
      db    Back up, migrate and restore the database
      help  Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
}

#[test]
fn of_db() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "--help"]), @"
    exit code 0
    --- stdout
    Back up, migrate and restore the database

    Usage: cargo xtask db [OPTIONS] <COMMAND>

    Commands:
      backup        Take a backup, read it back and match it
      list          Show the backups in the vault, newest first
      status        Show the database, its migrations and its newest backup
      config        Show all settings, and where each comes from
      log           Show what was done with the vault, and whether its journal is whole
      verify        Match backups with their manifests
      diff          Show what differs between two backups, or a backup and the database
      drill         Restore backups into scratch databases and compare
      migrate-safe  Take a backup, rehearse the pending migrations on it, then run them
      restore       Put a backup in place of the database, or change nothing
      export        Write rows into a file that can be read, edited and imported
      import        Put the rows of such a file into the database, or change nothing
      push          Copy backups to the places off-site that do not have them
      pull          Fetch a backup from off-site into the vault
      prune         Remove backups that no rule keeps; databases that restores kept
      pin           Keep a backup, whatever the rules say
      unpin         Let the rules decide about a backup again
      rekey         Encrypt backups for others than before
      help          Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

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

    Exit codes: 0 done; 1 unexpected, database untouched; 2 wrong usage; 3 refused, database untouched;
    4 a backup cannot be trusted, database untouched; 5 failed after the first change, follow the hint;
    6 done, but a copy is missing, or something could not be removed; 130 interrupted: see its last line
    ");
}

#[test]
fn of_db_backup() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "backup", "--help"]), @r#"
    exit code 0
    --- stdout
    Take a backup, read it back and match it

    Usage: cargo xtask db backup [OPTIONS] [LABEL]

    Arguments:
      [LABEL]  Words at the end of the backup's id: letters, digits, `.`, `_`, `-`

    Options:
          --jobs <N>     PostgreSQL: dump through N sessions at once; the vault's disk must hold the
                         dump uncompressed for a while
          --fingerprint  Fingerprint the values of every table; whatever restores this backup compares
                         them, too
          --globals      PostgreSQL: keep roles and tablespaces of the server in the manifest, without
                         passwords
      -h, --help         Print help

    Less than all of the database; such a backup never takes its place:
          --schema-only                   Definitions without rows
          --data-only                     Rows without definitions
          --format <plain>                `plain`: SQL as text, for psql or sqlite3 [default: what
                                          restores fastest]
          --schema <PATTERN>              PostgreSQL: only schemas like PATTERN, as pg_dump reads it
          --table <PATTERN>               Only tables like PATTERN, such as `shop.*` or '"Order Items"'
          --exclude-table <PATTERN>       No tables like PATTERN
          --exclude-table-data <PATTERN>  No rows of tables like PATTERN
          --clean                         Of `--format plain`: drop first what it makes
          --no-owner                      Of `--format plain`, PostgreSQL: leave out who owns what
          --no-privileges                 Of `--format plain`, PostgreSQL: leave out who may do what

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
    "#);
}

#[test]
fn of_db_list() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "list", "--help"]), @"
    exit code 0
    --- stdout
    Show the backups in the vault, newest first

    Usage: cargo xtask db list [OPTIONS]

    Options:
          --offsite  The copies at the places off-site instead
      -h, --help     Print help

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
fn of_db_status() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "status", "--help"]), @"
    exit code 0
    --- stdout
    Show the database, its migrations and its newest backup

    Usage: cargo xtask db status [OPTIONS]

    Options:
          --offsite  Ask the places off-site what they hold, instead of the journal
      -h, --help     Print help

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
fn of_db_verify() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "verify", "--help"]), @"
    exit code 0
    --- stdout
    Match backups with their manifests

    Usage: cargo xtask db verify [OPTIONS] [latest|ID]

    Arguments:
      [latest|ID]  `latest`, an id, or a part that only one id has [default: latest]

    Options:
          --all      All backups in the vault
          --offsite  The copies at the places off-site instead: their bytes are read and matched
      -h, --help     Print help

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
fn of_a_verb_that_does_not_exist() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "migrate"]), @"
    exit code 2
    --- stderr
    error: unrecognized subcommand 'migrate'

      tip: a similar subcommand exists: 'migrate-safe'

    Usage: cargo xtask db [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn of_two_flags_that_contradict_each_other() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "backup", "--quiet", "--verbose"]), @"
    exit code 2
    --- stderr
    error: the argument '--quiet' cannot be used with '--verbose'

    Usage: cargo xtask db backup --quiet [LABEL]

    For more information, try '--help'.
    ");
}

/// What `-h` says, as an error.
#[test]
fn of_db_without_a_verb() {
    let help = Project::new().run(["db", "-h"]).expect_code(0);
    let bare = Project::new().run(["db"]).expect_code(2);
    assert_eq!((bare.stdout.as_str(), bare.stderr), ("", help.stdout));
}
