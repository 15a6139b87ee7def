//! Where statements begin and end is not for us to say: SQLite and PostgreSQL are asked.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use proptest::prelude::*;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use sqlx::{AssertSqlSafe, Connection, Either, PgConnection};
use xtask_db::parsers::EngineKind::{Postgresql, Sqlite};
use xtask_db::parsers::ReachKind::{Outside, OwnTransaction, Unknown};

use super::found;
use crate::cluster::Cluster;
use crate::parsers::{holds, mutated};

/// Text with all that begins or ends something, in pairs and alone.
fn odd() -> impl Strategy<Value = String> {
    let pieces = [
        "'", "\"", "`", "[", "]", "--", "/*", "*/", "\n", "\r", "\\", "$", "$$", "$a$", ";",
        "COMMIT", "END", "BEGIN", "(", ")", "x", "é", " ", "E'", "U&'", "CASE", "+-", "@-- ", "1",
        ".", "n'",
    ];
    let piece = proptest::sample::select(pieces.to_vec());
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// What may stand between two tokens.
fn white(nests: bool) -> impl Strategy<Value = String> {
    let whole = move |text: String| {
        let flat = text.replace(['/', '*'], "-");
        format!("/*{flat}{}*/", if nests { "/*'*/" } else { "/*'" })
    };
    prop_oneof![
        3 => Just(" ".to_owned()),
        1 => Just("\n\t".to_owned()),
        1 => odd().prop_map(|text| format!("--{}\n", text.replace(['\n', '\r'], ""))),
        1 => odd().prop_map(whole),
    ]
}

/// Statements with white space between their words, in a row. One in four files is then damaged, and says so.
fn file(
    statement: BoxedStrategy<Vec<String>>,
    nests: bool,
) -> impl Strategy<Value = (String, bool)> {
    let words = statement.prop_flat_map(move |words| {
        let spaces = proptest::collection::vec(white(nests), words.len());
        (Just(words), spaces)
    });
    let written = words.prop_map(|(words, spaces)| {
        let pairs = words.iter().zip(&spaces);
        pairs
            .map(|(word, space)| format!("{space}{word}"))
            .collect::<String>()
    });
    let whole = proptest::collection::vec(written, 0..6)
        .prop_map(|all| all.join(";"))
        .boxed();
    let damaged = mutated(whole.clone()).prop_map(|sql| sql.replace('\0', ""));
    prop_oneof![3 => (whole, Just(false)), 1 => (damaged, Just(true))]
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn sqlite_statement() -> BoxedStrategy<Vec<String>> {
    let plain = [
        "BEGIN",
        "COMMIT",
        "END TRANSACTION",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s",
        "ATTACH ':memory:' AS y",
        "DETACH y",
        "PRAGMA user_version",
        "",
        "VACUUM",
        "CREATE TRIGGER t AFTER INSERT ON a WHEN CASE 1 WHEN 1 THEN 1 END BEGIN SELECT 1 ; DELETE FROM a ; END",
        "CREATE TEMP TRIGGER t DELETE ON a BEGIN UPDATE a SET x = CASE WHEN 1 THEN 2 END ; END",
        "CREATE TABLE trigger ( x )",
        "SELECT CASE x WHEN 1 THEN 2 ELSE 3 END FROM a",
    ];
    let quoted = odd().prop_flat_map(|text| {
        let doubled = |quote: &str| text.replace(quote, &quote.repeat(2));
        let all = [
            format!("'{}'", doubled("'")),
            format!("1 AS \"{}\"", doubled("\"")),
            format!("1 AS `{}`", doubled("`")),
            format!("1 AS [{}]", text.replace(']', "")),
            "$a$b".to_owned(),
        ];
        proptest::sample::select(all.to_vec())
    });
    let quoted = quoted.prop_map(|quoted| vec!["SELECT".to_owned(), quoted]);
    let plain = proptest::sample::select(plain.to_vec()).prop_map(words);
    prop_oneof![1 => plain, 1 => quoted].boxed()
}

/// Everything that SQLite prepares, in the order in which it does; as far as it gets.
fn asked_sqlite(sql: &str) -> (usize, usize, bool) {
    let connection = rusqlite::Connection::open_in_memory().expect("open a database");
    connection
        .execute_batch("CREATE TABLE a (x)")
        .expect("create a table");
    let seen = Arc::new(Mutex::new((0, 0)));
    let count = Arc::clone(&seen);
    let look = move |context: AuthContext<'_>| {
        let mut seen = count.lock().expect("one thread");
        match context.action {
            AuthAction::Transaction { .. } => seen.0 += 1,
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => seen.1 += 1,
            _ => {}
        }
        Authorization::Allow
    };
    connection.authorizer(Some(look)).expect("look along");
    let all = rusqlite::Batch::new(&connection, sql).count();
    let seen = *seen.lock().expect("one thread");
    (seen.0, seen.1, all.is_ok())
}

#[test]
fn sqlite_sees_the_same_statements() {
    let whole = Cell::new(0);
    holds(file(sqlite_statement(), false), |(sql, _)| {
        let (transactions, attached, is_whole) = asked_sqlite(&sql);
        let reaches = found(&sql, Sqlite);
        let count = |kind| reaches.iter().filter(|reach| reach.kind == kind).count();
        let ours = (count(OwnTransaction), count(Outside));
        if is_whole {
            whole.set(whole.get() + 1);
            prop_assert_eq!(
                (ours, count(Unknown)),
                ((transactions, attached), 0),
                "{}",
                sql
            );
        } else {
            // It stops at the first mistake, and we do not.
            prop_assert!(ours.0 >= transactions && ours.1 >= attached, "{}", sql);
        }
        Ok(())
    });
    assert!(whole.get() > 0, "SQLite took none of them");
}

/// Each of them is one statement, and one finding.
fn postgres_statement() -> BoxedStrategy<Vec<String>> {
    let plain = [
        "NOTIFY x",
        "DO $$ BEGIN PERFORM pg_notify('x', ';'); END $$",
        "CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS void BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END ; \
         SELECT 1 AS end , 2 AS case ; SELECT pg_notify ( 'x' , ';' ) ; END",
        "CREATE OR REPLACE RULE r AS ON INSERT TO a DO ALSO ( NOTIFY x ; SELECT 1 )",
        "SELECT 1 + - CASE WHEN true THEN 1 END , pg_notify ( 'x' , $a$;$a$ )",
        "CREATE OR REPLACE FUNCTION pg_temp.g() RETURNS void LANGUAGE plpgsql AS 'BEGIN NOTIFY x; END'",
    ];
    let quoted = odd().prop_flat_map(|text| {
        let doubled = text.replace('\'', "''");
        let all = [
            format!("NOTIFY x, '{doubled}'"),
            format!("NOTIFY x, E'{}'", doubled.replace('\\', "\\\\")),
            format!("NOTIFY x, E'\\'{}\\''", doubled.replace('\\', "\\'")),
            format!("NOTIFY x, 'a'\n'{doubled}'"),
            format!("NOTIFY x, U&'{}'", doubled.replace('\\', "\\\\")),
            format!("NOTIFY x, $zz${text}$zz$"),
            format!("NOTIFY x, $${}$$", text.replace('$', "")),
            format!("NOTIFY \"x{}\"", text.replace('"', "\"\"")),
            format!(
                "NOTIFY U&\"x{}\"",
                text.replace('"', "\"\"").replace('\\', "\\\\")
            ),
        ];
        proptest::sample::select(all.to_vec())
    });
    let plain = proptest::sample::select(plain.to_vec()).prop_map(words);
    prop_oneof![1 => plain, 2 => quoted.prop_map(|quoted| vec![quoted])].boxed()
}

#[test]
fn postgres_sees_the_same_statements() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("reaches_asked");
    database.psql("CREATE TABLE a (x INT)");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let connected = runtime.block_on(PgConnection::connect(&database.url()));
    let session = std::cell::RefCell::new(connected.expect("connect"));
    let whole = Cell::new(0);
    holds(file(postgres_statement(), true), |(sql, is_damaged)| {
        let mut session = session.borrow_mut();
        let answers = runtime.block_on(async {
            let answers = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_many(&mut *session);
            answers.try_collect::<Vec<_>>().await
        });
        let Ok(answers) = answers else {
            // What it does not take, it does no part of.
            return Ok(());
        };
        whole.set(whole.get() + 1);
        let done = answers
            .iter()
            .filter(|answer| matches!(answer, Either::Left(_)))
            .count();
        let reaches = found(&sql, Postgresql);
        let unknown = reaches.iter().filter(|reach| reach.kind == Unknown).count();
        // What is damaged may have lost what there was to find.
        let is_right = if is_damaged {
            reaches.len() <= done
        } else {
            reaches.len() == done
        };
        prop_assert!(is_right && unknown == 0, "{done} in {sql}: {reaches:?}");
        Ok(())
    });
    assert!(whole.get() > 0, "PostgreSQL took none of them");
}
