//! Names of what may be lost, in a list and in the comments of a migration.

use proptest::prelude::*;
use xtask_db::parsers::EngineKind::{self, Postgresql, Sqlite};
use xtask_db::parsers::{LossName, expected_losses};

use super::reaches::migration;
use super::{any_text, holds, mutated};

fn names(list: &str) -> Result<Vec<String>, String> {
    let names = LossName::parse_list(list).map_err(|bad| bad.to_string())?;
    Ok(names.iter().map(LossName::to_string).collect())
}

fn name(name: &str) -> LossName {
    name.parse().unwrap_or_else(|bad| panic!("{name}: {bad}"))
}

#[test]
fn names_are_read_as_sql_reads_them() {
    for (list, expected) in [
        ("books", &["books"][..]),
        (" Books ,users . Phone", &["books", "users.phone"]),
        (
            "shop.books.title,a$1,_b,größe",
            &["shop.books.title", "a$1", "_b", "größe"],
        ),
        ("\"Books\".\"a.b, c\"", &["\"Books\".\"a.b, c\""]),
        ("\"it\"\"s\".x, \"plain\"", &["\"it\"\"s\".x", "plain"]),
    ] {
        assert_eq!(names(list), Ok(owned(expected)), "{list}");
    }
    for bad in [
        "",
        " ",
        "books,",
        ",books",
        "a..b",
        "a.b.c.d",
        ".a",
        "a.",
        "1a",
        "a b",
        "a-b",
        "\"a",
        "a\"",
        "\"\"",
        "\"a\"b",
        "\"a\"\"",
        "a;",
        "*",
        "'a'",
        "books users",
        "a\u{a0}b",
    ] {
        assert!(names(bad).is_err(), "{bad}");
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_name_means_what_it_says_and_no_more() {
    let table = |text: &str, engine, schema: &str, table: &str| {
        name(text).matches_table(engine, schema, table)
    };
    assert!(table("books", Postgresql, "public", "books"));
    assert!(table("BOOKS", Postgresql, "public", "books"));
    assert!(table("public.books", Postgresql, "public", "books"));
    assert!(table("\"Books\"", Postgresql, "public", "Books"));
    assert!(table("shop.books", Postgresql, "shop", "books"));
    assert!(table("books", Sqlite, "main", "Books"));
    assert!(table("\"bOOks\"", Sqlite, "main", "Books"));
    for (text, engine, schema, named) in [
        ("books", Postgresql, "public", "Books"),
        ("\"Books\"", Postgresql, "public", "books"),
        ("books", Postgresql, "shop", "books"),
        ("books", Postgresql, "main", "books"),
        ("books", Sqlite, "temp", "books"),
        ("books.title", Postgresql, "public", "books"),
        ("public.books.title", Postgresql, "public", "books"),
        ("\"public.books\"", Postgresql, "public", "books"),
    ] {
        assert!(!table(text, engine, schema, named), "{text}");
    }
    let column = |text: &str, engine: EngineKind, schema: &str| {
        name(text).matches_column(engine, schema, "books", "title")
    };
    for all_of_it in ["books.title", "public.books.title", "books", "public.books"] {
        assert!(column(all_of_it, Postgresql, "public"), "{all_of_it}");
    }
    for other in [
        "title",
        "books.pages",
        "shop.books.title",
        "shop.books",
        "books.title.x",
    ] {
        assert!(!column(other, Postgresql, "public"), "{other}");
    }
    assert!(column("shop.books.title", Postgresql, "shop"));
    assert!(!column("books.title", Postgresql, "shop"));
    assert!(column("Books.TITLE", Sqlite, "main"));
}

#[test]
fn only_real_comments_are_directives() {
    let read = |sql: &str, engine| {
        let sql = migration(sql);
        let read = expected_losses(&sql, engine).map_err(|failure| failure.to_string())?;
        Ok::<_, String>(read.iter().map(LossName::to_string).collect::<Vec<_>>())
    };
    let sql = "-- expect-loss: books\r\nDROP TABLE books; --expect-loss:users.phone , a\n\
               SELECT '\n-- expect-loss: no\n', \"-- expect-loss: no\";\n/* -- expect-loss: no\n*/\n\
               -- expect-lossy: no\n-- we expect-loss: no\n-- EXPECT-LOSS: no\n  --  expect-loss : \"B c\"";
    for engine in [Postgresql, Sqlite] {
        let expected = ["books", "users.phone", "a", "\"B c\""];
        assert_eq!(read(sql, engine), Ok(owned(&expected)));
    }
    let body = "DO $$\n-- expect-loss: no\nBEGIN END $$;";
    assert_eq!(read(body, Postgresql), Ok(vec![]));
    for (bad, why) in [
        (
            "\n\n-- expect-loss: books, users phone",
            "migration 7 line 3: `users phone` is no name",
        ),
        (
            "SELECT 1; -- expect-loss:",
            "migration 7 line 1: `` is no name",
        ),
        (
            "SELECT '\n';\n-- expect-loss books",
            "migration 7 line 3: `expect-loss` without a colon",
        ),
        (
            "-- expect-loss",
            "migration 7 line 1: `expect-loss` without a colon",
        ),
    ] {
        let refused = read(bad, Postgresql).expect_err(bad);
        assert!(refused.starts_with(why), "{refused}");
    }
}

#[test]
fn a_name_that_is_read_is_written_the_same() {
    let likely = r#"("[A-Za-z., ]{1,6}"|[a-z_é][a-z0-9$]{0,5})(\.("[^"]{1,6}"|[a-z]{1,5})){0,3}"#;
    let text = prop_oneof![any_text(), mutated(likely)];
    holds(text, |text| {
        if let Ok(name) = text.parse::<LossName>() {
            let written = name.to_string();
            let again: Result<LossName, _> = written.parse();
            prop_assert_eq!(again, Ok(name.clone()), "{}", written);
            prop_assert_eq!(LossName::parse_list(&written), Ok(vec![name]));
        }
        Ok(())
    });
}
