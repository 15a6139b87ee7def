//! What a run says that was asked for something impossible.

use super::{begun, said, steady};

#[test]
fn a_bad_label() {
    let _steady = steady();
    insta::assert_snapshot!(said(&begun(), ["db", "backup", "before lunch!"]), @"
    exit code 2
    --- stderr
    error: `before lunch!` is no label: a label is made of letters, digits, `.`, `_` and `-`

    hint: cargo xtask db backup before-lunch
    ");
    insta::assert_snapshot!(said(&begun(), ["db", "backup", "-"]), @"
    exit code 2
    --- stderr
    error: `-` is no label: a label begins with a letter or a digit

    hint: cargo xtask db backup before-the-change
    ");
    insta::assert_snapshot!(said(&begun(), ["db", "backup", &"x".repeat(65)]), @"
    exit code 2
    --- stderr
    error: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is no label: a label has 1 to 64 bytes

    hint: cargo xtask db backup xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
    ");
}

#[test]
fn an_unknown_or_ambiguous_id() {
    let _steady = steady();
    let project = begun();
    project.run(["db", "backup", "lunch-1"]).expect_code(0);
    project.run(["db", "backup", "lunch-2"]).expect_code(0);
    insta::assert_snapshot!(said(&project, ["db", "restore", "dinner", "--yes"]), @"
    exit code 4
    --- stderr
    error: no backup has `dinner` in its id

    hint: `cargo xtask db list` shows the backups
    ");
    insta::assert_snapshot!(said(&project, ["db", "verify", "dinner"]), @"
    exit code 4
    --- stderr
    error: no backup has `dinner` in its id

    hint: `cargo xtask db list` shows the backups
    ");
    insta::assert_snapshot!(said(&project, ["db", "restore", "lunch", "--yes"]), @"
    exit code 2
    --- stderr
    error: `lunch` is in the id of 2 backups:
      backup_[TIME]_lunch-2
      backup_[TIME]_lunch-1

    hint: give a longer part, or the whole id
    ");
    insta::assert_snapshot!(said(&project, ["db", "restore"]), @"
    exit code 2
    --- stderr
    error: which backup is to be restored?

    hint: cargo xtask db restore latest
    ");
}

#[test]
fn a_bad_database_url() {
    let _steady = steady();
    let project = begun();
    let status = |url: &str| said(&project, ["db", "status", "--database-url", url]);
    insta::assert_snapshot!(status("mysql://localhost/shop"), @"
    exit code 2
    --- stderr
    error: the database URL cannot be read: its scheme is none of `sqlite`, `postgres` and `postgresql`

    hint: use `sqlite://path/to/app.db` or `postgres://user@host:5432/name` (`--database-url`, `DATABASE_URL` or `.env`)
    ");
    insta::assert_snapshot!(status("sqlite::memory:"), @"
    exit code 2
    --- stderr
    error: a SQLite database in memory cannot be backed up or migrated by another process

    hint: name a file: `sqlite://path/to/app.db`
    ");
    insta::assert_snapshot!(status("sqlite://app.db?mode=x"), @"
    exit code 2
    --- stderr
    error: the database URL cannot be read: sqlx knows no such SQLite parameter `mode`; it knows `mode=ro|rw|rwc|memory`, `cache=private|shared`, `immutable=0|1`

    hint: use `sqlite://path/to/app.db` or `postgres://user@host:5432/name` (`--database-url`, `DATABASE_URL` or `.env`)
    ");
    insta::assert_snapshot!(status("postgres://localhost:port/shop"), @"
    exit code 2
    --- stderr
    error: the database URL cannot be read: the port is not a number from 0 to 65535

    hint: use `sqlite://path/to/app.db` or `postgres://user@host:5432/name` (`--database-url`, `DATABASE_URL` or `.env`)
    ");
    insta::assert_snapshot!(status("app.db"), @"
    exit code 2
    --- stderr
    error: the database URL cannot be read: its scheme is none of `sqlite`, `postgres` and `postgresql`

    hint: use `sqlite://path/to/app.db` or `postgres://user@host:5432/name` (`--database-url`, `DATABASE_URL` or `.env`)
    ");
    insta::assert_snapshot!(status("postgres://ada:pass/word@localhost/shop"), @"
    exit code 2
    --- stderr
    error: the database URL cannot be read: a `/` or `@` in the password or in the database's name must be percent-encoded (`%2F`, `%40`)

    hint: use `sqlite://path/to/app.db` or `postgres://user@host:5432/name` (`--database-url`, `DATABASE_URL` or `.env`)
    ");
}

#[test]
fn a_missing_file_folder_or_project() {
    let _steady = steady();
    let project = begun();
    let at = ["--database-url", "sqlite://database/ap.db"];
    insta::assert_snapshot!(said(&project, [&["db", "backup"], &at[..]].concat()), @"
    exit code 3
    --- stderr
    error: no backup was taken of the SQLite database `[DIR]/project/database/ap.db`
    caused by: the SQLite database `[DIR]/project/database/ap.db` does not exist

    hint: check the path; to create it, add `?mode=rwc` to the database URL
    ");
    insta::assert_snapshot!(said(&project, [&["db", "status"], &at[..]].concat()), @"
    exit code 3
    --- stderr
    error: the SQLite database `[DIR]/project/database/ap.db` does not exist

    hint: check the path; to create it, add `?mode=rwc` to the database URL
    ");
    insta::assert_snapshot!(said(&project, [&["db", "migrate-safe", "--yes"], &at[..]].concat()), @"
    exit code 3
    --- stderr
    error: the SQLite database `[DIR]/project/database/ap.db` does not exist

    hint: check the path; to create it, add `?mode=rwc` to the database URL
    ");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--source", "nowhere"]), @"
    exit code 3
    --- stderr
    error: there is no migrations folder `[DIR]/project/nowhere`

    hint: name the folder with `--source`, or the project with `--project`
    ");
    insta::assert_snapshot!(said(&project, ["db", "status", "--project", "nowhere"]), @"
    exit code 2
    --- stderr
    error: `--project`: there is no folder `[DIR]/project/nowhere`

    hint: name a folder that exists
    ");
}

#[test]
fn an_unreadable_dotenv() {
    let _steady = steady();
    let project = begun();
    project.write(".env", "DATABASE_URL=sqlite://a b\n");
    insta::assert_snapshot!(said(&project, ["db", "status"]), @"
    exit code 2
    --- stderr
    error: `[DIR]/project/.env` cannot be read: the line with character 11 is no `NAME=value`

    hint: put values with spaces or `#` in quotes
    ");
}

#[test]
fn nobody_to_ask() {
    let _steady = steady();
    let project = begun();
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe"]), @"
    exit code 3
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second
    error: there is no terminal to ask on, and `--yes` was not given; nothing was changed

    hint: cargo xtask db migrate-safe --yes
    ");
    insta::assert_snapshot!(said(&project, ["db", "restore", "latest"]), @"
    exit code 3
    --- stderr
    backup    backup_[TIME]_pre-migrate, [AGE] old ([TIME])
    taken of  SQLite database `[DIR]/project/database/app.db`
    goes into SQLite database `[DIR]/project/database/app.db`
    how       copied into the live file in one transaction; open connections see it
    then      no migration was applied; 2 migrations of this checkout will be pending again
     table             rows in the backup  rows now
     _sqlx_migrations                none         1
     first                           none         1
    error: there is no terminal to ask on, and `--yes` was not given; nothing was changed

    hint: cargo xtask db restore backup_[TIME]_pre-migrate --yes
    ");
}

/// Pasted as it is, a command must not go to another database, vault or folder.
#[test]
fn a_command_to_paste_repeats_the_flags() {
    let _steady = steady();
    let project = begun();
    let elsewhere = |url: &str, verb: &[&str]| {
        let flags = [
            "--database-url",
            url,
            "--backups",
            "a vault",
            "--source",
            "migrations",
        ];
        said(&project, [&["db"], verb, &flags].concat())
    };
    let here = "sqlite://database/app.db";
    insta::assert_snapshot!(elsewhere(here, &["migrate-safe"]), @"
    exit code 3
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second
    error: there is no terminal to ask on, and `--yes` was not given; nothing was changed

    hint: cargo xtask db --database-url sqlite://database/app.db --source migrations --backups 'a vault' migrate-safe --yes
    ");
    insta::assert_snapshot!(elsewhere(here, &["migrate-safe", "--yes"]), @"
    exit code 0
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second
    backed up as backup_[TIME]_pre-migrate: 2 tables, 2 rows, [SIZE]; read back and matched
    rehearsed on a scratch database: restored and compared in [N] ms, 1 migration in [N] ms
       table   rows before  rows after  what changes
       second            –           0  new table
    applied 2 second in [N] ms
    1 applied; the way back is `cargo xtask db --database-url sqlite://database/app.db --source migrations --backups 'a vault' restore backup_[TIME]_pre-migrate`
    ");
    insta::assert_snapshot!(elsewhere(here, &["backup", "not good"]), @"
    exit code 2
    --- stderr
    error: `not good` is no label: a label is made of letters, digits, `.`, `_` and `-`

    hint: cargo xtask db --database-url sqlite://database/app.db --source migrations --backups 'a vault' backup not-good
    ");
    insta::assert_snapshot!(elsewhere("postgres://ada:secret@127.0.0.1:1/shop", &["backup", "not good"]), @r#"
    exit code 2
    --- stderr
    error: `not good` is no label: a label is made of letters, digits, `.`, `_` and `-`

    hint: cargo xtask db --database-url "$DATABASE_URL" --source migrations --backups 'a vault' backup not-good
    "#);
    insta::assert_snapshot!(elsewhere("postgres://127.0.0.1:1/shop?user=ada&password=secret", &["backup", "not good"]), @r#"
    exit code 2
    --- stderr
    error: `not good` is no label: a label is made of letters, digits, `.`, `_` and `-`

    hint: cargo xtask db --database-url "$DATABASE_URL" --source migrations --backups 'a vault' backup not-good
    "#);
}
