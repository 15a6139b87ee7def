//! Public keys, lists of them, passphrases and secret keys: whole, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask_db::parsers::{Identities, Passphrase, Seal, keys_in};

fuzz_target!(|text: &str| {
    for (at, key) in keys_in(text) {
        assert!(!key.is_empty() && !key.starts_with('#') && key.trim() == key);
        assert!(text.lines().nth(at - 1).is_some_and(|line| line.contains(key)));
    }
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let is_one = !line.is_empty() && !line.contains(['\n', '\r', '\0']);
    assert_eq!(Passphrase::new(text).is_some(), is_one);
    let mut identities = Identities::default();
    if identities.add(text.as_bytes()).is_ok() {
        // Whoever takes a secret key for a public one would write it down.
        assert!(Seal::for_recipients([text]).is_err());
    }
    let Ok(seal) = Seal::for_recipients([text]) else {
        return;
    };
    let [name] = seal.encryption().recipients.as_slice() else {
        panic!("not one name");
    };
    // What is written down is what was given, less blanks and whose it is.
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.join(" ").starts_with(name.as_str()));
    let again = Seal::for_recipients([name.as_str()]);
    let again = again.map(|seal| seal.encryption().recipients.clone());
    assert_eq!(again, Ok(vec![name.clone()]));
    assert!(!name.to_uppercase().contains("SECRET"));
});
