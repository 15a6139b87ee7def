//! What cannot be removed is as it was, or is said; a place that fails hides no other.

use std::sync::mpsc;

use rustix::process::Signal;

use super::super::{bytes, outcomes};
use super::{Copies, PRUNE};
use crate::exec;
use crate::s3::BUCKET;
use crate::setup::says;

/// How the server is asked to remove it.
fn deletes(file: &str) -> String {
    format!("<Key>one/{file}</Key>")
}

/// Killed between the two: without its manifest it is no copy, and nothing is lost.
#[test]
fn a_removal_that_is_cut_leaves_no_manifest_without_its_dump() {
    let copies = Copies::at(&[("one", "keep_last = 3")]);
    let words = deletes(&format!("{}.db.zst", copies.ids[3]));
    let (at_it, reached) = mpsc::channel();
    let (go_on, gone) = mpsc::channel::<()>();
    copies.server.wire().refuse(&[&words]);
    copies.server.wire().before(&words, move || {
        at_it.send(()).expect("the test waits");
        let _ = gone.recv();
    });
    let running = exec::start(&mut copies.case().project.command(PRUNE), None);
    reached
        .recv_timeout(exec::LIMIT)
        .expect("the dump is removed after the manifest");
    running.signal(Signal::KILL);
    running.finish();
    drop(go_on);
    copies.server.wire().refuse(&[]);
    assert_eq!(copies.there("one"), "abc?");
    let project = &copies.case().project;
    let listed = project.run(["db", "list", "--offsite"]).expect_code(0);
    says(&listed, &["a dump without a manifest"]);
    // The vault has it still: it is a copy again, without being sent; and the next prune ends it.
    assert_eq!(outcomes(&project.json(["db", "push"])), ["copied"]);
    assert_eq!(copies.there("one"), "abcd");
    copies.prune().expect_code(0);
    assert_eq!(copies.there("one"), "abc");
    assert_eq!(outcomes(&project.json(["db", "push"])), [""; 0]);
}

#[test]
fn a_dump_that_is_not_let_go_gets_its_manifest_back() {
    let copies = Copies::at(&[("one", "keep_last = 2")]);
    let manifest = copies.object("one", &format!("{}.json", copies.ids[3]));
    let before = bytes(&manifest);
    let words = deletes(&format!("{}.db.zst", copies.ids[3]));
    copies.server.wire().refuse(&[&words]);
    let failed = copies.prune().expect_code(6);
    says(
        &failed,
        &[
            "1 backup could not be removed",
            "its dump cannot be removed",
            "db prune --offsite",
        ],
    );
    assert_eq!(copies.there("one"), "abd");
    assert_eq!(bytes(&manifest), before);
    copies.server.wire().refuse(&[]);
    copies.prune().expect_code(0);
    assert_eq!(copies.there("one"), "ab");
}

/// The server does it, and nobody hears of it.
#[test]
fn a_removal_whose_answer_is_lost_leaves_the_copy_whole_or_nothing_of_it() {
    let copies = Copies::at(&[("one", "keep_last = 2")]);
    let [manifest, dump] = ["json", "db.zst"].map(|end| format!("{}.{end}", copies.ids[3]));
    let before = bytes(copies.object("one", &manifest));
    copies.server.wire().lose_answer(&deletes(&manifest));
    let failed = copies.prune().expect_code(6);
    says(
        &failed,
        &[
            "1 backup could not be removed and stay as they were; removed 1 backup",
            "its manifest cannot be removed",
        ],
    );
    assert_eq!(copies.there("one"), "abd");
    assert_eq!(bytes(copies.object("one", &manifest)), before);
    copies.server.wire().lose_answer(&deletes(&dump));
    copies.prune().expect_code(0);
    assert_eq!(copies.there("one"), "ab");
}

#[test]
fn a_copy_that_is_left_without_its_manifest_is_not_called_as_it_was() {
    let copies = Copies::at(&[("one", "keep_last = 3")]);
    let [manifest, dump] = ["json", "db.zst"].map(|end| format!("{}.{end}", copies.ids[3]));
    let put_back = format!("PUT /{BUCKET}/one/{manifest}");
    copies.server.wire().refuse(&[&deletes(&dump), &put_back]);
    let failed = copies.prune().expect_code(6);
    says(
        &failed,
        &[
            "error: 1 backup did not go as they should; removed 0 backups",
            "is left at `one`",
            "without its manifest, which cannot be put back",
        ],
    );
    assert!(!failed.stderr.contains("stay as they were"), "{failed}");
    assert_eq!(copies.there("one"), "abc?");
    copies.server.wire().refuse(&[]);
    copies.case().project.run(["db", "push"]).expect_code(0);
    assert_eq!(copies.there("one"), "abcd", "as the error says");
}

#[test]
fn each_place_that_fails_is_told() {
    let copies = Copies::at(&[("one", "keep_last = 3"), ("two", "keep_last = 3")]);
    let of_either = format!("/{}.db.zst</Key>", copies.ids[3]);
    copies.server.wire().refuse(&[&of_either]);
    let failed = copies.prune().expect_code(6);
    let (one, two) = (
        format!("the copy of `{}` at `one`", copies.ids[3]),
        format!("the copy of `{}` at `two`", copies.ids[3]),
    );
    says(
        &failed,
        &["also: 1 backup could not be removed", &one, &two],
    );
    assert_eq!(["one", "two"].map(|place| copies.there(place)), ["abcd"; 2]);
}

#[test]
fn what_went_is_told_although_another_place_does_not_answer() {
    let copies = Copies::at(&[("one", "keep_last = 1")]);
    let toml = copies.case().project.path().join("database/db.toml");
    let toml = String::from_utf8(bytes(toml)).expect("text");
    let down = toml.replace("\"one\"", "\"down\"");
    let down = down.replace(&format!("{BUCKET}/one"), &format!("{BUCKET}/down"));
    let nobody = format!("127.0.0.1:{}", copies.server.wire().port());
    let down = down.replace(&nobody, "127.0.0.1:1");
    assert_ne!(down, toml);
    let places = format!("{toml}{down}");
    copies.case().project.write("database/db.toml", places);
    let failed = copies.prune().expect_code(6);
    says(
        &failed,
        &["error: removed 3 copies, and a place did not answer"],
    );
    assert_eq!(copies.there("one"), "a");
    // Where nothing went, nothing has changed.
    let again = copies.prune().expect_code(1);
    assert!(!again.stderr.contains("removed"), "{again}");
}
