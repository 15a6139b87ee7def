//! Manifests that somebody made who knows how to seal one: they may say anything, and still do
//! nothing but be refused, or describe a dump that is there.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{Scene, edit, read};
use crate::exec::{self, Output};
use crate::setup::{Case, database_digests, says, sealed, sha256};

impl Scene {
    /// Puts the lines in the place of the newest manifest, with a digest that is theirs.
    fn forge(&self, lines: &str) {
        let digest = sha256(lines.as_bytes());
        let ending = format!("  \"manifest_sha256\": \"{digest}\"\n}}\n");
        fs::write(self.manifest(), format!("{lines}{ending}")).expect("forge a manifest");
    }

    /// The lines of the newest manifest that its digest is of.
    fn lines(&self) -> String {
        let whole = String::from_utf8(read(&self.manifest())).expect("a manifest is UTF-8");
        let (lines, _) = whole.split_once("  \"manifest_sha256\"").expect("a seal");
        lines.to_owned()
    }

    /// Nothing panics, whatever it says, and a look is a success.
    #[track_caller]
    fn stands_it(&self, what: &str) -> Vec<Output> {
        let looks = [
            &["list"][..],
            &["list", "--json"],
            &["status"],
            &["status", "--json"],
        ];
        let verbs = [&["verify", "--all"][..], &["verify", &self.newest]];
        let looks = looks.map(|verb| self.run(verb).expect_code(0));
        let outputs: Vec<_> = looks
            .into_iter()
            .chain(verbs.map(|verb| self.run(verb)))
            .collect();
        for output in &outputs {
            assert!(!output.stderr.contains("panicked"), "{what}: {output}");
            assert!(matches!(output.code, 0 | 4), "{what}: {output}");
        }
        outputs
    }
}

/// Which of the two counts would be for the reader to guess.
#[test]
fn a_field_that_is_there_twice_is_refused() {
    let scene = Scene::sqlite();
    let lines = scene.lines();
    for (field, again) in [
        ("  \"reason\": ", "  \"reason\": \"pre-restore\",\n"),
        ("  \"id\": ", "  \"id\": \"backup_2026-01-01_000000\",\n"),
        ("  \"dump\": ", "  \"dump\": {},\n"),
        ("    \"sha256\": ", "    \"sha256\": \"\",\n"),
        ("  \"tables\": ", "  \"tables\": [],\n"),
    ] {
        let at = lines
            .find(field)
            .unwrap_or_else(|| panic!("no {field} in {lines}"));
        let forged = format!("{}{again}{}", &lines[..at], &lines[at..]);
        scene.forge(&forged);
        scene.stands_it(field);
        scene.refuses_newest();
    }
    scene.forge(&lines);
    scene.run(&["verify"]).expect_code(0);
}

/// A reader that calls itself for every bracket would end with its stack.
#[test]
fn brackets_in_brackets_do_not_overflow_the_stack() {
    const DEPTH: usize = 100_000;
    let scene = Scene::sqlite();
    let deep = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    for whole in [deep.clone(), "{\"a\":".repeat(DEPTH), "[".repeat(DEPTH)] {
        fs::write(scene.manifest(), whole).expect("write a manifest");
        scene.stands_it("nested");
        scene.refuses_newest();
    }
}

#[test]
fn brackets_in_an_unknown_field_do_not_overflow_the_stack() {
    let scene = Scene::sqlite();
    let lines = scene.lines();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    scene.forge(&format!("{lines}  \"later\": {deep},\n"));
    scene.stands_it("nested");
    scene.refuses_newest();
}

/// Numbers that no database could have, and times at the end of all times.
#[test]
fn numbers_without_measure_are_no_panic() {
    let scene = Scene::sqlite();
    let whole = read(&scene.manifest());
    let large = json!(u64::MAX);
    let rows = |rows: &Value| {
        json!([{"schema": "main", "name": "kept", "rows": rows},
                                     {"schema": "main", "name": "more", "rows": rows}])
    };
    let cases = [
        ("/tables", rows(&large)),
        ("/duration_ms", large.clone()),
        ("/dump/raw_size_bytes", large.clone()),
        ("/dump/raw_size_bytes", json!(0)),
        ("/large_objects", large.clone()),
        ("/created_at", json!("+262142-12-31T23:59:59Z")),
        ("/created_at", json!("-262143-01-01T00:00:00Z")),
        ("/created_at", json!("2016-12-31T23:59:60Z")),
        (
            "/migrations/applied",
            json!([{"version": i64::MIN, "description": "", "checksum": ""}]),
        ),
    ];
    for (pointer, value) in cases {
        edit(&scene.manifest(), pointer, value.clone());
        scene.stands_it(&format!("{pointer} {value}"));
        let before = database_digests(&scene.case.project.sqlite_path());
        let restored = scene.run(&["restore", &scene.newest, "--yes"]);
        assert!(
            !restored.stderr.contains("panicked"),
            "{pointer}: {restored}"
        );
        match restored.code {
            // What it says of time and size does not decide what is restored.
            0 => assert_eq!(scene.case.query("SELECT count(*) FROM kept;"), ["3"]),
            3 | 4 => assert_eq!(database_digests(&scene.case.project.sqlite_path()), before),
            _ => panic!("{pointer} {value}: {restored}"),
        }
        scene.run(&["backup"]).expect_code(0);
        fs::write(scene.manifest(), &whole).expect("repair the manifest");
    }
}

#[test]
fn values_that_are_none_are_refused() {
    let scene = Scene::sqlite();
    let whole = read(&scene.manifest());
    for (pointer, value) in [
        ("/tables/0/rows", json!(-1)),
        ("/tables/0/rows", json!(3.0)),
        ("/tables/0/rows", json!(1e300)),
        ("/dump/sha256", json!("é".repeat(32))),
        ("/dump/size_bytes", json!("123")),
        ("/id", json!("backup_2026-02-30_000000")),
        ("/id", json!("../backup_2026-01-01_000000")),
        ("/label", json!("../../etc")),
        ("/created_at", json!("yesterday")),
        ("/database/engine", json!("oracle")),
    ] {
        edit(&scene.manifest(), pointer, value);
        scene.stands_it(pointer);
        scene.refuses_newest();
        fs::write(scene.manifest(), &whole).expect("repair the manifest");
    }
}

/// Whole backups under each other's names, and the manifests alone.
#[test]
fn two_manifests_that_were_swapped() {
    let scene = Scene::sqlite();
    let last = scene.case.backup();
    let swap = |one: &std::path::Path, other: &std::path::Path| {
        let (first, second) = (read(one), read(other));
        assert!(first != second);
        fs::write(one, second).expect("swap two files");
        fs::write(other, first).expect("swap two files");
    };
    swap(&scene.manifest(), &scene.case.manifest(&last));
    for _ in 0..2 {
        scene.refuses_newest();
        let refused = scene.run(&["restore", &last, "--yes"]).expect_code(4);
        says(&refused, &[&scene.good]);
        // With their dumps as well, the second time.
        swap(&scene.dump(), &scene.case.dump(&last));
    }
    scene.good_one_restores();
}

/// As much as a manifest may have, and more, on a machine with little memory.
#[test]
fn large_manifests_are_read_in_little_memory() {
    const LIMIT_KIB: u32 = 700_000;
    let scene = Scene::sqlite();
    let mut document: Value = serde_json::from_slice(&read(&scene.manifest())).expect("JSON");
    document["later"] = json!("x".repeat(100 << 20));
    let too_large = sealed(document.clone());
    document["later"] = json!("x".repeat(15 << 20));
    let large = sealed(document);
    for (bytes, code) in [(too_large, 4), (large, 0)] {
        fs::write(scene.manifest(), bytes).expect("blow the manifest up");
        for verb in [&["list"][..], &["verify"]] {
            let mut command = Command::new("/bin/sh");
            let tool = scene.case.project.command([&["db"][..], verb].concat());
            command
                .args(["-c", &format!("ulimit -v {LIMIT_KIB}; exec \"$0\" \"$@\"")])
                .arg(tool.get_program())
                .args(tool.get_args())
                .current_dir(scene.case.project.path());
            for (name, value) in tool.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            let expected = if verb == ["list"] { 0 } else { code };
            exec::run(&mut command, None).expect_code(expected);
        }
    }
}

/// A backup that could not be read again is none: its manifest has more than is ever read.
#[test]
fn a_manifest_that_would_be_too_large_is_not_published() {
    let case = Case::sqlite();
    for number in 0..18 {
        let name = format!("{number}_{}", "x".repeat(1_000_000));
        case.query(&format!("CREATE TABLE \"{name}\" (id INTEGER);"));
    }
    let refused = case.project.run(["db", "backup"]).expect_code(1);
    says(&refused, &["its manifest is of no use: it is larger than"]);
    assert_eq!(case.project.vault_files(), [""; 0], "{refused}");
    case.project
        .write("migrations/1_one.sql", "CREATE TABLE one (id INTEGER);");
    case.project
        .run(["db", "migrate-safe", "--yes"])
        .expect_code(1);
    assert_eq!(
        case.query("SELECT count(*) FROM sqlite_schema WHERE name = 'one';"),
        ["0"]
    );
}
