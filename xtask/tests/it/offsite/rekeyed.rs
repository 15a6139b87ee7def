//! Copies of encrypted backups: they travel as they are, and a rekey makes another one.

use std::fs;
use std::path::PathBuf;

use super::{bytes, copied_to, journal, outcomes};
use crate::encryption::{Pair, adopt};
use crate::s3::S3;
use crate::setup::{Case, says, text};

/// A backup off-site that is encrypted for the pair, with its id.
fn copied(server: &S3) -> (Case, Pair, String) {
    let mut case = copied_to(server);
    let ada = Pair::new();
    case.project = adopt(case.project, &ada);
    let taken = case.project.json(["db", "backup"]);
    assert_eq!(outcomes(&taken), ["copied"]);
    let id = text(&taken, "/backup/id").to_owned();
    (case, ada, id)
}

fn object(server: &S3, name: &str) -> PathBuf {
    server.object(&format!("shop/{name}"))
}

/// The only dump and the manifest of the vault, by name and bytes.
fn in_vault(case: &Case) -> Vec<(String, Vec<u8>)> {
    let files = case.project.vault_files();
    assert_eq!(files.len(), 2, "a dump and a manifest: {files:?}");
    let vault = case.project.vault();
    let read = |name: String| {
        let read = bytes(vault.join(&name));
        (name, read)
    };
    files.into_iter().map(read).collect()
}

#[track_caller]
fn are_there(server: &S3, files: &[(String, Vec<u8>)]) {
    for (name, expected) in files {
        let there = bytes(object(server, name));
        assert!(there == *expected, "{name} is another one there");
    }
}

#[test]
fn an_encrypted_backup_travels_as_it_is_and_needs_no_key_for_it() {
    let server = S3::start();
    let (case, ada, id) = copied(&server);
    let before = in_vault(&case);
    assert!(
        before.iter().any(|(name, _)| name.ends_with(".zst.age")),
        "{id}"
    );
    are_there(&server, &before);
    let verified = case.project.run(["db", "verify", "--offsite"]);
    verified.expect_code(0);

    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let key = case.project.path().join("key.txt");
    fs::remove_file(&key).expect("lose the key");
    case.project.run(["db", "pull", &id]).expect_code(0);
    assert!(in_vault(&case) == before, "it was changed on the way");

    case.project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(2);
    ada.file(&case.project, "key.txt");
    case.query("DELETE FROM t;");
    case.project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(0);
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["3"]);
}

#[test]
fn a_copy_of_before_a_rekey_is_never_taken_for_one_of_after_it() {
    let server = S3::start();
    let (case, _ada, id) = copied(&server);
    let before = in_vault(&case);
    let status = case.project.run(["db", "status"]).expect_code(0);
    assert!(status.stdout.contains("(matched "), "{status}");

    let grace = Pair::new();
    let rekey = ["db", "rekey", "latest", "--add-recipient", &grace.public];
    let said = case.project.run(rekey).expect_code(0);
    says(&said, &["copies off-site are as they were"]);
    let after = in_vault(&case);
    assert!(
        after.iter().any(|(name, _)| name.ends_with(".zst.2.age")),
        "{id}"
    );
    let stays_told_apart = || {
        for status in [&["db", "status"][..], &["db", "status", "--offsite"]] {
            let status = case.project.run(status).expect_code(0);
            assert!(!status.stdout.contains("(matched "), "{status}");
            let line = "has another dump of it, from before a rekey";
            assert!(status.stdout.contains(line), "{status}");
        }
        for push in [&["db", "push"][..], &["db", "push", "latest"]] {
            let pushed = case.project.run(push).expect_code(6);
            says(
                &pushed,
                &[
                    "there is another dump of",
                    "which is not overwritten",
                    "if it is to be replaced, remove",
                ],
            );
        }
        are_there(&server, &before);
        assert!(
            after
                .iter()
                .all(|(name, _)| { name.ends_with(".json") || !object(&server, name).exists() })
        );
    };
    stays_told_apart();
    // The old copy is whole, and is still not the new one.
    let verified = case.project.run(["db", "verify", "--offsite"]);
    verified.expect_code(0);
    stays_told_apart();

    for (name, _) in &before {
        fs::remove_file(object(&server, name)).expect("remove the old copy");
    }
    let pushed = case.project.json(["db", "push"]);
    assert_eq!(outcomes(&pushed), ["copied"]);
    are_there(&server, &after);
    let status = case.project.run(["db", "status"]).expect_code(0);
    assert!(status.stdout.contains("(matched "), "{status}");

    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    case.project.run(["db", "pull", "latest"]).expect_code(0);
    assert!(in_vault(&case) == after, "it was changed on the way");
}

/// Else every backup from then on would end as one whose copy is missing.
#[test]
fn a_backup_after_a_rekey_says_once_what_is_not_replaced() {
    let server = S3::start();
    let (case, _ada, _id) = copied(&server);
    let taken = case.project.json(["db", "backup"]);
    assert_eq!(outcomes(&taken), ["copied"]);
    let rekey = [
        "db",
        "rekey",
        "--all",
        "--add-recipient",
        &Pair::new().public,
    ];
    case.project.run(rekey).expect_code(0);
    let before = journal(&case).len();
    let said = case.project.run(["db", "backup"]).expect_code(0);
    let line = "there is another dump of";
    assert_eq!(said.stderr.matches(line).count(), 1, "{said}");
    says(&said, &["and 1 other", "if it is to be replaced, remove"]);
    let since = &journal(&case)[before..];
    assert!(
        since
            .iter()
            .all(|entry| entry["ending"] == "done" || entry["ending"] == "begun"),
        "{since:#?}"
    );
}
