//! Ids and labels become file names and parts of commands; digests are compared with other tools'.

use chrono::DateTime;
use proptest::prelude::*;
use xtask_db::parsers::{BackupId, Kind, Label, Only, Sha256};

use super::{any_text, holds, mutated};

const LABEL: &str = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}";
const ID: &str = "backup_20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])_([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9](_[A-Za-z0-9][A-Za-z0-9._-]{0,20})?(_[1-9][0-9]{0,2})?";

/// What a file name may be made of everywhere, and what no shell and no option parser looks at.
fn is_plain(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain)
}

#[test]
fn a_label_is_a_plain_name_or_refused() {
    holds(prop_oneof![any_text(), mutated(LABEL)], |text| {
        match text.parse::<Label>() {
            Ok(label) => {
                prop_assert!(is_plain(&text) && (1..=64).contains(&text.len()));
                prop_assert_eq!(label.as_str(), text);
            }
            Err(error) => {
                prop_assert!(
                    !(is_plain(&text) && (1..=64).contains(&text.len())),
                    "{}",
                    error
                );
            }
        }
        Ok(())
    });
}

/// What a hint offers in place of a bad label is always a good one.
#[test]
fn the_nearest_label_is_one() {
    holds(prop_oneof![any_text(), mutated(LABEL)], |text| {
        if let Some(nearest) = Label::nearest(&text) {
            prop_assert_eq!(nearest.as_str().parse::<Label>(), Ok(nearest.clone()));
        }
        Ok(())
    });
}

#[test]
fn an_id_is_a_plain_name_with_a_real_time_or_refused() {
    holds(prop_oneof![any_text(), mutated(ID)], |text| {
        if let Ok(id) = text.parse::<BackupId>() {
            prop_assert!(is_plain(&text) && text.len() <= 128, "{:?}", text);
            prop_assert_eq!(id.as_str(), &text);
            prop_assert_eq!(id.to_string().parse::<BackupId>(), Ok(id.clone()));
            // Sorts as time does, so every digit stands in its place.
            let digits = id.time().replace(['-', '_'], "");
            prop_assert_eq!(digits.len(), 14, "{:?}", text);
            prop_assert!(digits.bytes().all(|b| b.is_ascii_digit()), "{:?}", text);
        }
        Ok(())
    });
}

/// Where the words of the kind end and the label begins is seen in the id itself.
#[test]
fn the_kind_of_an_id_is_read_back() {
    let label = prop::option::of(prop_oneof![
        LABEL.boxed(),
        "(plain|partial|schema-only|data-only)(_[a-z]{1,4})?(_plain)?".boxed(),
        "[a-z]{1,4}_(plain|partial)".boxed(),
    ]);
    let kind = (0..3_usize, any::<bool>(), any::<bool>());
    holds(
        (kind, label, 1..4_u32),
        |((only, some, plain), label, attempt)| {
            let kind = Kind {
                only: [None, Some(Only::Schema), Some(Only::Data)][only],
                tables: some.then(|| "t".to_owned()).into_iter().collect(),
                plain,
                ..Kind::default()
            };
            let label = label.map(|label| Label::for_new(&label));
            let label = match label.transpose() {
                // Such a label is refused, and no id has it.
                Err(_) => return Ok(()),
                Ok(label) => label,
            };
            let at = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
            let id = BackupId::new(at, &kind, label.as_ref(), attempt);
            let read: BackupId = id.as_str().parse().expect("its own id");
            prop_assert_eq!(read.kind_words(), kind.words(), "{}", id);
            Ok(())
        },
    );
}

/// What the tool makes itself, it reads again.
#[test]
fn every_good_id_is_read() {
    holds(ID, |text| {
        prop_assert!(text.parse::<BackupId>().is_ok(), "{:?}", text);
        Ok(())
    });
}

#[test]
fn a_sha256_is_64_digits_or_refused() {
    holds(
        prop_oneof![any_text(), "[0-9a-fA-F]{60,68}", mutated("[0-9a-f]{64}")],
        |text| {
            let is_one = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            match text.parse::<Sha256>() {
                Ok(digest) => {
                    prop_assert!(is_one, "{:?}", text);
                    prop_assert_eq!(digest.to_string(), text.to_ascii_lowercase());
                }
                Err(_) => prop_assert!(!is_one, "{:?}", text),
            }
            Ok(())
        },
    );
}
