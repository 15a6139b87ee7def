//! A manifest is a file that anybody may have edited, cut, or written with a later version.

use std::path::{Component, Path};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use xtask_db::parsers::Manifest;

use super::{any_text, holds};
use crate::setup::sealed;

/// As a file that says of itself that it is as it was written.
fn file_of(document: &Value) -> Vec<u8> {
    // An empty object has no line to seal.
    if document
        .as_object()
        .is_some_and(|fields| !fields.is_empty())
    {
        sealed(document.clone())
    } else {
        document.to_string().into_bytes()
    }
}

/// What stands in a file, without what it says of itself.
fn document_of(file: &[u8]) -> Value {
    let mut document: Value = serde_json::from_slice(file).expect("a manifest is JSON");
    let fields = document.as_object_mut().expect("an object");
    assert!(fields.remove("manifest_sha256").is_some());
    document
}

/// As this version writes one; the id and the dump's name belong together.
fn good(id: &str, engine: &str, table: &str, rows: u64) -> Value {
    let ending = if engine == "sqlite" { "db" } else { "dump" };
    json!({
        "format": 1, "id": id, "label": null, "reason": "manual",
        "created_at": "2026-01-23T14:30:52.123456789Z", "duration_ms": 12,
        "database": {
            "engine": engine, "name": "app", "host": "db.example.com", "port": 5432, "user": "app",
            "path": null, "server_version": "15.1", "system_identifier": "7",
            "properties": {
                "owner": "app", "encoding": "UTF8", "collate": "C", "ctype": "C",
                "locale_provider": "c", "locale": null, "icu_rules": null,
                "tablespace": "pg_default", "connection_limit": -1, "is_template": false,
                "comment": "one", "grants": [{"grantee": null, "privilege": "CONNECT", "grantable": false}],
                "settings": [{"role": null, "name": "work_mem", "value": "1MB"}]
            }
        },
        "tool": {"name": "xtask-db", "version": "0.1.0"},
        "dump_tool": "pg_dump",
        "dump": {
            "file": format!("{id}.{ending}.zst"), "sha256": "00".repeat(32),
            "size_bytes": 10, "raw_size_bytes": 20, "compression": "zstd"
        },
        "tables": [
            {"schema": "public", "name": table, "rows": rows},
            {"schema": "other", "name": table, "rows": rows}
        ],
        "large_objects": 0,
        "migrations": {
            "applied": [{"version": 1, "description": "one", "checksum": "00", "success": true}],
            "pending": [{"version": 2, "description": "two"}],
            "table": "_sqlx_migrations"
        },
        "git": {"commit": "0000000", "dirty": false},
        "ran_on": {"user": "app", "host": "here", "ci_run_url": null}
    })
}

fn goods() -> impl Strategy<Value = Value> {
    let id = "backup_2026-01-23_143052(_[a-z]{1,10})?";
    let engine = prop_oneof![Just("sqlite"), Just("postgresql")];
    (id, engine, any_text(), any::<u64>())
        .prop_map(|(id, engine, table, rows)| good(&id, engine, &table, rows))
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
        Just(Value::from("../../../etc/passwd")),
        Just(Value::from("/etc/passwd")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any_text(), inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// All places in a document, the whole of it included.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                places(item, &format!("{here}/{i}"), found);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(item, &format!("{here}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// What would lead to another file, or out of the folder.
const PATHS: &[&str] = &[
    "../up.db.zst",
    "/etc/passwd",
    "",
    ".",
    "..",
    "a/b.db.zst",
    "backup_2026-01-23_143052.db.zst",
    "backup_2026-01-23_143052/../x.db.zst",
    "./backup_2026-01-23_143052.db.zst",
    "a\0b",
];

/// A good manifest with some of its values replaced by anything, or its names by paths.
fn mutants() -> impl Strategy<Value = Value> {
    let anywhere = (any::<prop::sample::Index>(), any_value());
    let anywhere = anywhere.prop_map(|(at, value)| (None, at, value));
    let name = prop::sample::select(&["/dump/file", "/id"][..]);
    let path = (
        name,
        any::<prop::sample::Index>(),
        prop::sample::select(PATHS),
    );
    let path =
        path.prop_map(|(name, at, path): (&str, _, &str)| (Some(name), at, Value::from(path)));
    let changes = vec(prop_oneof![2 => anywhere, 1 => path], 1..4);
    (goods(), changes).prop_map(|(mut document, changes)| {
        for (name, at, value) in changes {
            let mut all = Vec::new();
            places(&document, "", &mut all);
            let place = name.map_or_else(|| at.get(&all).clone(), str::to_owned);
            if let Some(place) = document.pointer_mut(&place) {
                *place = value;
            }
        }
        document
    })
}

/// The only file that a manifest leads to is in its own folder, and its own.
fn leads_nowhere_else(manifest: &Manifest) -> Result<(), TestCaseError> {
    let file = Path::new(&manifest.dump.file);
    let is_plain = matches!(file.components().collect::<Vec<_>>()[..], [Component::Normal(name)] if name == file.as_os_str());
    prop_assert!(is_plain, "{:?}", manifest.dump.file);
    prop_assert!(manifest.dump.file.starts_with(manifest.id.as_str()));
    Ok(())
}

#[test]
fn any_bytes_are_a_manifest_or_refused() {
    holds(vec(any::<u8>(), 0..400), |bytes| {
        if let Ok(manifest) = Manifest::parse(&bytes) {
            leads_nowhere_else(&manifest)?;
        }
        Ok(())
    });
}

#[test]
fn a_good_manifest_comes_back_as_it_was() {
    holds(goods(), |document| {
        let manifest =
            Manifest::parse(&file_of(&document)).map_err(|e| TestCaseError::fail(e.to_string()))?;
        leads_nowhere_else(&manifest)?;
        let written = manifest.to_json().expect("a manifest is JSON");
        prop_assert_eq!(document_of(&written), document);
        prop_assert_eq!(Manifest::parse(&written).expect("its own JSON"), manifest);
        Ok(())
    });
}

/// Fields of a later version are written back as they were.
#[test]
fn unknown_fields_come_back_as_they_were() {
    let fields = btree_map("x_[a-z]{1,12}", any_value(), 1..4);
    holds(
        (goods(), fields, 0..3_usize),
        |(mut document, fields, place)| {
            let place = ["", "/dump", "/database"][place];
            let map = document.pointer_mut(place).and_then(Value::as_object_mut);
            map.expect("an object").extend(fields);
            let manifest = Manifest::parse(&file_of(&document))
                .map_err(|e| TestCaseError::fail(e.to_string()))?;
            let written = manifest.to_json().expect("a manifest is JSON");
            prop_assert_eq!(document_of(&written), document);
            Ok(())
        },
    );
}

/// What this program does not know of a dump may be what keeps it from taking a database's place.
#[test]
fn a_kind_of_a_later_version_is_refused() {
    let parsed = |format: u64, kind: Option<Value>| {
        let mut document = good("backup_2026-01-23_143052_partial", "sqlite", "t", 3);
        document["format"] = format.into();
        if let Some(kind) = kind {
            document["kind"] = kind;
        }
        let parsed = Manifest::parse(&file_of(&document));
        parsed.map(drop).map_err(|error| error.to_string())
    };
    let refused = |format, kind| {
        let error = parsed(format, kind).expect_err("it is refused");
        assert!(error.contains("its kind is none"), "{error}");
    };
    assert_eq!(parsed(2, Some(json!({"tables": ["t"]}))), Ok(()));
    refused(2, Some(json!({"tables": ["t"], "where": "id < 10"})));
    refused(2, Some(json!({"where": "id < 10"})));
    refused(1, Some(json!({"where": "id < 10"})));
    refused(2, None);
}

/// One that lacks a platform's part says so, by a number that keeps older programs away.
#[test]
fn a_platform_goes_with_its_format() {
    let parsed = |format: u64, platform: Option<Value>| {
        let mut document = good("backup_2026-01-23_143052", "postgresql", "t", 3);
        document["format"] = format.into();
        if let Some(platform) = platform {
            document["platform"] = platform;
        }
        let parsed = Manifest::parse(&file_of(&document));
        parsed.map(drop).map_err(|error| error.to_string())
    };
    let platform = json!({"profile": "supabase", "schemas": ["auth"]});
    assert_eq!(parsed(3, Some(platform)), Ok(()));
    assert!(parsed(3, None).is_err_and(|error| error.contains("its kind is none")));
    let later = json!({"profile": "x", "schemas": [], "roles": []});
    assert!(parsed(3, Some(later)).is_err_and(|error| error.contains("roles")));
    assert!(parsed(4, None).is_err_and(|error| error.contains("up to format 3")));
}

/// Whatever stands in it, it is refused or leads to no other file, and can be looked at.
#[test]
fn a_mutated_manifest_does_no_harm() {
    holds(mutants(), |document| {
        if let Ok(manifest) = Manifest::parse(&file_of(&document)) {
            leads_nowhere_else(&manifest)?;
            drop((
                manifest.rows(),
                manifest.for_show(),
                manifest.database.to_string(),
            ));
            let other = manifest.contents().differences(&Default::default());
            prop_assert!(other.len() <= manifest.tables.len() + 2);
            manifest.to_json().expect("a manifest is JSON");
        }
        Ok(())
    });
}

/// Cut at any byte it is refused.
#[test]
fn a_cut_manifest_is_refused() {
    let whole = file_of(&good("backup_2026-01-23_143052", "sqlite", "t", 3));
    for end in 0..whole.len() {
        assert!(Manifest::parse(&whole[..end]).is_err(), "cut at {end}");
    }
    assert!(Manifest::parse(&whole).is_ok());
}
