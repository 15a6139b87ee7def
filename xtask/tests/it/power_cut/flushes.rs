//! What reaches the disk, and when: the system calls of a backup are the log, and the log is the
//! assertion. Without a flush in its place a power cut could leave any mix of old and new.

use std::fs;
use std::process::Command;

use crate::exec::{self, Output};
use crate::project::Project;

const CALLS: &str = "trace=fsync,fdatasync,mkdir,mkdirat,link,linkat,rename,renameat,renameat2";

/// The calls of a run that name, make and flush what is in the project, as `call path path`; `None`
/// where nobody may trace.
pub fn calls(project: &Project, trace: &str, arguments: &[&str]) -> Option<Vec<String>> {
    let log = project.tmp().join("calls");
    let log_to = log.display().to_string();
    let options = ["--decode-fds=path", "-e", trace, "--output", &log_to];
    traced(project, &options, arguments)?.expect_code(0);
    let log = fs::read_to_string(log).expect("read the log");
    let done = log.lines().filter(|line| line.trim_end().ends_with("= 0"));
    Some(done.filter_map(|line| words(project, line)).collect())
}

/// The tool under `strace`; `None` where nobody may trace.
pub fn traced(project: &Project, options: &[&str], arguments: &[&str]) -> Option<Output> {
    if !exec::installed("strace") {
        exec::say("SKIPPED: `strace` is not installed");
        return None;
    }
    let tool = project.command(arguments);
    let mut strace = Command::new("strace");
    strace.arg("--follow-forks").args(options);
    strace.arg(tool.get_program()).args(tool.get_args());
    strace.current_dir(project.path());
    for (name, value) in tool.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let output = exec::run(&mut strace, None);
    if output.stderr.contains("ptrace") {
        exec::say(&format!(
            "SKIPPED: nobody may trace here: {}",
            output.stderr.trim()
        ));
        return None;
    }
    Some(output)
}

/// `fsync vault/dump` of `4711 fsync(7</…/project/vault/dump>) = 0`; what is elsewhere is left out.
fn words(project: &Project, line: &str) -> Option<String> {
    let root = project.path().display().to_string();
    let (call, arguments) = line.split_once(' ')?.1.trim_start().split_once('(')?;
    // A descriptor shows its path as `7</path>`, and a path that is given stands in quotes, after
    // the folder that it would be relative to.
    let arguments = arguments.replace(&format!("AT_FDCWD<{root}>"), "");
    let is_path = |part: &&str| part.starts_with(&root);
    let paths: Vec<&str> = arguments.split(['"', '<', '>']).filter(is_path).collect();
    let mut words = vec![
        call.trim_end_matches("at2")
            .trim_end_matches("at")
            .to_owned(),
    ];
    for path in paths {
        let inside = path[root.len()..].trim_start_matches('/');
        words.push(if inside.is_empty() { "." } else { inside }.to_owned());
    }
    (words.len() > 1).then(|| words.join(" "))
}

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
