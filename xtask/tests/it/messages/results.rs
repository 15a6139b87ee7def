//! What each verb says when all goes well.

use super::{begun, said, steady};
use crate::project::Project;

#[test]
fn list_of_nothing() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "list"]), @"
    exit code 0
    --- stderr
    no backups in `[DIR]/project/database/backups`
    take one with `cargo xtask db backup`
    ");
}

#[test]
fn list() {
    let _steady = steady();
    let project = begun();
    project.run(["db", "backup", "before-lunch"]).expect_code(0);
    project.write("database/backups/backup_2026-01-02_030405_torn.json", "{");
    project.write(
        "database/backups/backup_2026-01-02_030405_orphan.db.zst",
        "",
    );
    insta::assert_snapshot!(said(&project, ["db", "list"]), @"
    exit code 0
    --- stdout
     id                                     reason       database  age  size  tables  rows  migration  hash  check  drill  rehearsal
     backup_[TIME]_before-lunch  manual       app.db (SQLite)  [AGE]  [SIZE]  2     2  1  [AGE]  [AGE]  -      -
     backup_[TIME]_pre-migrate   pre-migrate  app.db (SQLite)  [AGE]  [SIZE]  0     0  none  [AGE]  [AGE]  -  [AGE]
    --- stderr
    note: `backup_[TIME]_orphan.db.zst` is left out: an orphan: a dump without a manifest, left by a crash
    note: `backup_[TIME]_torn.json` is left out: it is not a manifest: EOF while parsing an object at line 1 column 1: EOF while parsing an object at line 1 column 1
    ");
}

#[test]
fn status_of_a_fresh_clone() {
    let _steady = steady();
    let project = Project::new().migration("1_first.sql", "CREATE TABLE first (id INTEGER);");
    insta::assert_snapshot!(said(&project, ["db", "status"]), @"
    exit code 0
    --- stdout
    database    SQLite database `[DIR]/project/database/app.db`
    version     SQLite [VERSION]
                does not exist yet; `db migrate-safe` and `db restore` create it
    applied     none
    pending     1 first
    latest      no backup of this database
    vault  [DIR]/project/database/backups, 0 backups
    tables      none
    ");
    insta::assert_snapshot!(said(&Project::new(), ["db", "status"]), @"
    exit code 0
    --- stdout
    database    SQLite database `[DIR]/project/database/app.db`
    version     SQLite [VERSION]
                does not exist yet; `db migrate-safe` and `db restore` create it
    applied     none
    pending     none
    latest      no backup of this database
    vault  [DIR]/project/database/backups, 0 backups
    tables      none
    ");
}

#[test]
fn status() {
    let _steady = steady();
    insta::assert_snapshot!(said(&begun(), ["db", "status"]), @"
    exit code 0
    --- stdout
    database    SQLite database `[DIR]/project/database/app.db`
    version     SQLite [VERSION]
    applied     1 migration, the last is 1
    pending     2 second
    latest      backup_[TIME]_pre-migrate, [AGE] old
    proof       hash [AGE] ago, check [AGE] ago, not drilled, rehearsed [AGE] ago
    vault  [DIR]/project/database/backups, 1 backup

     table             rows
     _sqlx_migrations     1
     first                1
    ");
}

#[test]
fn verify() {
    let _steady = steady();
    let project = begun();
    insta::assert_snapshot!(said(&project, ["db", "verify"]), @"
    exit code 0
    --- stdout
    trusted      backup_[TIME]_pre-migrate
    ");
    project.run(["db", "backup", "second"]).expect_code(0);
    insta::assert_snapshot!(said(&project, ["db", "verify", "--all"]), @"
    exit code 0
    --- stdout
    trusted      backup_[TIME]_second
    trusted      backup_[TIME]_pre-migrate
    ");
    insta::assert_snapshot!(said(&project, ["db", "verify", "second"]), @"
    exit code 0
    --- stdout
    trusted      backup_[TIME]_second
    ");
    insta::assert_snapshot!(said(&Project::new(), ["db", "verify", "--all"]), @"
    exit code 0
    --- stderr
    the vault holds no backups
    ");
}

#[test]
fn backup() {
    let _steady = steady();
    insta::assert_snapshot!(said(&begun(), ["db", "backup", "before-lunch"]), @"
    exit code 0
    --- stderr
    backed up as backup_[TIME]_before-lunch: 2 tables, 2 rows, [SIZE]; read back and matched
    ");
    insta::assert_snapshot!(said(&begun(), ["db", "backup", "--quiet"]), @"exit code 0");
    insta::assert_snapshot!(said(&begun(), ["db", "backup", "--verbose"]), @"
    exit code 0
    --- stderr
    project: [DIR]/project
    database: sqlite://[DIR]/project/database/app.db
    vault: [DIR]/project/database/backups
    backed up as backup_[TIME]: 2 tables, 2 rows, [SIZE]; read back and matched
      [SIZE] before compression, SHA-256 [DIGEST], 0.[AGE]
    ");
}

#[test]
fn migrate_safe() {
    let _steady = steady();
    let project = begun();
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--dry-run"]), @"
    exit code 0
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second
    dry run: nothing was written
    ");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 0
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second
    backed up as backup_[TIME]_pre-migrate: 2 tables, 2 rows, [SIZE]; read back and matched
    rehearsed on a scratch database: restored and compared in [N] ms, 1 migration in [N] ms
       table   rows before  rows after  what changes
       second            –           0  new table
    applied 2 second in [N] ms
    1 applied; the way back is `cargo xtask db restore backup_[TIME]_pre-migrate`
    ");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 0
    --- stderr
    nothing is pending on the SQLite database `[DIR]/project/database/app.db`; 2 applied
    ");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--dry-run"]), @"
    exit code 0
    --- stderr
    nothing is pending on the SQLite database `[DIR]/project/database/app.db`; 2 applied
    dry run: nothing was written
    ");
}

#[test]
fn migrations_that_need_a_word() {
    let _steady = steady();
    let project = begun();
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    project.write(
        "migrations/3_index.sql",
        "-- no-transaction\nCREATE INDEX i ON first (id);",
    );
    let project = project.migration("0_forgotten.sql", "SELECT 1;");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--dry-run"]), @"
    exit code 0
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      0 forgotten  (older than what is already applied)
      3 index  (without a transaction: a failure leaves the statements before it)
    dry run: nothing was written
    ");
}

#[test]
fn restore() {
    let _steady = steady();
    let project = begun();
    project.run(["db", "backup", "before-lunch"]).expect_code(0);
    project.sqlite("INSERT INTO first VALUES (2); CREATE TABLE more (id)");
    insta::assert_snapshot!(said(&project, ["db", "restore", "latest", "--yes"]), @"
    exit code 0
    --- stderr
    backup    backup_[TIME]_before-lunch, [AGE] old ([TIME])
    taken of  SQLite database `[DIR]/project/database/app.db`
    goes into SQLite database `[DIR]/project/database/app.db`
    how       copied into the live file in one transaction; open connections see it
    then      migration 1 was the last one applied; 1 migration of this checkout will be pending again
     table  rows in the backup  rows now
     first                   1         2
     more                 none         0
    backed up as backup_[TIME]_pre-restore: 3 tables, 3 rows, [SIZE]; read back and matched
    restored `backup_[TIME]_before-lunch` into the SQLite database `[DIR]/project/database/app.db`
    to undo: cargo xtask db restore --undo
    what it replaced is the backup `backup_[TIME]_pre-restore`
    ");
    insta::assert_snapshot!(said(&project, ["db", "restore", "before-lunch", "--yes", "--quiet"]), @"exit code 0");
    std::fs::remove_file(project.sqlite_path()).expect("lose the database");
    insta::assert_snapshot!(said(&project, ["db", "restore", "before-lunch", "--yes"]), @"
    exit code 0
    --- stderr
    backup    backup_[TIME]_before-lunch, [AGE] old ([TIME])
    taken of  SQLite database `[DIR]/project/database/app.db`
    goes into SQLite database `[DIR]/project/database/app.db`
    how       the file is missing and will be created
    then      migration 1 was the last one applied; 1 migration of this checkout will be pending again
    now       the database does not exist
    restored `backup_[TIME]_before-lunch` into the SQLite database `[DIR]/project/database/app.db`
    ");
}
