//! What an import and an export do not do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{export, import};
use crate::setup::{Case, hinted_command, says};

const BOOKS: &str = "CREATE TABLE authors (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
  CREATE TABLE books (id BIGINT PRIMARY KEY, author BIGINT REFERENCES authors (id), title TEXT);
  INSERT INTO authors VALUES (1, 'Ada'), (2, 'Bob'); INSERT INTO books VALUES (10, 1, 'A'), (11, 2, NULL), (12, 2, '');";

const ALL: &str = "SELECT * FROM authors ORDER BY 1; SELECT * FROM books ORDER BY 1;";

#[test]
fn a_file_that_is_there_is_not_replaced_unasked() {
    let case = Case::sqlite();
    case.query(BOOKS);
    let path = export(&case, "ndjson");
    let mode = fs::metadata(&path).expect("exported").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&path, "mine").expect("write it");
    let shown = path.to_str().expect("a UTF-8 path");
    let output = case
        .project
        .run(["db", "export", "-o", shown])
        .expect_code(3);
    says(&output, &["is there already", "--force"]);
    assert_eq!(fs::read(&path).expect("read it"), b"mine");
    case.project
        .run(["db", "export", "-o", shown, "--force"])
        .expect_code(0);
    assert!(fs::metadata(&path).expect("exported").len() > 100);
    // A folder never is.
    let folder = export(&case, "csv");
    let shown = folder.to_str().expect("a UTF-8 path");
    let again = ["db", "export", "--format", "csv", "-o", shown, "--force"];
    says(
        &case.project.run(again).expect_code(3),
        &["no folder is ever replaced"],
    );
    let inside = fs::metadata(folder.join("books.csv")).expect("a file");
    assert_eq!(inside.permissions().mode() & 0o777, 0o600);
    let left = fs::read_dir(case.project.path()).expect("list it");
    let left = left.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    assert!(left.into_iter().all(|name| !name.contains("partial")));
}

#[test]
fn tables_with_rows_are_left_alone_unless_somebody_says_what_becomes_of_them() {
    for case in Case::each("portable_full") {
        case.query(BOOKS);
        let path = export(&case, "ndjson");
        case.query("DELETE FROM books; INSERT INTO books VALUES (99, 1, 'mine');");
        let before = case.query(ALL);
        let output = import(&case, &path, &[]).expect_code(3);
        says(
            &output,
            &[
                "the table `authors` is not empty: it has 2 rows",
                "--replace",
                "--append",
            ],
        );
        assert_eq!(case.query(ALL), before);
        assert_eq!(case.project.vault_files(), [""; 0], "no backup was needed");
        // Rows with keys that are there, and rows that are not.
        let output = import(&case, &path, &["--append"]).expect_code(3);
        says(
            &output,
            &["the table `authors` does not take", "UNIQUE"].map(|part| match case.server {
                Some(_) if part == "UNIQUE" => "duplicate key",
                _ => part,
            }),
        );
        assert_eq!(case.query(ALL), before);
        import(&case, &path, &["--append", "--table", "books"]).expect_code(0);
        assert_eq!(
            case.query("SELECT id FROM books ORDER BY 1;"),
            ["10", "11", "12", "99"]
        );
        import(&case, &path, &["--replace"]).expect_code(0);
        assert_eq!(
            case.query("SELECT id FROM books ORDER BY 1;"),
            ["10", "11", "12"]
        );
        // The rows of `books` would go with those of `authors`, or hang in the air.
        let output = import(&case, &path, &["--replace", "--table", "authors"]).expect_code(3);
        says(&output, &["rows of `books` refer to rows of `authors`"]);
        // The last word before an import leads back to before it.
        let journal = case.project.json(["db", "log"]);
        assert!(journal.to_string().contains("\"import\""), "{journal:#}");
        case.restore("latest");
        assert_eq!(
            case.query("SELECT id FROM books ORDER BY 1;"),
            ["10", "11", "12", "99"]
        );
    }
}

#[test]
fn without_a_yes_nothing_is_imported() {
    for case in Case::each("portable_unasked") {
        case.query(BOOKS);
        let path = export(&case, "json");
        case.query("DELETE FROM books; DELETE FROM authors;");
        let shown = path.to_str().expect("a UTF-8 path");
        let output = case.project.run(["db", "import", shown]).expect_code(3);
        says(&output, &["there is no terminal to ask on", "rows to come"]);
        assert_eq!(case.query(ALL), [""; 0]);
        assert_eq!(case.project.vault_files(), [""; 0]);
        let command = hinted_command(&output);
        case.project.run(&command).expect_code(0);
        assert_eq!(case.query("SELECT count(*) FROM books;"), ["3"]);
    }
}

#[test]
fn what_the_schema_does_not_have_is_named_with_what_is_nearest() {
    for case in Case::each("portable_schema") {
        case.query(BOOKS);
        let path = export(&case, "ndjson");
        case.query("DROP TABLE books; DELETE FROM authors; CREATE TABLE book (id BIGINT);");
        let output = import(&case, &path, &[]).expect_code(3);
        says(
            &output,
            &[
                "the database has no table `books`",
                "the nearest name is `book`",
                "db migrate-safe",
            ],
        );
        case.query("CREATE TABLE books (id BIGINT PRIMARY KEY, author BIGINT, titel TEXT);");
        let output = import(&case, &path, &[]).expect_code(3);
        says(
            &output,
            &[
                "the table `books` has no column `title`",
                "the nearest name is `titel`",
            ],
        );
        let output = import(&case, &path, &["--table", "bocks"]).expect_code(2);
        says(&output, &["there is no table `bocks`", "`books`"]);
        case.query("DROP TABLE books; CREATE TABLE books (id BIGINT, author BIGINT, title TEXT, more TEXT DEFAULT 'x');");
        let output = import(&case, &path, &[]).expect_code(0);
        says(
            &output,
            &["the file has no `more`, which get their defaults"],
        );
        assert_eq!(case.query("SELECT DISTINCT more FROM books;"), ["x"]);
    }
}

#[test]
fn sqlx_s_own_table_is_not_carried_along() {
    for mut case in Case::each("portable_history") {
        case.project = case.project.migration(
            "1_books.sql",
            "CREATE TABLE books (id BIGINT); INSERT INTO books VALUES (1);",
        );
        case.migrate();
        let path = export(&case, "ndjson");
        let text = fs::read_to_string(&path).expect("read it");
        assert!(!text.contains("_sqlx_migrations"), "{text}");
        case.query("DELETE FROM books;");
        let output = import(&case, &path, &[]).expect_code(0);
        assert!(!output.stderr.contains("other migrations"), "{output}");
        case.project = case
            .project
            .migration("2_more.sql", "CREATE TABLE more (id BIGINT);");
        case.migrate();
        let output = import(&case, &path, &["--replace"]).expect_code(0);
        says(
            &output,
            &["other migrations were applied when it was exported than are now"],
        );
        // Named, it is exported.
        let named = [
            "db",
            "export",
            "-o",
            "-",
            "--table",
            "_sqlx_migrations",
            "--quiet",
        ];
        let output = case.project.run(named).expect_code(0);
        let rows = output
            .stdout
            .lines()
            .filter(|line| line.starts_with("{\"row\": "));
        assert_eq!(rows.count(), 2, "{output}");
    }
}

/// By its own reader and by anybody else's.
#[test]
fn every_line_and_the_document_are_json() {
    for case in Case::each("portable_json") {
        case.query(BOOKS);
        let lines = fs::read_to_string(export(&case, "ndjson")).expect("read it");
        let lines: Vec<Value> = (lines.lines())
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let rows: Vec<&Value> = lines
            .iter()
            .map(|line| &line["row"])
            .filter(|row| row.is_object())
            .collect();
        assert_eq!(rows.len(), 5);
        assert_eq!(
            *rows[2],
            serde_json::json!({"id": 10, "author": 1, "title": "A"})
        );
        assert_eq!(
            (&rows[3]["title"], &rows[4]["title"]),
            (&Value::Null, &Value::from(""))
        );
        let text = fs::read_to_string(export(&case, "json")).expect("read it");
        let document: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(document["tables"][1]["rows"][0]["row"], *rows[2]);
        assert_eq!(document["export"]["tables"][1]["rows"], 3);
    }
}

/// A policy that holds also for the owner would leave rows out: the server says no, and we what to do.
#[test]
fn rows_that_a_policy_may_hide_are_neither_exported_nor_backed_up() {
    let Some((case, _)) = Case::owner("portable_policy") else {
        return;
    };
    case.query(
        "CREATE TABLE \"T t\" (id int); INSERT INTO \"T t\" VALUES (1); ALTER TABLE \"T t\" ENABLE ROW LEVEL SECURITY; \
         ALTER TABLE \"T t\" FORCE ROW LEVEL SECURITY;",
    );
    let mend = "ALTER TABLE \"T t\" NO FORCE ROW LEVEL SECURITY;";
    for verb in [&["backup"][..], &["export", "-o", "x.ndjson"]] {
        let refused = case.project.run([&["db"], verb].concat()).expect_code(1);
        says(
            &refused,
            &["policies of `T t` may hide rows", "BYPASSRLS", mend],
        );
    }
    case.query(mend);
    case.project.run(["db", "backup"]).expect_code(0);
}

#[test]
fn rows_that_are_published_without_an_identity_are_not_deleted() {
    let Some(case) = Case::postgres("portable_published") else {
        return;
    };
    case.query(
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE PUBLICATION p FOR TABLE t;",
    );
    let path = export(&case, "ndjson");
    let refused = import(&case, &path, &["--replace"]).expect_code(3);
    let mend = "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL;";
    says(&refused, &["it is published", mend]);
    case.query(mend);
    import(&case, &path, &["--replace"]).expect_code(0);
}

#[test]
fn a_folder_where_the_database_should_be_is_said_to_be_one() {
    let case = Case::sqlite();
    case.query(BOOKS);
    case.backup();
    fs::remove_file(case.project.sqlite_path()).expect("remove it");
    fs::create_dir(case.project.sqlite_path()).expect("make a folder");
    for verb in [
        &["restore", "latest", "--yes"][..],
        &["backup"],
        &["status"],
        &["migrate-safe", "--yes"],
        &["export", "-o", "x.ndjson"],
    ] {
        let refused = case.project.run([&["db"], verb].concat()).expect_code(3);
        says(&refused, &["app.db` is a folder", "hint: ", "mv "]);
    }
    case.project.run(["db", "list"]).expect_code(0);
    let (from, to) = (case.project.sqlite_path(), case.project.path().join("away"));
    fs::rename(from, to).expect("move it away");
    case.project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(0);
    assert_eq!(case.query(ALL).len(), 5);
}
