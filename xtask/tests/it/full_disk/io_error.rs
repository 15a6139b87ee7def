//! A disk that fails in the middle: calls that write, flush and read get an I/O error, each kind of
//! them at many moments of a backup and of a restore.

use std::collections::BTreeMap;
use std::fs;

use crate::exec::Output;
use crate::setup::Case;
use crate::traced;

const CALLS: [&str; 3] = ["fsync,fdatasync", "write,pwrite64", "read,pread64"];

/// The call of its kind that fails, counted in each thread; the last ones are behind a run's end.
const MOMENTS: [u32; 8] = [1, 2, 3, 5, 8, 13, 34, 144];

struct Struck {
    output: Output,
    /// The calls that failed, with their files.
    calls: Vec<String>,
}

impl Struck {
    /// Nothing where nobody may trace.
    fn run(case: &Case, calls: &str, moment: u32, verb: &[&str]) -> Option<Self> {
        let log = case.project.tmp().join("struck");
        let fault = format!("inject={calls}:error=EIO:when={moment}");
        let output = format!("--output={}", log.display());
        let flags = ["--decode-fds=path", "-e", &fault, &output];
        let output = traced::run(&case.project, &flags, verb)?;
        let log = fs::read_to_string(log).expect("read the log");
        let failed = log.lines().filter(|line| line.contains("(INJECTED)"));
        Some(Self {
            output,
            calls: failed.map(str::to_owned).collect(),
        })
    }

    /// Whether a disk has failed, and not a pipe or an event of the program's own.
    fn is_of_disk(&self, case: &Case) -> bool {
        let project = case.project.path().display().to_string();
        self.calls.iter().any(|call| call.contains(&project))
    }

    /// Whether what could not be written or flushed is a dump, a manifest or the database.
    fn must_be_heard(&self, case: &Case, calls: &str) -> bool {
        let project = case.project.path().display().to_string();
        let beside = [
            // What is only remembered for the next run.
            "journal.jsonl",
            ".index",
            ".proofs",
            ".lock",
            // SQLite itself goes on when it cannot flush the folder of its journal.
            "/project/database>",
        ];
        let is_about = |call: &&String| {
            call.contains(&project) && !beside.iter().any(|name| call.contains(name))
        };
        !calls.starts_with("read") && self.calls.iter().any(|call| is_about(&call))
    }
}

fn survives(case: &Case, fill: &str, change: &str, rows: &str) {
    case.query(fill);
    let base = case.backup();
    let as_backed_up = case.query(rows);
    case.query(change);
    let changed = case.query(rows);
    assert_ne!(as_backed_up, changed);
    let mut ends = BTreeMap::<_, u32>::new();
    for calls in CALLS {
        for moment in MOMENTS {
            let backup = ["db", "backup"];
            let restore = ["db", "restore", &base, "--yes"];
            for verb in [&backup[..], &restore] {
                let Some(struck) = Struck::run(case, calls, moment, verb) else {
                    return;
                };
                let Struck { output, calls: on } = &struck;
                let round = format!("{verb:?}, {calls} {moment}: {on:#?}\n{output}");
                let panicked = output.stderr.contains("panicked");
                assert!(!panicked || !struck.is_of_disk(case), "{round}");
                assert!(
                    output.code != 0
                        || output.stderr.contains("Input/output error")
                        || !struck.must_be_heard(case, calls),
                    "it is not said: {round}"
                );
                let now = case.query(rows);
                match (verb[1], output.code) {
                    ("restore", 0) => assert_eq!(now, as_backed_up, "{round}"),
                    ("restore", 5) => assert!([&as_backed_up, &changed].contains(&&now), "{round}"),
                    _ => assert_eq!(now, changed, "{round}"),
                }
                case.project.run(["db", "verify", "--all"]).expect_code(0);
                if struck.is_of_disk(case) {
                    *ends.entry((verb[1], calls, output.code)).or_default() += 1;
                }
                if now != changed {
                    case.query(change);
                }
            }
        }
    }
    println!("{ends:#?}");
    let failed: u32 = ends
        .iter()
        .map(|((_, _, code), n)| n * u32::from(*code != 0))
        .sum();
    assert!(failed >= 12, "the disk failed only {failed} runs");
    case.restore(&base);
    assert_eq!(case.query(rows), as_backed_up);
}

#[test]
fn in_the_middle_of_sqlite() {
    let case = Case::sqlite();
    survives(
        &case,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB);
         WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 400)
         INSERT INTO t SELECT x, randomblob(1000) FROM n;",
        "UPDATE t SET bytes = x'00' WHERE id % 3 = 0;",
        "SELECT id, hex(bytes) FROM t ORDER BY id; PRAGMA integrity_check;",
    );
}

#[test]
fn in_the_middle_of_postgresql() {
    let Some(case) = Case::postgres("io_error") else {
        return;
    };
    survives(
        &case,
        "CREATE TABLE t AS SELECT x AS id, sha512(x::text::bytea) AS bytes
         FROM generate_series(1, 3000) x;",
        "UPDATE t SET bytes = '\\x00' WHERE id % 3 = 0;",
        "SELECT id, bytes FROM t ORDER BY id;",
    );
}
