//! The house, held by a test: imports point down, files and functions stay small.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::project::workspace_root;

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

/// Who may import whom. A part that stands in one row with another never
/// imports it; they meet in a story and speak in values.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("main", &[]),
    ("lib", &["cli", "commands", "outcome", "ui"]),
    (
        "commands",
        &[
            "cli",
            "commands",
            "config",
            "cores",
            "engine",
            "interrupt",
            "migrations",
            "offsite",
            "tool",
            "ui",
            "values",
            "vault",
        ],
    ),
    ("outcome", &["interrupt", "ui", "values"]),
    ("parsers", &["interrupt", "migrations", "values"]),
    ("config", &["cli", "values"]),
    (
        "engine",
        &[
            "durable",
            "engine",
            "interrupt",
            "runtime",
            "tool",
            "values",
        ],
    ),
    (
        "offsite",
        &["durable", "interrupt", "offsite", "runtime", "values"],
    ),
    ("migrations", &["values"]),
    ("ui", &["interrupt", "ui", "values"]),
    (
        "vault",
        &["cores", "durable", "interrupt", "values", "vault"],
    ),
    ("values", &["interrupt", "values"]),
    ("cli", &[]),
    ("tool", &["interrupt"]),
    ("durable", &[]),
    ("cores", &[]),
    ("runtime", &["interrupt"]),
    ("interrupt", &[]),
];

/// What a part must not know, as words that its code does not contain.
const MUST_NOT_KNOW: &[(&str, &[&str])] = &[
    (
        "commands",
        &["SELECT ", "serde_json", ".zst", "sqlx::", "rusqlite"],
    ),
    (
        "engine",
        &[
            "BackupId",
            "console::",
            "dialoguer",
            "indicatif",
            "eprintln!",
            "println!",
        ],
    ),
    (
        "vault",
        &[
            "sqlx",
            "rusqlite",
            "console::",
            "dialoguer",
            "eprintln!",
            "println!",
        ],
    ),
    (
        "offsite",
        &[
            "crate::vault",
            "sqlx",
            "rusqlite",
            "console::",
            "dialoguer",
            "eprintln!",
            "println!",
        ],
    ),
    ("values", &["std::process", "Utc::now", "std::env"]),
    ("cli", &["fn run"]),
];

#[test]
fn imports_point_down() {
    for (part, path) in sources() {
        let allowed = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == part)
            .unwrap_or_else(|| panic!("{} has no row in the table of imports", path.display()))
            .1;
        for imported in imported_parts(&read(&path)) {
            assert!(
                allowed.contains(&imported.as_str()),
                "{} imports `{imported}`; `{part}` may import {allowed:?}",
                path.display()
            );
        }
    }
}

#[test]
fn parts_do_not_know_what_is_not_theirs() {
    for (part, path) in sources() {
        let Some((_, words)) = MUST_NOT_KNOW.iter().find(|(name, _)| *name == part) else {
            continue;
        };
        let code = without_comments(&read(&path));
        for word in *words {
            assert!(!code.contains(word), "{} contains `{word}`", path.display());
        }
    }
}

/// The idea that carries the promise: one constructor of the proof, one caller.
#[test]
fn only_the_vaults_verify_makes_a_proof() {
    let mut makers = Vec::new();
    let mut callers = Vec::new();
    for (_, path) in sources() {
        let code = without_comments(&read(&path));
        let name = path.strip_prefix(source_folder()).expect("a path in src");
        makers.extend(code.matches("Ok(VerifiedDump {").map(|_| name.to_owned()));
        callers.extend(
            code.matches("VerifiedDump::read_back(")
                .map(|_| name.to_owned()),
        );
    }
    assert_eq!(makers, [Path::new("values/verified_dump.rs")]);
    assert_eq!(callers, [Path::new("vault/verify.rs")]);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for path in sources().into_iter().map(|(_, path)| path).chain(tests()) {
        let text = read(&path);
        let lines = text.lines().count();
        assert!(
            lines <= MAX_FILE_LINES,
            "{} has {lines} lines",
            path.display()
        );
        assert!(
            text.starts_with("//!"),
            "{} does not begin with `//!`",
            path.display()
        );
        let stem = path.file_stem().expect("a file name");
        assert!(
            stem != "utils" && stem != "helpers",
            "{}: which noun is it?",
            path.display()
        );
    }
}

#[test]
fn functions_are_short() {
    for path in sources().into_iter().map(|(_, path)| path).chain(tests()) {
        for (name, lines) in functions(&read(&path)) {
            assert!(
                lines <= MAX_FUNCTION_LINES,
                "{}: `{name}` has {lines} lines",
                path.display()
            );
        }
    }
}

fn source_folder() -> PathBuf {
    workspace_root().join("xtask/src")
}

/// Every file of the library with its part: the first name of its path.
fn sources() -> Vec<(String, PathBuf)> {
    let root = source_folder();
    let files = rust_files(&root);
    assert!(
        files.len() > 30,
        "only {} files in {}",
        files.len(),
        root.display()
    );
    let part = |path: &PathBuf| {
        let inside = path
            .strip_prefix(&root)
            .expect("a path in src")
            .with_extension("");
        let first = inside
            .components()
            .next()
            .expect("a name")
            .as_os_str()
            .to_owned();
        first.into_string().expect("a UTF-8 file name")
    };
    files.into_iter().map(|path| (part(&path), path)).collect()
}

fn tests() -> Vec<PathBuf> {
    let package = workspace_root().join("xtask");
    let folders = ["tests", "benches"].map(|folder| rust_files(&package.join(folder)));
    folders.concat()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("list a source folder") {
        let path = entry.expect("list a source folder").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

fn without_comments(code: &str) -> String {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name after every `crate::`.
fn imported_parts(code: &str) -> BTreeSet<String> {
    let code = without_comments(code);
    let after = code.split("crate::").skip(1);
    after
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .filter(|part: &String| !part.is_empty())
        .collect()
}

/// Name and length of every function, by the indentation that rustfmt gives it.
fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indentation = line.len() - line.trim_start().len();
        let head = line
            .trim_start()
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ");
        let head = head
            .trim_start_matches("pub(super) ")
            .trim_start_matches("async ");
        let Some(name) = head.strip_prefix("fn ") else {
            continue;
        };
        let end = format!("{}}}", " ".repeat(indentation));
        let body = lines[start..].iter().position(|line| *line == end);
        let name = name.split(['(', '<']).next().unwrap_or(name).to_owned();
        functions.push((name, body.map_or(1, |last| last + 1)));
    }
    functions
}
