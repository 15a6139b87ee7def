//! Backups that something happened to: never trusted, never restored, and said so with a way on.

mod bytes;
mod contents;
mod forged;
mod listing;
mod places;

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;

pub use bytes::number;

use crate::exec::Output;
use crate::setup::{Case, database_digests, says, sealed, sha256, text};

/// A database that has moved on since its two backups; `newest` is the one that gets damaged.
struct Scene {
    case: Case,
    good: String,
    newest: String,
}

impl Scene {
    fn new(case: Case) -> Self {
        case.query("CREATE TABLE kept (id BIGINT NOT NULL PRIMARY KEY, name TEXT);");
        case.query("INSERT INTO kept VALUES (1, 'one'), (2, 'two');");
        let good = case.backup();
        case.query("INSERT INTO kept VALUES (3, 'three');");
        let newest = case.backup();
        case.query("DELETE FROM kept; CREATE TABLE late (id BIGINT);");
        Self { case, good, newest }
    }

    fn sqlite() -> Self {
        Self::new(Case::sqlite())
    }

    fn dump(&self) -> std::path::PathBuf {
        self.case.dump(&self.newest)
    }

    fn manifest(&self) -> std::path::PathBuf {
        self.case.manifest(&self.newest)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.case.project.run([&["db"][..], arguments].concat())
    }

    /// No verb has anything to do with the newest backup, all point to the good one, and nothing
    /// changes anywhere.
    #[track_caller]
    fn refuses_newest(&self) {
        let before = database_digests(&self.case.project.sqlite_path());
        let files = self.case.project.vault_files();
        for wanted in [&[][..], &["latest"], &[&self.newest]] {
            self.run(&[&["verify"], wanted].concat()).expect_code(4);
        }
        let all = self.run(&["verify", "--all"]).expect_code(4);
        says(&all, &["hint: ", &self.good]);
        let not_trusted = format!("NOT TRUSTED  {}", self.newest);
        assert!(all.stdout.contains(&not_trusted), "{all}");
        assert!(all.stdout.contains(&format!("trusted      {}", self.good)));
        for wanted in ["latest", &self.newest] {
            for consent in ["--yes", "--force"] {
                let refused = self.run(&["restore", wanted, consent]).expect_code(4);
                let command = format!("cargo xtask db restore {}", self.good);
                says(&refused, &["hint: ", &command]);
            }
        }
        assert_eq!(self.case.project.vault_files(), files, "no safety backup");
        let after = database_digests(&self.case.project.sqlite_path());
        assert_eq!(after, before, "the database was touched");
    }

    /// The way on that the hint names leads somewhere.
    #[track_caller]
    fn good_one_restores(&self) {
        self.case.restore(&self.good);
        assert_eq!(self.case.query("SELECT count(*) FROM kept;"), ["2"]);
    }
}

/// Changes one value of a manifest, as somebody who knows how to seal one would.
fn edit(manifest: &Path, pointer: &str, value: impl Into<Value>) {
    let bytes = fs::read(manifest).expect("read the manifest");
    let mut document: Value = serde_json::from_slice(&bytes).expect("a manifest");
    let place = document.pointer_mut(pointer);
    *place.unwrap_or_else(|| panic!("no {pointer} in the manifest")) = value.into();
    fs::write(manifest, sealed(document)).expect("write the manifest");
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("read {path:?}: {error}"))
}

#[test]
fn a_flipped_byte_anywhere_in_the_dump() {
    let scene = Scene::sqlite();
    let whole = read(&scene.dump());
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x01;
        fs::write(scene.dump(), bytes).expect("damage the dump");
        scene.refuses_newest();
    }
    fs::write(scene.dump(), whole).expect("repair the dump");
    scene.run(&["verify"]).expect_code(0);
}

#[test]
fn a_dump_of_another_length() {
    let scene = Scene::sqlite();
    let whole = read(&scene.dump());
    let longer = [&whole[..], b"more"].concat();
    for bytes in [&whole[..whole.len() - 1], &whole[..1], &[], &longer] {
        fs::write(scene.dump(), bytes).expect("damage the dump");
        scene.refuses_newest();
    }
    scene.good_one_restores();
}

#[test]
fn two_dumps_that_were_swapped() {
    let scene = Scene::sqlite();
    let last = scene.case.backup();
    let (one, other) = (scene.dump(), scene.case.dump(&last));
    let (first, second) = (read(&one), read(&other));
    assert!(first != second);
    fs::write(&one, second).expect("swap the dumps");
    fs::write(&other, first).expect("swap the dumps");
    scene.refuses_newest();
    let restored = scene.run(&["restore", &last, "--yes"]).expect_code(4);
    says(&restored, &[&scene.good]);
    scene.good_one_restores();
}

#[test]
fn a_dump_that_is_gone() {
    let scene = Scene::sqlite();
    fs::remove_file(scene.dump()).expect("lose the dump");
    scene.refuses_newest();
    scene.good_one_restores();
}

/// A link could lead anywhere, also to a file that somebody else changes between two looks.
#[test]
fn a_dump_that_is_a_link_a_pipe_or_a_folder() {
    let scene = Scene::sqlite();
    let elsewhere = scene.case.project.tmp().join("elsewhere.zst");
    fs::rename(scene.dump(), &elsewhere).expect("move the dump");
    std::os::unix::fs::symlink(&elsewhere, scene.dump()).expect("link to the dump");
    scene.refuses_newest();

    fs::remove_file(scene.dump()).expect("remove the link");
    let mode = rustix::fs::Mode::from(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, scene.dump(), mode).expect("make a pipe");
    scene.refuses_newest();

    fs::remove_file(scene.dump()).expect("remove the pipe");
    fs::create_dir(scene.dump()).expect("make a folder");
    scene.refuses_newest();
}

#[test]
fn a_manifest_with_another_digest_or_size() {
    let scene = Scene::sqlite();
    let whole = read(&scene.manifest());
    let other = sha256(b"something else");
    edit(&scene.manifest(), "/dump/sha256", other);
    scene.refuses_newest();
    for size in [0, 1, u64::MAX] {
        fs::write(scene.manifest(), &whole).expect("repair the manifest");
        edit(&scene.manifest(), "/dump/size_bytes", size);
        scene.refuses_newest();
    }
    fs::write(scene.manifest(), &whole).expect("repair the manifest");
    scene.run(&["verify"]).expect_code(0);
}

/// With none to point to, the hint does not make one up.
#[test]
fn nothing_left_to_trust() {
    let scene = Scene::sqlite();
    for id in [&scene.good, &scene.newest] {
        let path = scene.case.dump(id);
        let file = File::options().write(true).open(path);
        file.and_then(|file| file.set_len(10)).expect("truncate");
    }
    let before = database_digests(&scene.case.project.sqlite_path());
    let refused = scene.run(&["restore", "latest", "--yes"]).expect_code(4);
    says(&refused, &["hint: no other backup of this database"]);
    scene.run(&["verify", "--all"]).expect_code(4);
    let after = database_digests(&scene.case.project.sqlite_path());
    assert_eq!(after, before);
}

/// The document that a script reads says the same as the exit code.
#[test]
fn the_json_names_what_is_wrong() {
    let scene = Scene::sqlite();
    fs::write(scene.dump(), b"nonsense").expect("damage the dump");
    let verified = scene.run(&["verify", "--all", "--json"]).expect_code(4);
    let verified = verified.json();
    let list = verified["verified"].as_array().expect("a list");
    let of = |id: &str| list.iter().find(|entry| entry["id"] == id);
    let newest = of(&scene.newest).expect("the newest backup");
    assert_eq!(newest["trusted"], false);
    assert!(text(newest, "/problem").contains("8 bytes"), "{newest:#}");
    let good = of(&scene.good).expect("the good backup");
    assert_eq!(
        (&good["trusted"], &good["problem"]),
        (&Value::Bool(true), &Value::Null)
    );
    let refused = scene.run(&["restore", "latest", "--yes", "--json"]);
    let refused = refused.expect_code(4).json();
    assert_eq!(refused["error"]["exit_code"], 4);
    assert!(text(&refused, "/error/hint").contains(&scene.good));
}
