//! Public keys come from flags, files and variables; what is no whole key must not be taken for one, and
//! a secret one must not be shown. The ending of a dump's name is what a forged manifest may say.

use proptest::prelude::*;
use xtask_db::parsers::{Passphrase, Seal, keys_in, sealed_ending, split_dump_name, turn_of};

use super::{any_text, holds, mutated};
use crate::encryption::Pair;

const SSH: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKOvGM4aZ7Yo8o4kdcEhceVJVr/YQCWFgvhzrBIqH7sH";

fn keys() -> impl Strategy<Value = String> {
    let age = prop::sample::select((0..8).map(|_| Pair::new().public).collect::<Vec<_>>());
    prop_oneof![mutated(age), mutated(Just(SSH.to_owned())), any_text()]
}

#[test]
fn a_recipient_is_a_whole_key_or_refused() {
    holds(keys(), |text| {
        let Ok(seal) = Seal::for_recipients([text.as_str()]) else {
            return Ok(());
        };
        let [name] = seal.encryption().recipients.as_slice() else {
            panic!("not one name");
        };
        // What is written down is what was given, less blanks and whose it is.
        prop_assert!(
            text.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .starts_with(name.as_str())
        );
        let again = Seal::for_recipients([name.as_str()]);
        let again = again.map(|seal| seal.encryption().recipients.clone());
        prop_assert_eq!(again, Ok(vec![name.clone()]));
        prop_assert!(!name.to_uppercase().contains("SECRET"));
        Ok(())
    });
}

/// age's keys end with a checksum: one wrong character is always found.
#[test]
fn a_key_with_another_character_is_refused() {
    let pair = Pair::new().public;
    let change = (
        4..pair.len(),
        prop::sample::select(b"qpzry9x8gf2tvdw0s3jn54khce6mua7l".to_vec()),
    );
    holds(change, |(at, other)| {
        let mut bytes = pair.clone().into_bytes();
        prop_assume!(bytes[at] != other);
        bytes[at] = other;
        let changed = String::from_utf8(bytes).expect("letters and digits");
        prop_assert!(
            Seal::for_recipients([changed.as_str()]).is_err(),
            "{}",
            changed
        );
        Ok(())
    });
}

#[test]
fn a_list_of_keys_has_no_comments_and_no_empty_lines() {
    holds(any_text(), |text| {
        for (at, key) in keys_in(&text) {
            prop_assert!(!key.is_empty() && !key.starts_with('#') && key.trim() == key);
            prop_assert!(
                text.lines()
                    .nth(at - 1)
                    .is_some_and(|line| line.contains(key))
            );
        }
        Ok(())
    });
}

#[test]
fn a_passphrase_is_one_line() {
    holds(any_text(), |text| {
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let is_one = !line.is_empty() && !line.contains(['\n', '\r', '\0']);
        prop_assert_eq!(Passphrase::new(&text).is_some(), is_one);
        Ok(())
    });
}

#[test]
fn the_ending_of_an_encrypted_dump_is_written_in_one_way() {
    holds(1_u32.., |turn| {
        let ending = sealed_ending(turn);
        prop_assert_eq!(turn_of(&ending), Some(turn));
        let name = format!("backup_2026-01-23_143052_x.dump.zst{ending}");
        let split = split_dump_name(&name);
        let ending = format!(".dump.zst{ending}");
        prop_assert_eq!(split, Some(("backup_2026-01-23_143052_x", ending.as_str())));
        Ok(())
    });
    let endings = prop_oneof![any_text(), mutated("\\.[0-9]{0,3}\\.?age")];
    holds(endings, |text| {
        if let Some(turn) = turn_of(&text) {
            prop_assert_eq!(sealed_ending(turn), text);
        }
        Ok(())
    });
}
