//! Any text: no panic, no findings in what is only a string or a comment, and in a time that grows with its length.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use xtask_db::parsers::EngineKind::{self, Postgresql, Sqlite};
use xtask_db::parsers::{ReachKind, expected_losses};

use super::{found, migration};
use crate::parsers::{any_text, holds, mutated};

const PIECES: &[&str] = &[
    "CREATE ROLE r",
    "COMMIT",
    "BEGIN",
    "END",
    "ATTACH 'x' AS y",
    "DELETE FROM _sqlx_migrations",
    "DO $$",
    "$$",
    "EXECUTE 'x'",
    "CREATE FUNCTION f() AS",
    "BEGIN ATOMIC",
    "CASE",
    "CREATE TRIGGER t",
    "GRANT a TO b",
    "COPY t TO",
    "LANGUAGE sql",
    "'",
    "\"",
    "`",
    "[",
    "]",
    "(",
    ")",
    ";",
    "--",
    "/*",
    "*/",
    "\n",
    "E'",
    "\\",
    "$a$",
    "U&\"",
    ".",
    ",",
    "-- expect-loss: a",
    "pg_notify(",
    "EXPLAIN",
    "CREATE SCHEMA",
    "\u{feff}",
    "é",
];

fn sql() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(PIECES);
    let pieces = proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.join(" "));
    prop_oneof![any_text(), mutated(pieces)]
}

fn engines() -> impl Strategy<Value = EngineKind> {
    prop_oneof![Just(Postgresql), Just(Sqlite)]
}

#[test]
fn no_text_is_too_odd() {
    holds((sql(), engines()), |(sql, engine)| {
        let lines = sql.matches('\n').count() + 1;
        for reach in found(&sql, engine) {
            prop_assert!((1..=lines).contains(&reach.line), "{reach:?}");
            prop_assert!(
                !reach.what.contains('\n') && !reach.what.is_empty(),
                "{reach:?}"
            );
        }
        drop(expected_losses(&migration(&sql), engine));
        Ok(())
    });
}

/// A name may be anything too, and is not looked into.
#[test]
fn what_is_in_quotes_or_comments_is_nothing() {
    holds((sql(), engines()), |(sql, engine)| {
        let quoted = sql.replace('\'', "''");
        let mut inert = vec![
            format!("SELECT '{quoted}' AS x"),
            format!("SELECT \"{}\" FROM t", sql.replace('"', "\"\"")),
            format!("-- {}\nSELECT 1", sql.replace(['\n', '\r'], " ")),
            format!("/*{}*/ SELECT 1", sql.replace(['*', '/'], " ")),
        ];
        if engine == Postgresql {
            inert.push(format!("SELECT $zz${}$zz$", sql.replace("$zz$", "")));
            inert.push(format!("SELECT E'{}'", quoted.replace('\\', "\\\\")));
        } else {
            inert.push(format!("SELECT [{}]", sql.replace(']', "")));
        }
        for inert in inert {
            prop_assert_eq!(found(&inert, engine), [], "{}", inert);
        }
        Ok(())
    });
}

/// Whatever stands before it as whole statements, the next one is found.
#[test]
fn what_follows_a_whole_statement_is_found() {
    holds(sql(), |sql| {
        let before = format!(
            "SELECT '{}';\nSELECT $y${}$y$",
            sql.replace('\'', "''"),
            sql.replace("$y$", "")
        );
        let found = found(&format!("{before};\nCREATE ROLE r"), Postgresql);
        let kinds: Vec<ReachKind> = found.iter().map(|reach| reach.kind).collect();
        prop_assert_eq!(kinds, [ReachKind::Server]);
        Ok(())
    });
}

/// Files of one thing, over and over.
fn long_files() -> Vec<(&'static str, String)> {
    let rows = "(1, 'it''s a row; of words', 3.5, NULL),\n";
    let whole = |beginning: &str, repeated: &str, end: &str| {
        // What people have; of the rest, enough to see what grows faster than the file.
        let len = if repeated.contains("row") || repeated.contains("INSERT") {
            10_000_000
        } else {
            300_000
        };
        format!("{beginning}{}{end}", repeated.repeat(len / repeated.len()))
    };
    vec![
        (
            "rows",
            whole("INSERT INTO t VALUES ", rows, "(2, '', 1, NULL); COMMIT"),
        ),
        (
            "statements",
            whole("", "INSERT INTO t (a, b) VALUES (1, 'x');\n", "COMMIT"),
        ),
        (
            "one string",
            whole("SELECT '", "CREATE ROLE r; ''", "'; COMMIT"),
        ),
        (
            "a body",
            whole("DO $$ BEGIN ", "UPDATE t SET a = 1;\n", "END $$; COMMIT"),
        ),
        (
            "executed",
            whole(
                "DO $$ BEGIN ",
                "EXECUTE 'DROP INDEX x';\n",
                "END $$; COMMIT",
            ),
        ),
        ("parentheses", whole("SELECT ", "(", "; COMMIT")),
        ("dollars", whole("SELECT ", "$a ", "; COMMIT")),
        (
            "keywords",
            whole("CREATE SCHEMA s ", "CREATE TABLE t (a int) ", "; COMMIT"),
        ),
        (
            "heads",
            whole("DO $$ BEGIN ", "THEN COPY ", "; END $$; COMMIT"),
        ),
        (
            "executes",
            whole("DO $$ BEGIN ", "EXECUTE 'x' ", "; END $$; COMMIT"),
        ),
        (
            "grants",
            whole("CREATE SCHEMA s ", "GRANT ON ", "TO x; COMMIT"),
        ),
        ("explained", whole("", "EXPLAIN ", "; COMMIT")),
        ("schemas", whole("", "CREATE SCHEMA ", "; COMMIT")),
        (
            "blocks",
            whole("DO $$ BEGIN ", "THEN DO ", "'x'; END $$; COMMIT"),
        ),
        ("lists", whole("", "TRUNCATE, ", "; COMMIT")),
        ("copies", whole("SELECT ", "copy ", "; COMMIT")),
        ("findings", whole("", "COMMIT;\n", "COMMIT")),
    ]
}

#[test]
fn ten_megabytes_are_read_in_a_moment() {
    for (name, sql) in long_files() {
        for engine in [Postgresql, Sqlite] {
            let begun = Instant::now();
            let found = found(&sql, engine);
            let took = begun.elapsed();
            assert!(!found.is_empty(), "{name}");
            eprintln!("{name} {engine}: {took:?}");
            // Generous, because the machine has other work; a second look at all before would take hours.
            assert!(
                took < Duration::from_secs(60),
                "{name} on {engine}: {took:?}"
            );
        }
    }
}
