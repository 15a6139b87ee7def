//! A vault that is locked, damaged, empty, somebody else's, or no vault at all.

use std::fs::{self, File};

use super::{begun, said, steady, without_folder};
use crate::exec;
use crate::project::Project;

#[test]
fn a_vault_that_cannot_be_one() {
    let _steady = steady();
    let project = begun();
    project.write("file", "");
    insta::assert_snapshot!(said(&project, ["db", "backup", "--backups", "file"]), @"
    exit code 3
    --- stderr
    error: the vault `[DIR]/project/file` is not a folder

    hint: name a folder with `--backups`
    ");
    insta::assert_snapshot!(said(&project, ["db", "list", "--backups", "file"]), @"
    exit code 1
    --- stderr
    error: cannot read the vault `[DIR]/project/file`
    caused by: Not a directory (os error 20)
    ");
    insta::assert_snapshot!(said(&project, ["db", "backup", "--backups", "/proc/vault"]), @"
    exit code 1
    --- stderr
    error: cannot create the vault `/proc/vault`
    caused by: No such file or directory (os error 2)
    ");
}

#[test]
fn a_locked_vault() {
    let _steady = steady();
    let project = begun();
    let lock = project.vault().join(".lock");
    let held = File::create(&lock).expect("open the lock");
    held.lock().expect("take the lock");
    let holder = "pid 4711, `db migrate-safe` of ada@host, since 2026-01-02T03:04:05Z\n";
    fs::write(&lock, holder).expect("write who holds it");
    insta::assert_snapshot!(said(&project, ["db", "migrate-safe", "--yes"]), @"
    exit code 3
    --- stderr
    error: the vault `[DIR]/project/database/backups` is locked by pid [PID], `db migrate-safe` of ada@host, since [TIME]

    hint: wait until it has ended, then run the command again
    ");
    insta::assert_snapshot!(said(&project, ["db", "restore", "latest", "--yes"]), @"
    exit code 3
    --- stderr
    error: the vault `[DIR]/project/database/backups` is locked by pid [PID], `db migrate-safe` of ada@host, since [TIME]

    hint: wait until it has ended, then run the command again
    ");
}

#[test]
fn a_backup_that_cannot_be_trusted() {
    let _steady = steady();
    let project = begun();
    project.run(["db", "backup", "newer"]).expect_code(0);
    let files = project.vault_files();
    let dump = files
        .iter()
        .find(|name| name.ends_with("newer.db.zst"))
        .expect("a dump");
    project.write(format!("database/backups/{dump}"), "short");
    insta::assert_snapshot!(said(&project, ["db", "verify"]), @"
    exit code 4
    --- stdout
    NOT TRUSTED  backup_[TIME]_newer: the dump `[DIR]/project/database/backups/backup_[TIME]_newer.db.zst` cannot be trusted: it has 5 bytes, its manifest says [N]
    --- stderr
    error: the backup `backup_[TIME]_newer` cannot be trusted; the database is as it was
    caused by: the dump `[DIR]/project/database/backups/backup_[TIME]_newer.db.zst` cannot be trusted: it has 5 bytes, its manifest says [N]

    hint: the newest that can be trusted is [AGE] old: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
    insta::assert_snapshot!(said(&project, ["db", "verify", "--all"]), @"
    exit code 4
    --- stdout
    NOT TRUSTED  backup_[TIME]_newer: the dump `[DIR]/project/database/backups/backup_[TIME]_newer.db.zst` cannot be trusted: it has 5 bytes, its manifest says [N]
    trusted      backup_[TIME]_pre-migrate
    --- stderr
    error: 1 of 2 backups cannot be trusted

    hint: the newest that can: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
    insta::assert_snapshot!(said(&project, ["db", "restore", "latest", "--yes"]), @"
    exit code 4
    --- stderr
    error: the backup `backup_[TIME]_newer` cannot be trusted; the database is as it was
    caused by: the dump `[DIR]/project/database/backups/backup_[TIME]_newer.db.zst` cannot be trusted: it has 5 bytes, its manifest says [N]

    hint: the newest that can be trusted is [AGE] old: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
    fs::remove_file(project.vault().join(dump)).expect("lose the dump");
    insta::assert_snapshot!(said(&project, ["db", "restore", "latest", "--yes"]), @"
    exit code 4
    --- stderr
    error: the backup `backup_[TIME]_newer` cannot be trusted; the database is as it was
    caused by: the dump `[DIR]/project/database/backups/backup_[TIME]_newer.db.zst` cannot be opened: No such file or directory (os error 2)

    hint: the newest that can be trusted is [AGE] old: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
    let manifest = dump.replace(".db.zst", ".json");
    project.write(format!("database/backups/{manifest}"), "{\"format\": 4}");
    insta::assert_snapshot!(said(&project, ["db", "restore", "newer", "--yes"]), @"
    exit code 4
    --- stderr
    error: the backup `backup_[TIME]_newer` cannot be trusted; the database is as it was
    caused by: `backup_[TIME]_newer.json` cannot be used: it has format 4; this program reads up to format 3, a newer one is needed

    hint: the newest that can be trusted is [AGE] old: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
    insta::assert_snapshot!(said(&project, ["db", "verify", "newer"]), @"
    exit code 4
    --- stderr
    error: the backup `backup_[TIME]_newer` cannot be trusted; the database is as it was
    caused by: `backup_[TIME]_newer.json` cannot be used: it has format 4; this program reads up to format 3, a newer one is needed

    hint: the newest that can be trusted is [AGE] old: cargo xtask db restore backup_[TIME]_pre-migrate
    ");
}

#[test]
fn an_empty_vault() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "restore", "latest", "--yes"]), @"
    exit code 4
    --- stderr
    error: the vault `[DIR]/project/database/backups` has no backup of `sqlite://[DIR]/project/database/app.db`

    hint: `cargo xtask db list` shows what is there; `cargo xtask db backup` takes one
    ");
    insta::assert_snapshot!(said(&Project::new(), ["db", "verify"]), @"
    exit code 4
    --- stderr
    error: the vault `[DIR]/project/database/backups` has no backup of `sqlite://[DIR]/project/database/app.db`

    hint: `cargo xtask db list` shows what is there; `cargo xtask db backup` takes one
    ");
}

#[test]
fn another_database() {
    let _steady = steady();
    let project = begun();
    let other = ["--database-url", "sqlite://database/other.db?mode=rwc"];
    project.run([&["db", "backup", "of-the-other"], &other[..]].concat());
    rusqlite::Connection::open(project.path().join("database/other.db"))
        .and_then(|connection| connection.execute_batch("CREATE TABLE t (i)"))
        .expect("create another database");
    project
        .run([&["db", "backup", "theirs"], &other[..]].concat())
        .expect_code(0);
    insta::assert_snapshot!(said(&project, ["db", "restore", "theirs", "--yes"]), @"
    exit code 3
    --- stderr
    error: the backup `backup_[TIME]_theirs` is of another database, the SQLite database `[DIR]/project/database/other.db`; this is the SQLite database `[DIR]/project/database/app.db`

    hint: if that is what you want: cargo xtask db restore backup_[TIME]_theirs --force
    ");
    insta::assert_snapshot!(said(&project, ["db", "restore", "theirs", "--database-url", "postgres://127.0.0.1:1/x"]), @"
    exit code 1
    --- stderr
    error: cannot connect to `postgres://127.0.0.1:1/x`
    caused by: Connection refused (os error 111)

    hint: check `DATABASE_URL`, and that the server is running and reachable
    ");
}

#[test]
fn interrupted() {
    let _steady = steady();
    let project = begun();
    let lock = File::open(project.vault().join(".lock")).expect("open the lock");
    lock.lock().expect("take the lock");
    let running = exec::start(&mut project.command(["db", "backup", "--verbose"]), None);
    running.wait_for_line("vault: ");
    running.signal(rustix::process::Signal::INT);
    let output = running.finish().expect_code(130);
    insta::assert_snapshot!(without_folder(&project, &output.stderr), @"
    project: [DIR]/project
    database: sqlite://[DIR]/project/database/app.db
    vault: [DIR]/project/database/backups
    waiting for another process
    interrupted: the database is as it was
    ");
}
