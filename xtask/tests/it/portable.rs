//! `db export` and `db import`: rows out of a database and into one, and nothing lost on the way.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::exec::Output;
use crate::setup::{Case, text};

mod asked;
mod between;
mod compared;
mod cut;
mod damage;
mod encoding;
mod hard;
mod keys;
mod places;
mod refused;
mod roundtrip;
mod search;
mod sequences;

/// The file or folder that a test exports to.
fn place(case: &Case, format: &str) -> PathBuf {
    case.project.path().join(match format {
        "csv" => "out".to_owned(),
        other => format!("out.{other}"),
    })
}

/// Exports everything, into a new file or folder.
#[track_caller]
fn export(case: &Case, format: &str) -> PathBuf {
    let path = place(case, format);
    drop(std::fs::remove_file(&path));
    drop(std::fs::remove_dir_all(&path));
    let shown = path.to_str().expect("a UTF-8 path");
    (case.project)
        .run(["db", "export", "--format", format, "-o", shown])
        .expect_code(0);
    path
}

#[track_caller]
fn import(case: &Case, path: &std::path::Path, more: &[&str]) -> Output {
    let mut arguments = vec![
        "db",
        "import",
        path.to_str().expect("a UTF-8 path"),
        "--yes",
    ];
    arguments.extend(more);
    case.project.run(arguments)
}

/// By table, of all tables; by the tool's own fingerprints, which are tested elsewhere.
#[track_caller]
fn fingerprints(case: &Case) -> BTreeMap<String, String> {
    let taken = case.project.json(["db", "backup", "--fingerprint"]);
    let tables = taken["backup"]["tables"].as_array().expect("a list");
    let tables = tables.iter().filter(|table| table["kind"].is_null());
    let of = |table: &serde_json::Value| {
        let name = format!("{}.{}", text(table, "/schema"), text(table, "/name"));
        let fingerprint = table["fingerprint"].as_str().unwrap_or("none");
        (name, format!("{} {fingerprint}", table["rows"]))
    };
    tables.map(of).collect()
}

/// Tables as a person would name them, those that others refer to last.
fn empty(case: &Case, tables: &[&str]) {
    let deletes: String = (tables.iter())
        .map(|table| format!("DELETE FROM {table};\n"))
        .collect();
    match case.server {
        None => case.query(&format!("PRAGMA foreign_keys = OFF; {deletes}")),
        Some(_) => case.query(&format!(
            "SET session_replication_role = replica; {deletes}"
        )),
    };
}
