//! Copies that the policy of their place does not keep go; what nobody should lose stays.

use std::fs;

use super::places::other_disk;
use super::{bytes, outcomes};
use crate::exec::Output;
use crate::retention::flags::{RULES, reason_of};
use crate::retention::history::History;
use crate::s3::{BUCKET, KEY_ID, S3, SECRET};
use crate::setup::{Case, hinted_command, says, text};

mod failing;
mod meanwhile;

const PRUNE: [&str; 4] = ["db", "prune", "--offsite", "--yes"];

/// Four backups of four days in the vault, and these places, each with the lines of its policy.
struct Copies {
    server: S3,
    history: History,
    /// Newest first.
    ids: [String; 4],
}

impl Copies {
    fn at(places: &[(&str, &str)]) -> Self {
        let server = S3::start();
        let mut history = History::sqlite();
        let ids = [
            history.newest.clone(),
            history.add(48, "b", |_| {}),
            history.add(72, "c", |_| {}),
            history.add(96, "d", |_| {}),
        ];
        history.case.project = (history.case.project)
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_MAX_RETRIES", "0");
        let copies = Self {
            server,
            history,
            ids,
        };
        copies.agree(places);
        copies.case().project.run(["db", "push"]).expect_code(0);
        copies
    }

    fn case(&self) -> &Case {
        &self.history.case
    }

    /// What the policy file says; the prefix of a place is its name.
    fn agree(&self, places: &[(&str, &str)]) {
        let port = self.server.wire().port();
        let place = |(name, policy): &(&str, &str)| {
            format!(
                "[[offsite]]\nname = \"{name}\"\nurl = \"s3://{BUCKET}/{name}\"\noptions = \
                 [\"endpoint=http://127.0.0.1:{port}\", \"allow_http=true\", \"region=us-east-1\"]\n{policy}\n"
            )
        };
        let toml: String = places.iter().map(place).collect();
        self.case().project.write("database/db.toml", toml);
    }

    fn prune(&self) -> Output {
        self.case().project.run(PRUNE)
    }

    fn object(&self, place: &str, file: &str) -> std::path::PathBuf {
        self.server.object(&format!("{place}/{file}"))
    }

    /// Of which of the four there is a manifest, a dump, as `abcd` for all of them and whole.
    fn there(&self, place: &str) -> String {
        let mut there = String::new();
        for (letter, id) in "abcd".chars().zip(&self.ids) {
            let has = |ending| self.object(place, &format!("{id}.{ending}")).exists();
            match (has("json"), has("db.zst")) {
                (true, true) => there.push(letter),
                (false, false) => {}
                (true, false) => there.push('!'),
                (false, true) => there.push('?'),
            }
        }
        there
    }

    /// As a disk that is lost takes them.
    fn lose_in_vault(&self, ids: &[String]) {
        for id in ids {
            fs::remove_file(self.case().dump(id)).expect("lose a dump");
            fs::remove_file(self.case().manifest(id)).expect("lose a manifest");
        }
    }
}

#[test]
fn each_place_has_a_policy_of_its_own_and_one_without_keeps_all() {
    let copies = Copies::at(&[
        ("one", "keep_last = 1"),
        ("two", "keep_daily = 2"),
        ("all", ""),
    ]);
    let plan = ["db", "prune", "--offsite", "--dry-run"];
    let shown = copies.case().project.run(plan).expect_code(0);
    says(
        &shown,
        &["at `one` (s3://", "nothing keeps it", "at `two` (s3://"],
    );
    assert!(!shown.stderr.contains("at `all`"), "{shown}");
    let refused = copies.case().project.run(&PRUNE[..3]).expect_code(3);
    says(
        &refused,
        &["there is no terminal to ask on", "db prune --offsite --yes"],
    );
    for place in ["one", "two", "all"] {
        assert_eq!(copies.there(place), "abcd");
    }
    let pruned = copies.case().project.json(PRUNE);
    assert_eq!(text(&pruned, "/places/0/place"), "one");
    assert_eq!(
        pruned["places"][0]["removed"].as_array().map(Vec::len),
        Some(3)
    );
    let left = ["one", "two", "all"].map(|place| copies.there(place));
    assert_eq!(left, ["a", "ab", "abcd"]);
    assert_eq!(
        copies.case().project.vault_files().len(),
        8,
        "of the vault nothing goes"
    );
    // What was removed on purpose is not missing.
    let push = copies.case().project.json(["db", "push"]);
    assert_eq!(outcomes(&push), [""; 0]);
    let taken = copies.case().project.json(["db", "backup"]);
    assert_eq!(outcomes(&taken), ["copied"; 3]);
    assert_eq!(copies.there("one"), "a");
    copies.prune().expect_code(0);
    assert_eq!(copies.there("one"), "", "the newest is another one now");
}

#[test]
fn two_places_do_not_count_on_each_other_for_the_only_copy() {
    let copies = Copies::at(&[("one", "keep_last = 1"), ("two", "keep_last = 1")]);
    copies.lose_in_vault(&copies.ids[2..]);
    let pruned = copies.prune().expect_code(0);
    says(&pruned, &["the only copy"]);
    assert_eq!([copies.there("one"), copies.there("two")], ["a", "acd"]);
    // Unless that is what it is for.
    let last = "keep_last = 1\nremove_last_copies = true";
    copies.agree(&[("one", "keep_last = 1"), ("two", last)]);
    copies.prune().expect_code(0);
    assert_eq!([copies.there("one"), copies.there("two")], ["a", "a"]);
}

/// Pins are the vault's, and so is what an undo may want.
#[test]
fn a_vault_that_knows_nothing_of_a_copy_does_not_let_the_last_one_go() {
    let last = "keep_last = 1\nremove_last_copies = true";
    let copies = Copies::at(&[("one", last)]);
    let project = &copies.case().project;
    project.run(["db", "pin", &copies.ids[3]]).expect_code(0);
    fs::remove_dir_all(project.vault()).expect("lose the vault, and its pins");
    // To read a copy is to know that it matches, and no more.
    let verify = ["db", "verify", "--offsite", "--all"];
    project.run(verify).expect_code(0);
    says(&copies.prune().expect_code(0), &["the only copy"]);
    assert_eq!(copies.there("one"), "abcd");
    project.run(["db", "pull", &copies.ids[2]]).expect_code(0);
    copies.lose_in_vault(&copies.ids[2..3]);
    copies.prune().expect_code(0);
    assert_eq!(copies.there("one"), "abd");
}

/// Each line alone, what is not said counts as nothing.
#[test]
fn each_rule_of_a_place_keeps_by_its_line() {
    for (flag, value, hours, why) in RULES {
        let mut history = History::sqlite();
        for hours in [1, hours] {
            history.add(hours, "old", |manifest| {
                manifest["reason"] = reason_of(why).into();
            });
        }
        let folder = other_disk();
        let key = flag.trim_start_matches("--").replace('-', "_");
        let value = match value.parse::<u32>() {
            Ok(count) => count.to_string(),
            Err(_) => format!("\"{value}\""),
        };
        let toml = format!(
            "[[offsite]]\nname = \"nas\"\nurl = \"file://{}\"\n{key} = {value}\n",
            folder.path().display()
        );
        history.case.project.write("database/db.toml", toml);
        history.case.project.run(["db", "push"]).expect_code(0);
        let plan = ["db", "prune", "--offsite", "--dry-run"];
        let has = |plan: &serde_json::Value| {
            let kept = plan["places"][0]["keep"].as_array().expect("a list");
            let mut words = kept
                .iter()
                .flat_map(|line| line["why"].as_array().expect("why"));
            words.any(|word| word == why)
        };
        let shown = history.case.project.json(plan);
        assert!(has(&shown), "{flag}: {shown:#}");
        // A variable comes before the line.
        let variable = format!("XTASK_DB_OFFSITE_NAS_{}", key.to_uppercase());
        let more = why.replace("2 of 2", "2 of 3").replace("30h", "31h");
        let value = value.replace('2', "3").replace("30h", "31h");
        history.case.project = history.case.project.env(variable, value.trim_matches('"'));
        let shown = history.case.project.json(plan);
        assert!(!has(&shown), "{flag}: {shown:#}");
        assert!(shown.to_string().contains(&more), "{flag}: {shown:#}");
    }
}

#[test]
fn a_copy_that_is_not_known_to_match_is_no_other_copy() {
    let copies = Copies::at(&[("one", "keep_last = 1"), ("all", "")]);
    copies.lose_in_vault(&copies.ids[1..]);
    let dump = copies.object("all", &format!("{}.db.zst", copies.ids[1]));
    let mut damaged = bytes(&dump);
    damaged[20] ^= 1;
    fs::write(&dump, damaged).expect("damage it");
    let verify = ["db", "verify", "--offsite", "--all"];
    copies.case().project.run(verify).expect_code(4);
    // The dump of the third one is cut there.
    fs::write(
        copies.object("all", &format!("{}.db.zst", copies.ids[2])),
        "cut",
    )
    .expect("cut it");
    copies.prune().expect_code(0);
    assert_eq!(copies.there("one"), "abc");
}

/// Of what the vault has, only the bytes tell whether it is a backup.
#[test]
fn a_copy_stays_when_the_vaults_own_dump_does_not_match() {
    let copies = Copies::at(&[("one", "keep_last = 1"), ("two", "keep_last = 1")]);
    let id = &copies.ids[1];
    let mut damaged = bytes(copies.case().dump(id));
    damaged[20] ^= 1;
    fs::write(copies.case().dump(id), damaged).expect("damage it");
    let plan = ["db", "prune", "--offsite", "--dry-run"];
    let shown = copies.case().project.run(plan).expect_code(0);
    says(&shown, &["its SHA-256 is", "the only copy"]);
    copies.prune().expect_code(0);
    // One of both places lets go of it, for the other one is known to have it.
    assert_eq!([copies.there("one"), copies.there("two")], ["a", "ab"]);
    fs::remove_file(copies.case().dump(id)).expect("move it away");
    fs::remove_file(copies.case().manifest(id)).expect("move it away");
    let restored = ["db", "restore", id, "--yes"];
    copies.case().project.run(restored).expect_code(0);
}

#[test]
fn when_the_newest_there_is_damaged_an_older_one_stays() {
    let copies = Copies::at(&[("one", "keep_last = 1")]);
    let dump = copies.object("one", &format!("{}.db.zst", copies.ids[0]));
    let mut damaged = bytes(&dump);
    damaged[20] ^= 1;
    fs::write(&dump, damaged).expect("damage it");
    let pruned = copies.prune().expect_code(0);
    says(&pruned, &["note: the copy", "its SHA-256 is"]);
    assert_eq!(copies.there("one"), "ab");
    // What was read is known from now on.
    let project = &copies.case().project;
    let status = project.json(["db", "status"]);
    assert_eq!(status["copies"]["three_two_one"], false);
    // What is wrong is sent anew, and what was pruned is not.
    let verify = ["db", "verify", "--offsite", "--all"];
    let refused = project.run(verify).expect_code(4);
    fs::remove_file(&dump).expect("move it away");
    project.run(hinted_command(&refused)).expect_code(0);
    project.run(verify).expect_code(0);
    assert_eq!(copies.there("one"), "ab");
}

#[test]
fn what_is_not_this_databases_or_is_pinned_stays() {
    let copies = Copies::at(&[("one", "keep_last = 1")]);
    let project = &copies.case().project;
    project.run(["db", "pin", &copies.ids[2]]).expect_code(0);
    let other = History::sqlite();
    // Two that are taken in one second bear one name.
    let theirs = other.add(1, "theirs", |_| {});
    for file in [other.case.dump(&theirs), other.case.manifest(&theirs)] {
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        fs::copy(&file, copies.object("one", &name)).expect("another database's");
    }
    let names = [
        "notes.txt",
        "backup_2020-01-01_000000.db.zst",
        "backup_2020-01-02_000000.json",
    ];
    for name in names {
        fs::write(copies.object("one", name), name).expect("write it");
    }
    let pruned = copies.prune().expect_code(0);
    says(
        &pruned,
        &["pinned", "1 backup of other databases: left alone"],
    );
    assert_eq!(copies.there("one"), "ac");
    for name in names {
        assert_eq!(bytes(copies.object("one", name)), name.as_bytes());
    }
    assert!(copies.object("one", &format!("{theirs}.json")).exists());
}

#[test]
fn a_policy_that_keeps_nothing_and_flags_that_do_not_fit_are_refused() {
    let case = Case::sqlite();
    let toml =
        "[[offsite]]\nname = \"x\"\nurl = \"s3://b/p\"\nkeep_last = 0\nkeep_within = \"0d\"\n";
    case.project.write("database/db.toml", toml);
    let refused = case.project.run(PRUNE).expect_code(2);
    says(&refused, &["the policy of the place `x` keeps nothing"]);
    case.project.write("database/db.toml", "");
    for flags in [
        &["--keep-last", "3"][..],
        &["--kept"],
        &["--older-than", "3"],
    ] {
        let arguments = [&PRUNE[..], flags].concat();
        says(
            &case.project.run(arguments).expect_code(2),
            &["cannot be used with"],
        );
    }
    says(
        &case.project.run(PRUNE).expect_code(2),
        &["no place off-site is known"],
    );
}
