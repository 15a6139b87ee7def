//! What `list` remembers of a large vault must not make it say what is no longer so.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::setup::sha256;
use crate::vault_folder;

/// More than an index is made of.
const BACKUPS: i64 = 300;
const HEADER: usize = "xtask-db index 1\n".len();
const DIGEST: usize = 64;

impl Vault {
    /// One that was left alone for long enough to be remembered; its ids, newest first.
    fn large() -> (Self, Vec<String>) {
        let vault = Self::empty();
        let newest = Utc::now() - TimeDelta::days(1);
        let ids = (0..BACKUPS).map(|number| vault.add(newest - TimeDelta::minutes(number), |_| {}));
        let ids = ids.collect();
        sleep(Duration::from_millis(2500));
        (vault, ids)
    }

    fn index(&self) -> PathBuf {
        self.case.project.vault().join(".index")
    }

    fn read_index(&self) -> Vec<u8> {
        fs::read(self.index()).expect("read the index")
    }

    /// The table says what `--json` says, which reads every manifest.
    #[track_caller]
    fn lists_the_truth(&self) {
        let shown = self.case.project.run(["db", "list"]).expect_code(0);
        self.is_the_truth(&shown);
    }

    #[track_caller]
    fn is_the_truth(&self, shown: &exec::Output) {
        let truth = self.case.project.json(["db", "list"]);
        let backups = truth["backups"].as_array().expect("a list");
        let wanted: Vec<String> = backups.iter().map(|b| line(&b["manifest"])).collect();
        let found: Vec<String> = shown.stdout.lines().skip(1).map(without_age).collect();
        assert_eq!(found, wanted, "{shown}");
        let problems = truth["problems"].as_array().expect("a list");
        let note = |p: &Value| {
            let (file, problem) = (text(p, "/file"), text(p, "/problem"));
            format!("note: `{file}` is left out: {problem}")
        };
        let wanted: Vec<String> = problems.iter().map(note).collect();
        let notes = shown.stderr.lines();
        let notes = notes.filter(|line| !line.starts_with("note: none of these was ever restored"));
        assert_eq!(notes.collect::<Vec<_>>(), wanted);
    }
}

/// Of a manifest, what a line of the table says but for age and size.
fn line(manifest: &Value) -> String {
    let rows = manifest["tables"].as_array().expect("tables");
    let sum: u64 = rows.iter().filter_map(|t| t["rows"].as_u64()).sum();
    format!(
        "{} {} {} (SQLite) {} {sum} none",
        text(manifest, "/id"),
        text(manifest, "/reason"),
        text(manifest, "/database/name"),
        rows.len()
    )
}

fn without_age(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.drain(4..8);
    // Nor what was shown of it: nothing but hash and check, when it was taken.
    assert_eq!(words.split_off(words.len() - 2), ["-", "-"]);
    words.truncate(words.len() - 4);
    words.join(" ")
}

/// Changes a file in place and gives it its old time back: by size, inode and time of its bytes it
/// is what it was.
fn in_place(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let before = path.metadata().expect("a file");
    let mut bytes = fs::read(path).expect("read a file");
    change(&mut bytes);
    fs::write(path, bytes).expect("change a file");
    let file = File::options().write(true).open(path).expect("open it");
    let times = FileTimes::new().set_modified(before.modified().expect("a time"));
    file.set_times(times).expect("set the time back");
}

#[test]
fn whatever_becomes_of_a_manifest_is_seen() {
    let (vault, ids) = Vault::large();
    vault.lists_the_truth();
    let index = vault.read_index();
    vault.lists_the_truth();
    assert_eq!(vault.read_index(), index, "written without need");

    let path = |number: usize| vault.case.manifest(&ids[number]);
    in_place(&path(3), |bytes| bytes[100] ^= 1);
    vault.lists_the_truth();
    in_place(&path(5), |bytes| {
        let mut manifest: Value = serde_json::from_slice(bytes).expect("a manifest");
        manifest["tables"][0]["rows"] = json!(7);
        *bytes = sealed(manifest);
    });
    vault.lists_the_truth();
    in_place(&path(7), |bytes| bytes.truncate(50));
    vault.lists_the_truth();
    fs::remove_file(path(9)).expect("remove a manifest");
    fs::remove_file(vault.case.dump(&ids[10])).expect("remove a dump");
    vault.lists_the_truth();
    let aside = vault.case.project.tmp().join("aside");
    fs::rename(path(11), &aside).expect("move a manifest");
    fs::rename(path(12), path(11)).expect("move a manifest");
    fs::rename(&aside, path(12)).expect("move a manifest");
    vault.lists_the_truth();
    fs::rename(path(14), &aside).expect("move a manifest");
    symlink(&aside, path(14)).expect("link to a manifest");
    vault.lists_the_truth();
    let other = vault
        .case
        .project
        .vault()
        .join(format!("{}.tar.zst", ids[20]));
    fs::write(other, "").expect("write a dump that no manifest names");
    vault.add(Utc::now(), |_| {});
    vault.lists_the_truth();
}

/// Within one tick of the clock a file can change twice, and its time but once.
#[test]
fn a_file_that_was_just_written_is_not_remembered() {
    let (vault, ids) = Vault::large();
    let young = vault.add(Utc::now(), |_| {});
    vault.lists_the_truth();
    let index = vault.read_index();
    let holds = |id: &str| index.windows(id.len()).any(|part| part == id.as_bytes());
    assert!(ids.iter().all(|id| holds(id)));
    assert!(!holds(&young));
}

/// Each damage in turn, and what stands in its place.
#[test]
fn an_index_of_no_use_is_passed_over() {
    let (vault, _) = Vault::large();
    vault.lists_the_truth();
    let whole = vault.read_index();
    let lines = HEADER + DIGEST;
    for at in [0, HEADER - 2, HEADER, lines, lines + 8, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(vault.index(), flipped).expect("damage the index");
        vault.lists_the_truth();
        assert_eq!(vault.read_index(), whole, "byte {at}: not made anew");
    }
    for length in [0, HEADER, lines, lines + 1, whole.len() - 1] {
        fs::write(vault.index(), &whole[..length]).expect("cut the index");
        vault.lists_the_truth();
        assert_eq!(vault.read_index(), whole, "{length} bytes: not made anew");
    }
    // Whole by its digest, and no lines.
    let garbage = [b"no line".as_slice(), &[0xff; 300]].concat();
    fs::write(vault.index(), with_digest(&whole, &garbage)).expect("forge the index");
    vault.lists_the_truth();

    let files = vault.case.project.vault_files().len();
    fs::remove_file(vault.index()).expect("remove the index");
    fs::create_dir(vault.index()).expect("put a folder in its place");
    vault.lists_the_truth();
    assert_eq!(vault.case.project.vault_files().len(), files, "left behind");
}

fn with_digest(index: &[u8], lines: &[u8]) -> Vec<u8> {
    [&index[..HEADER], sha256(lines).as_bytes(), lines].concat()
}

/// It is believed about nothing but what is shown: so much that it is used at all.
#[test]
fn nothing_but_the_table_comes_from_the_index() {
    let (vault, ids) = Vault::large();
    vault.lists_the_truth();
    let whole = vault.read_index();
    let name = b"app.db";
    let mut lines = whole[HEADER + DIGEST..].to_vec();
    let at = lines.windows(name.len()).position(|part| part == name);
    let at = at.expect("the name of the database");
    lines[at..at + name.len()].copy_from_slice(b"no one");
    fs::write(vault.index(), with_digest(&whole, &lines)).expect("forge the index");

    let shown = vault.case.project.run(["db", "list"]).expect_code(0);
    assert_eq!(shown.stdout.matches("no one").count(), 1, "{shown}");
    for verb in ["list", "status"] {
        let document = vault.case.project.json(["db", verb]).to_string();
        assert!(!document.contains("no one"), "{document}");
    }
    assert_eq!(vault.latest().as_ref(), ids.first());
}

#[test]
fn a_large_vault_that_may_only_be_read_is_listed() {
    let (vault, _) = Vault::large();
    let Some(shown) = vault_folder::on_read_only_file_system(&vault.case, &["list"]) else {
        return;
    };
    vault.is_the_truth(&shown.expect_code(0));
    assert!(!vault.index().exists());
}
