//! Planned and reviewed first, run later: only what was reviewed runs. And what a job's summary says.

use std::fs;

use serde_json::{Value, json};

use super::{FIRST, cases, migrate};
use crate::setup::{Case, says, text};

fn receipt(case: &Case) -> Value {
    let text = fs::read(case.project.path().join("receipt.json")).expect("read the receipt");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn a_plan_does_all_but_the_jump_and_its_receipt_runs() {
    for case in cases("receipt", "ALTER TABLE books ADD COLUMN isbn TEXT;") {
        // No question: nothing is changed.
        let plan = ["db", "migrate-safe", "--plan", "receipt.json"];
        let output = case.project.run(plan).expect_code(0);
        says(&output, &["the live database is as it was", "receipt.json"]);
        let receipt = receipt(&case);
        assert_eq!(receipt["pending"][0]["version"], 2);
        assert_eq!(receipt["migrations"][0]["version"], 2);
        assert!(!text(&receipt, "/effect/tables/0/name").is_empty());
        let status = case.project.json(["db", "status"]);
        assert_eq!(status["pending"].as_array().map(Vec::len), Some(1));

        case.query("INSERT INTO books VALUES (9, 1, 'later');");
        let document =
            case.project
                .json(["db", "migrate-safe", "--approve", "receipt.json", "--yes"]);
        assert_eq!(text(&document, "/outcome"), "migrated");
        // A fresh backup, and a proof of it.
        assert_ne!(text(&document, "/backup/id"), text(&receipt, "/backup"));
        assert!(document["rehearsal"].is_object());
        assert_eq!(case.query("SELECT count(*) FROM books;"), ["4"]);
    }
}

#[test]
fn what_is_not_as_it_was_reviewed_does_not_run() {
    for case in cases("unfit", "ALTER TABLE books ADD COLUMN isbn TEXT;") {
        let plan = ["db", "migrate-safe", "--plan", "receipt.json"];
        case.project.run(plan).expect_code(0);
        let approve = ["--approve", "receipt.json"];
        let write = |file: &str, sql: &str| case.project.write(format!("migrations/{file}"), sql);

        write(
            "2_second.sql",
            "ALTER TABLE books ADD COLUMN isbn VARCHAR(13);",
        );
        says(
            &migrate(&case, &approve).expect_code(3),
            &["the file of migration 2 was changed", "--plan receipt.json"],
        );
        write("2_second.sql", "ALTER TABLE books ADD COLUMN isbn TEXT;");
        write("3_third.sql", "SELECT 1;");
        says(
            &migrate(&case, &approve).expect_code(3),
            &["migration 3 is pending now"],
        );
        fs::rename(
            case.project.path().join("migrations/2_second.sql"),
            case.project.tmp().join("away"),
        )
        .expect("move it");
        says(&migrate(&case, &approve).expect_code(3), &["migration"]);
        fs::rename(
            case.project.tmp().join("away"),
            case.project.path().join("migrations/2_second.sql"),
        )
        .expect("move it");
        fs::remove_file(case.project.path().join("migrations/3_third.sql")).expect("remove it");

        let mut other = receipt(&case);
        other["database"]["name"] = json!("another");
        other["database"]["path"] = json!("/another.db");
        case.project.write("other.json", other.to_string());
        says(
            &migrate(&case, &["--approve", "other.json"]).expect_code(3),
            &["of another database"],
        );
        other["format"] = json!(2);
        case.project.write("other.json", other.to_string());
        says(
            &migrate(&case, &["--approve", "other.json"]).expect_code(3),
            &["format 2"],
        );
        for bad in ["nowhere.json", "migrations/1_first.sql"] {
            migrate(&case, &["--approve", bad]).expect_code(2);
        }
        migrate(&case, &approve).expect_code(0);
        says(
            &migrate(&case, &approve).expect_code(3),
            &["the history of the database has changed"],
        );
    }
}

/// Whatever file is named by mistake is as it was: the database and what SQLite keeps beside it, a
/// migration, what is in the vault, what a link leads to.
#[test]
fn a_plan_takes_the_place_of_nothing_but_an_older_receipt() {
    let mut all = cases("plan_place", "ALTER TABLE books ADD COLUMN isbn TEXT;");
    let case = all.remove(0);
    let path = case.project.sqlite_path();
    let live = rusqlite::Connection::open(&path).expect("open the database");
    let wal = "PRAGMA journal_mode = WAL; INSERT INTO books VALUES (9, 1, 'in the log');";
    crate::project::sqlite_rows(&live, wal).expect("fill the log");
    std::os::unix::fs::symlink("database/app.db", case.project.path().join("link"))
        .expect("make a link");
    fs::hard_link(&path, case.project.path().join("hard")).expect("make a link");
    let id = case.backup();
    let manifest = format!("database/backups/{id}.json");
    let backups = case.project.vault_files();
    for file in [
        "database/app.db",
        "database/app.db-wal",
        "database/app.db-shm",
        "database/app.db-journal",
        "link",
        "hard",
        "migrations/1_first.sql",
        &manifest,
        "database/backups/journal.jsonl",
        "database/backups/new.json",
        "migrations",
    ] {
        let place = case.project.path().join(file);
        let before = fs::read(&place).ok();
        let output = migrate(&case, &["--plan", file]).expect_code(3);
        says(&output, &["hint: name "]);
        assert_eq!(case.project.vault_files(), backups, "{file}\n{output}");
        if file.ends_with(".sql") || file.starts_with("database/backups/b") {
            assert_eq!(fs::read(&place).ok(), before, "{file}");
        }
        let kind = place
            .symlink_metadata()
            .is_ok_and(|found| found.is_symlink());
        assert_eq!(kind, file == "link", "{file}");
    }
    drop(live);
    assert_eq!(
        case.query("SELECT title FROM books WHERE id = 9;"),
        ["in the log"]
    );
    // Only an export says so with other words.
    for file in ["database/app.db-journal", "database/app.db"] {
        let export = ["db", "export", "--force", "-o", file];
        case.project.run(export).expect_code(3);
    }
    for _ in 0..2 {
        migrate(&case, &["--plan", "receipt.json"]).expect_code(0);
    }
}

/// The hint for a file that is something else does not name it as the place of a new receipt.
#[test]
fn no_hint_leads_over_a_file() {
    let case = cases("plan_hint", "SELECT 1;").remove(0);
    case.project.write("a b.txt", "a letter");
    for (file, hint) in [
        ("migrations/1_first.sql", "--plan receipt.json\n"),
        ("a b.txt", "--plan receipt.json\n"),
        ("not there.json", "--plan 'not there.json'\n"),
    ] {
        let output = migrate(&case, &["--approve", file]).expect_code(2);
        says(&output, &[hint]);
    }
}

/// What was declared when it was planned needs no second word, and nothing else is let through.
#[test]
fn a_receipt_carries_the_losses_that_were_accepted() {
    for case in cases("accepted", "DELETE FROM books;") {
        let plan = ["db", "migrate-safe", "--plan", "receipt.json"];
        case.project.run(plan).expect_code(3);
        assert!(!case.project.path().join("receipt.json").exists());
        let accepted = plan.iter().chain(&["--accept-loss", "books"]);
        case.project.run(accepted).expect_code(0);
        assert_eq!(receipt(&case)["accepted_losses"], json!(["books"]));
        migrate(&case, &["--approve", "receipt.json"]).expect_code(0);
    }
}

#[test]
fn a_job_gets_a_summary_and_outputs() {
    let mut case = Case::sqlite();
    let (summary, output) = (
        case.project.tmp().join("summary"),
        case.project.tmp().join("output"),
    );
    case.project = case
        .project
        .migration("1_first.sql", FIRST)
        .env("GITHUB_STEP_SUMMARY", &summary)
        .env("GITHUB_OUTPUT", &output);
    let read = |path| fs::read_to_string(path).expect("read it");
    let document = case.migrate();
    let id = text(&document, "/backup/id");
    let said = read(&summary);
    for part in [
        "## migrate-safe",
        &format!("**Backup** `{id}`"),
        "**Rehearsed**",
        "| authors | – | 2 | new table |",
        "**Applied** 1",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let sha256 = text(&document, "/backup/dump/sha256");
    let expected = format!("backup_id={id}\nbackup_sha256={sha256}\napplied_versions=1\n");
    assert_eq!(read(&output), expected);

    // What fails says why, with the table that shows it; a name cannot write a line of its own.
    case.query(
        "CREATE TABLE \"x|y\n## forged\" (id INTEGER); INSERT INTO \"x|y\n## forged\" VALUES (1);",
    );
    case.project
        .write("migrations/2_less.sql", "DELETE FROM \"x|y\n## forged\";");
    migrate(&case, &[]).expect_code(3);
    let said = read(&summary);
    assert!(
        said.contains("**error:** the migrations would lose data"),
        "{said}"
    );
    assert!(
        said.contains("| 1 | 0 |") && !said.contains("\n## forged"),
        "{said}"
    );
}
