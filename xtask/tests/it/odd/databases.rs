//! Databases with odd names: every verb works on the right one, and nothing else happens.

use serde_json::Value;

use super::{NAMES, assert_nothing_ran};
use crate::cluster::{Cluster, Database, PASSWORD};
use crate::project::{Project, sqlite_rows};
use crate::setup::{Case, says, text};

const CREATE: &str = "CREATE TABLE kept (id INTEGER NOT NULL PRIMARY KEY, name TEXT);
    INSERT INTO kept VALUES (1, 'one'), (2, 'two');";
const CHANGE: &str = "UPDATE kept SET name = 'other'; DELETE FROM kept WHERE id = 1;
    CREATE TABLE late (id INTEGER);";
const ROWS: &str = "SELECT id, name FROM kept ORDER BY id;";

/// Backup, change, restore: the rows are back, and every verb that looks knows the database.
#[track_caller]
fn comes_back(project: &Project, name: &str, query: impl Fn(&str) -> Vec<String>) -> Value {
    query(CREATE);
    let taken = project.json(["db", "backup"]);
    assert_eq!(text(&taken, "/backup/database/name"), name);
    query(CHANGE);
    let restored = project.json(["db", "restore", "latest", "--yes"]);
    assert_eq!(query(ROWS), ["1|one", "2|two"], "{name:?}");
    let status = project.json(["db", "status"]);
    assert_eq!(
        status["tables"].as_array().map(Vec::len),
        Some(1),
        "{name:?}"
    );
    assert_eq!(status["latest"]["id"], taken["backup"]["id"], "{name:?}");
    let listed = project.run(["db", "list"]).expect_code(0);
    assert_eq!(
        listed.stdout.lines().count(),
        3,
        "a line for each backup\n{listed}"
    );
    project.run(["db", "verify", "--all"]).expect_code(0);
    assert_nothing_ran(&project.path());
    restored
}

/// A database of exactly this name.
fn create(cluster: &'static Cluster, name: &str) -> Case {
    let quoted = name.replace('"', "\"\"");
    let create = format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0;");
    cluster.database("postgres").psql(&create);
    Case::of(cluster.database(name))
}

fn names(cluster: &'static Cluster) -> Vec<String> {
    let names = "SELECT datname FROM pg_database;";
    let all = cluster.database("postgres").psql(names);
    all.lines().map(str::to_owned).collect()
}

#[test]
fn a_sqlite_file_of_any_name() {
    for name in NAMES {
        let file = format!("{name}.db");
        let project = Project::new();
        let path = project.path().join(&file);
        let encoded: String = file.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let project = project.database_url(&format!("sqlite:{encoded}"));
        rusqlite::Connection::open(&path).expect("make the file");
        let query = |sql: &str| {
            let connection = rusqlite::Connection::open(&path).expect("open the file");
            sqlite_rows(&connection, sql).unwrap_or_else(|error| panic!("{error} in {sql}"))
        };
        comes_back(&project, &file, query);
        // sqlx opens the same file as the rest.
        project.write(
            "migrations/1_more.sql",
            "INSERT INTO kept VALUES (3, 'three');",
        );
        project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
        assert_eq!(query(ROWS).len(), 3, "{name:?}");
        let beside = std::fs::read_dir(project.path())
            .expect("list the project")
            .count();
        assert_eq!(
            beside, 3,
            "migrations, database, the file of {name:?}, and nothing else"
        );
    }
}

/// A few at a time in one name: a server's database takes its time.
#[test]
fn a_server_database_of_any_name() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    for some in NAMES.chunks(3) {
        let name = some.concat();
        let name = name.trim_start_matches(|c: char| c.is_control());
        let case = create(cluster, name);
        let restored = comes_back(&case.project, name, |sql| case.query(sql));
        let start: String = name.chars().take(5).collect();
        assert!(text(&restored, "/kept_database").starts_with(&start));
    }
}

/// The name of the database that is built beside, and of the one that is kept, is cut between two
/// letters and before its ending: PostgreSQL would cut the ending, and without a word.
#[test]
fn a_server_database_with_the_longest_name() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let of_two_bytes = format!("x{}", "é".repeat(31));
    let of_four_bytes = format!("{}abc", "😀".repeat(15));
    for name in ["l".repeat(63), of_two_bytes, of_four_bytes] {
        assert_eq!(name.len(), 63);
        let case = create(cluster, &name);
        let restored = comes_back(&case.project, &name, |sql| case.query(sql));
        let kept = text(&restored, "/kept_database");
        let (start, time) = kept.split_once("_before_").expect("a whole ending");
        assert!(name.starts_with(start) && start.len() > 36, "{kept}");
        assert_eq!((time.len(), kept.len() <= 63), (14, true), "{kept}");
        let all = names(cluster);
        assert!(all.iter().any(|found| found == kept), "{kept} in {all:?}");
        let left = all
            .iter()
            .find(|found| found.starts_with(&format!("{start}_restore_")));
        assert_eq!(left, None);
    }
}

/// Longer than any name: the server cuts what it is asked for, and the tool goes by what it answers.
#[test]
fn a_url_with_a_name_that_the_server_cuts() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let name = "n".repeat(63);
    let case = create(cluster, &name);
    let longer = cluster.database(&"n".repeat(70));
    let project = Project::new().database_url(&longer.url());
    if project.run(["db", "status"]).code != 0 {
        // Newer servers refuse such a name.
        return;
    }
    comes_back(&project, &name, |sql| case.query(sql));
}

/// Where one transaction does it all, `psql` gets the names and the role as well.
#[test]
fn a_role_of_any_name_restores_in_place() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    // Without line breaks and emoji: SASLprep, which sqlx does for SCRAM, knows no such names.
    let role = "-o \"w'n\\ér; $(touch pwned)";
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    let admin = create(cluster, "--in-place $(touch pwned)\n");
    let password = PASSWORD.replace('\'', "''");
    admin.query(&format!(
        "CREATE ROLE {quoted} LOGIN PASSWORD '{password}';
         ALTER DATABASE \"--in-place $(touch pwned)\n\" OWNER TO {quoted};"
    ));
    let database: Database = admin.server.expect("a server").as_role(role, PASSWORD);
    let case = Case::of(database);
    let restored = comes_back(&case.project, "--in-place $(touch pwned)\n", |sql| {
        case.query(sql)
    });
    assert_eq!(restored["kept_database"], Value::Null, "in place");
}

/// Behind a NUL, PostgreSQL's protocol has its next parameter, and a path its end.
#[test]
fn a_nul_in_a_url_is_wrong_usage() {
    for url in [
        "sqlite:database/app.db%00?mode=rwc",
        "postgres://host/shop%00options",
        "postgres://user%00@host/shop",
        "postgres://host/shop?host=%00",
    ] {
        let project = Project::new();
        let refused = project
            .run(["db", "backup", "--database-url", url])
            .expect_code(2);
        says(&refused, &["NUL", "\nhint: "]);
        assert!(!project.vault().exists() || project.vault_files().is_empty());
    }
}

/// What follows a `?` that was not encoded is no longer the password to any client.
#[test]
fn a_question_mark_in_a_password_does_not_show_its_start() {
    for url in [
        "postgres://app:4711?x=SECRET@host/shop",
        "postgres://app:SECRET:?SECRET@host/shop",
    ] {
        let refused = Project::new()
            .run(["db", "status", "--database-url", url])
            .expect_code(2);
        for part in ["4711", "SECRET"] {
            assert!(!refused.stderr.contains(part), "{refused}");
        }
    }
}
