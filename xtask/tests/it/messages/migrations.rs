//! What stops a migration, and what is said when one fails.

use super::{begun, said, steady};

#[test]
fn changed_or_missing_or_dirty_or_twice() {
    let _steady = steady();
    let project = begun();
    project.write("migrations/1_first.sql", "CREATE TABLE first (id BIGINT);");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 3
    --- stderr
    error: migration 1 was applied before, and its file was changed since

    hint: undo the change to migration 1 in `[DIR]/project/migrations` and write a new one
    ");
    insta::assert_snapshot!(said(&project, ["db", "status"]), @"
    exit code 0
    --- stdout
    database    SQLite database `[DIR]/project/database/app.db`
    version     SQLite [VERSION]
    applied     1 migration, the last is 1
    problem     migration 1 was applied before, and its file was changed since
    latest      backup_[TIME]_pre-migrate, [AGE] old
    proof       hash [AGE] ago, check [AGE] ago, not drilled, rehearsed [AGE] ago
    vault  [DIR]/project/database/backups, 1 backup

     table             rows
     _sqlx_migrations     1
     first                1
    ");
    std::fs::remove_file(project.path().join("migrations/1_first.sql")).expect("remove it");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 3
    --- stderr
    error: migration 1 was applied before, and its file is missing

    hint: bring migration 1 back into `[DIR]/project/migrations` (is this checkout older than the database?)
    ");
    let project = begun();
    project.write("migrations/2_again.sql", "SELECT 1;");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 3
    --- stderr
    error: two migration files have the version 2

    hint: give one of the files with version 2 in `[DIR]/project/migrations` a later version
    ");
    let project = begun();
    project.sqlite("UPDATE _sqlx_migrations SET success = 0");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 3
    --- stderr
    error: migration 1 was begun and not finished; the history is dirty

    hint: see what migration 1 left behind, or bring the last backup back: `cargo xtask db restore latest`
    ");
}

#[test]
fn a_file_that_sqlx_refuses() {
    let _steady = steady();
    let project = begun();
    project.write("migrations/V3__third.sql", "SELECT 1;");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @r#"
    exit code 3
    --- stderr
    error: the migrations in `[DIR]/project/migrations` cannot be read
    caused by: error parsing migration filename "V3__third.sql"; expected integer version prefix (e.g. `01_foo.sql`)

    hint: rename or mend the file; sqlx expects `<VERSION>_<DESCRIPTION>.sql`, in UTF-8
    "#);
    insta::assert_snapshot!(said(&project, ["db", "status"]), @r#"
    exit code 3
    --- stderr
    error: the migrations in `[DIR]/project/migrations` cannot be read
    caused by: error parsing migration filename "V3__third.sql"; expected integer version prefix (e.g. `01_foo.sql`)

    hint: rename or mend the file; sqlx expects `<VERSION>_<DESCRIPTION>.sql`, in UTF-8
    "#);
    insta::assert_snapshot!(said(&project, ["db", "backup"]), @r#"
    exit code 3
    --- stderr
    error: no backup was taken of the SQLite database `[DIR]/project/database/app.db`
    caused by: the migrations in `[DIR]/project/migrations` cannot be read
    caused by: error parsing migration filename "V3__third.sql"; expected integer version prefix (e.g. `01_foo.sql`)

    hint: rename or mend the file; sqlx expects `<VERSION>_<DESCRIPTION>.sql`, in UTF-8
    "#);
}

#[test]
fn a_target_that_is_none() {
    let _steady = steady();
    let project = begun();
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes", "--target-version", "7"]), @"
    exit code 3
    --- stderr
    error: there is no migration with the target version 7

    hint: `cargo xtask db status` shows the versions; going back is `cargo xtask db restore`
    ");
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes", "--target-version", "1"]), @"
    exit code 3
    --- stderr
    error: the target version 1 is older than 2, which is already applied

    hint: `cargo xtask db status` shows the versions; going back is `cargo xtask db restore`
    ");
}

#[test]
fn one_of_several_that_fails() {
    let _steady = steady();
    let project = begun().unrehearsed();
    project.write(
        "migrations/3_third.sql",
        "CREATE TABLE third (id INTEGER);\nINSERT INTO nowhere VALUES (1);",
    );
    project.write("migrations/4_fourth.sql", "SELECT 1;");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 5
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second
      3 third
      4 fourth
    backed up as backup_[TIME]_pre-migrate: 2 tables, 2 rows, [SIZE]; read back and matched
    not rehearsed: --no-rehearse
    applied 2 second in [N] ms
    error: the migrations of the SQLite database `[DIR]/project/database/app.db` stopped: committed: 2; not committed: 3, 4
    caused by: migration 3 (third) failed
    caused by: no such table: nowhere

    hint: to go back to before all of them: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
}

#[test]
fn one_without_a_transaction_that_fails() {
    let _steady = steady();
    let project = begun().unrehearsed();
    project.write(
        "migrations/2_second.sql",
        "-- no-transaction\nCREATE TABLE half (id INTEGER);\nSELECT broken();",
    );
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 5
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second  (without a transaction: a failure leaves the statements before it)
    backed up as backup_[TIME]_pre-migrate: 2 tables, 2 rows, [SIZE]; read back and matched
    not rehearsed: --no-rehearse
    error: the migrations of the SQLite database `[DIR]/project/database/app.db` stopped: committed: none; not committed: 2; 2 does not run in one transaction, and a part of it may be in the database
    caused by: migration 2 (second) failed
    caused by: no such function: broken

    hint: to go back to before all of them: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 5
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second  (without a transaction: a failure leaves the statements before it)
    backed up as backup_[TIME]_pre-migrate: 3 tables, 2 rows, [SIZE]; read back and matched
    not rehearsed: --no-rehearse
    error: the migrations of the SQLite database `[DIR]/project/database/app.db` stopped: committed: none; not committed: 2; 2 does not run in one transaction, and a part of it may be in the database
    caused by: migration 2 (second) failed
    caused by: table half already exists

    hint: to go back to before all of them: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
}

#[test]
fn a_database_that_is_in_use() {
    let _steady = steady();
    let project = begun();
    let holder = rusqlite::Connection::open(project.sqlite_path()).expect("open the database");
    holder.execute_batch("BEGIN EXCLUSIVE").expect("hold it");
    insta::assert_snapshot!(said(&project, ["db", "backup"]), @"
    exit code 3
    --- stderr
    error: no backup was taken of the SQLite database `[DIR]/project/database/app.db`
    caused by: cannot dump the database `[DIR]/project/database/app.db`
    caused by: the database is locked: another process was still reading or writing it after 5 s

    hint: stop the program that uses the database, then run the command again
    ");
}

#[test]
fn a_database_that_is_none() {
    let _steady = steady();
    let project = begun();
    project.write(
        "database/app.db",
        "this is no database, but it is long enough to be looked at",
    );
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 1
    --- stderr
    error: SQLite cannot read the database file
    caused by: cannot read the migration history in `_sqlx_migrations`
    caused by: file is not a database

    hint: cargo xtask db restore latest
    ");
    insta::assert_snapshot!(said(&project, ["db", "backup"]), @"
    exit code 1
    --- stderr
    error: no backup was taken of the SQLite database `[DIR]/project/database/app.db`
    caused by: cannot dump the database `[DIR]/project/database/app.db`
    caused by: SQLite cannot read the database file
    caused by: cannot begin to read
    caused by: file is not a database

    hint: cargo xtask db restore latest
    ");
    insta::assert_snapshot!(said(&project, ["db", "restore", "latest", "--yes"]), @"
    exit code 0
    --- stderr
    backup    backup_[TIME]_pre-migrate, [AGE] old ([TIME])
    taken of  SQLite database `[DIR]/project/database/app.db`
    goes into SQLite database `[DIR]/project/database/app.db`
    how       copied into the live file in one transaction; open connections see it
    then      no migration was applied; 2 migrations of this checkout will be pending again
    now       the database cannot be read: SQLite cannot read the database file: cannot read the schema: file is not a database: Error code 26: file is not a database
    warning: the live file cannot be read (Error code 26: file is not a database) and will be moved aside
    warning: no safety backup: no backup was taken of the SQLite database `[DIR]/project/database/app.db`: cannot dump the database `[DIR]/project/database/app.db`: SQLite cannot read the database file: cannot begin to read: file is not a database: Error code 26: file is not a database
    restored `backup_[TIME]_pre-migrate` into the SQLite database `[DIR]/project/database/app.db`
    what it replaced is kept as `[DIR]/project/database/app.db.damaged_[TIME]`; to remove it:
      rm [DIR]/project/database/app.db.damaged_[TIME]
    ");
}

#[test]
fn what_reaches_further_than_the_database() {
    let _steady = steady();
    let project = begun();
    project.write(
        "migrations/3_far.sql",
        "-- expect-loss: first, second.\"Old id\"\nATTACH 'other.db' AS other; -- COMMIT;\n\
         CREATE TRIGGER t AFTER INSERT ON first BEGIN\n  DELETE FROM _sqlx_migrations;\nEND;\nFROBNICATE 'COMMIT';\n",
    );
    project.write("migrations/4_many.sql", "COMMIT;\n".repeat(12));
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--dry-run"]), @r#"
    exit code 0
    --- stderr
    pending on the SQLite database `[DIR]/project/database/app.db`:
      2 second
      3 far
      note: 3 expects to lose first, second."Old id"
      note: 3 line 2: ATTACH … AS other (outside of the database: restoring will not undo this)
      note: 3 line 4: DELETE FROM _sqlx_migrations, in a body that waits to be called (this is where sqlx keeps its history)
      note: 3 line 6: FROBNICATE (not understood: look yourself how far it reaches)
      4 many
      note: 4 line 1: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 2: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 3: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 4: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 5: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 6: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 7: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 8: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 9: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 line 10: COMMIT (ends sqlx's transaction or begins another: a failure may leave a part)
      note: 4 and 2 more of the kind; see --json
    dry run: nothing was written
    "#);
    project.write(
        "migrations/3_far.sql",
        "SELECT 1;\n-- expect-loss: first second\n",
    );
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 2
    --- stderr
    error: migration 3 line 2: `first second` is no name of a table or column; such are `books`, `users.phone`, `shop.\"Books\".title`

    hint: write it as `-- expect-loss: books, users.phone`
    ");
}
