//! What reaches the disk, and when: the system calls of a backup are the log, and the log is the
//! assertion. Without a flush in its place a power cut could leave any mix of old and new.

use std::fs;

use crate::encryption::{Pair, adopt};
use crate::project::Project;
use crate::setup::text;
use crate::traced::calls;

const CALLS: &str = "trace=fsync,fdatasync,mkdir,mkdirat,link,linkat,rename,renameat,renameat2";
const CALLS_AND_REMOVALS: &str =
    "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat";

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

/// The old dump goes when the manifest that names the new one is sure to be there, and not before: a
/// power cut would leave a manifest whose dump is gone.
#[test]
fn a_rekey_flushes_what_names_the_new_dump_before_the_old_one_goes() {
    let project = adopt(Project::new(), &Pair::new());
    project.sqlite("CREATE TABLE t (id INTEGER);");
    let taken = project.json(["db", "backup"]);
    let id = text(&taken, "/backup/id");
    let more = Pair::new().public;
    let rekey = ["db", "rekey", id, "--add-recipient", &more];
    let Some(calls) = calls(&project, CALLS_AND_REMOVALS, &rekey) else {
        return;
    };
    let short = calls.iter().map(|call| {
        let call = call.replace(id, "ID").replace("database/backups", "VAULT");
        let (before, _) = call.split_once(".rekey").unwrap_or((&call, ""));
        let staged = call.split_once(".partial").map(|(_, rest)| rest);
        staged.map_or(call.clone(), |rest| format!("{before}STAGED{rest}"))
    });
    let expected = [
        "fsync VAULT/STAGED/dump",
        "fsync VAULT/STAGED/manifest",
        "rename VAULT/STAGED/dump VAULT/ID.db.zst.2.age",
        "fsync VAULT",
        "rename VAULT/STAGED/manifest VAULT/ID.json",
        "fsync VAULT",
        "unlink VAULT/ID.db.zst.age",
        "fsync VAULT",
    ];
    let short: Vec<String> = short.filter(|call| !call.contains("journal")).collect();
    assert!(short.starts_with(&expected.map(String::from)), "{short:#?}");
}
