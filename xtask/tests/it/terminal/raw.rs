//! What a terminal gets, byte by byte: colours, the cursor, and nothing from file names.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{PICKER, QUESTION, database_bytes, project};
use crate::exec;
use crate::project::Project;
use crate::pty::{self, CTRL_C, ESCAPE};

const LIMIT: Duration = Duration::from_secs(60);

/// The keyboard's and the screen's side of a terminal.
pub type Master = Option<File>;

/// Starts a program on a new terminal, its stdout elsewhere where `stdout` says so.
pub fn start(command: &mut Command, stdout: Option<Stdio>) -> (Master, Child) {
    let (master, theirs) = pty::open_pair();
    let empty = Command::new("");
    let mut command = pty::on_terminal(std::mem::replace(command, empty), &theirs);
    if let Some(stdout) = stdout {
        command.stdout(stdout);
    }
    let child = command.spawn().expect("start the tool on a terminal");
    (Some(master), child)
}

/// Everything up to `text`, which must come.
#[track_caller]
pub fn read_until(master: &mut Master, text: &str) -> Vec<u8> {
    let bytes = read(master, Some(text.as_bytes().to_vec()));
    assert!(
        contains(&bytes, text),
        "`{text}` never came:\n{}",
        String::from_utf8_lossy(&bytes)
    );
    bytes
}

/// Everything up to the program's end.
#[track_caller]
pub fn read_to_end(master: &mut Master) -> Vec<u8> {
    read(master, None)
}

/// In a thread, so that a hang is a failure; the terminal comes back with what was read.
#[track_caller]
fn read(master: &mut Master, until: Option<Vec<u8>>) -> Vec<u8> {
    let mut file = master.take().expect("the terminal is open");
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut byte = [0];
        let has_come = |bytes: &[u8]| until.as_ref().is_some_and(|text| bytes.ends_with(text));
        while !has_come(&bytes) && matches!(file.read(&mut byte), Ok(1)) {
            bytes.extend(byte);
        }
        // The test has given up when nobody receives it.
        drop(send.send((file, bytes)));
    });
    let (file, bytes) = receive
        .recv_timeout(LIMIT)
        .expect("a terminal that goes silent");
    *master = Some(file);
    bytes
}

#[track_caller]
pub fn send(master: &mut Master, keys: &str) {
    let file = master.as_mut().expect("the terminal is open");
    file.write_all(keys.as_bytes())
        .expect("type on the terminal");
}

#[track_caller]
pub fn exit_code(child: &mut Child) -> i32 {
    let status = exec::wait_until(child, Instant::now() + LIMIT);
    exec::exit_code(status.expect("the tool ends"))
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Whether there is a sequence that ends in `m`: colours and bold; not one that moves the cursor.
fn has_colour(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let ends = |sequence: &str| {
        sequence
            .trim_start_matches(|c: char| !c.is_alphabetic())
            .starts_with('m')
    };
    text.split("\x1b[").skip(1).any(ends)
}

/// Runs the tool until `text` comes, types `keys`, and returns all that the terminal got.
fn session(mut command: Command, text: &str, keys: &str) -> (Vec<u8>, i32) {
    let (mut master, mut child) = start(&mut command, None);
    let mut bytes = read_until(&mut master, text);
    send(&mut master, keys);
    bytes.extend(read_to_end(&mut master));
    (bytes, exit_code(&mut child))
}

#[test]
fn closing_the_terminal_changes_nothing() {
    for (verb, text) in [
        (&["migrate-safe"][..], QUESTION),
        (&["restore", "older"], QUESTION),
        (&["restore"], PICKER),
    ] {
        let project = project();
        let (database, vault) = (database_bytes(&project), project.vault_files());
        let mut command = project.command([&["db"], verb].concat());
        let (mut master, mut child) = start(&mut command, None);
        read_until(&mut master, text);
        drop(master);
        // Whichever is seen first: the end of the input or the signal.
        let code = exit_code(&mut child);
        assert!([3, 130].contains(&code), "{verb:?}: {code}");
        assert_eq!(database_bytes(&project), database);
        assert_eq!(project.vault_files(), vault);
        // Nothing holds the lock.
        project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    }
}

#[test]
fn colours_are_there_unless_no_color_says_otherwise() {
    const RED: &str = "\x1b[31m";
    let project = project();
    let mut coloured = project.command(["db", "migrate-safe"]);
    coloured.env_remove("NO_COLOR");
    let (bytes, code) = session(coloured, QUESTION, ESCAPE);
    assert_eq!(code, 3);
    assert!(contains(&bytes, RED), "{}", String::from_utf8_lossy(&bytes));

    let (bytes, code) = session(project.command(["db", "migrate-safe"]), QUESTION, ESCAPE);
    assert_eq!(code, 3);
    assert!(!has_colour(&bytes), "{}", String::from_utf8_lossy(&bytes));
    // clap has its own idea of colours.
    let mut command = project.command(["db", "no-such-verb"]);
    let (mut master, mut child) = start(&mut command, None);
    let bytes = read_to_end(&mut master);
    assert_eq!(exit_code(&mut child), 2);
    assert!(!has_colour(&bytes), "{}", String::from_utf8_lossy(&bytes));
}

/// A picker hides the cursor; a shell without one is what an interrupted picker must not leave.
#[test]
fn the_cursor_comes_back() {
    const HIDDEN: &str = "\x1b[?25l";
    const SHOWN: &str = "\x1b[?25h";
    let project = project();
    for (key, code) in [(ESCAPE, 3), (CTRL_C, 130)] {
        let (bytes, found) = session(project.command(["db", "restore"]), "_older", key);
        assert_eq!(found, code);
        let text = String::from_utf8_lossy(&bytes);
        let last = text.rfind(SHOWN);
        assert!(text.rfind(HIDDEN) < last, "{key:?}: {text:?}");
        assert!(last.is_some(), "{key:?}: {text:?}");
    }
}

/// A description comes from a file name, and that from whoever wrote the branch.
#[test]
fn control_characters_of_a_description_do_not_reach_the_terminal() {
    const FILE: &str = "1_evil\x1b]0;owned\x07\x1b[2J\x1b[8mhidden\r\u{9b}31m.sql";
    let project = || Project::new().migration(FILE, "CREATE TABLE evil (id INTEGER);");
    let assert_cleaned = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        assert!(text.contains("evil") && text.contains("hidden"), "{text:?}");
        for piece in ["\x1b]", "\x07", "\x1b[2J", "\x1b[8m", "hidden\r", "\u{9b}"] {
            assert!(!text.contains(piece), "{piece:?} in {text:?}");
        }
    };
    let migrated = project();
    let (bytes, code) = session(migrated.command(["db", "migrate-safe"]), QUESTION, "yes\r");
    assert_eq!(code, 0);
    assert_cleaned(&bytes);

    let failing = Project::new().migration(FILE, "SELECT broken(");
    let (bytes, code) = session(failing.command(["db", "migrate-safe"]), QUESTION, "yes\r");
    assert_eq!(code, 3);
    assert_cleaned(&bytes);
    let failing = failing.unrehearsed();
    let keep = failing.command(["db", "migrate-safe", "--on-failure", "keep"]);
    let (bytes, code) = session(keep, QUESTION, "yes\r");
    assert_eq!(code, 5);
    assert_cleaned(&bytes);

    for verb in [&["status"][..], &["migrate-safe", "--dry-run"]] {
        let project = project();
        let mut command = project.command([&["db"], verb].concat());
        let (mut master, mut child) = start(&mut command, None);
        assert_cleaned(&read_to_end(&mut master));
        assert_eq!(exit_code(&mut child), 0);
    }
}
