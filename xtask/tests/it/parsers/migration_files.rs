//! A migration file is to the tool what it is to sqlx: the same text, checksum and directive.

use std::fs;

use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use sha2::{Digest, Sha384};
use sqlx::migrate::{ResolveConfig, resolve_blocking_with_config};
use xtask_db::parsers::{Migration, Source, read_migrations};

use super::{any_text, holds, mutated};

const DIRECTIVE: &str = "-- no-transaction";

/// Whole files, with the directive in its place, misspelt, or too late.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let before = prop_oneof![
        Just(""),
        Just("\u{feff}"),
        Just(" "),
        Just("\n"),
        Just("--\n")
    ];
    let directive = prop_oneof![
        Just(DIRECTIVE.to_owned()),
        mutated(Just(DIRECTIVE.to_owned())),
        Just(String::new()),
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just(""), Just("s")];
    let text = (before, directive, end, any_text())
        .prop_map(|(before, directive, end, rest)| format!("{before}{directive}{end}{rest}"));
    prop_oneof![
        4 => text.prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..60),
    ]
}

/// File names as people and other tools write them; `/` and NUL are in none.
fn names() -> impl Strategy<Value = String> {
    let known = r"(-|\+|0)?[0-9]{1,20}_[a-z _\.]{0,12}(\.up|\.down)?\.sql";
    let file = mutated(known).prop_map(|name| name.replace(['/', '\0'], "x"));
    file.prop_filter("a file name", |name| {
        !matches!(name.as_str(), "" | "." | "..") && name.len() < 250
    })
}

/// Name by name, as sqlx-core decides it.
fn of_sqlx(source: &Source) -> Result<Vec<Migration>, String> {
    let mut config = ResolveConfig::new();
    config.ignore_chars(source.ignored_chars.iter().copied());
    let found = resolve_blocking_with_config(&source.folder, &config);
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.into_iter().map(|(migration, _)| migration).collect())
}

type Seen = (i64, String, String, String, Vec<u8>, bool);

fn seen(migrations: Vec<Migration>) -> Vec<Seen> {
    let seen = |m: Migration| {
        let kind = format!("{:?}", m.migration_type);
        let sql = m.sql.as_str().to_owned();
        (
            m.version,
            m.description.into_owned(),
            kind,
            sql,
            m.checksum.into_owned(),
            m.no_tx,
        )
    };
    let mut all: Vec<Seen> = migrations.into_iter().map(seen).collect();
    // Two files of one version have no order.
    all.sort();
    all
}

fn source(ignored: &[char]) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().expect("create a folder");
    let source = Source {
        folder: folder.path().to_owned(),
        ignored_chars: ignored.to_vec(),
    };
    (folder, source)
}

#[test]
fn any_content_is_what_sqlx_makes_of_it() {
    let ignored = prop_oneof![Just(vec![]), Just(vec!['\r', '\n', ' ', '\u{feff}'])];
    holds((contents(), ignored), |(bytes, ignored)| {
        let (folder, source) = source(&ignored);
        fs::write(folder.path().join("7_any.sql"), &bytes).expect("write a migration");
        let ours = read_migrations(&source);
        let Ok(text) = String::from_utf8(bytes) else {
            prop_assert!(ours.is_err() && of_sqlx(&source).is_err());
            return Ok(());
        };
        if text.contains('\0') {
            // sqlx would never come to the end of it.
            let refused = format!("{:#}", ours.expect_err("refused"));
            prop_assert!(refused.contains("7_any.sql"), "{}", refused);
            return Ok(());
        }
        let ours = ours.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
        prop_assert_eq!(ours[0].no_tx, text.starts_with(DIRECTIVE));
        let counted: String = text.chars().filter(|c| !ignored.contains(c)).collect();
        prop_assert_eq!(&ours[0].checksum[..], &Sha384::digest(counted)[..]);
        prop_assert_eq!(ours[0].sql.as_str(), text);
        prop_assert_eq!(
            seen(ours),
            seen(of_sqlx(&source).expect("sqlx reads it too"))
        );
        Ok(())
    });
}

#[test]
fn any_file_names_are_what_sqlx_makes_of_them() {
    holds(hash_set(names(), 0..5), |names| {
        let (folder, source) = source(&[]);
        for name in &names {
            fs::write(folder.path().join(name), name).expect("write a migration");
        }
        match (read_migrations(&source), of_sqlx(&source)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(seen(ours), seen(theirs)),
            (Err(ours), Err(theirs)) => {
                let ours = format!("{ours:#}");
                prop_assert!(ours.contains(&theirs), "{} / {}", ours, theirs);
            }
            (ours, theirs) => prop_assert!(false, "{:?} / {:?}", ours, theirs),
        }
        Ok(())
    });
}
