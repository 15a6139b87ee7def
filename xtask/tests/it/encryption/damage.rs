//! Every byte of the header and some of the rest, changed or cut off, under a manifest that knows and
//! under one that was made to fit.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{cases, dump_of};
use crate::kill::Dice;
use crate::setup::{Case, says, sealed, sha256};
use crate::traced;

/// The beginning of a dump up to where what is encrypted begins.
fn header_bytes(dump: &[u8]) -> usize {
    let mac = dump
        .windows(4)
        .position(|window| window == b"\n---")
        .expect("the end of a header");
    let end = dump[mac + 1..]
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a line");
    // The nonce follows.
    mac + 1 + end + 1 + 16
}

/// Makes the manifest say that these are the bytes.
fn forge(case: &Case, manifest: &Path, dump: &[u8]) {
    let mut document: Value =
        serde_json::from_slice(&fs::read(manifest).expect("read a manifest")).expect("JSON");
    document["dump"]["sha256"] = sha256(dump).into();
    document["dump"]["size_bytes"] = dump.len().into();
    fs::write(manifest, sealed(document)).expect("forge a manifest");
    case.project.run(["db", "verify"]).expect_code(0);
}

/// Each place of the header, and some of the body, first and last byte among them.
fn places(dump: &[u8]) -> Vec<usize> {
    let mut dice = Dice::new();
    let header = header_bytes(dump);
    let body = (0..40).map(|_| header + dice.below((dump.len() - header) as u64) as usize);
    (0..header)
        .chain(body)
        .chain([header, dump.len() - 1])
        .collect()
}

#[test]
fn every_byte_of_the_header_and_some_of_the_body() {
    let (case, _) = cases("sealed_bytes").remove(0);
    let taken = case.project.json(["db", "backup"]);
    let dump = dump_of(&taken);
    let whole = fs::read(&dump).expect("read the dump");
    let places = places(&whole);
    assert!(places.len() > 150, "{} places", places.len());
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&dump, &bytes).expect("damage the dump");
        let refused = case.project.run(["db", "verify"]).expect_code(4);
        says(&refused, &["its SHA-256 is", "\nhint: "]);
    }
    fs::write(&dump, &whole).expect("repair the dump");
    case.project.run(["db", "drill"]).expect_code(0);
}

/// Somebody who can write into the vault can make a manifest fit, and nothing comes of it.
#[test]
fn a_manifest_that_was_made_to_fit_does_not_open_it() {
    let (case, _) = cases("sealed_forged").remove(0);
    let taken = case.project.json(["db", "backup"]);
    let dump = dump_of(&taken);
    let manifest = case.manifest(taken["backup"]["id"].as_str().expect("an id"));
    let whole = fs::read(&dump).expect("read the dump");
    let before = case.query("SELECT * FROM t ORDER BY id;");
    let attacks = places(&whole).into_iter().step_by(7).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        (format!("bit of byte {at}"), bytes)
    });
    let lengths = [
        0,
        10,
        header_bytes(&whole) - 1,
        header_bytes(&whole),
        whole.len() - 1,
    ];
    let cuts = lengths.map(|length| (format!("cut to {length}"), whole[..length].to_vec()));
    let longer = [("a byte more".to_owned(), [&whole[..], b"x"].concat())];
    for (what, bytes) in attacks.chain(cuts).chain(longer) {
        fs::write(&dump, &bytes).expect("damage the dump");
        forge(&case, &manifest, &bytes);
        for verb in [&["db", "drill"][..], &["db", "restore", "latest", "--yes"]] {
            let refused = case.project.run(verb);
            assert_eq!(refused.code, 4, "{what}: {refused}");
            assert!(!refused.stderr.contains("panicked"), "{what}: {refused}");
            says(&refused, &["\nhint: "]);
        }
        assert_eq!(case.query("SELECT * FROM t ORDER BY id;"), before, "{what}");
    }
}

/// A damaged one is told from one that is for others.
#[test]
fn damaged_is_not_called_a_wrong_key() {
    for (case, _) in cases("sealed_damaged") {
        let taken = case.project.json(["db", "backup"]);
        let dump = dump_of(&taken);
        let manifest = case.manifest(taken["backup"]["id"].as_str().expect("an id"));
        let whole = fs::read(&dump).expect("read the dump");
        let header = header_bytes(&whole);
        // In the header's own check, and in what is encrypted.
        for (at, said) in [
            (header - 20, "it is damaged"),
            (whole.len() - 5, "cannot be unpacked"),
        ] {
            let mut bytes = whole.clone();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            fs::write(&dump, &bytes).expect("damage the dump");
            forge(&case, &manifest, &bytes);
            let refused = case
                .project
                .run(["db", "restore", "latest", "--yes"])
                .expect_code(4);
            says(&refused, &[said]);
            assert!(!refused.stderr.contains("no key"), "{refused}");
        }
    }
}

/// What a manifest says of encryption must fit the dump's name, and what it does not know it says.
#[test]
fn a_manifest_cannot_call_it_something_else() {
    let (case, _) = cases("sealed_names").remove(0);
    let taken = case.project.json(["db", "backup"]);
    let manifest = case.manifest(taken["backup"]["id"].as_str().expect("an id"));
    let text = fs::read(&manifest).expect("read a manifest");
    let document: Value = serde_json::from_slice(&text).expect("JSON");
    let file = document["dump"]["file"]
        .as_str()
        .expect("a name")
        .to_owned();
    let rename = |name: String| {
        let mut forged = document.clone();
        forged["dump"]["file"] = name.into();
        forged
    };
    let plain = file.trim_end_matches(".age").to_owned();
    let mut without = document.clone();
    without["dump"]
        .as_object_mut()
        .expect("an object")
        .remove("encryption");
    let names = [
        "",
        ".1.age",
        ".0.age",
        ".02.age",
        ".x.age",
        ".age.age",
        ".2.AGE",
        ".99999999999.age",
    ];
    let forged = names.map(|ending| rename(format!("{plain}{ending}")));
    for forged in forged.into_iter().chain([without]) {
        fs::write(&manifest, sealed(forged.clone())).expect("forge a manifest");
        let refused = case.project.run(["db", "verify"]).expect_code(4);
        says(&refused, &["which is not this backup's"]);
    }
    let mut unknown = document;
    unknown["dump"]["encryption"]["method"] = "rot13".into();
    fs::write(&manifest, sealed(unknown)).expect("forge a manifest");
    let refused = case.project.run(["db", "drill"]).expect_code(4);
    says(
        &refused,
        &["it is encrypted by `rot13`, which this program does not know"],
    );
}

/// A disk that does not give it back says nothing of the dump, and is no other key.
#[test]
fn a_dump_that_cannot_be_read_stays_closed() {
    let (case, _) = cases("sealed_unread").remove(0);
    let taken = case.project.json(["db", "backup"]);
    let dump = dump_of(&taken).display().to_string();
    let before = case.query("SELECT * FROM t ORDER BY id;");
    // One read for all of it and one for its end match it; what comes then unlocks it.
    let fault = ["-P", &dump, "-e", "inject=pread64:error=EIO:when=3+"];
    let restore = ["db", "restore", "latest", "--yes"];
    let Some(refused) = traced::run(&case.project, &fault, &restore) else {
        return;
    };
    let said = ["stays closed: it cannot be read: Input/output error"];
    says(&refused.expect_code(4), &said);
    assert_eq!(case.query("SELECT * FROM t ORDER BY id;"), before);
    case.project.run(restore).expect_code(0);
}
