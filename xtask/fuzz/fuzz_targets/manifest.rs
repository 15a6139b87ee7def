//! Manifests: refused, or of their own dump only, and written again as the same manifest.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use xtask_db::parsers::{Manifest, sealed_manifest};

fuzz_target!(|bytes: &[u8]| {
    // What no fuzzer guesses is its own SHA-256: with it, the parser is reached.
    let _ = Manifest::parse(bytes);
    let Ok(manifest) = Manifest::parse(&sealed_manifest(bytes.to_vec())) else {
        return;
    };
    let file = Path::new(&manifest.dump.file);
    let parts: Vec<Component> = file.components().collect();
    assert!(matches!(parts[..], [Component::Normal(name)] if name == file.as_os_str()));
    assert!(manifest.dump.file.starts_with(manifest.id.as_str()));
    drop((
        manifest.rows(),
        manifest.for_show(),
        manifest.database.to_string(),
    ));
    assert!(manifest.contents().differences(&manifest.contents()).len() <= manifest.tables.len());
    let written = manifest.to_json().expect("a manifest is JSON");
    assert_eq!(Manifest::parse(&written).expect("its own JSON"), manifest);
});
