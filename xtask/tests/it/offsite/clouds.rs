//! What holds in every cloud, whoever keeps the objects.

use std::fs;

use super::{bytes, fill, outcomes};
use crate::exec::Output;
use crate::setup::{Case, says, sealed, text};

/// One copy in a single request and one in parts; then all is lost but them.
pub fn go_and_come_back(case: &Case, no_key: fn(&Output)) {
    let small = case.backup();
    fill(case, 20);
    let taken = case.project.json(["db", "backup", "in-parts"]);
    assert_eq!(outcomes(&taken), ["copied"]);
    let large = text(&taken, "/backup/id").to_owned();
    let verified = case.project.run(["db", "verify", "--offsite", "--all"]);
    no_key(&verified.expect_code(0));
    let again = case.project.json(["db", "push", "--all"]);
    assert_eq!(outcomes(&again), ["already-there"; 2]);
    let status = case.project.json(["db", "status", "--offsite"]);
    assert_eq!(status["copies"]["three_two_one"], true);

    let before = [bytes(case.dump(&large)), bytes(case.manifest(&large))];
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    fs::remove_file(case.project.sqlite_path()).expect("lose the database");
    let restored = case.project.run(["db", "restore", "latest", "--yes"]);
    says(&restored.expect_code(0), &["looking off-site", "restored"]);
    let after = [bytes(case.dump(&large)), bytes(case.manifest(&large))];
    assert!(before == after, "it was changed on the way");
    assert_eq!(case.query("SELECT count(*) FROM big"), ["20"]);
    case.project.run(["db", "pull", &small]).expect_code(0);
}

pub fn never_overwritten(case: &Case, no_key: fn(&Output)) {
    let id = case.backup();
    // The same id, and another manifest.
    let mut other: serde_json::Value =
        serde_json::from_slice(&bytes(case.manifest(&id))).expect("JSON");
    other["tool"]["version"] = "9.9.9".into();
    fs::write(case.manifest(&id), sealed(other)).expect("write another one");
    let refused = case.project.run(["db", "push", &id]).expect_code(6);
    says(
        &refused,
        &["is a backup of the", "which is not overwritten"],
    );
    no_key(&refused);
}

pub fn pruned(case: &Case, url: &str) {
    let id = case.backup();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let newer = case.backup();
    let toml = format!("[[offsite]]\nname = \"cloud\"\nurl = \"{url}\"\nkeep_last = 1\n");
    case.project.write("database/db.toml", toml);
    let pruned = case.project.json(["db", "prune", "--offsite", "--yes"]);
    assert_eq!(text(&pruned, "/places/0/removed/0"), id);
    let listed = case.project.json(["db", "list", "--offsite"]);
    let there = &listed["places"][0];
    assert_eq!(there["backups"].as_array().map(Vec::len), Some(1));
    assert_eq!(text(there, "/backups/0/id"), newer);
    assert_eq!(there["orphans"].as_array().map(Vec::len), Some(0));
}
