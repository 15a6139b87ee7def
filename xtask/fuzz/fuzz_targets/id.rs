//! Ids, labels and digests: a plain name that comes back as it was, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask_db::parsers::{BackupId, Label, Sha256};

fuzz_target!(|text: &str| {
    let is_plain = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain)
    };
    if let Ok(id) = text.parse::<BackupId>() {
        assert!(is_plain(text) && text.len() <= 128);
        assert_eq!(id.to_string(), text);
        assert_eq!(id.time().bytes().filter(u8::is_ascii_digit).count(), 14);
        let _ = id.is_safety();
    }
    match text.parse::<Label>() {
        Ok(label) => {
            assert!(is_plain(text) && text.len() <= 64);
            assert_eq!(label.as_str(), text);
        }
        Err(_) => assert!(!is_plain(text) || text.len() > 64),
    }
    if let Some(nearest) = Label::nearest(text) {
        assert_eq!(nearest.as_str().parse::<Label>().as_ref(), Ok(&nearest));
    }
    if let Ok(digest) = text.parse::<Sha256>() {
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
    }
});
