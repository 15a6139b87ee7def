//! What lies at several places counts as if it lay at one; and whose it is.

use std::fs;
use std::path::Path;

use super::places::{in_folder, other_disk};
use super::{bytes, copied_to};
use crate::s3::S3;
use crate::setup::{Case, hinted_command, says, sealed, text};

/// Both files of a backup, from the vault into a folder.
fn carry(case: &Case, id: &str, folder: &Path) {
    for file in [case.dump(id), case.manifest(id)] {
        fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("carry it");
    }
}

fn at_both(server: &S3, folder: &Path) -> Case {
    let mut case = copied_to(server);
    let urls = format!("{} file://{}", server.url("shop"), folder.display());
    case.project = case.project.env("OFFSITE_URL", urls);
    case
}

/// The newest is damaged at one place, and the other one is weeks behind.
#[test]
fn what_is_damaged_at_one_place_is_not_passed_over_for_an_older_one_elsewhere() {
    let server = S3::start();
    let folder = other_disk();
    let case = at_both(&server, folder.path());
    let old = case.backup();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let new = case.backup();
    let aside = other_disk();
    carry(&case, &new, aside.path());
    for name in [format!("{new}.json"), format!("{new}.db.zst")] {
        fs::remove_file(folder.path().join(name)).expect("be behind");
    }
    let manifest = server.object(&format!("shop/{new}.json"));
    let mut damaged = bytes(&manifest);
    damaged[30] ^= 1;
    fs::write(&manifest, damaged).expect("damage it");
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    for arguments in [
        &["db", "restore", "latest", "--yes"][..],
        &["db", "pull", "latest"],
    ] {
        let refused = case.project.run(arguments).expect_code(4);
        says(
            &refused,
            &["the newest backup may be that of", ", at `s3://"],
        );
        assert!(!refused.stderr.contains("fetching"), "{refused}");
    }
    case.project.run(["db", "pull", &old]).expect_code(0);
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");

    // The same one, whole, elsewhere: it is fetched from there.
    for name in [format!("{new}.json"), format!("{new}.db.zst")] {
        fs::copy(aside.path().join(&name), folder.path().join(&name)).expect("bring it");
    }
    let pulled = case.project.json(["db", "pull", "latest"]);
    assert_eq!(text(&pulled, "/backup/id"), new);
}

#[test]
fn a_part_that_means_two_backups_at_two_places_is_no_choice() {
    let server = S3::start();
    let folder = other_disk();
    let case = at_both(&server, folder.path());
    let mut ids = Vec::new();
    for label in ["deploy-a", "deploy-b"] {
        let taken = case.project.json(["db", "backup", label]);
        ids.push(text(&taken, "/backup/id").to_owned());
    }
    for name in [format!("{}.json", ids[0]), format!("{}.db.zst", ids[0])] {
        fs::remove_file(folder.path().join(name)).expect("lose it");
    }
    for name in [format!("{}.json", ids[1]), format!("{}.db.zst", ids[1])] {
        fs::remove_file(server.object(&format!("shop/{name}"))).expect("lose it");
    }
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let refused = case.project.run(["db", "pull", "deploy"]).expect_code(2);
    says(&refused, &["is in the id of 2 backups", &ids[0], &ids[1]]);
    case.project.run(["db", "pull", "deploy-b"]).expect_code(0);
}

#[test]
fn one_id_of_two_backups_at_two_places_is_no_choice() {
    let (one, two) = (other_disk(), other_disk());
    let case = in_folder(one.path());
    let id = case.backup();
    carry(&case, &id, two.path());
    let manifest = two.path().join(format!("{id}.json"));
    let mut other: serde_json::Value = serde_json::from_slice(&bytes(&manifest)).expect("JSON");
    other["database"]["path"] = "/elsewhere/app.db".into();
    fs::write(&manifest, sealed(other)).expect("make it another one");
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let url = format!(
        "file://{} file://{}",
        two.path().display(),
        one.path().display()
    );
    let mut case = case;
    case.project = case.project.env("OFFSITE_URL", url);
    let refused = case.project.run(["db", "pull", &id]).expect_code(3);
    says(&refused, &["is the id of two backups", "/elsewhere/app.db"]);
    // Which of them is the latest of this database is no question.
    case.project.run(["db", "pull", "latest"]).expect_code(0);
    let listed = case.project.json(["db", "list"]);
    let path = text(&listed, "/backups/0/manifest/database/path");
    assert_eq!(path, case.project.sqlite_path().display().to_string());
}

/// A second project, with a database of the same file name, on another machine.
#[test]
fn a_file_of_the_same_name_is_not_taken_for_the_one_of_another_project() {
    let folder = other_disk();
    let theirs = in_folder(folder.path());
    let id = theirs.backup();
    // To this machine its path leads nowhere.
    fs::remove_file(theirs.project.sqlite_path()).expect("be elsewhere");
    let ours = in_folder(folder.path());
    ours.query("DELETE FROM t; INSERT INTO t VALUES (7);");
    for arguments in [
        &["db", "restore", "latest", "--yes"][..],
        &["db", "pull", "latest"],
        &["db", "verify", "--offsite"],
    ] {
        let refused = ours.project.run(arguments).expect_code(4);
        says(
            &refused,
            &["there is no backup of", "one of the same name is there"],
        );
        assert_eq!(ours.query("SELECT * FROM t"), ["7"]);
        assert_eq!(ours.project.vault_files(), [""; 0]);
    }
    let refused = ours.project.run(["db", "restore", "latest", "--yes"]);
    let mut command = hinted_command(&refused);
    assert_eq!(command[2], id);
    command.push("--yes".into());
    ours.project.run(command).expect_code(0);
    assert_eq!(ours.query("SELECT count(*) FROM t"), ["3"]);
}

/// A copy that is under way, or was cut short, is no backup; to say nothing would be to hide it.
#[test]
fn a_newer_dump_without_a_manifest_is_said() {
    let folder = other_disk();
    let case = in_folder(folder.path());
    case.backup();
    let newer = "backup_2999-01-01_000000.db.zst";
    fs::write(folder.path().join(newer), "half").expect("cut a copy short");
    fs::write(folder.path().join("backup_2020-01-01_000000.db.zst"), "old")
        .expect("and one before");
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    for arguments in [
        &["db", "verify", "--offsite"][..],
        &["db", "restore", "latest", "--yes"],
    ] {
        let said = case.project.run(arguments).expect_code(0);
        says(&said, &[newer, "is newer and has no manifest"]);
        assert!(!said.stderr.contains("2020-01-01"), "{said}");
    }
}
