//! A copy of a whole server says that it is the first one: only its address tells them apart.

use std::time::Duration;

use serde_json::{Value, json};

use super::guards::LEAST;
use super::history::History;
use crate::setup::{Case, hinted_command, says, text};

fn elsewhere(manifest: &mut Value) {
    manifest["database"]["host"] = json!("staging.internal");
}

/// A socket is one machine's.
fn another_machine(manifest: &mut Value) {
    manifest["ran_on"]["host"] = json!("staging-runner");
}

#[test]
fn backups_of_another_address_take_no_place_of_ours() {
    let Some(case) = Case::postgres("prune_addresses") else {
        return;
    };
    let history = History::of(case);
    let mine = history.add(30, "mine", |_| {});
    let copies = [
        history.add(10, "copy", elsewhere),
        history.add(20, "copy", elsewhere),
        history.add(25, "copy", another_machine),
    ];
    let two = [&["--keep-last", "2"][..], &LEAST[2..]].concat();
    let (removed, _) = history.plan(&two);
    assert_eq!(removed, [""; 0]);
    // They are counted apart, and not kept for ever.
    let third = history.add(40, "copy", elsewhere);
    let old = history.add(50, "old", |_| {});
    let (mut removed, kept) = history.plan(&two);
    removed.sort();
    assert_eq!(removed, [old, third]);
    for id in copies.iter().chain([&mine]) {
        assert!(kept.iter().any(|(kept, _)| kept == id), "{kept:?}");
    }
}

#[test]
fn latest_of_another_address_is_for_a_person_to_say() {
    for change in [elsewhere, another_machine] {
        let Some(case) = Case::postgres("latest_addresses") else {
            return;
        };
        let history = History::of(case);
        let mine = &history.newest;
        std::thread::sleep(Duration::from_millis(1100));
        let copy = history.add(0, "copy", change);
        history.case.query("INSERT INTO t VALUES (3);");
        for consent in ["--yes", "--force"] {
            let refused = history
                .project()
                .run(["db", "restore", "latest", consent])
                .expect_code(3);
            says(&refused, &[&copy, mine]);
            assert_eq!(hinted_command(&refused)[..2], ["db", "list"]);
        }
        let status = history.project().run(["db", "status"]).expect_code(0);
        says(&status, &["`db restore latest` will be refused"]);
        assert_eq!(history.case.query("SELECT count(*) FROM t;"), ["3"]);
        // A host that was renamed has nothing of its new name.
        let manifest = history.case.manifest(mine);
        std::fs::remove_file(manifest).expect("lose it");
        std::fs::remove_file(history.case.dump(mine)).expect("lose it");
        let restored = history.case.restore("latest");
        assert_eq!(text(&restored, "/restored"), copy);
    }
}
