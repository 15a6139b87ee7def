//! What the journal and the vault's left-overs say of backups that are bad or have failed, and what
//! is not removed because of that.

use std::fs;

use serde_json::{Value, json};

use super::guards::LEAST;
use super::history::History;
use crate::setup::{Case, says};

/// Two of those that count.
const TWO: [&str; 2] = ["--keep-last", "2"];

fn two() -> Vec<&'static str> {
    [&TWO[..], &LEAST[2..]].concat()
}

#[track_caller]
fn refused(history: &History, parts: &[&str]) {
    let refused = history
        .prune(&[&LEAST[..], &["--yes"]].concat())
        .expect_code(3);
    says(&refused, parts);
    says(
        &refused,
        &["nothing is removed", "hint: cargo xtask db backup"],
    );
}

/// A newest one, a good one that is younger than the last; and a line for each of these.
fn verified(lines: &[(&str, Option<&str>)]) -> (History, [String; 2]) {
    let history = History::sqlite();
    let ids =
        [(24, "younger"), (48, "older")].map(|(hours, label)| history.add(hours, label, |_| {}));
    for (ending, place) in lines {
        history.record(|entry| {
            entry["deed"] = json!("verify");
            entry["ending"] = json!(ending);
            entry["backup"] = json!(ids[0]);
            entry["place"] = json!(place);
        });
    }
    (history, ids)
}

#[test]
fn what_a_copy_off_site_is_found_to_be_says_nothing_of_the_backup() {
    let (history, [_, older]) = verified(&[("failed", Some("nas"))]);
    assert_eq!(history.plan(&two()).0, [older]);
    let (history, [younger, _]) = verified(&[("failed", None), ("done", Some("nas"))]);
    assert_eq!(history.plan(&two()).0, [younger]);
    // What is found of the backup itself does.
    let (history, [_, older]) = verified(&[("failed", None), ("done", None)]);
    assert_eq!(history.plan(&two()).0, [older]);
}

/// Whoever finds it, it counts for nothing any more.
#[test]
fn what_any_verb_finds_not_to_match_takes_no_place() {
    for verb in [&["drill"][..], &["restore", "--yes"]] {
        let history = History::sqlite();
        let younger = history.add(24, "younger", |_| {});
        let older = history.add(48, "older", |_| {});
        let mut bytes = fs::read(history.case.dump(&younger)).expect("read a dump");
        bytes[20] ^= 1;
        fs::write(history.case.dump(&younger), bytes).expect("damage a dump");
        assert_eq!(history.plan(&two()).0, std::slice::from_ref(&older));
        let arguments = [&["db"], verb, &[younger.as_str()]].concat();
        history.project().run(arguments).expect_code(4);
        assert_eq!(history.plan(&two()).0, [younger]);
        let log = history.project().run(["db", "log"]).expect_code(0);
        let line = |line: &str| line.contains("verify") && line.contains("failed");
        assert!(log.stdout.lines().any(line), "{log}");
    }
}

#[test]
fn a_backup_that_never_reached_the_server_has_failed() {
    let Some(case) = Case::postgres("prune_unreached") else {
        return;
    };
    let history = History::of(case);
    let old = history.add(1000, "old", |_| {});
    let server = history.case.server.as_ref().expect("a server");
    let stranger = server.as_role("nobody_at_all", "wrong").url();
    let backup = ["db", "--database-url", stranger.as_str(), "backup"];
    history.project().run(backup).expect_code(1);
    refused(
        &history,
        &["the last backup of the PostgreSQL database", "failed"],
    );
    // The way out of a full disk.
    refused(&history, &["too full", &old]);
    assert_eq!(history.files(&old), [true; 2]);
    history.project().run(["db", "backup"]).expect_code(0);
    assert_eq!(super::guards::left(&history, &[&old]), [""; 0]);
}

/// What is left of one that was killed is its staging folder, which the next run removes.
#[test]
fn a_backup_that_was_killed_has_failed() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let vault = history.project().vault();
    let left = vault.join(".backup_2026-01-23_143052_nightly.partial");
    fs::create_dir(&left).expect("make a folder");
    fs::write(left.join("dump"), "half").expect("write a file");
    // It stays known when its folder is gone.
    let pinned = history.project().run(["db", "pin", &history.newest]);
    says(&pinned.expect_code(0), &["removed what a crashed run left"]);
    assert!(!left.exists());
    for _ in 0..2 {
        refused(
            &history,
            &["the last backup of the unknown database failed"],
        );
    }
    assert_eq!(history.files(&old), [true; 2]);
    // What was only being fetched is no backup that failed.
    history.project().run(["db", "backup"]).expect_code(0);
    let left = vault.join(".pull-backup_2026-01-23_143052.partial");
    fs::create_dir(&left).expect("make a folder");
    assert_eq!(super::guards::left(&history, &[&old]), [""; 0]);
    assert!(!left.exists());
}

#[test]
fn a_line_that_was_taken_out_after_the_last_backup_is_doubt() {
    for (taken_out, is_doubt) in [(1, true), (0, false)] {
        let history = History::sqlite();
        let old = history.add(1000, "old", |_| {});
        // Before it, what is missing says nothing.
        if !is_doubt {
            history.project().run(["db", "backup"]).expect_code(0);
        } else {
            history.project().run(["db", "verify"]).expect_code(0);
        }
        history.project().run(["db", "verify"]).expect_code(0);
        let journal = history.project().vault().join("journal.jsonl");
        let text = fs::read_to_string(&journal).expect("read the journal");
        let mut lines: Vec<&str> = text.lines().collect();
        lines.remove(taken_out);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&journal, text).expect("write the journal");
        if is_doubt {
            refused(&history, &["after the last backup", "a line is missing"]);
            assert_eq!(history.files(&old), [true; 2]);
            history.project().run(["db", "backup"]).expect_code(0);
        }
        assert_eq!(super::guards::left(&history, &[&old]), [""; 0]);
    }
}

/// The first restore failed after its change; the second came to nothing: an undo goes to the
/// safety copy of the first.
#[test]
fn the_safety_copy_that_an_undo_would_take_stays() {
    let history = History::sqlite();
    let safety = |manifest: &mut Value| manifest["reason"] = json!("pre-restore");
    let first = history.add(50, "pre-restore", safety);
    let second = history.add(40, "pre-restore", safety);
    for kept in [None, Some(&second)] {
        history.record(|entry| {
            entry["deed"] = json!("restore");
            entry["ending"] = json!("failed");
            entry["backup"] = json!(history.newest);
            entry["safety"] = json!(kept);
        });
    }
    assert_eq!(super::guards::left(&history, &[&first, &second]), [&first]);
    let undone = history.project().json(["db", "restore", "--undo", "--yes"]);
    assert_eq!(undone["restored"], json!(first));
}

/// That a part could be read says nothing of what could not.
#[test]
fn a_part_that_succeeds_is_no_success_after_a_full_one_that_failed() {
    for history in History::each("prune_part_success") {
        let old = history.add(1000, "old", |_| {});
        history.record(|entry| {
            entry["ending"] = json!("failed");
            entry["backup"] = json!(null);
        });
        for part in [&["--table", "t"][..], &["--schema-only"]] {
            let backup = [&["db", "backup"][..], part].concat();
            let taken = history.project().json(backup);
            refused(&history, &["the last backup of the", "failed"]);
            // By its id, when it is gone.
            let id = crate::setup::text(&taken, "/backup/id");
            fs::remove_file(history.case.manifest(id)).expect("remove a manifest");
            refused(&history, &["the last backup of the", "failed"]);
        }
        assert_eq!(history.files(&old), [true; 2]);
        history.project().run(["db", "backup"]).expect_code(0);
        assert_eq!(super::guards::left(&history, &[&old]), [""; 0]);
    }
}
