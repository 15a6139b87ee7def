//! Backups whose bytes match and whose contents do not: a checksum is not a proof.

use std::fs;

use serde_json::{Value, json};

use super::{Scene, edit, read};
use crate::setup::{Case, says, sha256};

/// The engines and, on PostgreSQL, both ways to restore.
fn scenes(name: &str) -> Vec<(&'static str, Scene)> {
    let owner = Case::owner(name).map(|(case, _)| ("owner", Scene::new(case)));
    let each = ["sqlite", "postgresql"].into_iter().zip(Case::each(name));
    let each = each.map(|(what, case)| (what, Scene::new(case)));
    each.chain(owner).collect()
}

impl Scene {
    /// The restore finds out beside the live database, and leaves that one as it is.
    #[track_caller]
    fn restore_finds_out(&self, what: &str, parts: &[&str]) {
        let before = self.case.contents();
        let databases = "SELECT count(*) FROM pg_database WHERE datname LIKE
                         current_database() || '\\_%';";
        let stopped = self.run(&["restore", &self.newest, "--yes"]);
        says(&stopped, parts);
        assert_eq!(self.case.contents(), before, "{what}: {stopped}");
        if self.case.server.is_some() {
            assert_eq!(self.case.query(databases), ["0"], "{what}: {stopped}");
        }
        assert_eq!(stopped.code, 4, "{what}: {stopped}");
    }
}

fn tables(scene: &Scene) -> Value {
    let document: Value = serde_json::from_slice(&read(&scene.manifest())).expect("JSON");
    document["tables"].clone()
}

#[test]
fn a_manifest_that_counts_other_rows() {
    for (what, scene) in scenes("rows") {
        let mut counted = tables(&scene);
        counted[0]["rows"] = json!(4);
        edit(&scene.manifest(), "/tables", counted);
        scene.restore_finds_out(what, &["kept", "3 rows"]);
        scene.good_one_restores();
    }
}

#[test]
fn a_manifest_with_a_table_that_is_not_there() {
    for (what, scene) in scenes("tables") {
        let mut counted = tables(&scene);
        let mut more = counted[0].clone();
        more["name"] = json!("never_was");
        counted.as_array_mut().expect("a list").push(more);
        edit(&scene.manifest(), "/tables", counted);
        scene.restore_finds_out(what, &["never_was"]);
    }
}

/// Names come from a file that somebody may have edited: they are values, not SQL.
#[test]
fn a_table_name_that_is_sql() {
    for (what, scene) in scenes("injection") {
        let mut counted = tables(&scene);
        for name in [
            "x'); DROP TABLE late; --",
            "\"; DROP TABLE late; --",
            "$compare$;\\ DROP",
        ] {
            let mut more = counted[0].clone();
            more["name"] = json!(name);
            counted.as_array_mut().expect("a list").push(more);
        }
        edit(&scene.manifest(), "/tables", counted);
        scene.restore_finds_out(what, &["DROP"]);
    }
}

/// What hangs on a database is there when its rows are compared; a template cannot be dropped.
#[test]
fn a_template_that_is_not_what_its_manifest_says() {
    let Some(case) = Case::postgres("template") else {
        return;
    };
    let scene = Scene::new(case);
    edit(&scene.manifest(), "/database/properties/is_template", true);
    let mut counted = tables(&scene);
    counted[0]["rows"] = json!(4);
    edit(&scene.manifest(), "/tables", counted);
    scene.restore_finds_out("postgresql", &["kept", "3 rows"]);
}

/// A dump that ended too early and was stored as if it were whole.
#[test]
fn a_dump_that_ends_early_under_its_own_digest() {
    for (what, scene) in scenes("early") {
        let stored = read(&scene.dump());
        let raw = zstd::decode_all(&stored[..]).expect("decompress the dump");
        let half = zstd::encode_all(&raw[..raw.len() * 2 / 3], 3).expect("compress a part");
        store(&scene, &half);
        scene.run(&["verify"]).expect_code(0);
        scene.restore_finds_out(what, &[]);
        scene.good_one_restores();
    }
}

/// Bytes that are no dump at all, and bytes that are not even compressed.
#[test]
fn a_dump_that_is_none_under_its_own_digest() {
    for (what, scene) in scenes("none") {
        let noise = zstd::encode_all(&b"not a dump of anything"[..], 3).expect("compress");
        for bytes in [&noise[..], b"not compressed", b""] {
            store(&scene, bytes);
            scene.restore_finds_out(what, &[]);
        }
    }
}

/// Another database's dump, well-formed and under a digest of its own.
#[test]
fn a_dump_of_something_else_under_its_own_digest() {
    for (what, scene) in scenes("else") {
        let good = read(&scene.case.dump(&scene.good));
        store(&scene, &good);
        scene.restore_finds_out(what, &["kept"]);
    }
}

fn store(scene: &Scene, bytes: &[u8]) {
    fs::write(scene.dump(), bytes).expect("write the dump");
    edit(&scene.manifest(), "/dump/sha256", sha256(bytes));
    edit(&scene.manifest(), "/dump/size_bytes", bytes.len());
}
