//! `db rekey --all` where not all of it can be done.

use std::fs;

use serde_json::json;

use crate::encryption::{Pair, cases, dump_of};
use crate::exec;
use crate::setup::says;

/// Who is removed may still open what has no manifest, or a damaged one.
#[test]
fn what_cannot_be_rekeyed_is_named() {
    let (case, ada) = cases("rekey_all_problems").remove(0);
    let bob = Pair::new();
    let for_both = |name: &str| {
        let to = ["--recipient", &ada.public, "--recipient", &bob.public];
        dump_of(
            &case
                .project
                .json([&["db", "backup", name], &to[..]].concat()),
        )
    };
    let [whole, orphan, damaged] = ["whole", "orphan", "damaged"].map(for_both);
    let manifest = |dump: &std::path::Path| {
        let name = dump.display().to_string();
        name.replace(".db.zst.age", ".json")
    };
    fs::remove_file(manifest(&orphan)).expect("lose a manifest");
    fs::write(manifest(&damaged), "{}").expect("damage a manifest");

    let remove = ["db", "rekey", "--all", "--remove-recipient", &bob.public];
    let mut command = case.project.command([&remove[..], &["--json"]].concat());
    let output = exec::run(&mut command, None).expect_code(4);
    says(&output, &["2 of 3 backups could not be opened", "db list"]);
    let document = output.json();
    assert_eq!(document["rekeyed"][0]["changed"], true, "{document:#}");
    let list = case.project.json(["db", "list"]);
    assert_eq!(document["problems"], list["problems"]);
    assert_eq!(document["problems"].as_array().map(Vec::len), Some(2));
    assert!(!whole.exists() && bob.opens(&orphan) && bob.opens(&damaged));

    let shown = case.project.run(remove).expect_code(4).stdout;
    for file in [orphan.display().to_string(), manifest(&damaged)] {
        let name = file.rsplit('/').next().expect("a name");
        assert!(shown.contains(&format!("NOT REKEYED  {name}: ")), "{shown}");
    }
}

/// The database has nothing to do with it: code 6, and not 5.
#[test]
fn one_that_is_left_as_it_was_leaves_the_others_done() {
    let (case, _) = cases("rekey_all_mixed").remove(0);
    case.project.json(["db", "backup", "first"]);
    case.project.write("words.txt", "correct horse battery");
    let mut sealed =
        case.project
            .command(["db", "backup", "sealed", "--passphrase-file", "words.txt"]);
    exec::run(sealed.env_remove("XTASK_DB_RECIPIENTS"), None).expect_code(0);
    let grace = Pair::new();
    let add = ["db", "rekey", "--all", "--add-recipient", &grace.public];
    let mut command = case.project.command([&add[..], &["--json"]].concat());
    let output = exec::run(&mut command, None).expect_code(6);
    says(
        &output,
        &[
            "1 of 2 backups could not be encrypted anew; the others are as they were asked for",
            "is for a passphrase",
        ],
    );
    let document = output.json();
    let done = document["rekeyed"].as_array().expect("a list");
    let changed: Vec<_> = done.iter().map(|done| done["changed"].clone()).collect();
    assert_eq!(changed, [json!(false), json!(true)], "{document:#}");
    let files = case.project.vault_files();
    let first = files.iter().find(|name| name.ends_with(".2.age"));
    assert!(grace.opens(&case.project.vault().join(first.expect("a rekeyed dump"))));
}

#[test]
fn why_one_stays_closed_is_said_once() {
    let (case, _) = cases("rekey_all_closed").remove(0);
    case.backup();
    let add = [
        "db",
        "rekey",
        "--all",
        "--add-recipient",
        &Pair::new().public,
    ];
    let mut command = case.project.command(add);
    command.env_remove("XTASK_DB_IDENTITY");
    let shown = exec::run(&mut command, None).expect_code(4).stdout;
    let why = "there is no key at hand";
    assert_eq!(shown.matches(why).count(), 1, "{shown}");
}
