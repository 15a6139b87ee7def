//! A day with real data, the music store, on both engines: migrations that add, lose and fail, the
//! proofs, and every way back.

use std::path::Path;

use serde_json::{Value, json};

use crate::exec::Output;
use crate::fingerprints::chinook;
use crate::project::sqlite_rows;
use crate::setup::{Case, says, text, versions};

/// One has `playlist_track`, the other `PlaylistTrack`; no name is told apart by its case there.
fn in_its_words(case: &Case, sql: &str) -> String {
    match case.server {
        None => sql.replace('_', ""),
        Some(_) => sql.to_owned(),
    }
}

/// Rows and sums of every table, by questions of its own.
const SUMS: &str = "SELECT count(*), sum(album_id), sum(length(title)) FROM album; \
    SELECT count(*), sum(artist_id), sum(length(name)) FROM artist; \
    SELECT count(*), sum(customer_id), sum(length(email)), count(company) FROM customer; \
    SELECT count(*), sum(employee_id), count(reports_to) FROM employee; \
    SELECT count(*), sum(genre_id), min(name), max(name) FROM genre; \
    SELECT count(*), sum(invoice_id), round(sum(total)) FROM invoice; \
    SELECT count(*), sum(track_id), sum(quantity) FROM invoice_line; \
    SELECT count(*), sum(length(name)) FROM media_type; \
    SELECT count(*), sum(length(name)) FROM playlist; \
    SELECT count(*), sum(playlist_id), sum(track_id) FROM playlist_track; \
    SELECT count(*), sum(milliseconds), sum(length(name)), round(sum(unit_price)) FROM track;";

fn sums(case: &Case) -> Vec<String> {
    let sums = case.query(&in_its_words(case, SUMS));
    assert_eq!(sums.len(), 11, "{sums:?}");
    sums
}

fn write(case: &Case, file: &str, sql: &str) {
    case.project
        .write(format!("migrations/{file}"), in_its_words(case, sql));
}

#[track_caller]
fn migrate(case: &Case, more: &[&str]) -> Output {
    let arguments = ["db", "migrate-safe", "--yes"].iter().chain(more);
    case.project.run(arguments)
}

#[track_caller]
fn effect<'a>(document: &'a Value, case: &Case, table: &str) -> &'a Value {
    let name = in_its_words(case, table);
    let tables = document["rehearsal"]["effect"]["tables"].as_array();
    let mut tables = tables.expect("a list").iter();
    let found = tables.find(|found| text(found, "/name").eq_ignore_ascii_case(&name));
    found.unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

/// Nothing that was there is another one.
fn one_that_adds(case: &Case) {
    write(
        case,
        "1_listens.sql",
        "CREATE TABLE listens (id INTEGER PRIMARY KEY, track_id INT NOT NULL REFERENCES track (track_id)); \
         ALTER TABLE track ADD COLUMN isrc VARCHAR(12); CREATE INDEX by_name ON track (name); \
         INSERT INTO listens SELECT track_id, track_id FROM track WHERE milliseconds > 300000;",
    );
    let before = sums(case);
    let document = case.migrate();
    assert_eq!(sums(case), before);
    let track = effect(&document, case, "track");
    assert_eq!(
        (&track["rows_before"], &track["rows_after"]),
        (&json!(3503), &json!(3503))
    );
    let listens = case.query("SELECT count(*) FROM listens;");
    let rows = &effect(&document, case, "listens")["rows_after"];
    assert_eq!(listens, [rows.to_string()]);
    assert_eq!(document["rehearsal"]["effect"]["losses"], json!([]));
}

fn one_that_loses(case: &Case) {
    write(
        case,
        "2_fewer.sql",
        "DELETE FROM playlist_track WHERE playlist_id = 1; ALTER TABLE track DROP COLUMN composer;",
    );
    let before = sums(case);
    let composers = case.query("SELECT count(composer) FROM track;").concat();
    let refused = migrate(case, &[]).expect_code(3);
    says(
        &refused,
        &[
            "3290 of 8715 rows are gone",
            &format!("the column is dropped, with {composers} values"),
        ],
    );
    migrate(
        case,
        &["--accept-loss", &in_its_words(case, "playlist_track")],
    )
    .expect_code(3);
    assert_eq!(sums(case), before);
    let names = in_its_words(case, "playlist_track,track.composer");
    migrate(case, &["--accept-loss", &names]).expect_code(0);
    let left = in_its_words(case, "SELECT count(*) FROM playlist_track;");
    assert_eq!(case.query(&left), ["5425"]);
}

/// In the rehearsal, and where it was left out on the live database.
fn one_that_fails(case: &Case) {
    let file = "3_twice.sql";
    write(
        case,
        file,
        "UPDATE genre SET name = 'gone'; INSERT INTO genre (genre_id, name) VALUES (1, 'twice');",
    );
    let before = (sums(case), case.contents());
    says(
        &migrate(case, &[]).expect_code(3),
        &["the rehearsal on a scratch database failed"],
    );
    let restored = migrate(case, &["--no-rehearse", "--on-failure", "restore"]);
    says(&restored.expect_code(3), &["was restored, and the"]);
    assert_eq!((sums(case), case.contents()), before);
    std::fs::remove_file(case.project.path().join("migrations").join(file)).expect("remove it");
}

/// Reviewed first, then run with nobody else writing.
fn one_that_is_reviewed(case: &Case) {
    write(
        case,
        "4_dearer.sql",
        "UPDATE track SET unit_price = unit_price + 1;",
    );
    let before = sums(case);
    migrate(case, &["--plan", "receipt.json"]).expect_code(0);
    assert_eq!(sums(case), before);
    let output = migrate(
        case,
        &["--approve", "receipt.json", "--exclusive", "--json"],
    );
    let document = output.expect_code(0).json();
    assert_eq!(versions(&document["applied"]), [4]);
    assert_ne!(sums(case), before);
}

#[track_caller]
fn every_backup_comes_back(case: &Case) {
    let document = case.project.json(["db", "drill", "--all"]);
    let drilled = document["drilled"].as_array().expect("a list");
    assert!(drilled.len() >= 8, "{document:#}");
    for one in drilled {
        assert_eq!(one["restored"], true, "{document:#}");
    }
}

fn there_and_back(case: &Case, oldest: &str, first: &[String]) {
    let now = (sums(case), case.contents());
    case.restore(oldest);
    assert_eq!(sums(case), first);
    assert_ne!(case.query("SELECT count(composer) FROM track;"), ["0"]);
    case.project.json(["db", "restore", "--undo", "--yes"]);
    assert_eq!((sums(case), case.contents()), now);
}

/// A copy of before all of it, and the table that somebody emptied.
fn beside(case: &Case, oldest: &str) {
    let copy = case.server.as_ref().map(|live| {
        let name = format!("{}_copy", live.name());
        live.cluster().database(&name)
    });
    let url = copy
        .as_ref()
        .map_or_else(|| "sqlite:copy.db".to_owned(), |copy| copy.url());
    case.project
        .json(["db", "restore", oldest, "--into", &url, "--yes"]);
    let of_file = |file: &str, sql: &str| {
        let path = case.project.path().join(Path::new(file));
        let connection = rusqlite::Connection::open(path).expect("open the copy");
        sqlite_rows(&connection, sql).expect("ask the copy")
    };
    let count = in_its_words(case, "SELECT count(*) FROM playlist_track;");
    let copied = match &copy {
        Some(copy) => vec![copy.psql(&count)],
        None => of_file("copy.db", &count),
    };
    assert_eq!(copied, ["8715"]);

    case.query(&in_its_words(case, "DELETE FROM playlist_track;"));
    let only = ["db", "restore", "latest", "--only"];
    let fetched = match case.server {
        Some(_) => {
            let into = ["playlist_track", "--into-schema", "rescued", "--yes"];
            case.project.json([&only[..], &into].concat());
            case.query("SELECT count(*) FROM rescued.playlist_track;")
        }
        None => {
            let into = ["PlaylistTrack", "--into", "sqlite:rescued.db", "--yes"];
            case.project.json([&only[..], &into].concat());
            of_file("rescued.db", &count)
        }
    };
    assert_eq!(fetched, ["5425"]);
    assert_eq!(case.query(&count), ["0"]);
}

#[test]
fn a_day_with_the_music_store() {
    for case in chinook("store") {
        let first = sums(&case);
        one_that_adds(&case);
        one_that_loses(&case);
        one_that_fails(&case);
        one_that_is_reviewed(&case);
        every_backup_comes_back(&case);
        let list = case.project.json(["db", "list"]);
        let oldest = list["backups"].as_array().and_then(|all| all.last());
        let oldest = text(oldest.expect("a backup"), "/manifest/id").to_owned();
        there_and_back(&case, &oldest, &first);
        beside(&case, &oldest);
        case.project.run(["db", "verify", "--all"]).expect_code(0);
        case.project.run(["db", "log"]).expect_code(0);
    }
}
