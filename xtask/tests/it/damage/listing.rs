//! Manifests that cannot be used: named by `list`, and `latest` does not step over them in silence.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Scene, edit, read};
use crate::setup::{hinted_command, says, sealed, text};

impl Scene {
    /// `list` names the file and the reason, and nothing takes an older backup for the latest one.
    #[track_caller]
    fn names_and_refuses_newest(&self, reason: &str) {
        let listed = self.run(&["list"]).expect_code(0);
        let file = format!("{}.json", self.newest);
        says(&listed, &[&file, reason]);
        assert!(listed.stdout.contains(&self.good), "{listed}");
        let document = self.run(&["list", "--json"]).expect_code(0).json();
        assert_eq!(text(&document, "/problems/0/file"), file);
        assert!(text(&document, "/problems/0/problem").contains(reason));
        self.refuses_newest();
    }
}

#[test]
fn a_newer_format_is_called_newer() {
    let scene = Scene::sqlite();
    edit(&scene.manifest(), "/format", 4);
    // What else a later version changes is not looked at.
    edit(&scene.manifest(), "/dump", "elsewhere");
    scene.names_and_refuses_newest("format 4");
    scene.good_one_restores();
}

#[test]
fn a_manifest_that_is_none() {
    let scene = Scene::sqlite();
    let whole = read(&scene.manifest());
    for bytes in [&whole[..whole.len() / 2], b"", b"null", b"[]", b"\xff\xfe"] {
        fs::write(scene.manifest(), bytes).expect("damage the manifest");
        scene.names_and_refuses_newest("");
    }
    fs::write(scene.manifest(), b"{}").expect("damage the manifest");
    scene.names_and_refuses_newest("no format number");
}

/// The file that a manifest names is its own, in its own folder.
#[test]
fn a_path_in_the_name_of_the_dump() {
    let scene = Scene::sqlite();
    let outside = scene.case.project.path().join("database/outside.db.zst");
    fs::copy(scene.dump(), &outside).expect("copy the dump");
    let absolute = outside.to_str().expect("a UTF-8 path").to_owned();
    let good = format!("{}.db.zst", scene.good);
    for name in ["../outside.db.zst", &absolute, &good, "", "."] {
        edit(&scene.manifest(), "/dump/file", name);
        scene.names_and_refuses_newest("names the dump file");
    }
    assert!(outside.exists());
}

/// No manifest is that large, and reading it would take the memory of a small machine.
#[test]
fn a_manifest_of_100_mb_is_not_read() {
    let scene = Scene::sqlite();
    let file = File::options().write(true).open(scene.manifest());
    file.and_then(|file| file.set_len(100 * 1024 * 1024))
        .expect("blow the manifest up");
    let began = Instant::now();
    scene.names_and_refuses_newest("larger than");
    assert!(began.elapsed() < Duration::from_secs(20), "it was read");
}

#[test]
fn a_manifest_under_another_name() {
    let scene = Scene::sqlite();
    fs::copy(scene.case.manifest(&scene.good), scene.manifest()).expect("copy a manifest");
    scene.names_and_refuses_newest(&scene.good);
}

#[test]
fn a_manifest_that_is_a_link() {
    let scene = Scene::sqlite();
    let elsewhere = scene.case.project.tmp().join("elsewhere.json");
    fs::rename(scene.manifest(), &elsewhere).expect("move the manifest");
    std::os::unix::fs::symlink(&elsewhere, scene.manifest()).expect("link to the manifest");
    scene.names_and_refuses_newest("");
}

/// A dump without a manifest is what a crash leaves: no backup, but not hidden either.
#[test]
fn an_orphan_is_named_and_is_no_backup() {
    let scene = Scene::sqlite();
    fs::remove_file(scene.manifest()).expect("lose the manifest");
    let listed = scene.run(&["list"]).expect_code(0);
    says(&listed, &[&format!("{}.db.zst", scene.newest)]);
    assert!(!listed.stdout.contains(&scene.newest), "{listed}");
    scene.run(&["verify", "--all"]).expect_code(0);
    let unknown = scene
        .run(&["restore", &scene.newest, "--yes"])
        .expect_code(4);
    says(&unknown, &[&scene.newest]);
}

/// No crash leaves what the journal knows as taken: it was the newest backup, and is not stepped over.
#[test]
fn a_manifest_that_was_lost_is_doubt() {
    let scene = Scene::sqlite();
    fs::remove_file(scene.manifest()).expect("lose the manifest");
    for wanted in ["latest", &scene.newest] {
        let refused = scene.run(&["restore", wanted, "--yes"]).expect_code(4);
        says(&refused, &[&scene.newest, "its manifest is lost"]);
        assert_eq!(hinted_command(&refused), ["db", "restore", &scene.good]);
    }
    scene.run(&["verify"]).expect_code(4);
    // Of another database it says nothing.
    let journal = scene.case.project.vault().join("journal.jsonl");
    let known = fs::read_to_string(&journal).expect("read the journal");
    let id = format!("\"backup\":\"{}\"", scene.newest);
    let lines = known.lines().map(|line| match line.contains(&id) {
        true => line.replace("/app.db`", "/another.db`") + "\n",
        false => format!("{line}\n"),
    });
    fs::write(&journal, lines.collect::<String>()).expect("write the journal");
    let restored = scene.run(&["restore", "latest", "--yes"]).expect_code(0);
    says(&restored, &["is newer: an orphan", &scene.good]);
}

#[test]
fn a_dump_that_a_crash_left_is_said_and_stepped_over() {
    let scene = Scene::sqlite();
    let orphan = scene.case.dump("backup_2099-01-01_000000");
    fs::copy(scene.dump(), &orphan).expect("leave a dump");
    let restored = scene.run(&["restore", "latest", "--yes"]).expect_code(0);
    says(
        &restored,
        &[
            "note: `backup_2099-01-01_000000.db.zst` is newer",
            &scene.newest,
        ],
    );
}

/// Two of one second: the first one's id is how the second one's begins.
#[test]
fn a_whole_id_is_no_part_of_another_one() {
    let scene = Scene::sqlite();
    let longer = format!("{}_2", scene.newest);
    let mut document: Value = serde_json::from_slice(&read(&scene.manifest())).expect("JSON");
    document["id"] = json!(longer);
    document["dump"]["file"] = json!(format!("{longer}.db.zst"));
    fs::write(scene.case.manifest(&longer), sealed(document)).expect("write a manifest");
    fs::rename(scene.dump(), scene.case.dump(&longer)).expect("name a dump");
    fs::remove_file(scene.manifest()).expect("remove a manifest");
    for arguments in [
        &["restore", &scene.newest, "--yes"][..],
        &["restore", &scene.newest, "--force"],
        &["verify", &scene.newest],
        &["pin", &scene.newest],
    ] {
        let refused = scene.run(arguments).expect_code(3);
        says(&refused, &["no backup has the id", &format!("`{longer}`")]);
    }
    assert_eq!(scene.case.query("SELECT count(*) FROM kept;"), ["0"]);
    // A part of an id is still one.
    scene
        .run(&["verify", &longer["backup_".len()..]])
        .expect_code(0);
}

/// What a later version of the same format adds is kept and shown, and is in nobody's way.
#[test]
fn unknown_fields_survive() {
    let scene = Scene::sqlite();
    let mut document: Value = serde_json::from_slice(&read(&scene.manifest())).expect("JSON");
    let added = json!({"nested": [1, {"deep": null}]});
    document["from_the_future"] = added.clone();
    document["dump"]["flavour"] = json!("none");
    document["database"]["flavour"] = json!("vanilla");
    fs::write(scene.manifest(), sealed(document)).expect("write the manifest");
    scene.run(&["verify"]).expect_code(0);
    let listed = scene.case.project.json(["db", "list"]);
    let shown = &listed["backups"][0]["manifest"];
    assert_eq!(shown["from_the_future"], added);
    assert_eq!(shown["dump"]["flavour"], "none");
    assert_eq!(shown["database"]["flavour"], "vanilla");
    let restored = scene.case.restore("latest");
    assert_eq!(text(&restored, "/restored"), scene.newest);
    assert_eq!(scene.case.query("SELECT count(*) FROM kept;"), ["3"]);
}

/// Numbers that no database has: the vault can still be listed, and what is in it still verified.
#[test]
fn a_manifest_with_absurd_numbers() {
    let scene = Scene::sqlite();
    let most = json!(u64::MAX);
    for (pointer, value) in [
        (
            "/tables",
            json!([{"schema": "main", "name": "a", "rows": most}, {"schema": "main", "name": "b", "rows": most}]),
        ),
        ("/dump/raw_size_bytes", most.clone()),
        ("/duration_ms", most.clone()),
        ("/created_at", json!("+262142-12-31T23:59:59Z")),
        ("/created_at", json!("-262143-01-01T00:00:00Z")),
    ] {
        edit(&scene.manifest(), pointer, value);
        for verb in [
            &["list"][..],
            &["list", "--json"],
            &["status"],
            &["verify", "--all"],
            &["backup"],
        ] {
            scene.run(verb).expect_code(0);
        }
    }
    scene.good_one_restores();
}
