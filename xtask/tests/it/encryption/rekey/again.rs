//! The same rekey again, after one that was killed between the new manifest and the old dump.

use std::fs;
use std::path::PathBuf;

use super::only_dump;
use crate::encryption::{Pair, cases, dump_of};
use crate::setup::{Case, says, text};

/// The vault as the kill leaves it: Bob is out by the manifest, and opens the dump of before.
fn cut_short(case: &Case, ada: &Pair, bob: &Pair, rekey: &[&str]) -> PathBuf {
    let to = ["--recipient", &ada.public, "--recipient", &bob.public];
    let taken = case
        .project
        .json([&["db", "backup", "both"], &to[..]].concat());
    let old = dump_of(&taken);
    let bytes = fs::read(&old).expect("read the dump");
    case.project.json(rekey);
    assert!(!old.exists() && !bob.opens(&only_dump(case)));
    fs::write(&old, bytes).expect("leave the old dump");
    assert!(bob.opens(&old));
    old
}

#[test]
fn what_somebody_who_was_removed_can_open_goes() {
    for which in ["latest", "both", "--all"] {
        let (case, ada) = cases("rekey_again").remove(0);
        let bob = Pair::new();
        let rekey = ["db", "rekey", which, "--remove-recipient", &bob.public];
        let old = cut_short(&case, &ada, &bob, &rekey);
        let done = case.project.json(rekey);
        assert_eq!(done["rekeyed"][0]["changed"], false, "{done:#}");
        assert!(!old.exists(), "{which}: Bob's dump is still there");
        assert!(ada.opens(&only_dump(&case)));
        // With nothing left there is nobody to remove.
        let code = if which == "--all" { 0 } else { 3 };
        case.project.run(rekey).expect_code(code);
    }
}

/// What remains was matched before: the one that goes may be the last that is whole.
#[test]
fn it_stays_where_the_other_one_is_damaged() {
    let (case, ada) = cases("rekey_again_damaged").remove(0);
    let bob = Pair::new();
    let rekey = ["db", "rekey", "latest", "--remove-recipient", &bob.public];
    let old = cut_short(&case, &ada, &bob, &rekey);
    let list = case.project.json(["db", "list"]);
    fs::write(text(&list, "/backups/0/path"), b"lost").expect("damage the dump");
    says(
        &case.project.run(rekey).expect_code(4),
        &["cannot be trusted"],
    );
    assert!(old.exists());
}
