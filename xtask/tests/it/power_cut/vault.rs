//! The vault at every step of the order in which a backup is published and removed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::exec::Output;
use crate::setup::{Case, says, text};

/// What is known of the newest backup, whose publication or removal was cut.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Newest {
    /// As if it had never been begun, but for what lies in its staging folder.
    Staged,
    /// A dump without a manifest.
    Orphan,
    /// Both files are named, and their bytes never reached the disk.
    Unreadable,
    /// Its manifest is whole and its dump is not.
    BadDump,
    Published,
}

/// Names in the vault and what is in the files; `None` is a folder.
type Files = BTreeMap<String, Option<Vec<u8>>>;

struct Scene {
    case: Case,
    good: String,
    newest: String,
    database: Vec<u8>,
    /// Dump and manifest of the good backup alone.
    before: Files,
    dump: Vec<u8>,
    manifest: Vec<u8>,
}

impl Scene {
    /// The good backup has two rows, the newest three, and the database four.
    fn new() -> Self {
        let case = Case::sqlite();
        case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2);");
        let backup =
            |label| text(&case.project.json(["db", "backup", label]), "/backup/id").to_owned();
        let good = backup("good");
        let names = case.project.vault_files();
        let read = |name: &str| fs::read(case.project.vault().join(name)).expect("read a file");
        let before = names
            .iter()
            .map(|name| (name.clone(), Some(read(name))))
            .collect();
        case.query("INSERT INTO t VALUES (3);");
        let newest = backup("cut");
        case.query("INSERT INTO t VALUES (4);");
        case.project
            .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
        Self {
            database: fs::read(case.project.sqlite_path()).expect("read the database"),
            dump: fs::read(case.dump(&newest)).expect("read a dump"),
            manifest: fs::read(case.manifest(&newest)).expect("read a manifest"),
            case,
            good,
            newest,
            before,
        }
    }

    /// Every moment by what it leaves in the vault beside the good backup.
    fn moments(&self) -> Vec<(&'static str, Newest, Files)> {
        let mut moments = self.before_a_name();
        moments.extend(self.after_a_name());
        moments.extend(self.after_a_lost_flush());
        moments
    }

    /// In the order of time, until the dump gets its name.
    fn before_a_name(&self) -> Vec<(&'static str, Newest, Files)> {
        let (dump, manifest) = (&self.dump, &self.manifest);
        let manifests = |manifest| self.staged(&[("dump", dump.clone()), ("manifest", manifest)]);
        [
            ("claimed", self.staged(&[])),
            ("empty dump", self.staged(&[("dump", vec![])])),
            ("half a dump", self.staged(&[("dump", half(dump))])),
            ("unflushed dump", self.staged(&[("dump", torn(dump))])),
            ("dump", self.staged(&[("dump", dump.clone())])),
            ("empty manifest", manifests(vec![])),
            ("half a manifest", manifests(half(manifest))),
            ("unflushed manifest", manifests(torn(manifest))),
            ("both staged", manifests(manifest.clone())),
        ]
        .map(|(name, files)| (name, Newest::Staged, files))
        .into()
    }

    /// In the order of time, until both files have their names and until both are removed.
    fn after_a_name(&self) -> Vec<(&'static str, Newest, Files)> {
        let (dump, manifest) = (&self.dump, &self.manifest);
        let staged = |names: &[&str]| {
            let of = |name: &str| if name == "dump" { dump } else { manifest };
            let files: Vec<_> = names.iter().map(|name| (*name, of(name).clone())).collect();
            self.staged(&files)
        };
        let orphan = |staging| self.named(Some(dump), None, staging);
        let whole = |staging| self.named(Some(dump), Some(manifest), staging);
        vec![
            (
                "linked, not yet unlinked",
                Newest::Orphan,
                orphan(staged(&["dump", "manifest"])),
            ),
            ("dump named", Newest::Orphan, orphan(staged(&["manifest"]))),
            (
                "both linked",
                Newest::Published,
                whole(staged(&["manifest"])),
            ),
            ("both named", Newest::Published, whole(staged(&[]))),
            ("published", Newest::Published, whole(Files::new())),
            ("manifest removed", Newest::Orphan, orphan(Files::new())),
            ("both removed", Newest::Staged, Files::new()),
        ]
    }

    /// On a disk that said that it had flushed, and had not.
    fn after_a_lost_flush(&self) -> Vec<(&'static str, Newest, Files)> {
        let (dump, manifest) = (&self.dump, &self.manifest);
        let zeros = |bytes: &[u8]| vec![0; bytes.len()];
        let named = |dump: Option<Vec<u8>>, manifest: Option<Vec<u8>>| {
            self.named(dump.as_ref(), manifest.as_ref(), Files::new())
        };
        let (whole, sealed) = (|| Some(dump.clone()), || Some(manifest.clone()));
        vec![
            (
                "zeroed orphan",
                Newest::Orphan,
                named(Some(zeros(dump)), None),
            ),
            (
                "empty manifest",
                Newest::Unreadable,
                named(whole(), Some(vec![])),
            ),
            (
                "zeroed manifest",
                Newest::Unreadable,
                named(whole(), Some(zeros(manifest))),
            ),
            (
                "torn manifest",
                Newest::Unreadable,
                named(whole(), Some(torn(manifest))),
            ),
            ("empty dump", Newest::BadDump, named(Some(vec![]), sealed())),
            (
                "zeroed dump",
                Newest::BadDump,
                named(Some(zeros(dump)), sealed()),
            ),
            (
                "torn dump",
                Newest::BadDump,
                named(Some(torn(dump)), sealed()),
            ),
            ("lost dump", Newest::BadDump, named(None, sealed())),
            (
                "both zeroed",
                Newest::Unreadable,
                named(Some(zeros(dump)), Some(zeros(manifest))),
            ),
        ]
    }

    fn staged(&self, files: &[(&str, Vec<u8>)]) -> Files {
        let folder = format!(".{}.partial", self.newest);
        let work = [(folder.clone(), None), (format!("{folder}/work"), None)];
        let files = files
            .iter()
            .map(|(name, bytes)| (format!("{folder}/{name}"), Some(bytes.clone())));
        work.into_iter().chain(files).collect()
    }

    fn named(&self, dump: Option<&Vec<u8>>, manifest: Option<&Vec<u8>>, mut files: Files) -> Files {
        for (ending, bytes) in [("db.zst", dump), ("json", manifest)] {
            if let Some(bytes) = bytes {
                files.insert(format!("{}.{ending}", self.newest), Some(bytes.clone()));
            }
        }
        files
    }

    /// Database and vault as the moment left them, with the lock of the dead process.
    fn cut(&self, moment: &Files) {
        let vault = self.case.project.vault();
        fs::remove_dir_all(&vault).expect("empty the vault");
        fs::create_dir(&vault).expect("make the vault");
        let holder = b"pid 1, `db backup` of ada@host, since 2026\0\0\0\0";
        put(&vault.join(".lock"), Some(holder));
        for (name, bytes) in self.before.iter().chain(moment) {
            put(&vault.join(name), bytes.as_deref());
        }
        fs::write(self.case.project.sqlite_path(), &self.database).expect("write the database");
    }

    fn run(&self, verb: &[&str]) -> Output {
        self.case.project.run([&["db"][..], verb].concat())
    }

    fn rows(&self) -> String {
        self.case.query("SELECT count(*) FROM t;").remove(0)
    }

    /// Looking tells what there is, and changes nothing.
    #[track_caller]
    fn looks(&self, newest: Newest, moment: &Files) {
        let listed = self.case.project.json(["db", "list"]);
        let ids: Vec<_> = listed["backups"]
            .as_array()
            .expect("a list")
            .iter()
            .collect();
        let is_listed = ids.iter().any(|b| text(b, "/manifest/id") == self.newest);
        let problems = listed["problems"].to_string();
        assert_eq!(
            is_listed,
            matches!(newest, Newest::Published | Newest::BadDump)
        );
        assert_eq!(
            problems.contains("orphan"),
            newest == Newest::Orphan,
            "{problems}"
        );
        let is_named = problems.contains(&format!("{}.json", self.newest));
        assert_eq!(is_named, newest == Newest::Unreadable, "{problems}");

        let status = self.run(&["status"]).expect_code(0);
        let refusal = "`db restore latest` will be refused";
        let is_said = status.stderr.contains(refusal);
        assert_eq!(is_said, newest == Newest::Unreadable, "{status}");
        let bad = matches!(newest, Newest::Unreadable | Newest::BadDump);
        self.run(&["verify", "--all"])
            .expect_code(if bad { 4 } else { 0 });
        let verified = self.run(&["verify"]).expect_code(if bad { 4 } else { 0 });
        if bad {
            says(&verified, &["\nhint: ", &self.good]);
        }
        let vault = self.case.project.vault();
        for (name, bytes) in self.before.iter().chain(moment) {
            match bytes {
                Some(bytes) => assert!(fs::read(vault.join(name)).expect("it is there") == *bytes),
                None => assert!(vault.join(name).is_dir(), "{name}"),
            }
        }
    }

    /// A verb that writes clears away what was staged and says so.
    #[track_caller]
    fn cleared_away(&self, moment: &Files, output: &Output) {
        let folder = format!(".{}.partial", self.newest);
        let left = format!("removed what a crashed run left behind: {folder}");
        let was_there = moment.contains_key(&folder);
        assert_eq!(output.stderr.contains(&left), was_there, "{output}");
        let files = self.case.project.vault_files();
        assert!(!files.iter().any(|name| name.starts_with('.')), "{files:?}");
    }

    #[track_caller]
    fn restores(&self, newest: Newest, moment: &Files) {
        self.cut(moment);
        let restored = self.run(&["restore", "latest", "--yes"]);
        let rows = match newest {
            Newest::Staged | Newest::Orphan => "2",
            Newest::Published => "3",
            Newest::Unreadable | Newest::BadDump => {
                assert_eq!(restored.code, 4, "{restored}");
                says(&restored, &["\nhint: ", &self.good]);
                assert_eq!(self.rows(), "4");
                self.cut(moment);
                self.run(&["restore", &self.good, "--yes"]).expect_code(0);
                return assert_eq!(self.rows(), "2");
            }
        };
        self.cleared_away(moment, &restored.expect_code(0));
        assert_eq!(self.rows(), rows);
        self.run(&["verify", "--all"]).expect_code(0);
    }

    #[track_caller]
    fn goes_on(&self, newest: Newest, moment: &Files) {
        for verb in [&["backup"][..], &["migrate-safe", "--yes"]] {
            self.cut(moment);
            let done = self.run(verb).expect_code(0);
            self.cleared_away(moment, &done);
            assert_eq!(self.rows(), "4");
            let latest = self.run(&["verify"]).expect_code(0);
            let is_new =
                !latest.stdout.contains(&self.newest) && !latest.stdout.contains(&self.good);
            assert!(is_new, "{latest}");
            let bad = matches!(newest, Newest::Unreadable | Newest::BadDump);
            self.run(&["verify", "--all"])
                .expect_code(if bad { 4 } else { 0 });
            self.run(&["restore", "latest", "--yes"]).expect_code(0);
            assert_eq!(self.rows(), "4");
        }
    }
}

fn half(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

/// The length is right, and the second half never reached the disk.
fn torn(bytes: &[u8]) -> Vec<u8> {
    let mut torn = bytes.to_vec();
    torn[bytes.len() / 2..].fill(0);
    torn
}

fn put(path: &Path, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => fs::write(path, bytes),
        None => fs::create_dir(path),
    }
    .unwrap_or_else(|error| panic!("write {path:?}: {error}"));
}

#[test]
fn a_backup_that_was_cut_at_any_step_is_whole_or_none() {
    /// They wait for the disk more than for a core.
    const WORKERS: usize = 4;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let scene = Scene::new();
                let moments = scene.moments();
                let taken = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                for at in taken.take_while(|at| *at < moments.len()) {
                    let (name, newest, moment) = &moments[at];
                    println!("cut at: {name}, {newest:?}");
                    scene.cut(moment);
                    scene.looks(*newest, moment);
                    scene.restores(*newest, moment);
                    scene.goes_on(*newest, moment);
                }
            });
        }
    });
    assert!(next.into_inner() > 20, "too few moments");
}
