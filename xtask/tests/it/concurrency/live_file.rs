//! A backup of SQLite reads the live file itself where nobody can change it: the tool is stopped
//! in the middle, and what others do meanwhile is in the log, not in the dump.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use super::{SUM, TOTAL, create_accounts, unpacked};
use crate::exec::{self, Running};
use crate::project::sqlite_rows;
use crate::setup::{Case, says, text};

/// More than is packed at once, so that a backup can be met in the middle of it.
const FILLER: &str = "CREATE TABLE filler AS WITH RECURSIVE n(x) AS
    (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 400) SELECT x, randomblob(100000) AS b FROM n;";

/// A machine that is busy may let a backup run past the moment in which it should be met.
const TRIES: u32 = 20;

fn filled(mode: &str) -> Case {
    let case = Case::sqlite();
    case.query(&format!("PRAGMA journal_mode = {mode};"));
    create_accounts(&case);
    case.query(FILLER);
    case.query("PRAGMA wal_checkpoint(TRUNCATE);");
    case
}

/// A backup that is stopped when the first of its dump is written.
fn stopped_while_packing(case: &Case) -> Running {
    stopped_at(case, 1)
}

/// A backup that is stopped when so many bytes of its dump are written.
fn stopped_at(case: &Case, written: u64) -> Running {
    let mut backup = exec::start(&mut case.project.command(["db", "backup", "--json"]), None);
    let deadline = Instant::now() + exec::LIMIT;
    while !backup.has_ended() && staged(case, written).is_none() {
        assert!(Instant::now() < deadline, "the backup does not begin");
        std::thread::sleep(Duration::from_micros(300));
    }
    backup.signal_group(Signal::STOP);
    backup
}

/// The dump that is being written, once it has so many bytes.
fn staged(case: &Case, written: u64) -> Option<PathBuf> {
    let entries = fs::read_dir(case.project.vault()).ok()?;
    let mut dumps = entries.map(|entry| entry.expect("list the vault").path().join("dump"));
    dumps.find(|dump| dump.metadata().is_ok_and(|dump| dump.len() >= written))
}

fn open(case: &Case) -> Connection {
    let connection = Connection::open(case.project.sqlite_path()).expect("open the database");
    connection
        .busy_timeout(Duration::from_secs(5))
        .expect("set the timeout");
    connection
}

/// Ends the backup and returns where its dump lies unpacked.
fn finished(case: &Case, backup: Running) -> PathBuf {
    backup.signal_group(Signal::CONT);
    let taken = backup.finish().expect_code(0).json();
    unpacked(case, text(&taken, "/backup/id"))
}

const CHANGES: &str = "UPDATE first SET balance = balance - 7 WHERE id = 1;
    DELETE FROM filler WHERE x % 2 = 0;
    CREATE TABLE late AS SELECT randomblob(50000) FROM filler;
    VACUUM;";

#[test]
fn writers_and_checkpoints_do_not_reach_a_backup_in_wal_mode() {
    let mut caught = 0;
    for _ in 0..TRIES {
        let case = filled("wal");
        let before = fs::read(case.project.sqlite_path()).expect("read the database");
        let backup = stopped_while_packing(&case);
        let writer = open(&case);
        writer.execute_batch(CHANGES).expect("nobody waits");
        let busy = |mode: &str| -> i64 {
            let checkpoint = format!("PRAGMA wal_checkpoint({mode})");
            let row = writer.query_row(&checkpoint, [], |row| row.get(0));
            row.expect("move the log into the file")
        };
        writer.busy_timeout(Duration::ZERO).expect("do not wait");
        busy("PASSIVE");
        let is_read = busy("TRUNCATE") == 1;
        writer
            .execute_batch(CHANGES.split_once('\n').expect("lines").0)
            .expect("nobody waits");
        busy("PASSIVE");
        let copy = finished(&case, backup);
        assert!(
            fs::read(&copy).expect("read the copy") == before,
            "{copy:?}"
        );
        let copy = Connection::open(copy).expect("open the copy");
        assert_eq!(
            sqlite_rows(&copy, SUM).expect("sum the copy"),
            [TOTAL.to_string()]
        );
        assert_eq!(busy("TRUNCATE"), 0, "somebody still reads");
        let now = sqlite_rows(&writer, SUM).expect("sum the database");
        assert_eq!(now, [(TOTAL - 14).to_string()]);
        caught += u32::from(is_read);
        if caught == 2 {
            return;
        }
    }
    panic!("no backup was met while it read the file");
}

#[test]
fn a_writer_waits_only_for_the_copy_with_a_rollback_journal() {
    for mode in ["delete", "truncate", "persist"] {
        let case = filled(mode);
        let question = "SELECT * FROM first; SELECT x, hex(b) FROM filler; PRAGMA integrity_check;";
        let before = case.query(question);
        let backup = stopped_while_packing(&case);
        open(&case)
            .execute_batch(CHANGES)
            .expect("the copy is made");
        let copy = Connection::open(finished(&case, backup)).expect("open the copy");
        let copied = sqlite_rows(&copy, question).expect("read the copy");
        assert!(copied == before, "{mode}");
    }
}

/// What a file system without locks lets happen.
#[test]
fn a_write_in_spite_of_the_lock_is_noticed() {
    for _ in 0..TRIES {
        let case = filled("wal");
        let path = case.project.sqlite_path();
        let before = fs::read(&path).expect("read the database");
        let backup = stopped_while_packing(&case);
        let file = fs::File::options()
            .write(true)
            .open(&path)
            .expect("open the file");
        let counter = [0xAB, 0xCD, 0xEF, 0x01];
        file.write_all_at(&counter, 24).expect("count a change");
        backup.signal_group(Signal::CONT);
        let output = backup.finish();
        if output.code == 0 {
            continue;
        }
        says(&output.expect_code(1), &["its file system keeps no locks"]);
        assert_eq!(case.project.vault_files(), Vec::<String>::new());
        fs::write(&path, before).expect("put the file back");
        case.backup();
        return;
    }
    panic!("no backup was met while it read the file");
}

/// The parts that were flushed are read back while the others are packed: all of them are matched.
#[test]
fn a_dump_that_changes_before_it_was_read_back_is_no_backup() {
    let case = filled("wal");
    case.query("INSERT INTO filler SELECT x, randomblob(100000) FROM filler;");
    for _ in 0..TRIES {
        let before = case.project.vault_files();
        let mut backup = stopped_at(&case, 40 << 20);
        let Some(dump) = staged(&case, 0).filter(|_| !backup.has_ended()) else {
            continue;
        };
        let file = fs::File::options().read(true).write(true).open(dump);
        let file = file.expect("open the dump");
        let last = file.metadata().expect("look at the dump").len() - 1;
        let mut byte = [0];
        file.read_exact_at(&mut byte, last).expect("read the dump");
        file.write_all_at(&[!byte[0]], last)
            .expect("change the dump");
        backup.signal_group(Signal::CONT);
        let output = backup.finish();
        if output.code == 0 {
            continue;
        }
        let output = output.expect_code(4);
        says(&output, &["cannot be trusted", "its SHA-256 is"]);
        assert_eq!(case.project.vault_files(), before);
        case.backup();
        return;
    }
    panic!("no backup was met while it wrote");
}

/// With what SQLite keeps outside of the file, and what it would not copy.
#[test]
fn every_layout_is_packed_to_the_byte_or_with_its_log() {
    for size in [512, 4096, 65536] {
        for vacuum in [0, 1, 2] {
            let case = Case::sqlite();
            case.query(&format!(
                "PRAGMA page_size = {size}; PRAGMA auto_vacuum = {vacuum}; PRAGMA journal_mode = wal;
                 CREATE TABLE t (b BLOB); INSERT INTO t VALUES (zeroblob(300000)), (randomblob(300000));
                 DELETE FROM t WHERE rowid = 1;"
            ));
            let path = case.project.sqlite_path();
            let bytes = fs::read(&path).expect("read the database");
            let copy = unpacked(&case, &case.backup());
            let copy = fs::read(copy).expect("read the copy");
            assert!(copy == bytes, "pages of {size}, auto_vacuum {vacuum}");
            assert!(fs::read(&path).expect("read the database") == bytes);
            with_a_log(&case);
        }
    }
}

fn with_a_log(case: &Case) {
    let keeps_the_log = open(case);
    let late = "CREATE TABLE late AS SELECT 1 AS id; INSERT INTO late VALUES (2);";
    keeps_the_log.execute_batch(late).expect("write to the log");
    let log = case.project.sqlite_path().with_extension("db-wal");
    let log = || fs::metadata(&log).expect("see the log").len();
    let length = log();
    assert!(length > 0, "nothing is in the log");
    let copy = Connection::open(unpacked(case, &case.backup())).expect("open the copy");
    let rows = sqlite_rows(&copy, "SELECT id FROM late; PRAGMA integrity_check;");
    assert_eq!(rows.expect("read the copy"), ["1", "2", "ok"]);
    assert_eq!(log(), length, "a backup only reads");
}
