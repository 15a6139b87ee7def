//! Tars that `pg_dump` did not make, with a manifest that is right about them: refused before a
//! database is made of them, and nothing is written where it does not belong.

use std::fs;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::{backup, filled, packed};
use crate::exec::Output;
use crate::setup::{Case, says, sealed, sha256};

/// An entry as no honest program writes it.
struct Forged {
    name: String,
    kind: EntryType,
    link: String,
    data: Vec<u8>,
}

fn file(name: &str, data: impl Into<Vec<u8>>) -> Forged {
    Forged {
        name: name.into(),
        kind: EntryType::Regular,
        link: String::new(),
        data: data.into(),
    }
}

fn special(name: &str, kind: EntryType, link: &str) -> Forged {
    Forged {
        kind,
        link: link.into(),
        ..file(name, "")
    }
}

fn tar_of(entries: &[Forged]) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        let mut header = Header::new_gnu();
        // Not `set_path`: it refuses what this is about.
        let old = header.as_old_mut();
        old.name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        old.linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_size(entry.data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.extend(header.as_bytes());
        tar.extend(&entry.data);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend([0; 1024]);
    tar
}

/// A backup of two sessions, whose tar can be any other one.
struct Scene {
    case: Case,
    id: String,
    honest: Vec<(String, Vec<u8>)>,
}

impl Scene {
    fn of(case: Case) -> Self {
        let id = backup(&case);
        let honest = packed(&case.project.vault().join(format!("{id}.tar.zst")));
        case.query("DELETE FROM small;");
        Self { case, id, honest }
    }

    fn honest(&self) -> Vec<Forged> {
        let files = self.honest.iter();
        files.map(|(name, data)| file(name, data.clone())).collect()
    }

    fn forge(&self, tar: &[u8], raw_size_bytes: usize) {
        let dump = zstd::encode_all(tar, 1).expect("compress");
        let manifest = self.case.manifest(&self.id);
        let bytes = fs::read(&manifest).expect("read the manifest");
        let mut document: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        document["dump"]["sha256"] = sha256(&dump).into();
        document["dump"]["size_bytes"] = dump.len().into();
        document["dump"]["raw_size_bytes"] = raw_size_bytes.into();
        fs::write(&manifest, sealed(document)).expect("write the manifest");
        let path = self
            .case
            .project
            .vault()
            .join(format!("{}.tar.zst", self.id));
        fs::write(path, dump).expect("write the dump");
    }

    fn restore(&self) -> Output {
        self.case
            .project
            .run(["db", "restore", &self.id, "--yes", "--jobs", "2"])
    }

    /// It is trusted by its digest, and still not restored.
    #[track_caller]
    fn refuses(&self, tar: &[u8], what: &str) {
        self.forge(tar, tar.len());
        let verified = self.case.project.run(["db", "verify", &self.id]);
        verified.expect_code(0);
        let refused = self.restore();
        let found = evil(&self.case);
        assert!(found.is_empty(), "{what}: {found:?}\n{refused}");
        says(&refused, &["not a packed folder of `pg_dump`"]);
        refused.expect_code(4);
    }

    /// The honest tar comes back, once it is there again.
    fn honest_one_restores(&self) {
        let tar = tar_of(&self.honest());
        self.forge(&tar, tar.len());
        self.restore().expect_code(0);
        assert_eq!(self.case.query(super::ASK), super::ANSWER);
    }
}

/// What a forged name led to, anywhere in the test's own folder.
fn evil(case: &Case) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![case.project.path().parent().expect("a parent").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("list a folder").flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().contains("evil") {
                found.push(path);
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
    found
}

fn bad_entries(outside: &Path) -> Vec<(&'static str, Vec<Forged>)> {
    let outside = outside.display().to_string();
    let below = format!("{outside}/evil");
    vec![
        ("upwards", vec![file("../../evil", "x")]),
        ("one up", vec![file("../evil", "x")]),
        ("absolute", vec![file(&below, "x")]),
        ("dotted", vec![file("./evil", "x")]),
        ("hidden", vec![file(".evil", "x")]),
        ("the folder", vec![file(".", "x")]),
        ("its parent", vec![file("..", "x")]),
        ("nameless", vec![file("", "x")]),
        ("below", vec![file("sub/evil", "x")]),
        ("unusual", vec![file("e vil", "x")]),
        ("too long", vec![file(&"e".repeat(90), "x")]),
        ("twice", vec![file("toc.dat", "x")]),
        ("a folder", vec![special("sub", EntryType::Directory, "")]),
        ("a pipe", vec![special("pipe.dat", EntryType::Fifo, "")]),
        (
            "a way out",
            vec![
                special("out", EntryType::Symlink, &outside),
                file("out/evil", "x"),
            ],
        ),
        (
            "a hard link",
            vec![special("1.dat", EntryType::Link, "/etc/passwd")],
        ),
        (
            "a long name",
            vec![
                Forged {
                    kind: EntryType::GNULongName,
                    ..file("long", "../../evil\0")
                },
                file("1.dat", "x"),
            ],
        ),
        (
            "another name",
            vec![
                Forged {
                    kind: EntryType::XHeader,
                    ..file("pax", "19 path=../../evil\n")
                },
                file("1.dat", "x"),
            ],
        ),
    ]
}

/// Into a database that is gone: no safety backup is in the way of so many of them.
#[test]
fn names_that_lead_elsewhere() {
    let Some(case) = filled("forged_names") else {
        return;
    };
    let scene = Scene::of(case);
    let database = scene.case.server.clone().expect("a server");
    let maintenance = database.cluster().database("postgres");
    let name = database.name();
    maintenance.psql(&format!("DROP DATABASE {name} WITH (FORCE);"));
    for (what, bad) in bad_entries(&scene.case.project.tmp()) {
        let mut entries = scene.honest();
        entries.extend(bad);
        scene.refuses(&tar_of(&entries), what);
    }
    let beside = format!("SELECT datname FROM pg_database WHERE starts_with(datname, '{name}');");
    assert_eq!(maintenance.psql(&beside), "");
    scene.honest_one_restores();
}

/// In place the table of contents is looked at first, in a folder of its own.
#[test]
fn names_that_lead_elsewhere_in_place() {
    let Some((case, _)) = Case::owner("forged_in_place") else {
        return;
    };
    case.query(super::FILL);
    let scene = Scene::of(case);
    for (what, bad) in bad_entries(&scene.case.project.tmp()).into_iter().take(3) {
        let mut first = bad;
        first.extend(scene.honest());
        scene.refuses(&tar_of(&first), what);
    }
    let mut last = scene.honest();
    last.push(file("../../evil", "x"));
    scene.refuses(&tar_of(&last), "at the end");
    assert_eq!(scene.case.query("SELECT count(*) FROM small;"), ["0"]);
    scene.honest_one_restores();
}

/// Nothing but the honest one is one, and the live database stays through all of them.
#[test]
fn tars_that_are_none() {
    let Some(case) = filled("forged_tars") else {
        return;
    };
    let scene = Scene::of(case);
    let whole = tar_of(&scene.honest());
    let cut = whole[..whole.len() / 2 / 512 * 512].to_vec();
    scene.refuses(&cut, "cut in the middle of a file");
    scene.refuses(b"PGDMP and so on, but no tar at all", "text");
    let mut other = whole.clone();
    other[0] ^= 1;
    scene.refuses(&other, "a header that does not match itself");

    scene.forge(&whole, whole.len() / 2);
    let refused = scene.restore();
    says(&refused, &["more than its manifest says"]);
    refused.expect_code(4);

    let mut fewer = scene.honest();
    fewer.retain(|entry| entry.name == "toc.dat");
    let fewer = tar_of(&fewer);
    scene.forge(&fewer, fewer.len());
    let refused = scene.restore();
    says(&refused, &["cannot be trusted"]);
    refused.expect_code(4);

    assert_eq!(scene.case.query("SELECT count(*) FROM small;"), ["0"]);
    scene.honest_one_restores();
}
