//! Two names of one place, and the vault itself as a place: no copy counts twice.

use std::os::unix::fs::symlink;

use super::outcomes;
use super::places::other_disk;
use crate::project::Project;
use crate::retention::history::History;
use crate::setup::says;

const PRUNE: [&str; 4] = ["db", "prune", "--offsite", "--yes"];

fn place(name: &str, url: &str, more: &str) -> String {
    format!("[[offsite]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n")
}

/// On a disk that both share, say.
#[test]
fn the_vault_is_no_place_for_its_own_copies() {
    let history = History::sqlite();
    history.add(48, "old", |_| {});
    let project = history.project();
    let aside = other_disk();
    let link = aside.path().join("link");
    symlink(project.vault(), &link).expect("make a link");
    for folder in [&project.vault(), &link] {
        let url = format!("file://{}", folder.display());
        let files = project.vault_files();
        project.write("database/db.toml", place("nas", &url, "keep_last = 1"));
        let refused = project.run(PRUNE).expect_code(2);
        says(&refused, &["`nas`", "is the vault itself"]);
        says(
            &project.run(["db", "push"]).expect_code(2),
            &["is the vault itself"],
        );
        assert_eq!(project.vault_files(), files);
        let taken = project.run(["db", "backup", "--json"]).expect_code(6);
        assert_eq!(outcomes(&taken.json()), ["missing"]);
        says(&taken, &["not copied:", "is the vault itself"]);
    }
}

/// Each would have let go what the other one has.
#[test]
fn one_folder_under_two_names_is_refused() {
    let history = History::sqlite();
    history.add(48, "old", |_| {});
    let project = history.project();
    let (folder, aside) = (other_disk(), other_disk());
    let link = aside.path().join("link");
    symlink(folder.path(), &link).expect("make a link");
    let [a, b] = [("a", folder.path()), ("b", link.as_path())].map(|(name, folder)| {
        let url = format!("file://{}", folder.display());
        place(name, &url, "keep_last = 1")
    });
    project.write("database/db.toml", &a);
    project.run(["db", "push"]).expect_code(0);
    project.write("database/db.toml", a + &b);
    let count = || folder.path().read_dir().expect("list it").count();
    assert_eq!(count(), 4);
    for verb in [&PRUNE[..], &["db", "push"]] {
        let refused = project.run(verb).expect_code(2);
        says(&refused, &["`a`", "is the place `b`"]);
    }
    assert_eq!(count(), 4);
}

/// Two ways to write one bucket and one prefix in it.
const SAME: &[(&str, &str)] = &[
    ("s3://b/p", "s3a://b/p/"),
    ("s3://b/p", "s3://b/p?region=eu-central-1"),
    ("s3://b/p/q", "https://b.s3.eu-central-1.amazonaws.com/p/q"),
    ("s3://b/p", "https://s3.eu-central-1.amazonaws.com/b/p"),
    (
        "s3://b/p",
        "s3://b/%70?endpoint=https://s3.eu-west-1.amazonaws.com",
    ),
    (
        "s3://b/p?endpoint=https://me.r2.cloudflarestorage.com/",
        "https://me.r2.cloudflarestorage.com/b/p",
    ),
    (
        "s3://b?endpoint=http://nas:9000",
        "s3://b?aws_endpoint_url=http://NAS:9000/",
    ),
    (
        "abfss://c@me.dfs.core.windows.net/p",
        "https://me.blob.core.windows.net/c/p",
    ),
    (
        "az://c/p?account_name=me",
        "https://me.blob.core.windows.net/c/p",
    ),
];

const DIFFERENT: &[(&str, &str)] = &[
    ("s3://b/p", "s3://b/q"),
    ("s3://b/p", "gs://b/p"),
    ("s3://b/p", "s3://c/p"),
    ("s3://b/p", "s3://b/p?endpoint=http://nas:9000"),
    (
        "s3://b/p?endpoint=http://nas:9000",
        "s3://b/p?endpoint=http://nas:9001",
    ),
    (
        "https://me.r2.cloudflarestorage.com/b/p",
        "https://you.r2.cloudflarestorage.com/b/p",
    ),
    (
        "az://c/p?account_name=me",
        "https://you.blob.core.windows.net/c/p",
    ),
];

#[test]
fn a_bucket_that_is_written_in_two_ways_is_one_place() {
    let run = |one: &str, other: &str| {
        let project = Project::new();
        let policy = place("a", one, "") + &place("b", other, "");
        project.write("database/db.toml", policy);
        project.run(["db", "config"])
    };
    for (one, other) in SAME {
        let refused = run(one, other).expect_code(2);
        says(&refused, &["the places `a` and `b` are one and the same"]);
        let both = Project::new().env("OFFSITE_URL", format!("{one} {other}"));
        let refused = both.run(["db", "config"]).expect_code(2);
        says(&refused, &["`OFFSITE_URL` has"]);
    }
    for (one, other) in DIFFERENT {
        run(one, other).expect_code(0);
    }
}
