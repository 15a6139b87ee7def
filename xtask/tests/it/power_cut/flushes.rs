//! What reaches the disk, and when: the system calls of a backup are the log, and the log is the
//! assertion. Without a flush in its place a power cut could leave any mix of old and new.

use std::fs;

use crate::project::Project;
use crate::traced::calls;

const CALLS: &str = "trace=fsync,fdatasync,mkdir,mkdirat,link,linkat,rename,renameat,renameat2";

#[test]
fn a_backup_is_flushed_in_the_order_in_which_it_is_named() {
    let project = Project::new();
    project.sqlite("CREATE TABLE t (id INTEGER);");
    let vault = "new/folder/vault";
    let Some(calls) = calls(&project, CALLS, &["db", "backup", "--backups", vault]) else {
        return;
    };
    let files = fs::read_dir(project.path().join(vault)).expect("list the vault");
    let files = files.map(|entry| entry.expect("list the vault").file_name());
    let mut files = files.filter_map(|name| name.into_string().ok());
    let manifest = files
        .find(|name| name.ends_with(".json"))
        .expect("a manifest");
    let id = manifest.trim_end_matches(".json");
    let short: Vec<String> = calls
        .iter()
        .map(|call| call.replace(id, "ID").replace(vault, "VAULT"))
        .filter(|call| !call.contains("copy.db") && !call.contains("mkdir new"))
        .collect();
    let expected = [
        "mkdir VAULT",
        "fsync new/folder",
        "fsync new",
        "fsync .",
        "mkdir VAULT/.ID.partial",
        "mkdir VAULT/.ID.partial/work",
        "fsync VAULT/.ID.partial/dump",
        "fsync VAULT/.ID.partial/manifest",
        "rename VAULT/.ID.partial/dump VAULT/ID.db.zst",
        "fsync VAULT",
        "rename VAULT/.ID.partial/manifest VAULT/ID.json",
        "fsync VAULT",
        "fdatasync VAULT/journal.jsonl",
        "fsync VAULT",
    ];
    assert_eq!(short, expected, "all calls: {calls:#?}");
}

/// It is gone before a power cut could matter, and the first commit would wait for all of it.
#[test]
fn a_scratch_database_is_not_flushed() {
    let project = Project::new().rehearsed();
    let project = project.migration("1_t.sql", "CREATE TABLE u (id INTEGER);");
    project.sqlite("CREATE TABLE t (id INTEGER);");
    let trace = "trace=fsync,fdatasync";
    let Some(calls) = calls(&project, trace, &["db", "migrate-safe", "--yes"]) else {
        return;
    };
    let of = |file: &str| calls.iter().any(|call| call.contains(file));
    assert!(of("database/app.db") && !of("scratch.db"), "{calls:#?}");
}
