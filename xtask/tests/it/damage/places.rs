//! What stands where a file of the vault should be, and what it leads to: nothing hangs, and
//! nothing outside of the vault is opened.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};

use super::{Scene, edit};
use crate::exec;
use crate::setup::says;

/// Everything but a file and a link that can have a name.
const KINDS: [&str; 5] = ["pipe", "folder", "socket", "device", "empty file"];

/// Makes one of them; nothing when the machine does not let us.
fn make(kind: &str, path: &Path) -> Option<()> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let mode = Mode::from(0o600);
    match kind {
        "pipe" => rustix::fs::mkfifoat(CWD, path, mode).expect("make a pipe"),
        "folder" => fs::create_dir(path).expect("make a folder"),
        "socket" => drop(UnixListener::bind(path).expect("make a socket")),
        "empty file" => drop(fs::File::create(path).expect("make a file")),
        // As /dev/zero: who reads it reads for ever.
        _ => match mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 5)) {
            Err(rustix::io::Errno::PERM) => {
                exec::say("SKIPPED: only root can make a device");
                return None;
            }
            made => made.expect("make a device"),
        },
    }
    Some(())
}

fn remove(path: &Path) {
    match path.is_dir() && !path.is_symlink() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
    .unwrap_or_else(|error| panic!("remove {path:?}: {error}"));
}

#[test]
fn a_manifest_that_is_a_pipe_a_folder_a_socket_or_a_device() {
    let scene = Scene::sqlite();
    for kind in KINDS {
        remove(&scene.manifest());
        if make(kind, &scene.manifest()).is_none() {
            make("folder", &scene.manifest());
        }
        let listed = scene.run(&["list"]).expect_code(0);
        says(&listed, &[&format!("`{}.json` is left out", scene.newest)]);
        scene.run(&["status"]).expect_code(0);
        scene.refuses_newest();
    }
}

#[test]
fn a_dump_that_is_a_socket_or_a_device() {
    let scene = Scene::sqlite();
    for kind in ["socket", "device", "empty file"] {
        remove(&scene.dump());
        if make(kind, &scene.dump()).is_none() {
            make("folder", &scene.dump());
        }
        scene.run(&["list"]).expect_code(0);
        scene.run(&["status"]).expect_code(0);
        scene.refuses_newest();
    }
    scene.good_one_restores();
}

/// Nobody can hold a lock that is none; said, and nothing is done without it.
#[test]
fn a_lock_that_is_no_file() {
    let scene = Scene::sqlite();
    let lock = scene.case.project.vault().join(".lock");
    let files = scene.case.project.vault_files();
    for kind in ["folder", "socket", "device"] {
        remove(&lock);
        if make(kind, &lock).is_none() {
            make("folder", &lock);
        }
        for verb in ["list", "status", "verify"] {
            scene.run(&[verb]).expect_code(0);
        }
        for verb in [
            &["backup"][..],
            &["restore", "latest", "--yes"],
            &["migrate-safe", "--yes"],
        ] {
            let refused = scene.run(verb).expect_code(3);
            says(&refused, &["/.lock`, is not a regular file", "\nhint: "]);
        }
        assert_eq!(scene.case.project.vault_files(), files, "{kind}");
    }
    remove(&lock);
    scene.good_one_restores();
}

/// Hears of everything that is opened, read, written or made in a folder.
struct Watch {
    events: rustix::fd::OwnedFd,
    folder: PathBuf,
    before: Vec<(PathBuf, Vec<u8>)>,
}

impl Watch {
    fn on(folder: &Path) -> Self {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let before = contents(folder);
        let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
        let events = init(flags).expect("watch a folder");
        let every = WatchFlags::ALL_EVENTS;
        add_watch(&events, folder, every).expect("watch a folder");
        Self {
            events,
            folder: folder.to_owned(),
            before,
        }
    }

    #[track_caller]
    fn heard_nothing(&self, what: &str) {
        let mut buffer = [0; 4096];
        let read = rustix::io::read(&self.events, &mut buffer);
        assert_eq!(
            read,
            Err(rustix::io::Errno::AGAIN),
            "{what}: somebody was there"
        );
    }

    #[track_caller]
    fn saw_no_change(self, what: &str) {
        self.heard_nothing(what);
        assert!(
            contents(&self.folder) == self.before,
            "{what}: another content"
        );
    }
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("list a folder");
    let paths = entries.map(|entry| entry.expect("list a folder").path());
    let mut all: Vec<_> = paths
        .map(|path| (path.clone(), super::read(&path)))
        .collect();
    all.sort();
    all
}

/// A whole backup beside the vault, under every name that could lead there: a path in a manifest,
/// a link in the place of a dump, a manifest, the lock, and a folder for staging.
#[test]
fn nothing_outside_of_the_vault_is_opened() {
    let scene = Scene::sqlite();
    let outside = scene.case.project.tmp().join("outside");
    fs::create_dir(&outside).expect("create a folder");
    for path in [scene.dump(), scene.manifest(), scene.case.dump(&scene.good)] {
        let name = path.file_name().expect("a name");
        fs::copy(&path, outside.join(name)).expect("copy a backup out of the vault");
    }
    fs::write(outside.join("lock"), "nobody").expect("write a file");
    let (dump, manifest) = (scene.dump(), scene.manifest());
    let there = |path: &Path| outside.join(path.file_name().expect("a name"));
    let lure = there(&dump).display().to_string();
    let up = format!("../../../tmp/outside/{}.db.zst", scene.newest);
    assert!(
        scene.case.project.vault().join(&up).exists(),
        "the lure is one"
    );

    let watch = Watch::on(&outside);
    for name in [
        &lure,
        &up,
        &format!("./{up}"),
        &format!("{}/../{up}", scene.good),
    ] {
        edit(&manifest, "/dump/file", name.as_str());
        scene.refuses_newest();
        watch.heard_nothing(name);
    }
    for link in [&manifest, &dump] {
        remove(link);
        symlink(there(link), link).expect("link out of the vault");
        scene.refuses_newest();
        watch.heard_nothing("a link");
    }
    let staging = scene
        .case
        .project
        .vault()
        .join(".backup_2026-01-01_000000.partial");
    symlink(&outside, &staging).expect("link out of the vault");
    scene.case.backup();
    watch.heard_nothing("a link that looks like a left-over");
    let lock = scene.case.project.vault().join(".lock");
    remove(&lock);
    symlink(outside.join("lock"), &lock).expect("link out of the vault");
    let refused = scene.run(&["backup"]).expect_code(3);
    says(&refused, &["/.lock`, is not", "\nhint: move it away"]);
    watch.saw_no_change("everything");
}

/// Somebody who knows the time knows the next id.
#[test]
fn names_that_are_taken_by_links_and_files_are_not_used() {
    let scene = Scene::sqlite();
    let outside = scene.case.project.tmp().join("outside");
    fs::create_dir(&outside).expect("create a folder");
    fs::write(outside.join("file"), "somebody's").expect("write a file");
    let now = Utc::now();
    let vault = scene.case.project.vault();
    for seconds in 0..20 {
        let at = now + TimeDelta::seconds(seconds);
        let id = format!("backup_{}", at.format("%Y-%m-%d_%H%M%S"));
        let name = [".partial", ".json", ".db.zst", ".dump.zst"][seconds as usize % 4];
        let hidden = if name == ".partial" { "." } else { "" };
        let to = if seconds % 8 < 4 {
            outside.join("file")
        } else {
            outside.clone()
        };
        symlink(to, vault.join(format!("{hidden}{id}{name}"))).expect("take a name");
    }
    let watch = Watch::on(&outside);
    let ids: Vec<String> = (0..2).map(|_| scene.case.backup()).collect();
    assert!(
        ids.iter().all(|id| id.contains("_2") && id.len() > 24),
        "{ids:?}"
    );
    watch.saw_no_change("names that were taken");
    scene.case.restore(&ids[0]);
}
