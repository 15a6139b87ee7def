//! Which backups that were taken before migrations stay, by the history that they have.

use std::fs;

use serde_json::{Value, json};

use super::guards::left;
use super::history::{History, applied};
use crate::setup::text;

fn pre(versions: &'static [i64]) -> impl FnOnce(&mut Value) {
    move |manifest| {
        manifest["reason"] = json!("pre-migrate");
        manifest["migrations"]["applied"] = applied(versions);
    }
}

/// Migrations 1 and 2 are applied; the backup that was taken before them is gone.
fn migrated() -> History {
    let history = History::sqlite();
    let project = history.project();
    project.write("migrations/1_a.sql", "CREATE TABLE a (id INTEGER);");
    project.write("migrations/2_b.sql", "CREATE TABLE b (id INTEGER);");
    let done = project.json(["db", "migrate-safe", "--yes"]);
    fs::remove_file(history.case.manifest(text(&done, "/backup/id"))).expect("lose it");
    project.run(["db", "backup"]).expect_code(0);
    history
}

fn cut(history: &History, id: &str) {
    fs::write(history.case.dump(id), "short").expect("cut a dump");
}

/// One leads back from here, the other is where the next migration began that came to nothing.
#[test]
fn the_newest_that_leads_back_and_the_newest_of_this_history() {
    let history = migrated();
    let same = [20, 60].map(|hours| history.add(hours, "same", pre(&[1, 2])));
    let back = [30, 70].map(|hours| history.add(hours, "back", pre(&[1])));
    let all = [&same[0], &back[0], &same[1], &back[1]].map(String::as_str);
    assert_eq!(left(&history, &all), [&same[0], &back[0]]);
}

/// One that is known to be bad may be better than none, and is no stand-in for a good one.
#[test]
fn a_bad_one_and_the_newest_good_one() {
    let history = migrated();
    let back = [20, 30, 40].map(|hours| history.add(hours, "back", pre(&[1])));
    let same = [50, 60, 70].map(|hours| history.add(hours, "same", pre(&[1, 2])));
    cut(&history, &back[0]);
    cut(&history, &same[0]);
    let all: Vec<&str> = back.iter().chain(&same).map(String::as_str).collect();
    assert_eq!(
        left(&history, &all),
        [&back[0], &back[1], &same[0], &same[1]]
    );
}

#[test]
fn the_newest_where_no_history_fits() {
    let history = migrated();
    let other = [20, 30, 40].map(|hours| history.add(hours, "other", pre(&[1, 9])));
    cut(&history, &other[0]);
    let all = other.each_ref().map(String::as_str);
    assert_eq!(left(&history, &all), [&other[0], &other[1]]);
}

/// One migration by this tool, the next one by another: between them only a person took a backup.
#[test]
fn one_that_a_person_took_before_the_last_migration() {
    let history = migrated();
    let manual = |versions: &'static [i64]| {
        move |manifest: &mut Value| manifest["migrations"]["applied"] = applied(versions)
    };
    let before = history.add(30, "before", manual(&[1]));
    let older = history.add(40, "older", manual(&[1]));
    let first = history.add(50, "first", pre(&[]));
    let part = history.add(20, "part", |manifest| {
        manual(&[1])(manifest);
        manifest["format"] = json!(2);
        manifest["kind"] = json!({"tables": ["a"]});
    });
    fs::remove_file(history.case.manifest(&history.newest)).expect("lose it");
    let all = [&part, &before, &older, &first].map(String::as_str);
    assert_eq!(left(&history, &all), [&part, &before, &first]);
}
