//! Beside sqlx's own migrator, which is what sqlx-cli and applications run: one history, whoever
//! writes it.

mod files;
mod odd;
mod refused;

use std::path::PathBuf;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::cluster::Database;
use crate::setup::{Case, versions};

pub const FILES: &[(&str, &str)] = &[
    (
        "1_authors.sql",
        "CREATE TABLE authors (id BIGINT NOT NULL PRIMARY KEY, name TEXT);",
    ),
    (
        "2_first_author.sql",
        "INSERT INTO authors VALUES (1, 'Ada');",
    ),
    (
        "10_books and more.sql",
        "-- Two statements; and a comment; with semicolons.\n\
         CREATE TABLE books (id BIGINT NOT NULL PRIMARY KEY, title TEXT DEFAULT 'a;b');\n\
         INSERT INTO books (id) VALUES (7);",
    ),
];

fn write(case: &Case, files: &[(&str, &str)]) {
    for (file, sql) in files {
        case.project.write(format!("migrations/{file}"), sql);
    }
}

fn folder(case: &Case) -> PathBuf {
    case.project.path().join("migrations")
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

pub async fn connect(database: &Database) -> PgConnection {
    let connected = PgConnection::connect(&database.url_tcp()).await;
    connected.expect("connect as sqlx does")
}

/// What `sqlx migrate run` does, and with `undo_to` what `sqlx migrate revert` does.
fn sqlx_with(
    case: &Case,
    undo_to: Option<i64>,
    set: impl Fn(&mut Migrator),
) -> Result<(), MigrateError> {
    runtime().block_on(async {
        let mut migrator = Migrator::new(folder(case)).await?;
        set(&mut migrator);
        match (&case.server, undo_to) {
            (None, undo_to) => {
                let options = SqliteConnectOptions::new().filename(case.project.sqlite_path());
                let mut connection = options.create_if_missing(true).connect().await?;
                match undo_to {
                    None => migrator.run(&mut connection).await?,
                    Some(version) => migrator.undo(&mut connection, version).await?,
                }
                Ok(connection.close().await?)
            }
            (Some(database), None) => migrator.run(&mut connect(database).await).await,
            (Some(database), Some(version)) => {
                migrator.undo(&mut connect(database).await, version).await
            }
        }
    })
}

#[track_caller]
fn sqlx(case: &Case) {
    sqlx_with(case, None, |_| ()).expect("sqlx migrates");
}

/// sqlx's table but for times: version, description, success, checksum, in the order of running.
fn history(case: &Case) -> Vec<String> {
    let checksum = match case.server {
        None => "lower(hex(checksum))",
        Some(_) => "encode(checksum, 'hex')",
    };
    case.query(&format!(
        "SELECT version, description, CASE WHEN success THEN 'ok' ELSE 'dirty' END, {checksum},
                execution_time >= 0 FROM _sqlx_migrations ORDER BY installed_on, version;"
    ))
}

/// A fresh case beside each engine's, which sqlx alone migrates.
fn pairs(name: &str) -> impl Iterator<Item = (Case, Case)> {
    Case::each(name).into_iter().zip(Case::each("by_sqlx"))
}

#[test]
fn the_tool_goes_on_where_sqlx_stopped() {
    for (ours, theirs) in pairs("goes_on") {
        write(&ours, &FILES[..2]);
        sqlx(&ours);
        write(&ours, FILES);
        assert_eq!(versions(&ours.migrate()["applied"]), [10]);
        write(&theirs, FILES);
        sqlx(&theirs);
        let mut histories = [history(&ours), history(&theirs)];
        histories.iter_mut().for_each(|lines| lines.sort());
        assert_eq!(histories[0], histories[1]);
        assert_eq!(ours.query("SELECT title FROM books;"), ["a;b"]);
    }
}

#[test]
fn sqlx_goes_on_where_the_tool_stopped() {
    for (ours, theirs) in pairs("hands_over") {
        write(&ours, &FILES[..2]);
        assert_eq!(versions(&ours.migrate()["applied"]), [1, 2]);
        write(&ours, FILES);
        sqlx(&ours);
        let status = ours.project.json(["db", "status"]);
        assert_eq!(versions(&status["applied"]), [1, 2, 10]);
        assert_eq!(versions(&status["pending"]), [0; 0]);
        write(&theirs, FILES);
        sqlx(&theirs);
        let mut histories = [history(&ours), history(&theirs)];
        histories.iter_mut().for_each(|lines| lines.sort());
        assert_eq!(histories[0], histories[1]);
        // And has no reason to complain of what the tool wrote.
        sqlx(&ours);
    }
}

/// The same table, column by column, so that neither has anything to alter.
#[test]
fn the_bookkeeping_table_is_the_same() {
    for (ours, theirs) in pairs("table") {
        let shape = |case: &Case| {
            case.query(match case.server {
                None => "SELECT sql FROM sqlite_schema WHERE name = '_sqlx_migrations';",
                Some(_) => {
                    "SELECT column_name, data_type, is_nullable, column_default
                     FROM information_schema.columns WHERE table_name = '_sqlx_migrations'
                     ORDER BY ordinal_position;"
                }
            })
        };
        for case in [&ours, &theirs] {
            write(case, FILES);
        }
        ours.migrate();
        sqlx(&theirs);
        assert_eq!(shape(&ours), shape(&theirs));
        assert!(!shape(&ours).is_empty());
    }
}

/// A restore takes the history back too: sqlx then sees the same pending migrations as the tool.
#[test]
fn sqlx_migrates_again_after_a_restore() {
    for case in Case::each("again") {
        write(&case, &FILES[..1]);
        sqlx(&case);
        write(&case, FILES);
        case.migrate();
        case.restore("latest");
        sqlx(&case);
        assert_eq!(case.query("SELECT name FROM authors;"), ["Ada"]);
        let status = case.project.json(["db", "status"]);
        assert_eq!(versions(&status["applied"]), [1, 2, 10]);
    }
}
