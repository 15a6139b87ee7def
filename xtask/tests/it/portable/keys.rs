//! Foreign keys: what a key would take along, and rows that refer to none.

use super::{export, import};
use crate::pty::{ENTER, Terminal};
use crate::setup::{Case, says};

/// A key stands where somebody declared it: on a partition, or leading to one.
#[test]
fn no_key_of_a_partition_takes_rows_along() {
    let Some(case) = Case::postgres("portable_partition_key") else {
        return;
    };
    let keys = [
        (
            "on a partition",
            "CREATE TABLE parent (id INT PRIMARY KEY);
             CREATE TABLE child (id INT, parent INT) PARTITION BY RANGE (id);
             CREATE TABLE child_1 PARTITION OF child FOR VALUES FROM (0) TO (100);
             ALTER TABLE child_1 ADD FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE;",
        ),
        (
            "to a partition",
            "CREATE TABLE parent (id INT PRIMARY KEY) PARTITION BY RANGE (id);
             CREATE TABLE parent_1 PARTITION OF parent FOR VALUES FROM (0) TO (100);
             CREATE TABLE child (id INT, parent INT REFERENCES parent_1 (id) ON DELETE CASCADE);",
        ),
    ];
    for (where_it_is, tables) in keys {
        case.query("DROP TABLE IF EXISTS child; DROP TABLE IF EXISTS parent CASCADE;");
        case.query(tables);
        case.query(
            "INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (10, 1), (11, 2);",
        );
        let path = export(&case, "ndjson");
        let output = import(&case, &path, &["--replace", "--table", "parent"]).expect_code(3);
        says(&output, &["rows of `child` refer to rows of `parent`"]);
        assert_eq!(
            case.query("SELECT count(*) FROM child;"),
            ["2"],
            "{where_it_is}"
        );
        // Together they go and come.
        import(&case, &path, &["--replace"]).expect_code(0);
        assert_eq!(
            case.query("SELECT count(*) FROM child; SELECT count(*) FROM parent;"),
            ["2", "2"],
            "{where_it_is}"
        );
    }
}

/// Between the plan and the transaction lies the question.
#[test]
fn a_child_that_comes_while_a_person_thinks_is_not_taken_along() {
    for case in Case::each("portable_child_race") {
        case.query(
            "CREATE TABLE parent (id INT PRIMARY KEY);
             CREATE TABLE child (id INT, parent INT REFERENCES parent (id) ON DELETE CASCADE);
             INSERT INTO parent VALUES (1), (2);",
        );
        let path = export(&case, "ndjson");
        let shown = path.to_str().expect("a UTF-8 path");
        let arguments = ["db", "import", shown, "--replace", "--table", "parent"];
        let mut terminal = Terminal::start(case.project.command(arguments));
        terminal.wait_for("type `yes`");
        case.query("INSERT INTO child VALUES (10, 1);");
        terminal.send("yes").send(ENTER);
        let code = terminal.exit_code();
        // SQLite: no key acts, and the row finds its parent again.
        let expected = if case.server.is_some() { 3 } else { 0 };
        assert_eq!(code, expected, "{}", terminal.screen());
        assert_eq!(
            case.query("SELECT id, parent FROM child;"),
            ["10|1"],
            "{}",
            terminal.screen()
        );
    }
}

#[test]
fn a_key_that_restricts_is_named() {
    let Some(case) = Case::postgres("portable_restrict") else {
        return;
    };
    case.query(
        "CREATE TABLE a (id INT PRIMARY KEY, b INT); CREATE TABLE b (id INT PRIMARY KEY, a INT REFERENCES a (id) ON DELETE RESTRICT);
         ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id) ON DELETE RESTRICT;
         INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1;",
    );
    let path = export(&case, "ndjson");
    let output = import(&case, &path, &["--replace"]).expect_code(3);
    says(&output, &["`ON DELETE RESTRICT` holds them", "hint: "]);
    assert_eq!(case.query("SELECT a.b, b.a FROM a, b;"), ["1|1"]);
}

/// More of them than anybody lists, and in a table whose rows have no number of their own.
#[test]
fn one_more_broken_key_among_thousands_is_seen() {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id)) WITHOUT ROWID;
         PRAGMA foreign_keys = OFF; INSERT INTO parent VALUES (1); INSERT INTO child VALUES (9001, 1);",
    );
    let path = export(&case, "ndjson");
    let text = std::fs::read_to_string(&path).expect("read it");
    std::fs::write(&path, text.replace("\"parent\": 1", "\"parent\": 77")).expect("edit it");
    case.query(
        "PRAGMA foreign_keys = OFF; DELETE FROM child;
         INSERT INTO child WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) SELECT i, 5000 FROM n;",
    );
    let append = ["--append", "--edited", "--table", "child"];
    let output = import(&case, &path, &append).expect_code(3);
    says(
        &output,
        &[
            "the rows do not fit together: 1501 of `child` would refer to rows of `parent` that are not there, and 1500 did before",
        ],
    );
    assert_eq!(case.query("SELECT count(*) FROM child;"), ["1500"]);
    std::fs::write(&path, text).expect("as it was");
    import(&case, &path, &["--append", "--table", "child"]).expect_code(0);
    assert_eq!(case.query("SELECT count(*) FROM child;"), ["1501"]);
}

/// A row that goes away is no excuse for one that comes: as into an empty table.
#[test]
fn a_broken_key_that_is_replaced_hides_no_other() {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id));
         PRAGMA foreign_keys = OFF; INSERT INTO parent VALUES (1); INSERT INTO child VALUES (10, 1), (11, 99);",
    );
    let path = export(&case, "ndjson");
    let text = std::fs::read_to_string(&path).expect("read it");
    let mended = text.replace("\"parent\": 99", "\"parent\": 1");
    let mistyped = mended.replacen("\"parent\": 1}", "\"parent\": 77}", 1);
    assert!(text != mended && mended != mistyped, "{text}");
    let look = "SELECT id, parent FROM child ORDER BY 1;";
    for (edited, is_taken) in [(&text, false), (&mistyped, false), (&mended, true)] {
        std::fs::write(&path, edited).expect("edit it");
        for more in [&[][..], &["--table", "child"]] {
            let arguments = [&["--replace", "--edited"], more].concat();
            let output = import(&case, &path, &arguments);
            if is_taken {
                output.expect_code(0);
                assert_eq!(case.query(look), ["10|1", "11|1"]);
                continue;
            }
            let none = "the rows do not fit together: 1 of `child` would refer to rows of `parent` that are not there";
            says(&output.expect_code(3), &[none, "hint: "]);
            assert_eq!(case.query(look), ["10|1", "11|99"]);
        }
    }
}

/// Where a key leads to columns that are no key, nothing can be checked: of the tables that are imported.
#[test]
fn a_key_that_cannot_be_checked_is_refused_before_anything() {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE parent (id INTEGER); CREATE TABLE child (id INTEGER, parent INTEGER REFERENCES parent (id));
         CREATE TABLE other (id INTEGER); INSERT INTO other VALUES (1), (2);",
    );
    let path = export(&case, "ndjson");
    import(&case, &path, &["--replace", "--table", "other"]).expect_code(0);
    let before = case.project.vault_files();
    for table in ["parent", "child"] {
        let output = import(&case, &path, &["--replace", "--table", table]).expect_code(3);
        says(
            &output,
            &[
                "the foreign keys of `child` cannot be checked",
                "foreign key mismatch",
                "hint: ",
            ],
        );
    }
    assert_eq!(case.project.vault_files(), before, "no backup was needed");
}
