//! What the journal says was shown of each backup, in a list of many.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::Vault;
use crate::setup::{sha256, text};

struct Journal {
    vault: Vault,
    ids: Vec<String>,
    lines: Vec<String>,
}

impl Journal {
    /// A backup each minute, and a line of its own for each.
    fn of(backups: usize) -> Self {
        let vault = Vault::empty();
        let newest = Utc::now() - TimeDelta::days(20);
        let minutes = 0..i64::try_from(backups).expect("a number");
        let ids = minutes.map(|n| vault.add(newest - TimeDelta::minutes(n), |_| {}));
        let ids = ids.collect();
        let mut journal = Self {
            vault,
            ids,
            lines: Vec::new(),
        };
        for at in 0..backups {
            journal.add("backup", "done", at, newest);
        }
        journal
    }

    fn path(&self) -> std::path::PathBuf {
        self.vault.case.project.vault().join("journal.jsonl")
    }

    fn proofs(&self) -> std::path::PathBuf {
        self.vault.case.project.vault().join(".proofs")
    }

    fn add(&mut self, deed: &str, ending: &str, backup: usize, at: DateTime<Utc>) {
        self.add_at(None, deed, ending, backup, at);
    }

    fn add_at(
        &mut self,
        place: Option<&str>,
        deed: &str,
        ending: &str,
        backup: usize,
        at: DateTime<Utc>,
    ) {
        let previous = self
            .lines
            .last()
            .map_or(sha256(b""), |line| sha256(line.as_bytes()));
        let mut entry = json!({
            "number": self.lines.len() + 1, "at": at, "deed": deed, "ending": ending,
            "database": "SQLite database `app.db`", "backup": self.ids[backup],
            "ran_on": {"host": "here", "user": "me", "tool": "xtask-db"}, "previous": previous,
        });
        if let Some(place) = place {
            entry["place"] = json!(place);
        }
        self.lines.push(entry.to_string());
    }

    fn write(&self, torn: &str) {
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        // What is known of its end is of lines that somebody else has written.
        drop(fs::remove_file(
            self.vault.case.project.vault().join(".journal-end"),
        ));
        // In place: it only grows.
        fs::write(self.path(), text + torn).expect("write the journal");
    }

    /// Each line ends with what `--json` has of it, which reads all of the journal.
    #[track_caller]
    fn lists_the_truth(&self) -> String {
        let project = &self.vault.case.project;
        let shown = project.run(["db", "list"]).expect_code(0);
        let truth = project.json(["db", "list"]);
        let log = project.json(["db", "log", "--last", "1"]);
        assert!(log["entries"].is_array(), "{log}");
        for backup in truth["backups"].as_array().expect("a list") {
            let id = text(backup, "/manifest/id");
            let line = shown
                .stdout
                .lines()
                .find(|line| line.trim_start().starts_with(id));
            let days = |rung: &str| match backup["ladder"][rung].as_str() {
                None => "-".to_owned(),
                Some(at) => {
                    let at: DateTime<Utc> = at.parse().expect("a time");
                    format!("{} d", (Utc::now() - at).num_days())
                }
            };
            let failed = |rung: &str| !backup["ladder"][rung].is_null();
            let or_failed = |rung: &str, days: String| match failed(rung) {
                true => "FAILED".to_owned(),
                false => days,
            };
            let taken: DateTime<Utc> = text(backup, "/manifest/created_at")
                .parse()
                .expect("a time");
            let taken = format!("{} d", (Utc::now() - taken).num_days());
            let hash = match days("verified_at").as_str() {
                "-" => taken.clone(),
                days => days.to_owned(),
            };
            let words = [
                or_failed("verify_failed_at", hash),
                taken,
                or_failed("drill_failed_at", days("drilled_at")),
                days("rehearsed_at"),
            ];
            let line: Vec<&str> = line.expect("a line").split_whitespace().collect();
            let wanted = words.join(" ");
            assert!(line.join(" ").ends_with(&wanted), "{line:?}, {wanted}");
        }
        shown.stderr
    }
}

#[test]
fn every_rung_of_every_backup_is_shown_however_the_journal_grows() {
    let mut journal = Journal::of(300);
    journal.write("");
    let said = journal.lists_the_truth();
    assert!(said.contains("none of these was ever restored"), "{said}");
    assert!(journal.proofs().exists(), "it is worth remembering");
    let days = |days| Utc::now() - TimeDelta::days(days) - TimeDelta::hours(1);
    journal.add("drill", "done", 7, days(12));
    journal.add("rehearse", "done", 7, days(11));
    journal.add("drill", "failed", 8, days(3));
    journal.add("drill", "done", 9, days(14));
    journal.add("drill", "failed", 9, days(8));
    journal.add("verify", "done", 10, days(13));
    // Of a copy off-site, which says nothing of the backup here.
    for ending in ["failed", "done"] {
        journal.add_at(Some("nas"), "verify", ending, 10, days(3));
        journal.add_at(Some("nas"), "verify", ending, 11, days(3));
    }
    journal.add("verify", "failed", 12, days(3));
    journal.add("verify", "failed", 13, days(3));
    journal.add("drill", "done", 13, days(12));
    journal.add("rehearse", "done", 0, days(10));
    journal.write("");
    let said = journal.lists_the_truth();
    assert!(
        said.contains("none of these was restored for 10 d"),
        "{said}"
    );
    journal.add("drill", "done", 7, days(2));
    journal.write("{\"number\": 9, \"deed\": \"dri");
    let said = journal.lists_the_truth();
    assert!(!said.contains("none of these"), "{said}");
    // Enough to be remembered anew.
    for n in 0..300 {
        journal.add("rehearse", "done", n, days(4));
    }
    let before = fs::read(journal.proofs()).expect("read it");
    journal.write("");
    journal.lists_the_truth();
    assert_ne!(fs::read(journal.proofs()).expect("read it"), before);
    journal.lists_the_truth();
}

#[test]
fn a_journal_that_is_another_one_is_read_anew() {
    let mut journal = Journal::of(300);
    for n in 0..300 {
        journal.add(
            "drill",
            "done",
            n,
            Utc::now() - TimeDelta::days(4) - TimeDelta::hours(1),
        );
    }
    journal.write("");
    journal.lists_the_truth();
    let good = fs::read(journal.proofs()).expect("read it");
    // Cut, and grown again to something else of the same length.
    let long = journal.lines.clone();
    journal.lines.truncate(100);
    journal.write("");
    journal.lists_the_truth();
    journal.lines = long;
    let last = journal.lines.last_mut().expect("a line");
    *last = last.replace("\"drill\"", "\"other\"");
    journal.write("");
    journal.lists_the_truth();
    for damage in [&b"nothing"[..], b"", &good[..good.len() - 3]] {
        fs::write(journal.proofs(), damage).expect("damage it");
        journal.lists_the_truth();
    }
    let mut flipped = good;
    let end = flipped.len() - 1;
    flipped[end] ^= 1;
    fs::write(journal.proofs(), flipped).expect("damage it");
    journal.lists_the_truth();
    // A list without what was shown is better than none.
    fs::remove_file(journal.path()).expect("remove it");
    journal.lists_the_truth();
    fs::create_dir(journal.path()).expect("put a folder there");
    let shown = journal
        .vault
        .case
        .project
        .run(["db", "list"])
        .expect_code(0);
    assert!(
        shown.stderr.contains("`journal.jsonl` is left out"),
        "{shown}"
    );
}
