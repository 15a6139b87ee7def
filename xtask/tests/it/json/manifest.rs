//! The manifest says everything that the one who restores it needs to know.

use std::fs;
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sha2::Digest;

use super::{assert_fields, project};
use crate::cluster::{Cluster, SUPERUSER};
use crate::exec;
use crate::project::Project;

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What holds for both engines.
#[track_caller]
fn assert_complete(project: &Project, document: &Value) {
    let manifest = &document["backup"];
    assert_fields(
        manifest,
        &[
            "format",
            "id",
            "label",
            "reason",
            "created_at",
            "duration_ms",
            "database",
            "tool",
            "dump_tool",
            "dump",
            "tables",
            "large_objects",
            "relations",
            "migrations",
            "git",
            "ran_on",
        ],
    );
    assert_eq!(manifest["format"], 1);
    assert_eq!(manifest["label"], "for-a-test");
    assert_eq!(manifest["reason"], "manual");
    assert!(manifest["duration_ms"].as_u64().is_some(), "{manifest:#}");
    let tool = json!({"name": "xtask-db", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(manifest["tool"], tool);
    assert_time(manifest);
    assert_dump(document);

    let file = fs::read(project.path().join("migrations/1_first.sql")).expect("read it");
    let checksum = hexadecimal(&sha2::Sha384::digest(&file));
    let applied = &manifest["migrations"]["applied"];
    assert_eq!(applied.as_array().map(Vec::len), Some(1));
    assert_eq!(applied[0]["version"], 1);
    assert_eq!(applied[0]["description"], "first");
    assert_eq!(applied[0]["checksum"], checksum.as_str());
    let pending = json!([{"version": 2, "description": "second"}]);
    assert_eq!(manifest["migrations"]["pending"], pending);

    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let ran_on = json!({"user": "ada", "host": host, "ci_run_url": null});
    assert_eq!(manifest["ran_on"], ran_on);
    assert_eq!(manifest["git"], Value::Null);
}

/// UTC, though the tests run nine hours to the east of it.
#[track_caller]
fn assert_time(manifest: &Value) {
    let created_at = manifest["created_at"].as_str().expect("a time");
    assert!(
        created_at.ends_with('Z') || created_at.ends_with("+00:00"),
        "{created_at}"
    );
    let created_at: DateTime<Utc> = created_at.parse().expect("a time of RFC 3339");
    let minute = TimeDelta::minutes(1);
    assert!((Utc::now() - created_at).abs() < minute, "{created_at}");
    let id = manifest["id"].as_str().expect("an id");
    let time = id
        .strip_prefix("backup_")
        .and_then(|id| id.strip_suffix("_for-a-test"));
    let time = NaiveDateTime::parse_from_str(time.expect("an id"), "%Y-%m-%d_%H%M%S");
    assert!(
        (time.expect("a time").and_utc() - created_at).abs() < minute,
        "{id}"
    );
}

/// Sizes and digest are those of the bytes on the disk.
#[track_caller]
fn assert_dump(document: &Value) {
    let path = Path::new(document["path"].as_str().expect("a path"));
    let stored = fs::read(path).expect("read the dump");
    let raw = zstd::decode_all(stored.as_slice()).expect("unpack the dump");
    let expected = json!({
        "file": path.file_name().and_then(|name| name.to_str()),
        "sha256": hexadecimal(&sha2::Sha256::digest(&stored)),
        "size_bytes": stored.len(),
        "raw_size_bytes": raw.len(),
        "compression": "zstd",
    });
    assert_eq!(document["backup"]["dump"], expected);
}

#[test]
fn of_sqlite() {
    let project = project().env("USER", "ada");
    project.json(["db", "migrate-safe", "--yes", "--target-version", "1"]);
    project.sqlite("INSERT INTO first VALUES (1), (2), (3)");
    let document = project.json(["db", "backup", "for-a-test"]);
    assert_complete(&project, &document);
    let manifest = &document["backup"];
    let database = &manifest["database"];
    assert_eq!(database["engine"], "sqlite");
    assert_eq!(database["name"], "app.db");
    assert_eq!(database["path"].as_str(), project.sqlite_path().to_str());
    assert_eq!(database["host"], Value::Null);
    assert_eq!(database["system_identifier"], Value::Null);
    let version = project.sqlite("SELECT sqlite_version()").remove(0);
    assert_eq!(database["server_version"], version.as_str());
    assert_eq!(manifest["dump_tool"], format!("SQLite {version}"));
    let tables = json!([
        {"schema": "main", "name": "_sqlx_migrations", "rows": 1},
        {"schema": "main", "name": "first", "rows": 3},
    ]);
    assert_eq!(manifest["tables"], tables);
}

#[test]
fn of_postgresql() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("manifest");
    let project = project()
        .env("USER", "ada")
        .database_url(&database.url_tcp());
    project.json(["db", "migrate-safe", "--yes", "--target-version", "1"]);
    database.psql(
        "INSERT INTO first VALUES (1), (2);
         CREATE SCHEMA other; CREATE TABLE other.t (); SELECT lo_create(4711);",
    );
    let document = project.json(["db", "backup", "for-a-test"]);
    assert_complete(&project, &document);
    let manifest = &document["backup"];
    let facts = &manifest["database"];
    assert_eq!(facts["engine"], "postgresql");
    assert_eq!(facts["name"], database.name());
    assert_eq!(facts["host"], "127.0.0.1");
    assert_eq!(facts["port"].to_string(), database.psql("SHOW port;"));
    assert_eq!(facts["user"], SUPERUSER);
    assert_eq!(
        facts["server_version"],
        database.psql("SHOW server_version;")
    );
    let identifier = database.psql("SELECT system_identifier FROM pg_control_system();");
    assert_eq!(facts["system_identifier"], identifier);
    let mut pg_dump = Command::new(cluster.bin().join("pg_dump"));
    let version = exec::run(pg_dump.arg("--version"), None).stdout;
    assert_eq!(manifest["dump_tool"], version.trim_end());
    let tables = json!([
        {"schema": "other", "name": "t", "rows": 0},
        {"schema": "public", "name": "_sqlx_migrations", "rows": 1},
        {"schema": "public", "name": "first", "rows": 2},
    ]);
    assert_eq!(manifest["tables"], tables);
    assert_eq!(manifest["large_objects"], 1);
}

#[track_caller]
fn git(project: &Project, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]);
    git.args(arguments).current_dir(project.path());
    git.env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = exec::run(&mut git, None).expect_code(0);
    output.stdout.trim_end().to_owned()
}

#[test]
fn the_commit_and_whether_the_tree_was_dirty() {
    let project = project();
    let taken = || project.json(["db", "backup"])["backup"]["git"].clone();
    project.write(".gitignore", "/database/\n");
    project.sqlite("CREATE TABLE t (i)");
    assert_eq!(taken(), Value::Null);
    git(&project, &["init", "--quiet"]);
    assert_eq!(taken(), Value::Null, "there is no commit yet");
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "--message=first"]);
    let commit = git(&project, &["rev-parse", "HEAD"]);
    assert_eq!(commit.len(), 40);
    assert_eq!(taken(), json!({"commit": commit, "dirty": false}));
    project.write("new", "a file that git does not know");
    assert_eq!(taken(), json!({"commit": commit, "dirty": true}));
    fs::remove_file(project.path().join("new")).expect("remove it again");
    project.write(
        "migrations/2_second.sql",
        "CREATE TABLE changed (id INTEGER);",
    );
    assert_eq!(taken(), json!({"commit": commit, "dirty": true}));
}

#[test]
fn the_run_of_the_ci() {
    let project = project()
        .env("GITHUB_SERVER_URL", "https://github.example.com")
        .env("GITHUB_REPOSITORY", "ada/shop")
        .env("GITHUB_RUN_ID", "4711");
    project.sqlite("CREATE TABLE t (i)");
    let manifest = project.json(["db", "backup"])["backup"].clone();
    let url = "https://github.example.com/ada/shop/actions/runs/4711";
    assert_eq!(manifest["ran_on"]["ci_run_url"], url);
}
