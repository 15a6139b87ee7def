//! What lies there is another thing than was sent.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::places::other_disk;
use super::{bytes, copied_to, outcomes};
use crate::exec::{self, Output};
use crate::retention::history::History;
use crate::s3::S3;
use crate::setup::{Case, hinted_command, says, sealed, text};

fn with_one(server: &S3) -> (Case, String) {
    let case = copied_to(server);
    let id = case.backup();
    (case, id)
}

fn dump_of(server: &S3, id: &str) -> std::path::PathBuf {
    server.object(&format!("shop/{id}.db.zst"))
}

fn manifest_of(server: &S3, id: &str) -> std::path::PathBuf {
    server.object(&format!("shop/{id}.json"))
}

#[test]
fn a_copy_with_another_byte_is_found_and_never_restored() {
    let server = S3::start();
    let (case, id) = with_one(&server);
    let mut damaged = bytes(dump_of(&server, &id));
    damaged[20] ^= 1;
    fs::write(dump_of(&server, &id), &damaged).expect("damage it");
    let found = case.project.run(["db", "verify", "--offsite", "--json"]);
    assert_eq!(found.expect_code(4).json()["verified"][0]["trusted"], false);
    let status = case.project.json(["db", "status"]);
    assert_eq!(status["copies"]["three_two_one"], false);
    // It is there under the right name, and is not taken for a copy.
    says(
        &case.project.run(["db", "push", &id]).expect_code(6),
        &["not overwritten"],
    );
    assert_eq!(bytes(dump_of(&server, &id)), damaged);

    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let before = bytes(case.project.sqlite_path());
    for arguments in [
        &["db", "pull", "latest"][..],
        &["db", "restore", "latest", "--yes"],
    ] {
        says(
            &case.project.run(arguments).expect_code(4),
            &["its SHA-256 is"],
        );
        assert_eq!(case.project.vault_files(), [""; 0]);
        assert_eq!(bytes(case.project.sqlite_path()), before);
    }
}

#[test]
fn a_copy_that_was_cut_lost_or_swapped_is_named() {
    let server = S3::start();
    let (case, id) = with_one(&server);
    let dump = bytes(dump_of(&server, &id));
    fs::write(dump_of(&server, &id), &dump[..dump.len() - 1]).expect("cut it");
    let listed = case.project.run(["db", "list", "--offsite"]).expect_code(0);
    says(&listed, &["its dump has", "its manifest says"]);
    case.project
        .run(["db", "verify", "--offsite", "--all"])
        .expect_code(4);
    fs::remove_file(dump_of(&server, &id)).expect("lose it");
    let listed = case.project.run(["db", "list", "--offsite"]).expect_code(0);
    says(&listed, &["is not there"]);
    // Its manifest is there, and is that of the vault: the dump is sent.
    assert_eq!(outcomes(&case.project.json(["db", "push"])), ["copied"]);
    assert_eq!(bytes(dump_of(&server, &id)), dump);

    fs::remove_file(manifest_of(&server, &id)).expect("lose it");
    let listed = case.project.run(["db", "list", "--offsite"]).expect_code(0);
    says(&listed, &["a dump without a manifest"]);
    assert_eq!(outcomes(&case.project.json(["db", "push"])), ["copied"]);
}

#[test]
fn the_same_id_with_other_content_is_left_alone() {
    let server = S3::start();
    let (case, id) = with_one(&server);
    let mut other: serde_json::Value =
        serde_json::from_slice(&bytes(manifest_of(&server, &id))).expect("JSON");
    other["tool"]["version"] = "9.9.9".into();
    let other = sealed(other);
    fs::write(manifest_of(&server, &id), &other).expect("write another one");
    let failed = case.project.run(["db", "push", &id]).expect_code(6);
    says(&failed, &["is a backup of the", "which is not overwritten"]);
    assert!(!failed.stderr.contains("away"), "{failed}");
    assert_eq!(bytes(manifest_of(&server, &id)), other);

    fs::remove_file(manifest_of(&server, &id)).expect("remove it");
    fs::write(dump_of(&server, &id), b"somebody's").expect("write another one");
    let failed = case.project.run(["db", "push", &id]).expect_code(6);
    says(&failed, &["with other content, which is not overwritten"]);
    assert_eq!(bytes(dump_of(&server, &id)), b"somebody's");
    assert!(!manifest_of(&server, &id).exists());
}

#[test]
fn a_manifest_that_was_changed_keeps_latest_from_being_guessed() {
    let server = S3::start();
    let (case, old) = with_one(&server);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let new = case.backup();
    let mut manifest = bytes(manifest_of(&server, &new));
    manifest[30] ^= 1;
    fs::write(manifest_of(&server, &new), manifest).expect("damage it");
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let refused = case.project.run(["db", "restore", "latest", "--yes"]);
    let refused = refused.expect_code(4);
    says(
        &refused,
        &["the newest backup may be that of", "db list --offsite"],
    );
    let mut hinted = hinted_command(&refused);
    assert_eq!(hinted, ["db", "restore", &old]);
    hinted.push("--yes".into());
    case.project.run(hinted).expect_code(0);
}

/// Whatever is wrong with the newest copy, and however it is asked for.
#[test]
fn an_older_copy_is_hinted_where_the_newest_cannot_be_used() {
    let server = S3::start();
    let (case, old) = with_one(&server);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let new = case.backup();
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let (dump, manifest) = (dump_of(&server, &new), manifest_of(&server, &new));
    let whole = [bytes(&dump), bytes(&manifest)];
    let flipped = whole.each_ref().map(|bytes| {
        let mut bytes = bytes.clone();
        bytes[30] ^= 1;
        bytes
    });
    for (file, content) in [
        (&dump, Some(&flipped[0])),
        (&manifest, Some(&flipped[1])),
        (&dump, None),
    ] {
        match content {
            Some(content) => fs::write(file, content).expect("damage it"),
            None => fs::remove_file(file).expect("lose it"),
        }
        for (verb, wanted) in [
            ("restore", "latest"),
            ("restore", &new),
            ("pull", "latest"),
            ("pull", &new),
        ] {
            let mut arguments = vec!["db", verb, wanted];
            arguments.extend((verb == "restore").then_some("--yes"));
            let refused = case.project.run(arguments).expect_code(4);
            assert_eq!(hinted_command(&refused), ["db", verb, &old], "{refused}");
        }
        fs::write(&dump, &whole[0]).expect("mend it");
        fs::write(&manifest, &whole[1]).expect("mend it");
    }
}

/// On another machine none is of this very file: what is older than the newest of its name, and may
/// be anybody's, is in nobody's way.
#[test]
fn an_old_copy_that_is_damaged_blocks_nobody_on_a_new_machine() {
    let server = S3::start();
    let (case, old) = with_one(&server);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let new = case.backup();
    let damage = |id: &str| {
        let mut manifest = bytes(manifest_of(&server, id));
        manifest[30] ^= 1;
        fs::write(manifest_of(&server, id), manifest).expect("damage it");
    };
    damage(&old);
    let elsewhere = server.of(crate::project::Project::new());
    let refused = elsewhere.run(["db", "restore", "latest", "--yes"]);
    let refused = refused.expect_code(4);
    says(&refused, &["one of the same name is there"]);
    assert_eq!(hinted_command(&refused)[..3], ["db", "restore", &new]);
    // A newer one is.
    damage(&new);
    let third = case.backup();
    fs::remove_file(manifest_of(&server, &third)).expect("lose it");
    let refused = elsewhere.run(["db", "pull", "latest"]).expect_code(4);
    says(&refused, &["the newest backup may be that of"]);
}

#[test]
fn more_than_a_thousand_copies_are_listed() {
    let server = S3::start();
    let (case, id) = with_one(&server);
    let dump = bytes(dump_of(&server, &id));
    let manifest: serde_json::Value =
        serde_json::from_slice(&bytes(manifest_of(&server, &id))).expect("JSON");
    for n in 0..1100 {
        let other = format!(
            "backup_2020-01-01_{:02}{:02}{:02}",
            n / 3600,
            n / 60 % 60,
            n % 60
        );
        let at = format!(
            "2020-01-01T{:02}:{:02}:{:02}Z",
            n / 3600,
            n / 60 % 60,
            n % 60
        );
        let mut manifest = manifest.clone();
        manifest["id"] = other.as_str().into();
        manifest["created_at"] = at.into();
        manifest["dump"]["file"] = format!("{other}.db.zst").into();
        fs::write(manifest_of(&server, &other), sealed(manifest)).expect("write a manifest");
        fs::write(dump_of(&server, &other), &dump).expect("write a dump");
    }
    let listed = case.project.json(["db", "list", "--offsite"]);
    let backups = listed["places"][0]["backups"].as_array().expect("a list");
    assert_eq!(backups.len(), 1101);
    assert_eq!(text(&backups[0], "/id"), id);
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let pulled = case.project.json(["db", "pull", "latest"]);
    assert_eq!(text(&pulled, "/backup/id"), id);
}

/// Runs what a hint says before it names the next command, with a folder where it leaves the choice.
#[track_caller]
fn follow(hinted: &Output, aside: &Path) {
    let words = format!("{} ", aside.display());
    let said = hinted.stderr.replace("/elsewhere/", &words);
    let (_, command) = said.split_once(": mv ").expect("a hint to move it away");
    let command = format!("mv {}", command.lines().next().unwrap_or_default());
    exec::run(Command::new("sh").args(["-c", &command]), None).expect_code(0);
}

/// The newest is damaged here and whole there: nothing older is advised first, and what is advised works.
#[test]
fn the_way_to_a_copy_that_is_whole_is_hinted_and_leads_there() {
    let server = S3::start();
    let case = copied_to(&server);
    case.backup();
    case.query("INSERT INTO t VALUES (4);");
    let taken = case.project.json(["db", "backup", "new"]);
    let newest = text(&taken, "/backup/id").to_owned();
    case.project.run(["db", "pin", &newest]).expect_code(0);
    case.query("DELETE FROM t;");
    let damage = || {
        let mut bytes = bytes(case.dump(&newest));
        bytes[20] ^= 1;
        fs::write(case.dump(&newest), bytes).expect("damage it");
    };
    let restore = &["db", "restore", "latest", "--yes"][..];
    for (arguments, code) in [
        (restore, 4),
        (&["db", "verify"], 4),
        (&["db", "verify", "--all"], 4),
        (&["db", "drill"], 4),
        (&["db", "pull", &newest], 3),
    ] {
        damage();
        let failed = case.project.run(arguments).expect_code(code);
        let mut next = hinted_command(&failed);
        let is_pull = arguments[1] == "pull";
        assert_eq!(
            next[1..],
            [if is_pull { "pull" } else { "restore" }, &newest]
        );
        let aside = tempfile::tempdir().expect("a folder");
        follow(&failed, aside.path());
        if !is_pull {
            next.push("--yes".into());
        }
        case.project.run(next).expect_code(0);
        if !is_pull {
            assert_eq!(case.query("SELECT count(*) FROM t"), ["4"], "{failed}");
        }
        // It is good again, known to be, and as pinned as it was.
        let status = case.project.json(["db", "status"]);
        let ladder = &status["latest"]["ladder"];
        assert!(ladder["verify_failed_at"].is_null(), "{status:#}");
        let listed = case.project.run(["db", "list"]).expect_code(0);
        says(&listed, &[&format!("pinned: {newest}")]);
        case.project.run(["db", "verify", "--all"]).expect_code(0);
        case.query("DELETE FROM t;");
    }
    // Of one that is whole, nobody is sent to look elsewhere.
    let refused = case.project.run(["db", "pull", &newest]).expect_code(3);
    says(&refused, &["it matches its manifest"]);
    // A copy that is not known to match is none.
    let dump = server.object(&format!("shop/{newest}.db.zst"));
    let mut there = bytes(&dump);
    there[20] ^= 1;
    fs::write(&dump, there).expect("damage it there");
    let verify = ["db", "verify", "--offsite"];
    case.project.run(verify).expect_code(4);
    damage();
    let failed = case.project.run(restore).expect_code(4);
    assert_ne!(hinted_command(&failed)[2], newest, "{failed}");
}

/// Damaged before it was ever copied: no run can send it, and none fails for it beside another backup.
#[test]
fn a_damaged_backup_without_a_copy_is_said_and_holds_nothing_up() {
    let mut case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let id = case.backup();
    let mut damaged = bytes(case.dump(&id));
    damaged[20] ^= 1;
    fs::write(case.dump(&id), damaged).expect("damage it");
    let folder = other_disk();
    let url = format!("file://{}", folder.path().display());
    case.project = case.project.env("OFFSITE_URL", url);
    for _ in 0..2 {
        let taken = case.project.run(["db", "backup"]).expect_code(0);
        says(
            &taken,
            &["warning: `", "cannot be copied", "its SHA-256 is"],
        );
        says(&taken, &["move the damaged one away: mv ", &id]);
        assert!(!folder.path().join(format!("{id}.json")).exists());
    }
    let pushed = case.project.run(["db", "push"]).expect_code(6);
    let aside = tempfile::tempdir().expect("a folder");
    follow(&pushed, aside.path());
    assert_eq!(hinted_command(&pushed), ["db", "push"]);
    case.project.run(["db", "push"]).expect_code(0);
}

/// What cannot be read, or is lost, is not known to be damaged by its bytes.
#[test]
fn the_way_to_a_copy_is_hinted_where_the_manifest_is_damaged_or_lost() {
    let server = S3::start();
    let case = copied_to(&server);
    case.backup();
    case.query("INSERT INTO t VALUES (4);");
    let newest = text(&case.project.json(["db", "backup", "new"]), "/backup/id").to_owned();
    case.query("DELETE FROM t;");
    for is_lost in [false, true] {
        for (arguments, code) in [
            (&["db", "restore", "latest", "--yes"][..], 4),
            (&["db", "restore", &newest, "--yes"], 4),
            (&["db", "verify"], 4),
            (&["db", "verify", &newest], 4),
            (&["db", "drill"], 4),
            (&["db", "pull", &newest], 3),
        ] {
            match is_lost {
                true => fs::remove_file(case.manifest(&newest)).expect("lose it"),
                false => fs::write(case.manifest(&newest), "{").expect("cut it"),
            }
            let failed = case.project.run(arguments).expect_code(code);
            let mut next = hinted_command(&failed);
            let is_pull = arguments[1] == "pull";
            let verb = if is_pull { "pull" } else { "restore" };
            assert_eq!(next, ["db", verb, &newest], "{failed}");
            let aside = tempfile::tempdir().expect("a folder");
            follow(&failed, aside.path());
            next.extend((!is_pull).then(|| "--yes".into()));
            case.project.run(next).expect_code(0);
            case.project.run(["db", "verify", "--all"]).expect_code(0);
        }
        assert_eq!(case.query("SELECT count(*) FROM t"), ["4"]);
    }
    fs::write(case.manifest(&newest), "{").expect("cut it");
    let failed = case.project.run(["db", "verify", "--all"]).expect_code(4);
    assert_eq!(hinted_command(&failed), ["db", "restore", &newest]);
}

/// `db push` is about this database only.
#[test]
fn a_wrong_copy_of_another_database_is_sent_anew_by_its_id() {
    let server = S3::start();
    let mut history = History::sqlite();
    let other = history.add(48, "other", |manifest| {
        manifest["database"]["name"] = "other.db".into();
        manifest["database"]["path"] = "/elsewhere/other.db".into();
    });
    history.case.project = server.of(history.case.project);
    let project = history.project();
    project.run(["db", "push", "--all"]).expect_code(0);
    let dump = dump_of(&server, &other);
    fs::write(&dump, "cut").expect("cut it");
    let verify = ["db", "verify", "--offsite", "--all"];
    let refused = project.run(verify).expect_code(4);
    let command = hinted_command(&refused);
    assert_eq!(command, ["db", "push", &other]);
    fs::remove_file(&dump).expect("move it away");
    project.run(command).expect_code(0);
    project.run(verify).expect_code(0);
}
