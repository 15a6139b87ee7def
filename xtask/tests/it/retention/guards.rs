//! What no policy takes away, each for real; and who is in the way of a prune, or it in theirs.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use serde_json::json;

use super::history::{History, applied};
use crate::encryption::Pair;
use crate::setup::{Case, says};

/// Keeps next to nothing.
pub const LEAST: [&str; 12] = [
    "--keep-last",
    "1",
    "--keep-daily",
    "0",
    "--keep-weekly",
    "0",
    "--keep-monthly",
    "0",
    "--keep-pre-migrate",
    "0d",
    "--keep-pre-restore",
    "0d",
];

/// Prunes by the least policy, and says which of these are left.
#[track_caller]
pub fn left<'a>(history: &History, ids: &[&'a str]) -> Vec<&'a str> {
    history
        .prune(&[&LEAST[..], &["--yes"]].concat())
        .expect_code(0);
    let is_there = |id: &&str| history.files(id) == [true; 2];
    ids.iter().copied().filter(is_there).collect()
}

#[test]
fn the_last_one_that_can_be_trusted_stays() {
    let history = History::sqlite();
    let good = history.add(48, "good", |_| {});
    let older = history.add(72, "older", |_| {});
    let newest = history.case.dump(&history.newest);
    let mut bytes = fs::read(&newest).expect("read a dump");
    bytes[20] ^= 1;
    fs::write(&newest, bytes).expect("damage a dump");
    let pruned = history
        .prune(&[&LEAST[..], &["--yes"]].concat())
        .expect_code(0);
    says(&pruned, &["note: the dump", "cannot be trusted", &good]);
    assert_eq!(history.files(&good), [true; 2]);
    assert_eq!(
        history.files(&history.newest),
        [true; 2],
        "never the newest"
    );
    assert_eq!(history.files(&older), [false; 2]);
    // With none left that can be trusted nothing goes.
    let older = history.add(72, "older", |_| {});
    for id in [&good, &older] {
        fs::write(history.case.dump(id), "short").expect("cut a dump");
    }
    let refused = history
        .prune(&[&LEAST[..], &["--yes"]].concat())
        .expect_code(4);
    says(
        &refused,
        &[
            "nothing is removed",
            "hint: take a new one first: cargo xtask db backup",
        ],
    );
    assert_eq!(history.files(&older), [true; 2]);
}

#[test]
fn the_way_back_from_the_present_schema_stays() {
    for history in History::each("prune_way_back") {
        let project = history.project();
        project.write("migrations/1_a.sql", "CREATE TABLE a (id INTEGER);");
        project.write("migrations/2_b.sql", "CREATE TABLE b (id INTEGER);");
        project.json(["db", "migrate-safe", "--yes"]);
        project.run(["db", "backup"]).expect_code(0);
        let pre = |versions: &'static [i64]| {
            move |manifest: &mut serde_json::Value| {
                manifest["reason"] = json!("pre-migrate");
                manifest["migrations"]["applied"] = applied(versions);
            }
        };
        // Ours was taken of no history; this one leads back by one migration, and is older.
        let other = history.add(30, "other-branch", pre(&[1, 3]));
        let first = history.add(40, "first", pre(&[1]));
        let second = history.add(50, "second", pre(&[1]));
        let plan = history.plan(&LEAST);
        let ways: Vec<_> = plan
            .1
            .iter()
            .filter(|(_, why)| why.contains("undoes the last migration"))
            .collect();
        assert_eq!(ways.len(), 1, "{plan:?}");
        assert!(
            ways[0].0.ends_with("_pre-migrate"),
            "the newest one: {ways:?}"
        );
        fs::remove_file(history.case.manifest(&ways[0].0)).expect("lose it");
        assert_eq!(left(&history, &[&other, &first, &second]), [&first]);
    }
}

#[test]
fn what_an_undo_or_an_unfinished_run_names_stays() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    history.case.query("INSERT INTO t VALUES (3);");
    history.case.restore(&old);
    let plan = history.plan(&LEAST);
    let why = |id: &str| {
        plan.1
            .iter()
            .find(|(kept, _)| kept == id)
            .map(|(_, why)| why.as_str())
    };
    assert_eq!(why(&old), Some("undoes the last restore"), "{plan:?}");
    let safety = plan.1.iter().find(|(id, _)| id.ends_with("pre-restore"));
    assert!(
        safety.is_some_and(|(_, why)| why.contains("undoes the last restore")),
        "{plan:?}"
    );

    let history = History::sqlite();
    let [old, safety] = ["old", "safety"].map(|label| history.add(1000, label, |_| {}));
    let journal =
        fs::read_to_string(history.project().vault().join("journal.jsonl")).expect("a journal");
    let line = journal.lines().last().expect("a line");
    let mut entry: serde_json::Value = serde_json::from_str(line).expect("an entry");
    entry["deed"] = json!("migrate");
    entry["ending"] = json!("begun");
    entry["backup"] = json!(old);
    entry["safety"] = json!(safety);
    history
        .project()
        .write("database/backups/.unfinished", entry.to_string());
    assert_eq!(left(&history, &[&old, &safety]), [&old, &safety]);
}

#[test]
fn another_databases_backups_and_what_is_no_backup_stay() {
    for history in History::each("prune_others") {
        let other = history.add(1000, "other", |manifest| {
            manifest["database"]["name"] = json!("another");
            if !manifest["database"]["path"].is_null() {
                manifest["database"]["path"] = json!("/srv/another.db");
            }
        });
        // A path and a socket are what they are on one machine.
        let elsewhere = history.add(1000, "elsewhere", |manifest| {
            manifest["ran_on"]["host"] = json!("another-runner");
        });
        let unknown = history.add(1000, "unknown", |manifest| {
            manifest["ran_on"]["host"] = json!("another-runner");
            manifest["database"]["system_identifier"] = json!(null);
        });
        let mine = history.add(1000, "mine", |manifest| {
            manifest["database"]["system_identifier"] = json!(null);
        });
        let damaged = history.add(1000, "damaged", |_| {});
        let manifest = history.case.manifest(&damaged);
        let text = fs::read_to_string(&manifest).expect("a manifest");
        fs::write(&manifest, text.replacen("manual", "Manual", 1)).expect("edit a manifest");
        let orphan = history.add(1000, "orphan", |_| {});
        fs::remove_file(history.case.manifest(&orphan)).expect("lose a manifest");
        history
            .project()
            .write("database/backups/notes.txt", "mine");
        let all = [&other, &elsewhere, &unknown, &mine, &damaged].map(String::as_str);
        // A socket elsewhere may be that of a copy of the server: such ones are counted apart.
        let expected = [&other, &elsewhere, &unknown, &damaged];
        assert_eq!(left(&history, &all), expected);
        assert_eq!(history.files(&orphan), [false, true]);
        assert!(history.project().vault().join("notes.txt").is_file());
    }
}

#[test]
fn one_of_a_file_that_is_gone_is_not_taken_for_ours() {
    let history = History::sqlite();
    let moved = history.add(1000, "moved", |manifest| {
        manifest["database"]["path"] = json!("/srv/gone/app.db");
    });
    assert_eq!(left(&history, &[&moved]), [&moved]);
}

/// Only a full one that is good is something to go back to.
#[test]
fn a_dump_of_a_part_takes_no_full_ones_place() {
    for history in History::each("prune_parts") {
        history.project().json(["db", "backup", "--schema-only"]);
        history.project().json(["db", "backup", "--schema-only"]);
        let plan = history.plan(&LEAST);
        assert_eq!(plan.0.len(), 1, "{plan:?}");
        assert!(plan.0[0].contains("_schema-only"), "{plan:?}");
        let full = plan.1.iter().find(|(id, _)| *id == history.newest);
        assert_eq!(
            full.map(|(_, why)| why.as_str()),
            Some("newest, last 1 of 1")
        );
        assert_eq!(left(&history, &[&history.newest]), [&history.newest]);
    }
}

#[test]
fn one_of_the_future_stays_and_takes_nobodys_place() {
    let history = History::sqlite();
    let future = history.add(-48, "future", |_| {});
    let old = history.add(48, "old", |_| {});
    assert_eq!(
        left(&history, &[&future, &history.newest, &old]),
        [&future, &history.newest]
    );
}

#[test]
fn a_dump_that_is_a_link_stays_and_so_does_what_it_leads_to() {
    let history = History::sqlite();
    let linked = history.add(1000, "linked", |_| {});
    let dump = history.case.dump(&linked);
    let elsewhere = history.project().path().join("elsewhere");
    fs::rename(&dump, &elsewhere).expect("move a dump");
    symlink(&elsewhere, &dump).expect("link it");
    assert_eq!(left(&history, &[&linked]), [&linked]);
    assert!(elsewhere.is_file());
}

#[test]
fn a_lost_dump_leaves_a_manifest_that_goes() {
    let history = History::sqlite();
    let lost = history.add(1000, "lost", |_| {});
    fs::remove_file(history.case.dump(&lost)).expect("lose a dump");
    assert_eq!(left(&history, &[&lost]), [""; 0]);
    assert_eq!(history.files(&lost), [false; 2]);
}

#[test]
fn nothing_goes_after_a_backup_that_failed() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let before = fs::read(history.project().sqlite_path()).expect("the database");
    history.project().write(
        "database/app.db",
        "no database at all, and far too short for one\n".repeat(100),
    );
    let failed = history.project().run(["db", "backup"]);
    assert_ne!(failed.code, 0, "{failed}");
    history.project().write("database/app.db", before);
    let refused = history
        .prune(&[&LEAST[..], &["--yes"]].concat())
        .expect_code(3);
    says(
        &refused,
        &["the last backup", "failed", "hint: cargo xtask db backup"],
    );
    assert_eq!(history.files(&old), [true; 2]);
    history.project().run(["db", "backup"]).expect_code(0);
    assert_eq!(left(&history, &[&old]), [""; 0]);
}

#[test]
fn a_backup_that_failed_by_another_name_of_the_host_counts() {
    let Some(case) = Case::postgres("prune_hosts") else {
        return;
    };
    let history = History::of(case);
    let old = history.add(1000, "old", |_| {});
    let server = history.case.server.as_ref().expect("a server");
    let elsewhere = server.url_tcp();
    let by_tcp = ["db", "--database-url", elsewhere.as_str(), "backup"];
    let failing = [&by_tcp[..], &["--table", "nowhere"]].concat();
    let failed = history.project().run(failing);
    assert_ne!(failed.code, 0, "{failed}");
    let refused = history
        .prune(&[&LEAST[..], &["--yes"]].concat())
        .expect_code(3);
    says(
        &refused,
        &[
            "the last backup",
            "nothing is removed before one has succeeded",
        ],
    );
    assert_eq!(history.files(&old), [true; 2]);
    // And so does one that succeeds.
    history.project().run(by_tcp).expect_code(0);
    assert_eq!(left(&history, &[&old]), [""; 0]);
}

#[test]
fn nothing_goes_when_it_cannot_be_known_what_has_failed() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let prune = || history.prune(&[&LEAST[..], &["--yes"]].concat());
    let mark = history.project().vault().join(".unfinished");
    fs::write(&mark, "{").expect("write a torn mark");
    says(&prune().expect_code(3), &["`.unfinished` cannot be read"]);
    fs::remove_file(mark).expect("remove it");
    let journal = history.project().vault().join("journal.jsonl");
    let mut torn = fs::read(&journal).expect("a journal");
    torn.extend(b"{\"number\": 2, \"dee");
    fs::write(&journal, torn).expect("tear the journal");
    let refused = prune().expect_code(3);
    says(
        &refused,
        &["a line of the journal", "hint: cargo xtask db backup"],
    );
    assert_eq!(history.files(&old), [true; 2]);
    history.project().run(["db", "backup"]).expect_code(0);
    assert_eq!(left(&history, &[&old]), [""; 0]);
}

#[test]
fn it_is_refused_beside_others_and_they_wait_for_it() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let lock = history.project().vault().join(".lock");
    let held = File::options()
        .read(true)
        .write(true)
        .open(&lock)
        .expect("open the lock");
    held.lock_shared().expect("as a backup holds it");
    let refused = history
        .prune(&[&LEAST[..], &["--yes"]].concat())
        .expect_code(3);
    says(&refused, &["is locked by"]);
    assert_eq!(history.files(&old), [true; 2]);
    // A look needs no lock; neither does a verification that runs meanwhile.
    assert_eq!(history.plan(&LEAST).0, std::slice::from_ref(&old));
    drop(held);
    assert_eq!(left(&history, &[&old]), [""; 0]);
}

/// A key that nobody has may be the only one that opens it.
#[test]
fn one_that_was_never_decrypted_takes_no_others_place() {
    let history = History::sqlite();
    let older = history.add(72, "older", |_| {});
    let ada = Pair::new();
    let to = ["db", "backup", "--recipient", &ada.public];
    history.project().json(to);
    assert_eq!(
        left(&history, &[&history.newest, &older]),
        [&history.newest]
    );
    ada.file(history.project(), "key.txt");
    let with = [&to[..], &["--identity", "key.txt"]].concat();
    history.project().json(with);
    assert!(left(&history, &[&history.newest]).is_empty());
}
