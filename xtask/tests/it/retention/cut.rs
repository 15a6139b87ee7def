//! A prune that is cut short at each of its steps: by `kill -9`, by a disk that refuses.

use std::fs;

use super::history::History;
use crate::exec::Output;
use crate::setup::says;
use crate::traced::{self, calls};

const PRUNE: [&str; 11] = [
    "db",
    "prune",
    "--keep-last",
    "1",
    "--keep-daily",
    "0",
    "--keep-weekly",
    "0",
    "--keep-monthly",
    "0",
    "--yes",
];

/// The prune with this fault in it; nothing, after a visible line, where nobody may trace.
fn with_fault(history: &History, fault: &str) -> Option<Output> {
    traced::run(history.project(), &["-e", fault], &PRUNE)
}

/// The dump of the newest is opened late; meanwhile the others are pruned.
#[test]
fn who_reads_meanwhile_calls_nothing_damaged_that_was_removed() {
    for verb in ["verify", "drill"] {
        reads_while_others_go(verb);
    }
}

fn reads_while_others_go(verb: &str) {
    let history = History::sqlite();
    let old = ["one", "two"].map(|label| history.add(1000, label, |_| {}));
    let newest = history.case.dump(&history.newest).display().to_string();
    let late = [
        "-P",
        &newest,
        "-e",
        "inject=open,openat:delay_enter=8000000",
    ];
    let Some(verifying) = traced::start(history.project(), &late, &["db", verb, "--all"]) else {
        return;
    };
    std::thread::sleep(std::time::Duration::from_secs(4));
    history.project().run(PRUNE).expect_code(0);
    let Some(verified) = traced::finish(verifying) else {
        return;
    };
    assert_eq!(verified.code, 0, "{verified}");
    for id in &old {
        says(&verified, &[&format!("note: {id} was removed meanwhile")]);
    }
    let log = history.project().run(["db", "log"]).expect_code(0);
    let is_bad = |line: &str| line.contains("failed");
    assert!(!log.stdout.lines().any(is_bad), "{log}");
}

/// A restore lists before it has the lock, which is opened late here.
#[test]
fn a_restore_says_what_was_removed_before_it_had_the_lock() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let lock = history
        .project()
        .vault()
        .join(".lock")
        .display()
        .to_string();
    let late = ["-P", &lock, "-e", "inject=open,openat:delay_enter=4000000"];
    let restore = ["db", "restore", &old, "--yes"];
    let Some(restoring) = traced::start(history.project(), &late, &restore) else {
        return;
    };
    std::thread::sleep(std::time::Duration::from_secs(2));
    for file in [history.case.manifest(&old), history.case.dump(&old)] {
        fs::remove_file(file).expect("remove it");
    }
    let Some(restored) = traced::finish(restoring) else {
        return;
    };
    assert_eq!(restored.code, 4, "{restored}");
    says(&restored, &[&format!("`{old}` was removed meanwhile")]);
}

#[test]
fn the_manifest_goes_first_and_every_step_is_flushed() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let trace = "trace=fsync,fdatasync,rename,renameat2,unlink,unlinkat";
    let Some(calls) = calls(history.project(), trace, &PRUNE) else {
        return;
    };
    let vault = "database/backups";
    let about = |call: &&String| call.contains(vault) && !call.contains("/proc/");
    let short: Vec<String> = calls
        .iter()
        .filter(about)
        .map(|call| call.replace(&old, "ID").replace(vault, "VAULT"))
        .map(|call| match call.split_once(".remove-") {
            Some((before, rest)) => {
                let name = rest.split_once(".partial").map_or("", |(_, name)| name);
                format!("{before}STAGING{name}")
            }
            None => call,
        })
        .skip_while(|call| !call.contains("rename"))
        .collect();
    let expected = [
        "rename VAULT/ID.json VAULT/STAGING/manifest",
        "fsync VAULT",
        "unlink VAULT/ID.db.zst",
        "fsync VAULT",
    ];
    assert_eq!(short[..4], expected, "all calls: {calls:#?}");
    assert_eq!(
        short.last().map(String::as_str),
        Some("fdatasync VAULT/journal.jsonl")
    );
}

/// Killed at each call that names, unnames or flushes something.
#[test]
fn one_that_is_killed_at_any_step_leaves_backups_orphans_or_nothing() {
    let history = History::sqlite();
    let mut killed = 0;
    for call in ["renameat2", "unlink,unlinkat", "fsync", "fdatasync"] {
        for step in 1.. {
            let old = ["one", "two"].map(|label| history.add(1000, label, |_| {}));
            let fault = format!("inject={call}:signal=KILL:when={step}");
            let Some(output) = with_fault(&history, &fault) else {
                return;
            };
            history.project().run(["db", "list"]).expect_code(0);
            history
                .project()
                .run(["db", "verify", "--all"])
                .expect_code(0);
            assert_eq!(history.files(&history.newest), [true; 2]);
            for id in &old {
                // Never a manifest without its dump.
                assert_ne!(history.files(id), [true, false], "{call} {step}");
            }
            let orphans = old
                .iter()
                .filter(|id| history.files(id) == [false, true])
                .count();
            assert!(orphans <= 1, "{call} {step}");
            // What was half gone is put back, and goes as a whole.
            let done = history.project().run(PRUNE).expect_code(0);
            assert_eq!(
                done.stderr.matches("put backup_").count(),
                orphans,
                "{done}"
            );
            for id in &old {
                assert_eq!(history.files(id), [false; 2], "{call} {step}");
            }
            let names = history.project().vault_files();
            assert!(
                !names.iter().any(|name| name.contains(".partial")),
                "{names:?}"
            );
            if output.code == 0 {
                break;
            }
            killed += 1;
            assert!(step < 50, "{call} never ends");
        }
    }
    assert!(killed > 8, "only {killed} kills");
}

/// What cannot be removed is as it was, and the code says so.
#[test]
fn a_dump_that_cannot_be_removed_keeps_its_manifest() {
    for fault in ["EPERM", "EIO"] {
        let history = History::sqlite();
        let old = ["one", "two"].map(|label| history.add(1000, label, |_| {}));
        // The dump of the first; the second goes.
        let fault = format!("inject=unlink:error={fault}:when=1");
        let Some(output) = with_fault(&history, &fault) else {
            return;
        };
        assert_eq!(output.code, 6, "{output}");
        says(
            &output,
            &[
                "1 backup could not be removed",
                "as they were",
                "hint: cargo xtask db prune",
            ],
        );
        let there = old
            .iter()
            .filter(|id| history.files(id) == [true; 2])
            .count();
        assert_eq!(there, 1, "{output}");
        history
            .project()
            .run(["db", "verify", "--all"])
            .expect_code(0);
        history.project().run(PRUNE).expect_code(0);
        assert!(old.iter().all(|id| history.files(id) == [false; 2]));
    }
}

/// Neither can the dump be removed nor its manifest be put back at once: the next run does it.
#[test]
fn a_manifest_that_cannot_be_put_back_is_not_lost() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let files = [history.case.dump(&old), history.case.manifest(&old)];
    let [dump, manifest] = files.map(|path| path.display().to_string());
    let faults = [
        "-P",
        &dump,
        "-P",
        &manifest,
        "-e",
        "inject=unlink:error=EIO:when=1",
        "-e",
        "inject=renameat2:error=EIO:when=2",
    ];
    let Some(output) = traced::run(history.project(), &faults, &PRUNE) else {
        return;
    };
    assert_eq!(output.code, 6, "{output}");
    says(
        &output,
        &["1 backup did not go as they should", "removed 0"],
    );
    assert!(!output.stderr.contains("as they were"), "{output}");
    assert_eq!(history.files(&old), [false, true]);
    let next = history.project().run(["db", "pin", "_old"]).expect_code(0);
    says(&next, &[&format!("put {old} back")]);
    assert_eq!(history.files(&old), [true; 2]);
    history.project().run(["db", "verify", &old]).expect_code(0);
}

/// The last flush fails: the backup is gone.
#[test]
fn what_is_gone_is_not_said_to_be_as_it_was() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let vault = history.project().vault().display().to_string();
    let fault = ["-P", &vault, "-e", "inject=fsync:error=EIO:when=2"];
    let arguments = [&PRUNE[..], &["--json"]].concat();
    let Some(output) = traced::run(history.project(), &fault, &arguments) else {
        return;
    };
    assert_eq!(output.code, 6, "{output}");
    says(&output, &["it is gone", "removed 1 backup"]);
    assert!(!output.stderr.contains("as they were"), "{output}");
    assert_eq!(output.json()["removed"], serde_json::json!([old]));
    assert_eq!(history.files(&old), [false; 2]);
}

/// What went before the signal is said, on both ways; nothing else goes.
#[test]
fn one_that_is_interrupted_says_what_is_gone() {
    let history = History::sqlite();
    let old = ["a", "b", "c", "d", "e"].map(|label| history.add(1000, label, |_| {}));
    let dump = history.case.dump(&old[0]).display().to_string();
    let fault = ["-P", &dump, "-e", "inject=unlink:signal=INT:when=1"];
    let arguments = [&PRUNE[..], &["--json"]].concat();
    let Some(output) = traced::run(history.project(), &fault, &arguments) else {
        return;
    };
    let gone = |ids: &[String]| {
        let gone = ids.iter().filter(|id| history.files(id) == [false; 2]);
        gone.count()
    };
    let left = old.iter().filter(|id| history.files(id) == [true; 2]);
    assert_eq!(left.count() + gone(&old), 5, "{output}");
    assert!((1..5).contains(&gone(&old)), "{output}");
    assert_eq!(output.code, 130, "{output}");
    says(
        &output,
        &[&format!("removed {} backup", gone(&old)), "not tried"],
    );
    assert!(
        output
            .stderr
            .ends_with("interrupted: what was done stands, see above\n"),
        "{output}"
    );
    let document = output.json();
    assert_eq!(
        document["removed"].as_array().map(Vec::len),
        Some(gone(&old))
    );

    // After a migration, which is done.
    let policy = "[retention]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n\
                  prune_after_backup = true\n";
    history.project().write("database/db.toml", policy);
    let migration = "CREATE TABLE m (id INTEGER);";
    history.project().write("migrations/1_m.sql", migration);
    let old = ["f", "g", "h"].map(|label| history.add(2000, label, |_| {}));
    let dump = history.case.dump(&old[0]).display().to_string();
    let fault = ["-P", &dump, "-e", "inject=unlink:signal=INT:when=1"];
    let migrate = ["db", "migrate-safe", "--yes", "--no-rehearse"];
    let output = traced::run(history.project(), &fault, &migrate).expect("it was traced before");
    assert_eq!(output.code, 130, "{output}");
    says(
        &output,
        &[
            "the database is migrated, its backup",
            "pruning was interrupted",
        ],
    );
    assert!(
        output
            .stderr
            .ends_with("interrupted: what was done stands, see above\n"),
        "{output}"
    );
    assert_eq!(history.case.query("SELECT count(*) FROM m;"), ["0"]);
}

/// A disk that lets go of nothing is not asked for ever.
#[test]
fn what_was_not_tried_is_not_said_to_have_failed() {
    let history = History::sqlite();
    for number in 0..8 {
        history.add(1000 + number, "old", |_| {});
    }
    let arguments = [&PRUNE[..], &["--json"]].concat();
    let fault = ["-e", "inject=unlink:error=EPERM"];
    let Some(output) = traced::run(history.project(), &fault, &arguments) else {
        return;
    };
    assert_eq!(output.code, 6, "{output}");
    says(
        &output,
        &["5 backups could not be removed and stay as they were; 3 backups were not tried"],
    );
    let document = output.json();
    assert_eq!(document["removed"], serde_json::json!([]));
    assert_eq!(document["remove"].as_array().map(Vec::len), Some(8));
}
