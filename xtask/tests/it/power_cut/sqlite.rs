//! A restore into a SQLite file, stopped at many moments: what the disk holds then is a database
//! that is all old or all new, and every verb works on it.
//!
//! `XTASK_DB_ROUNDS` is how many moments of each kind all verbs are tried on.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::damage::number;
use crate::project::sqlite_rows;
use crate::setup::{Case, says, text};

/// More pages than SQLite keeps in memory, so that a part of them is written before the commit.
const FILL: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
                    INSERT INTO t SELECT i, 'NAME' || hex(randomblob(1000)) FROM n;";

/// Rows, their ends and the first letter of the names; and that no page is of another moment.
const ASK: &str = "SELECT count(*), min(id), max(id), min(substr(name, 1, 3)),
                   max(substr(name, 1, 3)) FROM t; PRAGMA integrity_check;";
const OLD: [&str; 2] = ["1400|101|1500|old|old", "ok"];
const NEW: [&str; 2] = ["1500|1|1500|new|new", "ok"];

/// A machine that is busy may let a restore run past what a test waits for.
const TRIES: u32 = 20;

/// What of the database is on the disk: the file itself, its journal and its WAL.
const SUFFIXES: [&str; 3] = ["", "-journal", "-wal"];

#[derive(Clone, PartialEq)]
struct Moment([Option<Vec<u8>>; 3]);

impl Moment {
    fn of(case: &Case) -> Self {
        Self(SUFFIXES.map(|suffix| fs::read(beside(case, suffix)).ok()))
    }

    fn put(&self, case: &Case) {
        // What was in shared memory is gone with the power.
        let _ = fs::remove_file(beside(case, "-shm"));
        for (suffix, bytes) in SUFFIXES.iter().zip(&self.0) {
            let path = beside(case, suffix);
            let _ = fs::remove_file(&path);
            if let Some(bytes) = bytes {
                fs::write(path, bytes).expect("write a file of the database");
            }
        }
    }

    fn side(&self) -> usize {
        self.0[1..].iter().flatten().map(Vec::len).sum()
    }
}

fn beside(case: &Case, suffix: &str) -> PathBuf {
    let mut path = case.project.sqlite_path().into_os_string();
    path.push(suffix);
    path.into()
}

/// The backup holds what is new, and the file what is old.
fn started(before: &str, between: &str) -> Case {
    let case = Case::sqlite();
    let fill = |name: &str| FILL.replace("NAME", name);
    case.query(&format!(
        "{before} CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);"
    ));
    case.query(&fill("new"));
    case.backup();
    case.query(&format!(
        "DELETE FROM t; {} DELETE FROM t WHERE id <= 100;",
        fill("old")
    ));
    case.query(between);
    case.query("PRAGMA wal_checkpoint(TRUNCATE);");
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    assert_eq!(case.query(ASK), OLD);
    case
}

/// A restore that stops and goes on as it is told.
struct Restore {
    child: Child,
    pid: Pid,
}

impl Restore {
    fn start(case: &Case) -> Self {
        let mut command = case.project.command(["db", "restore", "latest", "--yes"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("start the restore");
        let pid = Pid::from_child(&child);
        Self { child, pid }
    }

    /// Whether it stands still; otherwise it has ended, well.
    fn stop(&self) -> bool {
        // Gone already: what it ended with is told below.
        let _ = kill_process(self.pid, Signal::STOP);
        let status = waitpid(Some(self.pid), WaitOptions::UNTRACED).expect("wait for the restore");
        let (_, status) = status.expect("it has stopped or ended");
        assert!(
            status.stopped() || status.exit_status() == Some(0),
            "{status:?}"
        );
        status.stopped()
    }

    fn go_on(&self) {
        kill_process(self.pid, Signal::CONT).expect("let it go on");
    }

    fn kill(mut self) {
        self.child.kill().expect("kill the restore");
        self.child.wait().expect("wait for the restore");
    }
}

/// All different states of the files during one restore, in the order of time.
fn moments(case: &Case) -> Vec<Moment> {
    let mut moments = vec![Moment::of(case)];
    let restore = Restore::start(case);
    while restore.stop() {
        let moment = Moment::of(case);
        let pause = if moment.side() > 0 { 50 } else { 500 };
        if moments.last() != Some(&moment) {
            moments.push(moment);
        }
        restore.go_on();
        std::thread::sleep(Duration::from_micros(pause));
    }
    moments.push(Moment::of(case));
    assert_eq!(case.query(ASK), NEW);
    moments
}

/// The moment with most beside the file, of those that are wanted; of several restores when one
/// has none.
#[track_caller]
fn longest(case: &Case, old: &Moment, is_wanted: impl Fn(&Moment) -> bool) -> Moment {
    for _ in 0..TRIES {
        old.put(case);
        let moments = moments(case).into_iter().filter(|moment| moment.side() > 0);
        let wanted = moments.filter(|moment| is_wanted(moment));
        if let Some(longest) = wanted.max_by_key(Moment::side) {
            return longest;
        }
    }
    panic!("no such moment in {TRIES} restores");
}

/// The file is neither the old one nor the new one, and what is beside it says which it is.
fn is_hot(moments: &[Moment], at: usize) -> bool {
    let file = &moments[at].0[0];
    let ends = [&moments[0].0[0], &moments[moments.len() - 1].0[0]];
    moments[at].side() > 0 && (!ends.contains(&file) || moments[at].0[2].is_some())
}

fn ask(case: &Case) -> Vec<String> {
    let connection = Connection::open(case.project.sqlite_path()).expect("open the database");
    sqlite_rows(&connection, ASK).expect("read the database")
}

#[track_caller]
fn whole(case: &Case, what: &str) -> bool {
    let found = ask(case);
    assert!(found == OLD || found == NEW, "{what}: {found:?}");
    found == NEW
}

/// Every verb that looks or writes, each on the files as they were left.
#[track_caller]
fn every_verb(case: &Case, moment: &Moment, what: &str) {
    let rows = |document: &serde_json::Value| {
        let tables = document["tables"].as_array().expect("a list of tables");
        let of_t = tables
            .iter()
            .find(|table| table["name"] == "t")
            .expect("the table");
        of_t["rows"].as_u64().expect("a number")
    };
    moment.put(case);
    let is_new = whole(case, what);
    let expected = if is_new { 1500 } else { 1400 };
    moment.put(case);
    assert_eq!(
        rows(&case.project.json(["db", "status"])),
        expected,
        "{what}"
    );
    moment.put(case);
    let taken = case.project.json(["db", "backup"]);
    assert_eq!(rows(&taken["backup"]), expected, "{what}");
    fs::remove_file(case.dump(text(&taken, "/backup/id"))).expect("remove the dump");
    fs::remove_file(case.manifest(text(&taken, "/backup/id"))).expect("remove the manifest");
    assert_eq!(whole(case, what), is_new, "{what}: a backup changed it");
    moment.put(case);
    let migrated = case.migrate();
    assert_eq!(rows(&migrated["backup"]), expected, "{what}");
    assert_eq!(whole(case, what), is_new, "{what}: a migration changed it");
    let id = text(&migrated, "/backup/id");
    fs::remove_file(case.dump(id)).expect("remove the dump");
    fs::remove_file(case.manifest(id)).expect("remove the manifest");
    moment.put(case);
    case.restore("latest");
    assert_eq!(ask(case), NEW, "{what}");
}

fn cut_anywhere(kind: &str, before: &str, between: &str, needs_hot: bool) {
    let rounds = number("XTASK_DB_ROUNDS", 1);
    let case = started(before, between);
    let old = Moment::of(&case);
    let mut hot = 0;
    for _ in 0..TRIES {
        old.put(&case);
        let moments = moments(&case);
        for (at, moment) in moments.iter().enumerate() {
            moment.put(&case);
            whole(&case, &format!("{kind}, moment {at} of {}", moments.len()));
        }
        let hot_ones: Vec<_> = (0..moments.len())
            .filter(|at| is_hot(&moments, *at))
            .collect();
        hot += hot_ones.len();
        println!("{kind}: {} moments, {} hot", moments.len(), hot_ones.len());
        let some = usize::try_from(3 * rounds).expect("a few");
        for at in hot_ones
            .iter()
            .step_by(hot_ones.len().div_ceil(some).max(1))
        {
            every_verb(&case, &moments[*at], &format!("{kind}, moment {at}"));
        }
        if hot > 0 || !needs_hot {
            return;
        }
    }
    panic!("{kind}: no moment was hot, so nothing was shown");
}

#[test]
fn a_restore_that_is_cut_with_a_rollback_journal() {
    cut_anywhere("journal", "", "", true);
}

#[test]
fn a_restore_that_is_cut_in_wal_mode() {
    cut_anywhere("wal", "PRAGMA journal_mode = WAL;", "", true);
}

#[test]
fn a_restore_that_is_cut_while_it_changes_the_page_size() {
    let change = "PRAGMA page_size = 1024; VACUUM;";
    cut_anywhere("page size", "PRAGMA page_size = 8192;", change, true);
}

/// The journal was flushed before the file was touched; so whatever of it is lost before that, the
/// file is the old one.
#[test]
fn a_journal_that_was_not_flushed_yet_is_as_good_as_none() {
    let case = started("", "");
    let old = Moment::of(&case);
    let longest = longest(&case, &old, |moment| moment.0[0] == old.0[0]);
    let journal = longest.0[1].as_ref().expect("a journal");
    for cut in 0..40 {
        let length = journal.len() * cut / 40 + cut % 3;
        for zeros in [false, true] {
            let mut lost = journal.clone();
            match zeros {
                true => lost[length..].fill(0),
                false => lost.truncate(length),
            }
            Moment([longest.0[0].clone(), Some(lost), None]).put(&case);
            assert!(!whole(&case, "a journal that was cut"), "{length}");
        }
    }
    case.restore("latest");
    assert_eq!(ask(&case), NEW);
}

/// The WAL counts up to the last commit that is whole in it.
#[test]
fn a_wal_that_was_not_flushed_is_all_old_or_all_new() {
    let case = started("PRAGMA journal_mode = WAL;", "");
    let old = Moment::of(&case);
    let is_committed = |moment: &Moment| {
        Moment([old.0[0].clone(), None, moment.0[2].clone()]).put(&case);
        whole(&case, "the whole WAL")
    };
    let longest = longest(&case, &old, is_committed);
    let wal = longest.0[2].as_ref().expect("a WAL");
    for cut in 0..40 {
        let length = wal.len() - 1 - wal.len() * cut / 40;
        for zeros in [false, true] {
            let mut lost = wal.clone();
            match zeros {
                true => lost[length..].fill(0),
                false => lost.truncate(length),
            }
            Moment([old.0[0].clone(), None, Some(lost)]).put(&case);
            assert!(
                !whole(&case, "a WAL that was cut"),
                "{length} of {}",
                wal.len()
            );
        }
    }
    case.restore("latest");
    assert_eq!(ask(&case), NEW);
}

/// Kills a restore that has begun to unpack its dump; one that was done before is begun anew.
#[track_caller]
fn kill_while_unpacking(case: &Case, old: &Moment) {
    let unpacked = || {
        let files = case.project.vault_files();
        let staging = files.iter().find(|name| name.starts_with(".restore-"))?;
        let path = case.project.vault().join(staging).join("restored.db");
        path.exists().then_some(())
    };
    for _ in 0..TRIES {
        old.put(case);
        let restore = Restore::start(case);
        while restore.stop() {
            if unpacked().is_some() {
                return restore.kill();
            }
            restore.go_on();
        }
    }
    panic!("every restore has ended before it was killed");
}

/// Not only its files: the process is gone as well, and what it staged is there.
#[test]
fn a_restore_that_is_killed_is_cleared_away_and_done_again() {
    for mode in ["DELETE", "WAL"] {
        let case = started(&format!("PRAGMA journal_mode = {mode};"), "");
        kill_while_unpacking(&case, &Moment::of(&case));
        whole(&case, mode);
        for verb in ["list", "status", "verify"] {
            case.project.run(["db", verb]).expect_code(0);
        }
        let again = case
            .project
            .run(["db", "restore", "latest", "--yes"])
            .expect_code(0);
        says(
            &again,
            &["removed what a crashed run left behind: .restore-"],
        );
        assert_eq!(ask(&case), NEW, "{mode}");
        let files = case.project.vault_files();
        assert!(!files.iter().any(|name| name.starts_with('.')), "{files:?}");
        case.project.run(["db", "verify", "--all"]).expect_code(0);
    }
}
