//! A prune that is cut short at each of its steps: by `kill -9`, by a disk that refuses.

use std::fs;
use std::process::Command;

use super::history::History;
use crate::exec::{self, Output, Running};
use crate::power_cut::calls;
use crate::setup::says;

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

/// The prune under `strace` with this fault in it; nothing, after a visible line, without it.
fn with_fault(history: &History, fault: &str) -> Option<Output> {
    let running = start_with(history, &["-e", fault], &PRUNE)?;
    let output = running.finish();
    if output.stderr.contains("ptrace") {
        exec::say(&format!(
            "SKIPPED: nobody may trace here: {}",
            output.stderr.trim()
        ));
        return None;
    }
    Some(output)
}

fn start_with(history: &History, flags: &[&str], arguments: &[&str]) -> Option<Running> {
    if !exec::installed("strace") {
        exec::say("SKIPPED: `strace` is not installed");
        return None;
    }
    let tool = history.project().command(arguments);
    let mut strace = Command::new("strace");
    strace.args(["--follow-forks", "--output=/dev/null"]);
    strace.args(flags).arg(tool.get_program()).args(arguments);
    strace.current_dir(history.project().path());
    for (name, value) in tool.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    Some(exec::start(&mut strace, None))
}

/// The dump of the newest is opened late; meanwhile the others are pruned.
#[test]
fn a_verification_that_runs_meanwhile_calls_nothing_damaged_that_was_removed() {
    let history = History::sqlite();
    let old = ["one", "two"].map(|label| history.add(1000, label, |_| {}));
    let newest = history.case.dump(&history.newest).display().to_string();
    let late = [
        "-P",
        &newest,
        "-e",
        "inject=open,openat:delay_enter=8000000",
    ];
    let Some(verifying) = start_with(&history, &late, &["db", "verify", "--all"]) else {
        return;
    };
    std::thread::sleep(std::time::Duration::from_secs(4));
    history.project().run(PRUNE).expect_code(0);
    let verified = verifying.finish();
    if verified.stderr.contains("ptrace") {
        exec::say("SKIPPED: nobody may trace here");
        return;
    }
    assert_eq!(verified.code, 0, "{verified}");
    for id in &old {
        says(&verified, &[&format!("note: {id} was removed meanwhile")]);
    }
    let log = history.project().run(["db", "log"]).expect_code(0);
    assert!(!log.stdout.contains("failed"), "{log}");
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
            history.project().run(PRUNE).expect_code(0);
            for id in &old {
                assert!(!history.files(id)[0], "{call} {step}");
                let _ = fs::remove_file(history.case.dump(id));
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
