//! PostgreSQL: the server, its programs, and a day with it.

use super::{said, steady};
use crate::cluster::{Cluster, Database, SUPERUSER};
use crate::exec;
use crate::pg_bin::PgBin;
use crate::project::Project;

fn project(database: &Database) -> Project {
    Project::new()
        .env("USER", "ada")
        .migration("1_first.sql", "CREATE TABLE first (id INTEGER);")
        .migration("2_second.sql", "CREATE TABLE second (id INTEGER);")
        .database_url(&database.url())
}

#[test]
fn a_day() {
    let _steady = steady();
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("words_day");
    let project = project(&database);
    insta::assert_snapshot!(said(&project, ["db", "status"]), @"
    exit code 0
    --- stdout
    database    PostgreSQL database `words_day` on `[SOCKET]` port [PORT]
    version     PostgreSQL [VERSION]
    applied     none
    pending     1 first
                2 second
    latest      no backup of this database
    vault  [DIR]/project/database/backups, 0 backups
    tables      none
    ");
    a_day_goes_on(&project, &database);
}

fn a_day_goes_on(project: &Project, database: &Database) {
    insta::assert_snapshot!(said(project, ["db", "migrate-safe", "--yes"]), @"
    exit code 0
    --- stderr
    pending on the PostgreSQL database `words_day` on `[SOCKET]` port [PORT]:
      1 first
      2 second
    backed up as backup_[TIME]_pre-migrate: 0 tables, 0 rows, [SIZE]; read back and matched
    rehearsed on a scratch database: restored and compared in [N] ms, 2 migrations in [N] ms
       table   rows before  rows after  what changes
       first             –           0  new table
       second            –           0  new table
    applied 1 first in [N] ms
    applied 2 second in [N] ms
    2 applied; the way back is `cargo xtask db restore backup_[TIME]_pre-migrate`
    ");
    insta::assert_snapshot!(said(project, ["db", "status"]), @"
    exit code 0
    --- stdout
    database    PostgreSQL database `words_day` on `[SOCKET]` port [PORT]
    version     PostgreSQL [VERSION]
    applied     2 migrations, the last is 2
    pending     none
    latest      backup_[TIME]_pre-migrate, [AGE] old
    proof       hash [AGE] ago, check [AGE] ago, not drilled, rehearsed [AGE] ago
    vault  [DIR]/project/database/backups, 1 backup

     table             rows
     _sqlx_migrations     2
     first                0
     second               0
    ");
    database.psql("INSERT INTO first VALUES (1), (2)");
    insta::assert_snapshot!(said(project, ["db", "list"]), @"
    exit code 0
    --- stdout
     id                                    reason       database  age  size  tables  rows  migration  hash  check  drill  rehearsal
     backup_[TIME]_pre-migrate  pre-migrate  words_day (PostgreSQL)  [AGE]  [SIZE]  0     0  none  [AGE]  [AGE]  -  [AGE]
    ");
    insta::assert_snapshot!(said(project, ["db", "restore", "latest", "--yes"]), @r#"
    exit code 0
    --- stderr
    backup    backup_[TIME]_pre-migrate, [AGE] old ([TIME])
    taken of  PostgreSQL database `words_day` on `[SOCKET]` port [PORT]
    goes into PostgreSQL database `words_day` on `[SOCKET]` port [PORT]
    how       built beside, compared, then swapped in by name; the present `words_day` is kept
    then      no migration was applied; 2 migrations of this checkout will be pending again
     table             rows in the backup  rows now
     _sqlx_migrations                none         2
     first                           none         2
     second                          none         0
    backed up as backup_[TIME]_pre-restore: 3 tables, 4 rows, [SIZE]; read back and matched
    restored `backup_[TIME]_pre-migrate` into the PostgreSQL database `words_day` on `[SOCKET]` port [PORT]
    to undo: cargo xtask db restore --undo
    what it replaced is the backup `backup_[TIME]_pre-restore`
    what it replaced is kept as `words_day_before_[TIME]`; to remove it:
      psql --dbname='postgres:///postgres?host=[SOCKET]&port=[PORT]&user=tester' --command='DROP DATABASE "words_day_before_[TIME]"'
    "#);
}

#[test]
fn a_server_that_cannot_be_reached() {
    let _steady = steady();
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let nobody = cluster.create_database("words_nobody");
    let at = |url: &str| project(&nobody).database_url(url);
    insta::assert_snapshot!(said(&at("postgres://ada:secret@127.0.0.1:1/shop"), ["db", "backup"]), @"
    exit code 1
    --- stderr
    error: cannot connect to `postgres://ada@127.0.0.1:1/shop`
    caused by: Connection refused (os error 111)

    hint: check `DATABASE_URL`, and that the server is running and reachable
    ");
    insta::assert_snapshot!(said(&at("postgres:///shop?host=/no/such/folder&user=ada"), ["db", "backup"]), @"
    exit code 1
    --- stderr
    error: cannot connect to `postgres://ada@/no/such/folder/shop`
    caused by: No such file or directory (os error 2)

    hint: check `DATABASE_URL`, and that the server is running and reachable
    ");
    let wrong = cluster.database("postgres").as_role(SUPERUSER, "wrong");
    insta::assert_snapshot!(said(&at(&wrong.url()), ["db", "backup"]), @r#"
    exit code 1
    --- stderr
    error: cannot connect to `postgres://tester@[SOCKET]:[PORT]/postgres`
    caused by: password authentication failed for user "tester"

    hint: the server answers and refuses the user or the password: check `DATABASE_URL`, `PGPASSWORD` and the passfile
    "#);
    insta::assert_snapshot!(said(&at("postgres://ada:secret@127.0.0.1:1/shop"), ["db", "verify"]), @"
    exit code 4
    --- stderr
    going by the name alone, for the database does not answer: cannot connect to `postgres://ada@127.0.0.1:1/shop`
    error: the vault `[DIR]/project/database/backups` has no backup of `postgres://ada@127.0.0.1:1/shop`

    hint: `cargo xtask db list` shows what is there; `cargo xtask db backup` takes one
    ");
}

#[test]
fn a_database_that_is_missing() {
    let _steady = steady();
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let missing = cluster.database("words_missing_0");
    insta::assert_snapshot!(said(&project(&missing), ["db", "backup"]), @r#"
    exit code 1
    --- stderr
    error: no backup was taken of the PostgreSQL database `words_missing` on `[SOCKET]` port [PORT]
    caused by: cannot connect to `postgres://tester@[SOCKET]:[PORT]/words_missing`
    caused by: database "words_missing" does not exist

    hint: check the name; `createdb` creates a database, `cargo xtask db restore` brings one back
    "#);
    insta::assert_snapshot!(said(&project(&missing), ["db", "status"]), @r#"
    exit code 1
    --- stderr
    error: cannot connect to `postgres://tester@[SOCKET]:[PORT]/words_missing`
    caused by: database "words_missing" does not exist

    hint: check the name; `createdb` creates a database, `cargo xtask db restore` brings one back
    "#);
    insta::assert_snapshot!(said(&project(&missing), ["db", "migrate-safe", "--yes"]), @r#"
    exit code 1
    --- stderr
    error: cannot connect to `postgres://tester@[SOCKET]:[PORT]/words_missing`
    caused by: database "words_missing" does not exist

    hint: check the name; `createdb` creates a database, `cargo xtask db restore` brings one back
    "#);
    insta::assert_snapshot!(said(&project(&missing), ["db", "restore", "latest", "--yes"]), @"
    exit code 4
    --- stderr
    error: the vault `[DIR]/project/database/backups` has no backup of `postgres://tester@[SOCKET]:[PORT]/words_missing`

    hint: `cargo xtask db list` shows what is there; `cargo xtask db backup` takes one
    ");
}

#[test]
fn programs_that_do_not_fit() {
    let _steady = steady();
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("words_programs");
    let with = |bin: &PgBin| project(&database).env("PG_BIN", bin.path());
    insta::assert_snapshot!(said(&with(&PgBin::empty()), ["db", "backup"]), @"
    exit code 3
    --- stderr
    error: no backup was taken of the PostgreSQL database `words_programs` on `[SOCKET]` port [PORT]
    caused by: `pg_dump` was not found

    hint: install the client programs: `sudo apt-get install postgresql-client-[MAJOR]` or `brew install postgresql@[MAJOR]`, or name their folder with `PG_BIN`
    ");
    let old = PgBin::empty().raw("pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n");
    insta::assert_snapshot!(said(&with(&old), ["db", "backup"]), @"
    exit code 3
    --- stderr
    error: no backup was taken of the PostgreSQL database `words_programs` on `[SOCKET]` port [PORT]
    caused by: `[BIN]/pg_dump` is version 9, which does not fit: the server is 15, and version 15 is needed

    hint: install the client programs: `sudo apt-get install postgresql-client-[MAJOR]` or `brew install postgresql@[MAJOR]`, or name their folder with `PG_BIN`
    ");
    insta::assert_snapshot!(said(&with(&old), ["db", "migrate-safe", "--yes"]), @"
    exit code 3
    --- stderr
    pending on the PostgreSQL database `words_programs` on `[SOCKET]` port [PORT]:
      1 first
      2 second
    error: no backup was taken of the PostgreSQL database `words_programs` on `[SOCKET]` port [PORT]
    caused by: `[BIN]/pg_dump` is version 9, which does not fit: the server is 15, and version 15 is needed

    hint: install the client programs: `sudo apt-get install postgresql-client-[MAJOR]` or `brew install postgresql@[MAJOR]`, or name their folder with `PG_BIN`
    ");
}

#[test]
fn programs_that_fail() {
    let _steady = steady();
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("words_broken");
    let with = |bin: &PgBin| project(&database).env("PG_BIN", bin.path());
    let failing = "echo 'pg_dump: error: the server closed the connection' >&2; exit 1";
    let broken = PgBin::logging(cluster).script(cluster, "pg_dump", failing);
    insta::assert_snapshot!(said(&with(&broken), ["db", "backup"]), @"
    exit code 1
    --- stderr
    error: no backup was taken of the PostgreSQL database `words_broken` on `[SOCKET]` port [PORT]
    caused by: cannot dump the database of `postgres://tester@[SOCKET]:[PORT]/words_broken`
    caused by: `pg_dump` ended with exit status: 1: pg_dump: error: the server closed the connection
    ");
    let silent = PgBin::logging(cluster).script(cluster, "pg_dump", "kill -9 $$");
    insta::assert_snapshot!(said(&with(&silent), ["db", "migrate-safe", "--yes"]), @"
    exit code 1
    --- stderr
    pending on the PostgreSQL database `words_broken` on `[SOCKET]` port [PORT]:
      1 first
      2 second
    error: no backup was taken of the PostgreSQL database `words_broken` on `[SOCKET]` port [PORT]
    caused by: cannot dump the database of `postgres://tester@[SOCKET]:[PORT]/words_broken`
    caused by: `pg_dump` ended with signal: 9 (SIGKILL) and said nothing
    ");
    let half = "case \"$*\" in *--dbname=*) exit 1 ;; esac";
    let bin = PgBin::logging(cluster).real(cluster, "pg_restore", half);
    let half = with(&bin);
    half.run(["db", "backup"]).expect_code(0);
    insta::assert_snapshot!(said(&half, ["db", "restore", "latest", "--yes"]), @"
    exit code 1
    --- stderr
    backup    backup_[TIME], [AGE] old ([TIME])
    taken of  PostgreSQL database `words_broken` on `[SOCKET]` port [PORT]
    goes into PostgreSQL database `words_broken` on `[SOCKET]` port [PORT]
    how       built beside, compared, then swapped in by name; the present `words_broken` is kept
    then      no migration was applied; 2 migrations of this checkout will be pending again
    now       0 tables, with as many rows as in the backup
    backed up as backup_[TIME]_pre-restore: 0 tables, 0 rows, [SIZE]; read back and matched
    error: the backup `backup_[TIME]` was not restored
    caused by: cannot restore the database of `postgres://tester@[SOCKET]:[PORT]/words_broken`
    caused by: cannot restore the dump into a new database
    caused by: `pg_restore` ended with exit status: 1 and said nothing
    ");
}

#[test]
fn another_migration_that_runs() {
    let _steady = steady();
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("words_lock");
    let key = 0x3d32_ad9e * i64::from(crc32fast::hash(database.name().as_bytes()));
    let script = format!("SELECT pg_advisory_lock({key}); SELECT 'held'; SELECT pg_sleep(60);");
    let mut holder = database.psql_command();
    let holder = exec::start(holder.env("PGAPPNAME", "sqlx-cli"), Some(&script));
    holder.wait_for_line("held");
    insta::assert_snapshot!(said(&project(&database), ["db", "migrate-safe", "--yes"]), @"
    exit code 3
    --- stderr
    error: another migration of database `words_lock` is running: sqlx's advisory lock is held by pid [PID] (user tester, application sqlx-cli, since [TIME])

    hint: wait until it has ended, then run the command again
    ");
    holder.signal(rustix::process::Signal::TERM);
    holder.finish();
}

#[test]
fn a_failing_migration() {
    let _steady = steady();
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("words_failing");
    let project = project(&database)
        .migration("3_third.sql", "ALTER TABLE nowhere ADD COLUMN x int;")
        .unrehearsed();
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @r#"
    exit code 5
    --- stderr
    pending on the PostgreSQL database `words_failing` on `[SOCKET]` port [PORT]:
      1 first
      2 second
      3 third
    backed up as backup_[TIME]_pre-migrate: 0 tables, 0 rows, [SIZE]; read back and matched
    not rehearsed: --no-rehearse
    applied 1 first in [N] ms
    applied 2 second in [N] ms
    error: the migrations of the PostgreSQL database `words_failing` on `[SOCKET]` port [PORT] stopped: committed: 1, 2; not committed: 3
    caused by: migration 3 (third) failed
    caused by: relation "nowhere" does not exist

    hint: to go back to before all of them: cargo xtask db restore backup_[TIME]_pre-migrate
    "#);
}
