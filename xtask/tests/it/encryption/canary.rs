//! Rows that lie nowhere but in the database: all files of vault, staging and temporary folder are
//! searched for one of them, again and again, while backups are taken and restored.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Pair, adopt};
use crate::cluster::Cluster;
use crate::exec;
use crate::kill::Dice;
use crate::setup::{Case, says};
use crate::traced;

/// In every row, and in no name.
const CANARY: &[u8] = b"yellow-bird-4711";
const FILL: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
                    INSERT INTO t WITH RECURSIVE n(i) AS
                    (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
                    SELECT i, 'yellow-bird-4711 ' || i || ' ' || (i * 7919 % 104729) FROM n;";

fn holds_canary(path: &Path) -> bool {
    // A file that goes away meanwhile holds nothing any more.
    let bytes = fs::read(path).unwrap_or_default();
    bytes.windows(CANARY.len()).any(|window| window == CANARY)
}

/// Files below `folder` with a row in them, but for the database itself.
fn files_that_tell(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            files_that_tell(&path, found);
        } else if !name.starts_with("app.db") && !found.contains(&path) && holds_canary(&path) {
            assert_private(&path);
            found.insert(path);
        }
    }
}

/// Nobody else may look into a folder that a row lies in.
fn assert_private(path: &Path) {
    let folder = path.parent().expect("a folder");
    if let Ok(metadata) = folder.metadata() {
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", folder.display());
    }
}

/// Looks until it is asked what it saw.
struct Watch {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<(BTreeSet<PathBuf>, u32)>,
}

impl Watch {
    fn begin(case: &Case) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (end, root) = (Arc::clone(&ended), root(case));
        let thread = std::thread::spawn(move || {
            let (mut found, mut rounds) = (BTreeSet::new(), 0);
            while !end.load(Ordering::Relaxed) {
                files_that_tell(&root, &mut found);
                rounds += 1;
            }
            (found, rounds)
        });
        Self { ended, thread }
    }

    /// What held a row at some moment.
    fn end(self) -> BTreeSet<PathBuf> {
        self.ended.store(true, Ordering::Relaxed);
        let (found, rounds) = self.thread.join().expect("the watch does not panic");
        assert!(rounds > 2, "it looked {rounds} times");
        found
    }
}

fn root(case: &Case) -> PathBuf {
    case.project.path().parent().expect("a parent").to_owned()
}

#[track_caller]
fn assert_nothing_tells(case: &Case) {
    let mut found = BTreeSet::new();
    files_that_tell(&root(case), &mut found);
    assert_eq!(found, BTreeSet::new());
}

fn filled(mut case: Case) -> Case {
    case.project = adopt(case.project, &Pair::new());
    case.query(FILL);
    case
}

/// The watch itself must be able to see something.
#[test]
fn an_unencrypted_copy_would_be_seen() {
    let case = Case::sqlite();
    case.query(FILL);
    let watch = Watch::begin(&case);
    // With a rollback journal a copy lies in the vault while it is packed.
    case.project.run(["db", "backup"]).expect_code(0);
    let seen = watch.end();
    let is_copy = |path: &PathBuf| path.display().to_string().contains(".partial/");
    assert!(seen.iter().any(is_copy), "{seen:?}");
}

#[test]
fn a_backup_of_sqlite_leaves_no_row_anywhere() {
    for mode in ["delete", "wal"] {
        let case = filled(Case::sqlite());
        case.query(&format!("PRAGMA journal_mode = {mode};"));
        // Rows that are in the log only, as an application leaves them.
        let application = rusqlite::Connection::open(case.project.sqlite_path()).expect("open it");
        application
            .execute_batch("UPDATE t SET name = name || '!' WHERE id < 5000")
            .expect("write");
        let watch = Watch::begin(&case);
        let taken = case.project.run(["db", "backup"]).expect_code(0);
        assert!(!taken.stderr.contains("unencrypted"), "{mode}: {taken}");
        assert_eq!(watch.end(), BTreeSet::new(), "{mode}");
        case.project.run(["db", "drill"]).expect_code(0);
        assert_nothing_tells(&case);
    }
}

/// While others write, the log is never empty, and a copy must be made: it is said, and it goes.
#[test]
fn a_backup_under_a_writer_says_where_a_copy_lay() {
    let case = filled(Case::sqlite());
    case.query("PRAGMA journal_mode = wal;");
    let path = case.project.sqlite_path();
    let reader = rusqlite::Connection::open(&path).expect("open it");
    case.query("UPDATE t SET name = name || '!' WHERE id < 50;");
    // Who reads keeps the log from being emptied.
    reader.execute_batch("BEGIN").expect("begin");
    let count = reader.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
    assert_eq!(count.expect("read"), 60_000);
    case.query("UPDATE t SET name = name || '?' WHERE id < 50;");
    let taken = case.project.run(["db", "backup"]).expect_code(0);
    says(
        &taken,
        &["a copy of it lay unencrypted in the vault, in a private folder"],
    );
    assert_nothing_tells(&case);
    drop(reader);
    case.project.run(["db", "drill"]).expect_code(0);
    assert_nothing_tells(&case);
}

#[test]
fn no_row_of_postgresql_lies_on_our_disk() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let case = filled(Case::of(cluster.create_database("canary")));
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    let watch = Watch::begin(&case);
    case.migrate();
    case.project.run(["db", "backup"]).expect_code(0);
    case.project.run(["db", "drill"]).expect_code(0);
    case.query("DELETE FROM t WHERE id > 100;");
    case.project
        .run(["db", "diff", "latest", "--rows", "t"])
        .expect_code(0);
    let empty = cluster.create_database("canary_into");
    let into = ["db", "restore", "latest", "--into", &empty.url(), "--yes"];
    case.project.run(into).expect_code(0);
    case.project
        .run([&into[..], &["--force"]].concat())
        .expect_code(0);
    let only = ["db", "restore", "latest", "--only", "t", "--yes"];
    case.project
        .run([&only[..], &["--into-schema", "rescued"]].concat())
        .expect_code(0);
    case.restore("latest");
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["60000"]);
    assert_eq!(watch.end(), BTreeSet::new());
}

/// A restore of SQLite needs a file: it lies in a private folder of the vault and nowhere else.
#[test]
fn a_restore_of_sqlite_lies_in_a_private_folder_and_goes() {
    let case = filled(Case::sqlite());
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    let watch = Watch::begin(&case);
    case.migrate();
    let said = "it lies unencrypted in a private folder of the vault until this has ended";
    let told = [
        &["db", "drill"][..],
        &["db", "diff", "latest", "--rows", "t"],
        &ONLY_BESIDE,
    ];
    for verb in told {
        says(&case.project.run(verb).expect_code(0), &[said]);
    }
    // A copy of what is replaced there is read from the file itself.
    case.project
        .run([&INTO_BESIDE[..], &["--force"]].concat())
        .expect_code(0);
    let restored = case
        .project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(0);
    says(
        &restored,
        &["lies unencrypted in a private folder of the vault until it is restored"],
    );
    let seen = watch.end();
    assert!(!seen.is_empty(), "the watch saw nothing of three restores");
    let is_staging = |path: &PathBuf| {
        let folder = path.parent().expect("a folder").display().to_string();
        folder.starts_with(&case.project.vault().display().to_string())
            && folder.ends_with(".partial")
    };
    assert!(seen.iter().all(is_staging), "{seen:?}");
    assert_no_copy(&seen);
    assert_nothing_tells(&case);
}

/// Such a file has no name any more once it is open, so that the watch cannot see it.
#[test]
fn what_is_sorted_in_a_rehearsal_spills_into_the_private_folder() {
    let mut case = filled(Case::sqlite());
    case.query(
        "INSERT INTO t SELECT id + 1000000 * n, name || n
         FROM t, (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3);",
    );
    // The live file, which lies there in clear, is not reached.
    case.project = (case.project.rehearsed())
        .migration("1_index.sql", "CREATE INDEX by_name ON t (name);")
        .migration("2_bad.sql", "INSERT INTO nowhere VALUES (1);");
    let log = case.project.tmp().join("calls");
    let to_log = format!("--output={}", log.display());
    let migrate = ["db", "migrate-safe", "--yes"];
    let Some(refused) = traced::run(
        &case.project,
        &["-e", "trace=open,openat", &to_log],
        &migrate,
    ) else {
        return;
    };
    says(&refused.expect_code(3), &["nowhere"]);
    let log = fs::read_to_string(log).expect("read the log");
    let spilled: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("etilqs_"))
        .collect();
    assert!(!spilled.is_empty(), "nothing was too large for memory");
    let vault = format!("\"{}/", case.project.vault().display());
    let is_staging = |line: &&str| line.contains(&vault) && line.contains(".partial/etilqs_");
    assert!(spilled.iter().all(is_staging), "{spilled:#?}");
}

/// Databases that the watch takes for the live one, whose rows may lie in them.
const ONLY_BESIDE: [&str; 8] = [
    "db",
    "restore",
    "latest",
    "--yes",
    "--only",
    "t",
    "--into",
    "sqlite:app.db-rescued",
];
const INTO_BESIDE: [&str; 6] = [
    "db",
    "restore",
    "latest",
    "--yes",
    "--into",
    "sqlite:app.db-rescued",
];

/// What is dumped is read where it is.
#[track_caller]
fn assert_no_copy(seen: &BTreeSet<PathBuf>) {
    let is_copy = |path: &&PathBuf| path.ends_with("copy.db");
    assert_eq!(seen.iter().find(is_copy), None, "{seen:?}");
}

/// What is brought back by itself is kept first, and migrations have just filled the log.
#[test]
fn a_turn_back_makes_no_copy() {
    for mode in ["delete", "wal"] {
        let mut case = filled(Case::sqlite());
        case.query(&format!("PRAGMA journal_mode = {mode};"));
        case.project = case
            .project
            .unrehearsed()
            .migration(
                "1_more.sql",
                "UPDATE t SET name = name || '!' WHERE id < 5000;",
            )
            .migration("2_bad.sql", "INSERT INTO nowhere VALUES (1);");
        let watch = Watch::begin(&case);
        let turned = ["db", "migrate-safe", "--yes", "--on-failure", "restore"];
        let turned = case.project.run(turned).expect_code(3);
        says(&turned, &["was restored, and the"]);
        assert!(
            !turned.stderr.contains("a copy of it lay"),
            "{mode}: {turned}"
        );
        assert_no_copy(&watch.end());
        assert_eq!(
            case.query("SELECT count(*) FROM t WHERE name LIKE '%!';"),
            ["0"]
        );
        assert_nothing_tells(&case);
    }
}

/// Killed at any moment: what lay in the private folder is removed by the next run.
#[test]
fn what_a_kill_leaves_is_removed_by_the_next_run() {
    let mut dice = Dice::new();
    for mut case in Case::each("canary_kill") {
        case = filled(case);
        case.project.run(["db", "backup"]).expect_code(0);
        let verbs: [&[&str]; 3] = [&["backup"], &["drill"], &["restore", "latest", "--yes"]];
        let mut killed = 0;
        for round in 0..9 {
            let verb = verbs[round % verbs.len()];
            let began = Instant::now();
            let running = exec::start(&mut case.project.command([&["db"], verb].concat()), None);
            std::thread::sleep(Duration::from_millis(dice.below(400)));
            running.signal_group(Signal::KILL);
            let output = running.finish();
            killed += u32::from(output.code == 137);
            let round = format!("{verb:?} after {:?}", began.elapsed());
            let mut found = BTreeSet::new();
            files_that_tell(&root(&case), &mut found);
            let is_staging = |path: &PathBuf| path.display().to_string().contains(".partial/");
            assert!(found.iter().all(is_staging), "{round}: {found:?}");
            case.project.run(["db", "backup"]).expect_code(0);
            assert_nothing_tells(&case);
        }
        assert!(killed > 0, "nothing was killed");
        case.project
            .run(["db", "restore", "latest", "--yes"])
            .expect_code(0);
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["60000"]);
    }
}

/// The memory of a run does not grow with the database.
#[test]
fn memory_is_bounded() {
    let case = filled(Case::sqlite());
    let peak = |arguments: &[&str]| {
        let mut command = case.project.command(arguments);
        let (output, peak) = exec::start(&mut command, None).finish_with_peak();
        output.expect_code(0);
        peak
    };
    let small = peak(&["db", "backup"]);
    case.query("INSERT INTO t SELECT id + 1000000, hex(randomblob(800)) FROM t;");
    let size = fs::metadata(case.project.sqlite_path())
        .expect("a database")
        .len();
    assert!(size > 100 << 20, "{size} bytes");
    for verb in [&["db", "backup"][..], &["db", "drill"]] {
        let large = peak(verb);
        assert!(
            large < small + (48 << 10),
            "{verb:?}: {small} KiB, then {large} KiB"
        );
    }
}
