//! What others do while copies are pruned, and that they need not wait for it.

use std::fs;
use std::sync::mpsc;

use super::{Copies, PRUNE};
use crate::exec;
use crate::pty::{ENTER, Terminal};
use crate::s3::BUCKET;
use crate::setup::says;

#[test]
fn an_open_question_holds_no_lock_and_another_plan_is_refused() {
    let copies = Copies::at(&[("one", "keep_last = 2")]);
    let project = &copies.case().project;
    let on_terminal = || Terminal::start(project.command(&PRUNE[..3]));
    let mut terminal = on_terminal();
    terminal.wait_for("anything else stops");
    project.run(["db", "backup"]).expect_code(0);
    terminal.send("yes").send(ENTER);
    assert_eq!(terminal.exit_code(), 3, "{}", terminal.screen());
    let screen = terminal.screen();
    assert!(screen.contains("a place has changed since"), "{screen}");
    assert!(screen.contains("db prune --offsite"), "{screen}");
    assert_eq!(copies.there("one"), "abcd");
    let mut terminal = on_terminal();
    terminal.wait_for("anything else stops").send("yes");
    terminal.send(ENTER).wait_for("removed 3 backups");
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert_eq!(copies.there("one"), "a");
}

/// One that is pinned after it was shown.
#[test]
fn what_was_agreed_to_is_looked_at_again() {
    let copies = Copies::at(&[("one", "keep_last = 2")]);
    let project = &copies.case().project;
    let mut terminal = Terminal::start(project.command(&PRUNE[..3]));
    terminal.wait_for("anything else stops");
    project.run(["db", "pin", &copies.ids[3]]).expect_code(0);
    terminal.send("yes").send(ENTER);
    assert_eq!(terminal.exit_code(), 3, "{}", terminal.screen());
    assert_eq!(copies.there("one"), "abcd");
}

#[test]
fn nobody_waits_while_the_copy_that_stays_is_read() {
    let copies = Copies::at(&[("one", "keep_last = 1")]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    // Through the wire nothing passes meanwhile.
    let url = format!("file://{}", elsewhere.path().display());
    let project = &copies.case().project;
    let mut backup = project.command(["db", "backup", "--offsite-url", &url]);
    let (ended, taken) = mpsc::channel();
    let words = format!("GET /{BUCKET}/one/{}.db.zst", copies.ids[0]);
    copies.server.wire().before(&words, move || {
        let _ = ended.send(exec::run(&mut backup, None));
    });
    copies.prune().expect_code(0);
    taken.recv().expect("it was read").expect_code(0);
    assert_eq!(copies.there("one"), "a");
}

/// An upload may take hours.
#[test]
fn a_copy_that_another_run_is_making_is_not_waited_for() {
    let copies = Copies::at(&[("one", "keep_last = 1")]);
    let project = &copies.case().project;
    let claim = project
        .vault()
        .join(format!(".copy-{}.partial", copies.ids[2]));
    fs::create_dir(&claim).expect("claim it");
    let held = fs::File::open(&claim).expect("open the claim");
    held.lock().expect("as a run that copies holds it");
    let failed = copies.prune().expect_code(6);
    says(
        &failed,
        &[
            "1 backup could not be removed",
            "another run is copying",
            &copies.ids[2],
        ],
    );
    assert_eq!(copies.there("one"), "ac");
    drop(held);
    copies.prune().expect_code(0);
    assert_eq!(copies.there("one"), "a");
}
