//! A vault that has not what the places have.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::places::in_folder;
use super::{copied_to, places};
use crate::retention::history::History;
use crate::s3::S3;
use crate::setup::{Case, hinted_command, says, text};

fn lose(case: &Case, id: &str) {
    for file in [case.dump(id), case.manifest(id)] {
        fs::remove_file(file).expect("take it out of the vault");
    }
}

/// `latest` is the newest of all, wherever it lies; which one is meant is for a person to say.
#[test]
fn a_newer_copy_keeps_latest_from_being_the_vaults() {
    let server = S3::start();
    let case = copied_to(&server);
    let old = case.backup();
    case.query("INSERT INTO t VALUES (4);");
    std::thread::sleep(Duration::from_millis(1100));
    let new = case.backup();
    lose(&case, &new);
    case.query("DELETE FROM t;");
    let beside = case.project.tmp().join("beside.db");
    let into = format!("sqlite://{}", beside.display());
    for more in [&["--yes"][..], &["--force"], &["--into", &into, "--yes"]] {
        let restore = [&["db", "restore", "latest"][..], more].concat();
        let refused = case.project.run(restore).expect_code(3);
        says(&refused, &["is newer than the newest in the vault", &old]);
        assert_eq!(hinted_command(&refused), ["db", "restore", &new]);
    }
    assert_eq!(case.query("SELECT count(*) FROM t"), ["0"]);
    assert!(!beside.exists());
    case.restore(&new);
    assert_eq!(case.query("SELECT count(*) FROM t"), ["4"]);
    // Safety copies, parts and what is another database's are not meant.
    let restored = case.restore("latest");
    assert_eq!(text(&restored, "/restored"), new);
}

/// Nobody waits for it at night.
#[test]
fn a_place_that_does_not_answer_is_said_and_not_waited_for() {
    let mut server = S3::start();
    let case = copied_to(&server);
    let id = case.backup();
    server.kill();
    let began = Instant::now();
    let restored = case.project.run(["db", "restore", "latest", "--yes"]);
    let restored = restored.expect_code(0);
    says(
        &restored,
        &["whether `s3://", "has a newer one is not known"],
    );
    says(&restored, &[&id]);
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_may_only_be_of_this_database_is_said() {
    let folder = places::other_disk();
    let mut case = Case::sqlite();
    let url = format!("file://{}", folder.path().display());
    case.project = case.project.env("OFFSITE_URL", url);
    let history = History::of(case);
    std::thread::sleep(Duration::from_millis(1100));
    let other = history.add(0, "other", |manifest| {
        manifest["database"]["path"] = json!("/srv/gone/app.db");
        manifest["created_at"] = json!(chrono::Utc::now());
    });
    let case = &history.case;
    for file in [case.dump(&other), case.manifest(&other)] {
        let to = folder.path().join(file.file_name().expect("a name"));
        fs::copy(&file, to).expect("carry it");
    }
    lose(case, &other);
    let restored = case.project.run(["db", "restore", "latest", "--yes"]);
    let restored = restored.expect_code(0);
    says(
        &restored,
        &[&format!("note: `{other}` at "), &history.newest],
    );
}

/// Two of one second, of which the vault has the second one.
#[test]
fn the_id_that_was_named_is_fetched_and_no_longer_one_is_taken() {
    let folder = places::other_disk();
    let case = in_folder(folder.path());
    let id = case.backup();
    let longer = format!("{id}_2");
    let manifest = fs::read(case.manifest(&id)).expect("read a manifest");
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    manifest["id"] = json!(longer);
    manifest["dump"]["file"] = json!(format!("{longer}.db.zst"));
    fs::write(case.manifest(&longer), crate::setup::sealed(manifest)).expect("write one");
    fs::copy(case.dump(&id), case.dump(&longer)).expect("write one");
    lose(&case, &id);
    let restored = case.restore(&id);
    assert_eq!(text(&restored, "/restored"), id);
}
