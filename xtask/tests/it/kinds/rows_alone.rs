//! Rows alone, by the hint that such a backup comes with, into a database that the migrations made.

use super::keys::by_hint;
use super::{drilled, elsewhere, id, restored_into, rows, taken};
use crate::setup::{Case, says};

const INTO: &str = "there already, whose triggers fire: ";

/// As migrations make them; SQLite's indexes are filled by a trigger, by hand, and not at all.
fn schema(case: &Case) -> String {
    let tables = "CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT); \
        CREATE TABLE books (id INTEGER PRIMARY KEY, author INTEGER REFERENCES authors (id), title TEXT);";
    let indexes = "CREATE VIRTUAL TABLE found USING fts5(title, content='books', content_rowid='id'); \
        CREATE TRIGGER booked AFTER INSERT ON books BEGIN \
          INSERT INTO found(rowid, title) VALUES (new.id, new.title); END; \
        CREATE VIRTUAL TABLE own USING fts5(body); CREATE VIRTUAL TABLE places USING rtree(id, x1, x2);";
    match case.server {
        None => format!("{tables} {indexes}"),
        Some(_) => tables.to_owned(),
    }
}

fn migrated(mut case: Case) -> Case {
    let first = schema(&case);
    case.project = case.project.migration("1_first.sql", &first);
    case.migrate();
    case
}

const ROWS: &str = "INSERT INTO authors VALUES (1, 'Ada'), (2, 'Bob'); \
    INSERT INTO books VALUES (10, 1, 'a quick fox'), (12, 2, 'lazy dogs');";
const INDEXED: &str =
    "INSERT INTO own VALUES ('brown fox'), ('red hen'); INSERT INTO places VALUES (1, 0.5, 2.5);";
const LOOK: &str = "SELECT * FROM authors ORDER BY 1; SELECT * FROM books ORDER BY 1;";
const FOUND: &str = "SELECT rowid FROM own('fox'); SELECT rowid FROM found('fox OR dogs') ORDER BY 1; SELECT * FROM places; \
    INSERT INTO own(own) VALUES ('integrity-check'); INSERT INTO found(found) VALUES ('integrity-check'); \
    SELECT rtreecheck('places');";

#[test]
fn they_go_into_what_migrations_made() {
    let into = Case::each("rows_alone_into");
    for (case, other) in Case::each("rows_alone").into_iter().zip(into) {
        let (history, settings) = match case.server {
            None => ("history of it", "table-name = '\"history of it\"'"),
            Some(_) => (
                "history",
                "table-name = 'ops.history'\ncreate-schemas = ['ops']",
            ),
        };
        for case in [&case, &other] {
            case.project
                .write("sqlx.toml", format!("[migrate]\n{settings}\n"));
        }
        let (case, other) = (migrated(case), migrated(other));
        case.query(ROWS);
        if case.server.is_none() {
            case.query(INDEXED);
        }
        let data = taken(&case, &["--data-only"]);
        assert!(rows(&data).contains(&("books".into(), 2)));
        assert!(
            rows(&data).iter().all(|(name, _)| name != history),
            "{data:#}"
        );
        let output = drilled(&case, id(&data)).expect_code(3);
        if !by_hint(&case, &output, INTO, &other) {
            return;
        }
        assert_eq!(other.query(LOOK), case.query(LOOK));
        if case.server.is_none() {
            assert_eq!(other.query(FOUND), case.query(FOUND));
        }
        let status = other.project.json(["db", "status"]);
        assert_eq!(status["pending"], serde_json::json!([]));

        // Who names it means it.
        let named = taken(
            &case,
            &["--data-only", "--table", &format!("*.\"{history}\"")],
        );
        assert_eq!(rows(&named), [(history.to_owned(), 1)]);
    }
}

/// `pg_dump` says so where nobody reads it.
#[test]
fn keys_in_a_circle_are_named_and_go_in_as_the_hint_says() {
    let Some(case) = Case::postgres("rows_circle") else {
        return;
    };
    case.query(
        "CREATE TABLE alone (id int PRIMARY KEY, up int REFERENCES alone); INSERT INTO alone VALUES (1, 2), (2, NULL);",
    );
    let quiet = case
        .project
        .run(["db", "backup", "--data-only"])
        .expect_code(0);
    assert!(!quiet.stderr.contains("circle"), "{quiet}");
    case.query(
        "CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a); \
         ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; CREATE TABLE c (a int REFERENCES a); \
         INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1; INSERT INTO c VALUES (1);",
    );
    let schema = taken(&case, &["--schema-only"]);
    let circles: [(&[&str], &str, &str); 3] = [
        (
            &[],
            "pg_restore --data-only",
            "pg_restore --disable-triggers --data-only",
        ),
        (
            &["--jobs", "2"],
            "pg_restore --data-only",
            "pg_restore --disable-triggers --data-only",
        ),
        (
            &["--format", "plain"],
            " psql ",
            " PGOPTIONS='-c session_replication_role=replica' psql ",
        ),
    ];
    for (i, (flags, command, instead)) in circles.into_iter().enumerate() {
        let arguments = [&["db", "backup", "--data-only", "--json"], flags].concat();
        let output = case.project.run(arguments).expect_code(0);
        says(
            &output,
            &[
                "keys of `public.a`, `public.b` lead in a circle",
                "as a superuser",
            ],
        );
        let data = &output.json()["backup"];
        let mut output = drilled(&case, id(data)).expect_code(3);
        says(
            &output,
            &["where foreign keys lead in a circle, as a superuser with"],
        );
        output.stderr = output.stderr.replacen(command, instead, 1);
        let (url, other) = elsewhere(&case, &format!("circle {i}"));
        restored_into(&case, id(&schema), &url);
        if by_hint(&case, &output, INTO, &other) {
            let look =
                "SELECT * FROM a; SELECT * FROM b; SELECT * FROM c; SELECT count(*) FROM alone;";
            assert_eq!(other.query(look), ["1|1", "1|1", "1", "2"], "{flags:?}");
        }
    }
}
