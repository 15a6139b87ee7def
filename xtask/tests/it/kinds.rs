//! Backups that are not full ones: definitions or rows alone, some tables, SQL as text.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::exec::{self, Output};
use crate::project::shared_data;
use crate::setup::{Case, says, text};

mod keys;
mod latest;
mod patterns;
mod postgres;
mod refused;
mod rows_alone;
mod sqlite;
mod virtual_tables;

/// Takes a backup of a kind and returns its manifest.
#[track_caller]
pub fn taken(case: &Case, flags: &[&str]) -> Value {
    let document = case.project.json([&["db", "backup"], flags].concat());
    document["backup"].clone()
}

pub fn id(manifest: &Value) -> &str {
    text(manifest, "/id")
}

/// Another database of the same engine that is not there yet, and its URL.
pub fn elsewhere(case: &Case, name: &str) -> (String, Case) {
    match &case.server {
        None => {
            let other = Case::sqlite();
            let url = format!("sqlite://{}", other.project.sqlite_path().display());
            (url, other)
        }
        Some(live) => {
            let name = format!("{} {name}", live.name());
            let other = Case::of(live.cluster().database(&name));
            let url = other.server.as_ref().expect("a server").url();
            (url, other)
        }
    }
}

#[track_caller]
pub fn restored_into(case: &Case, id: &str, url: &str) {
    let command = ["db", "restore", id, "--into", url, "--yes"];
    case.project.run(command).expect_code(0);
}

#[track_caller]
pub fn drilled(case: &Case, id: &str) -> Output {
    case.project.run(["db", "drill", id])
}

/// The dump as text, as `zstd -dc` gives it.
pub fn unpacked(case: &Case, manifest: &Value) -> String {
    let path = case.project.vault().join(text(manifest, "/dump/file"));
    let bytes = zstd::decode_all(fs::File::open(path).expect("open the dump"));
    String::from_utf8(bytes.expect("unpack the dump")).expect("SQL is UTF-8")
}

/// The music store, where a checkout has it beside itself.
pub fn chinook(case: &Case) -> bool {
    let file = match case.server {
        None => shared_data("chinook/chinook.sqlite"),
        Some(_) => shared_data("chinook/chinook-postgres.sql"),
    };
    let Some(file) = file else {
        exec::skip("the shared data is not there");
        return false;
    };
    match &case.server {
        None => drop(fs::copy(file, case.project.sqlite_path()).expect("copy chinook")),
        Some(database) => drop(database.psql(&fs::read_to_string(file).expect("read chinook"))),
    }
    true
}

/// What is counted in the manifest, table by table.
pub fn rows(manifest: &Value) -> Vec<(String, u64)> {
    let tables = manifest["tables"].as_array().expect("tables");
    let row = |table: &Value| {
        let rows = table["rows"].as_u64().expect("rows");
        (text(table, "/name").to_owned(), rows)
    };
    tables.iter().map(row).collect()
}

/// A program of the system, which reads `script` on its stdin.
#[track_caller]
pub fn feed(mut program: Command, script: &str) -> Output {
    exec::run(&mut program, Some(script)).expect_code(0)
}

#[track_caller]
pub fn refused(output: Output, code: i32, parts: &[&str]) {
    let output = output.expect_code(code);
    says(&output, parts);
}
