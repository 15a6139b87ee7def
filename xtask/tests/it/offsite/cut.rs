//! Killed, cut, slow, full, wrong in the middle.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{bytes, copied_to, deeds, fill, has_arrived, no_secret, outcomes};
use crate::exec::{self, Running};
use crate::s3::S3;
use crate::setup::{Case, says};

/// Three parts and a bit; a copy of it that is under way.
fn under_way(server: &S3, case: &Case) -> Running {
    server.wire().slow(3 << 20);
    let before = server.wire().uploaded();
    let running = exec::start(&mut case.project.command(["db", "push"]), None);
    let deadline = Instant::now() + exec::LIMIT;
    while server.wire().uploaded() < before + (10 << 20) {
        assert!(Instant::now() < deadline, "nothing is sent");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_ne!(server.parts_left(), [""; 0]);
    running
}

/// A backup of 28 MiB that was taken while nothing was off-site.
fn large(server: &S3) -> (Case, String) {
    let mut case = Case::sqlite();
    fill(&case, 28);
    let id = case.backup();
    case.project = server.of(case.project).env("AWS_MAX_RETRIES", "3");
    (case, id)
}

#[test]
fn a_copy_in_parts_arrives_whole() {
    let server = S3::start();
    let (case, id) = large(&server);
    let copies = case.project.json(["db", "push"]);
    assert_eq!(outcomes(&copies), ["copied"]);
    has_arrived(&server, &case, &id);
    assert_eq!(server.parts_left(), [""; 0]);
}

#[test]
fn what_a_killed_run_has_sent_is_removed_by_the_next_one() {
    let server = S3::start();
    let (case, id) = large(&server);
    let running = under_way(&server, &case);
    running.signal(Signal::KILL);
    running.finish();
    assert_eq!(server.objects(), [""; 0]);
    assert_ne!(server.parts_left(), [""; 0]);
    server.wire().slow(0);
    let said = case.project.run(["db", "push"]).expect_code(0);
    says(&said, &["removed what a run that was cut short had sent"]);
    has_arrived(&server, &case, &id);
    assert_eq!(server.parts_left(), [""; 0]);
}

#[test]
fn what_a_killed_run_has_sent_is_not_forgotten_by_a_run_that_fails() {
    let mut server = S3::start();
    let (case, id) = large(&server);
    let running = under_way(&server, &case);
    running.signal(Signal::KILL);
    running.finish();
    server.wire().slow(0);
    server.kill();
    for arguments in [&["db", "push", &id][..], &["db", "push"]] {
        case.project.run(arguments).expect_code(6);
    }
    server.revive();
    assert_ne!(server.parts_left(), [""; 0]);
    let said = case.project.run(["db", "push"]).expect_code(0);
    says(&said, &["removed what a run that was cut short had sent"]);
    has_arrived(&server, &case, &id);
    assert_eq!(server.parts_left(), [""; 0]);
}

/// The second one waits, and finds that nothing is left to do.
#[test]
fn two_runs_copy_a_backup_once_and_keep_nobody_waiting() {
    let server = S3::start();
    let (case, id) = large(&server);
    let first = under_way(&server, &case);
    let second = exec::start(&mut case.project.command(["db", "push"]), None);
    second.wait_for_line("waiting for another run, which is copying");
    // Others need not wait for an upload.
    case.project
        .run(["db", "migrate-safe", "--yes"])
        .expect_code(0);
    server.wire().slow(0);
    let first = first.finish().expect_code(0);
    says(&first, &["copied backup_"]);
    let second = second.finish().expect_code(0);
    says(&second, &["nothing is missing off-site"]);
    has_arrived(&server, &case, &id);
    assert_eq!(server.parts_left(), [""; 0]);
}

#[test]
fn a_signal_gives_up_what_was_sent() {
    let server = S3::start();
    let (case, id) = large(&server);
    for signal in [Signal::INT, Signal::TERM] {
        let running = under_way(&server, &case);
        running.signal(signal);
        server.wire().slow(0);
        let output = running.finish().expect_code(130);
        says(&output, &["interrupted: the database is as it was"]);
        assert_eq!(server.objects(), [""; 0]);
        assert_eq!(server.parts_left(), [""; 0], "{output}");
    }
    case.project.run(["db", "push"]).expect_code(0);
    has_arrived(&server, &case, &id);
}

#[test]
fn a_server_that_is_killed_is_sent_the_rest_later() {
    let mut server = S3::start();
    let (case, id) = large(&server);
    let running = under_way(&server, &case);
    server.kill();
    server.wire().slow(0);
    let output = running.finish().expect_code(6);
    says(
        &output,
        &["not copied:", "is missing", "cargo xtask db push"],
    );
    no_secret(&output);
    server.revive();
    assert_eq!(server.objects(), [""; 0]);
    assert_ne!(server.parts_left(), [""; 0]);
    let said = case.project.run(["db", "push"]).expect_code(0);
    says(&said, &["removed what a run that was cut short had sent"]);
    has_arrived(&server, &case, &id);
    assert_eq!(server.parts_left(), [""; 0]);
    case.project
        .run(["db", "verify", "--offsite"])
        .expect_code(0);
}

#[test]
fn connections_that_are_cut_are_tried_again() {
    let server = S3::start();
    let (case, id) = large(&server);
    server.wire().cut(3, 5 << 20);
    let copies = case.project.json(["db", "push"]);
    assert_eq!(outcomes(&copies), ["copied"]);
    assert_eq!(server.wire().cuts_left(), 0);
    has_arrived(&server, &case, &id);
}

#[test]
fn answers_that_end_early_are_no_copy() {
    let server = S3::start();
    let (case, id) = large(&server);
    server.wire().truncate(1 << 20);
    let output = case.project.run(["db", "push"]).expect_code(6);
    says(&output, &["not copied:", "is there, and was not read back"]);
    // Without a manifest it is no copy, and it is no reason to send 28 MiB once more.
    assert_eq!(server.objects(), [format!("{id}.db.zst")]);
    let output = case.project.run(["db", "push", &id]).expect_code(6);
    assert!(!output.stderr.contains("other content"), "{output}");
    server.wire().truncate(0);
    let before = server.wire().uploaded();
    case.project.run(["db", "push"]).expect_code(0);
    assert!(server.wire().uploaded() < before + (1 << 20));
    has_arrived(&server, &case, &id);
}

#[test]
fn a_signal_while_it_is_read_back_leaves_what_was_sent() {
    let server = S3::start();
    let (case, id) = large(&server);
    let dump = format!("{id}.db.zst");
    let running = exec::start(&mut case.project.command(["db", "push"]), None);
    let deadline = Instant::now() + exec::LIMIT;
    while !server.objects().contains(&dump) {
        assert!(Instant::now() < deadline, "nothing arrives");
        std::thread::sleep(Duration::from_millis(1));
    }
    server.wire().slow(1 << 20);
    running.signal(Signal::INT);
    running.finish().expect_code(130);
    server.wire().slow(0);
    assert_eq!(server.objects(), [dump]);
    case.project.run(["db", "push"]).expect_code(0);
    has_arrived(&server, &case, &id);
}

/// What came after it is no reason to say of the newest that it was not copied.
#[test]
fn a_signal_while_others_are_looked_at_leaves_the_newest_copied() {
    let server = S3::start();
    let mut case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let old = case.backup();
    case.project = server.of(case.project);
    // Of that one it must be looked whose it is.
    let there = server.object(&format!("shop/{old}.json"));
    std::fs::create_dir_all(there.parent().expect("a folder")).expect("make the prefix");
    std::fs::copy(case.manifest(&old), there).expect("copy its manifest");
    let (told, tell) = std::sync::mpsc::channel();
    let (go, goes_on) = std::sync::mpsc::channel::<()>();
    server.wire().before(&format!("/{old}.json "), move || {
        told.send(()).expect("somebody waits");
        let _ = goes_on.recv();
    });
    let running = exec::start(&mut case.project.command(["db", "backup", "new"]), None);
    tell.recv_timeout(exec::LIMIT).expect("it is asked for");
    running.signal(Signal::INT);
    // The backup and its copy stand; what else is missing is not known.
    running.finish().expect_code(6);
    drop(go);
    assert_eq!(deeds(&case), ["copy begun", "copy done"]);
}

/// A server, or somebody on the way to it, that returns other bytes than it was given.
#[test]
fn other_bytes_than_were_sent_are_no_copy() {
    let server = S3::start();
    let case = copied_to(&server);
    case.project.run(["db", "backup"]).expect_code(0);
    let id = case.project.json(["db", "list"])["backups"][0]["manifest"]["id"].clone();
    let id = id.as_str().expect("an id").to_owned();
    for file in server.objects() {
        std::fs::remove_file(server.object(&format!("shop/{file}"))).expect("remove it");
    }
    let dump = bytes(case.dump(&id));
    let (from, mut to) = (dump[8..40].to_vec(), dump[8..40].to_vec());
    to[5] ^= 1;
    server.wire().change(&from, &to);
    let output = case.project.run(["db", "push", &id]).expect_code(6);
    says(&output, &["its SHA-256 is", "was removed again"]);
    assert_eq!(server.objects(), [""; 0]);
    server.wire().change(b"", b"");
    case.project.run(["db", "push", &id]).expect_code(0);
    has_arrived(&server, &case, &id);
}

#[test]
fn a_server_that_is_full_is_code_6() {
    let server = S3::small(3 << 10);
    let (case, id) = large(&server);
    let output = case.project.run(["db", "push"]).expect_code(6);
    says(&output, &["not copied:"]);
    assert_eq!(server.objects(), [""; 0]);
    assert_eq!(server.parts_left(), [""; 0]);
    case.project.run(["db", "verify", &id]).expect_code(0);
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let server = S3::start();
    let mut case = copied_to(&server);
    case.project = case
        .project
        .env("AWS_TIMEOUT", "2 seconds")
        .env("AWS_MAX_RETRIES", "1");
    server.wire().stop();
    let output = case.project.run(["db", "backup"]).expect_code(6);
    says(&output, &["not copied:", "is missing"]);
}
