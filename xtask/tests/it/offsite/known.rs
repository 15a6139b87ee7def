//! What is known of a copy: what was read there and was wrong is known to be wrong.

use std::fs;

use super::places::other_disk;
use super::{bytes, copied_to, deeds, fill, has_arrived, outcomes};
use crate::retention::history::History;
use crate::s3::S3;
use crate::setup::{Case, says, sealed, text};

#[track_caller]
fn holds(case: &Case) -> bool {
    let status = case.project.json(["db", "status"]);
    let holds = status["copies"]["three_two_one"].as_bool();
    holds.expect("whether 3-2-1 holds")
}

fn with_one(server: &S3) -> (Case, String) {
    let case = copied_to(server);
    let id = case.backup();
    assert!(holds(&case));
    (case, id)
}

#[test]
fn a_copy_that_a_push_found_bad_is_no_copy_any_more() {
    let server = S3::start();
    let (case, id) = with_one(&server);
    let dump = server.object(&format!("shop/{id}.db.zst"));
    let mut damaged = bytes(&dump);
    damaged[20] ^= 1;
    fs::write(&dump, &damaged).expect("damage it");
    // It is as long as it was: nobody has looked.
    assert_eq!(outcomes(&case.project.json(["db", "push"])), [""; 0]);
    let found = case.project.run(["db", "push", &id]).expect_code(6);
    says(
        &found,
        &["other content", "look at what is there, and move it away"],
    );
    assert!(!holds(&case));
    case.project.run(["db", "push"]).expect_code(6);
    assert_eq!(bytes(&dump), damaged);
    fs::remove_file(&dump).expect("move it away");
    assert_eq!(outcomes(&case.project.json(["db", "push"])), ["copied"]);
    assert!(holds(&case));
    has_arrived(&server, &case, &id);
}

#[test]
fn what_a_verification_finds_missing_cut_or_changed_is_known() {
    let server = S3::start();
    let (case, id) = with_one(&server);
    let files = [format!("shop/{id}.db.zst"), format!("shop/{id}.json")];
    let [dump, manifest] = files.map(|name| server.object(&name));
    let (whole_dump, whole_manifest) = (bytes(&dump), bytes(&manifest));
    let mut flipped = whole_manifest.clone();
    flipped[30] ^= 1;
    let mut other: serde_json::Value = serde_json::from_slice(&whole_manifest).expect("JSON");
    other["tool"]["version"] = "9.9.9".into();
    let cut = whole_dump[..whole_dump.len() - 1].to_vec();
    let cases = [
        (&manifest, Some(flipped), "NOT TRUSTED"),
        (
            &manifest,
            Some(sealed(other)),
            "it is another backup than the one",
        ),
        (&dump, Some(cut), "its manifest says"),
        (&dump, None, "is not there"),
    ];
    for (file, content, said) in cases {
        match content {
            Some(content) => fs::write(file, content).expect("damage it"),
            None => fs::remove_file(file).expect("lose it"),
        }
        let verify = ["db", "verify", "--offsite", "--all"];
        let found = case.project.run(verify).expect_code(4);
        assert!(found.stdout.contains(said), "no `{said}` in\n{found}");
        assert!(!holds(&case), "{said}");
        fs::write(&dump, &whole_dump).expect("mend it");
        fs::write(&manifest, &whole_manifest).expect("mend it");
        case.project.run(verify).expect_code(0);
        assert!(holds(&case));
    }
}

/// A line that is cut while a copy is fetched says nothing of the copy.
#[test]
fn a_fetch_that_fails_on_the_way_is_no_bad_copy() {
    let server = S3::start();
    let mut case = copied_to(&server);
    case.project = case.project.env("AWS_MAX_RETRIES", "1");
    fill(&case, 20);
    let id = case.backup();
    let aside = tempfile::tempdir().expect("a folder");
    let move_all = |from: &std::path::Path, to: &std::path::Path| {
        for ending in ["db.zst", "json"] {
            let name = format!("{id}.{ending}");
            fs::copy(from.join(&name), to.join(&name)).expect("carry it");
            fs::remove_file(from.join(&name)).expect("carry it");
        }
    };
    move_all(&case.project.vault(), aside.path());
    server.wire().truncate(2 << 20);
    let failed = case.project.run(["db", "pull", &id]);
    assert_ne!(failed.code, 0, "{failed}");
    server.wire().truncate(0);
    assert_eq!(deeds(&case).last().map(String::as_str), Some("pull failed"));
    move_all(aside.path(), &case.project.vault());
    assert!(holds(&case));
    // What comes, and is wrong, does.
    move_all(&case.project.vault(), aside.path());
    let dump = server.object(&format!("shop/{id}.db.zst"));
    let mut damaged = bytes(&dump);
    damaged[20] ^= 1;
    fs::write(&dump, damaged).expect("damage it");
    case.project.run(["db", "pull", &id]).expect_code(4);
    move_all(aside.path(), &case.project.vault());
    assert!(!holds(&case));
}

#[test]
fn a_place_that_does_not_answer_is_not_counted_when_it_is_asked() {
    let mut server = S3::start();
    let (mut case, _) = with_one(&server);
    case.project = case.project.env("AWS_MAX_RETRIES", "0");
    server.kill();
    assert!(holds(&case));
    let asked = case.project.json(["db", "status", "--offsite"]);
    assert_eq!(asked["copies"]["three_two_one"], false);
}

/// One place is down: what was read at the other one is told, and counts.
#[test]
fn what_was_found_at_one_place_is_told_when_another_one_is_down() {
    let mut server = S3::start();
    let folder = super::places::other_disk();
    let mut case = copied_to(&server);
    let urls = format!("file://{} {}", folder.path().display(), server.url("shop"));
    case.project = case
        .project
        .env("OFFSITE_URL", urls)
        .env("AWS_MAX_RETRIES", "0");
    let id = case.backup();
    fs::write(folder.path().join(format!("{id}.db.zst")), "cut").expect("cut it");
    server.kill();
    let verify = ["db", "verify", "--offsite", "--all", "--json"];
    let found = case.project.run(verify).expect_code(4);
    says(&found, &["not verified at `s3://"]);
    let document = found.json();
    assert_eq!(text(&document, "/verified/0/id"), id);
    assert_eq!(document["verified"][0]["trusted"], false);
}

/// A person is shown the newest few.
#[test]
fn the_document_says_of_every_backup_where_its_copies_are() {
    let mut history = History::sqlite();
    let mut ids: Vec<String> = (1..6)
        .map(|hours| history.add(hours, "old", |_| {}))
        .collect();
    ids.insert(0, history.newest.clone());
    let folder = other_disk();
    let url = format!("file://{}", folder.path().display());
    history.case.project = history.case.project.env("OFFSITE_URL", url);
    let project = history.project();
    project.run(["db", "push"]).expect_code(0);
    let status = project.json(["db", "status"]);
    let backups = status["copies"]["backups"].as_array().expect("a list");
    let there: Vec<&str> = backups.iter().map(|of| text(of, "/id")).collect();
    assert_eq!(there, ids);
    for of in backups {
        assert!(of["places"][0]["matched_at"].is_string(), "{of:#}");
    }
    let shown = project.run(["db", "status"]).expect_code(0);
    let lines = shown
        .stdout
        .lines()
        .filter(|line| line.contains(": the vault; "));
    assert_eq!(lines.count(), 3, "{shown}");
}

/// The journal knows a copy by the name of its place, and a name can come to mean another one.
#[test]
fn a_name_that_leads_elsewhere_by_now_has_no_copies_there() {
    let case = History::sqlite().case;
    let (old, new) = (other_disk(), other_disk());
    let lead_to = |folder: &tempfile::TempDir| {
        let url = format!("file://{}", folder.path().display());
        let toml = format!("[[offsite]]\nname = \"main\"\nurl = \"{url}\"\n");
        case.project.write("database/db.toml", toml);
    };
    lead_to(&old);
    assert_eq!(outcomes(&case.project.json(["db", "push"])), ["copied"]);
    assert!(holds(&case));
    lead_to(&new);
    assert!(!holds(&case));
    let status = case.project.run(["db", "status"]).expect_code(0);
    assert!(status.stdout.contains("main: no copy"), "{status}");
    assert_eq!(outcomes(&case.project.json(["db", "push"])), ["copied"]);
    assert!(holds(&case));
    // What was known of the other one is known of it still.
    lead_to(&old);
    assert!(holds(&case));
    assert_eq!(outcomes(&case.project.json(["db", "push"])), [""; 0]);
}

/// What stands behind the `?` is in no name.
#[test]
fn another_server_of_the_same_bucket_has_no_copies_yet() {
    let (one, two) = (S3::start(), S3::start());
    let (mut case, id) = with_one(&one);
    case.project = two.of(case.project);
    assert!(!holds(&case));
    assert_eq!(outcomes(&case.project.json(["db", "push"])), ["copied"]);
    has_arrived(&two, &case, &id);
    assert!(holds(&case));
}

/// Else an update would read every copy once more, and send again what was pruned.
#[test]
fn a_line_of_before_there_were_addresses_counts_by_its_name() {
    let mut history = History::sqlite();
    let folder = other_disk();
    let url = format!("file://{}", folder.path().display());
    history.case.project = history.case.project.env("OFFSITE_URL", &url);
    let line = |ending: &str| {
        history.record(|entry| {
            entry["deed"] = "copy".into();
            entry["ending"] = ending.into();
            entry["backup"] = history.newest.as_str().into();
            entry["place"] = url.as_str().into();
        });
    };
    line("done");
    assert!(holds(&history.case));
    // It is not there, and a line that knows where takes the place of the other one.
    let pushed = history.project().json(["db", "push"]);
    assert_eq!(outcomes(&pushed), ["copied"]);
    let verify = ["db", "verify", "--offsite"];
    fs::write(
        folder.path().join(format!("{}.db.zst", history.newest)),
        "cut",
    )
    .expect("cut it");
    history.project().run(verify).expect_code(4);
    assert!(!holds(&history.case));
}
