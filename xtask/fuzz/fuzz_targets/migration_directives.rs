//! Migration files: to the tool what they are to sqlx, directive, text and checksum.

#![no_main]

use std::cell::RefCell;
use std::fs;

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha384};
use sqlx::migrate::{ResolveConfig, resolve_blocking_with_config};
use xtask_db::parsers::{Source, read_migrations};

thread_local! {
    /// One folder for all runs: to make one takes longer than to read it.
    static FOLDER: RefCell<tempfile::TempDir> =
        RefCell::new(tempfile::tempdir().expect("create a folder"));
}

fuzz_target!(|input: (Vec<u8>, bool)| {
    let (bytes, ignoring) = input;
    FOLDER.with_borrow(|folder| {
        fs::write(folder.path().join("7_any.sql"), &bytes).expect("write a migration");
        let ignored_chars = if ignoring {
            vec!['\r', '\n', ' ', '\t', '\u{feff}']
        } else {
            vec![]
        };
        let mut config = ResolveConfig::new();
        config.ignore_chars(ignored_chars.iter().copied());
        let source = Source {
            folder: folder.path().to_owned(),
            ignored_chars,
        };
        let ours = read_migrations(&source);
        let theirs = resolve_blocking_with_config(folder.path(), &config);
        let Ok(text) = String::from_utf8(bytes) else {
            assert!(ours.is_err() && theirs.is_err());
            return;
        };
        if text.contains('\0') {
            assert!(ours.is_err());
            return;
        }
        let (ours, theirs) = (&ours.expect("read")[0], &theirs.expect("read")[0].0);
        let counted: String = text
            .chars()
            .filter(|c| !source.ignored_chars.contains(c))
            .collect();
        assert_eq!(ours.no_tx, text.starts_with("-- no-transaction"));
        assert_eq!(ours.checksum[..], Sha384::digest(counted)[..]);
        assert_eq!(ours.sql.as_str(), text);
        assert_eq!(
            (ours.no_tx, &ours.checksum),
            (theirs.no_tx, &theirs.checksum)
        );
    });
});
