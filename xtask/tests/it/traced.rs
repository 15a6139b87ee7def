//! The tool under `strace`: its system calls are the log, come late, or fail as on a broken disk.

use std::fs;
use std::process::Command;

use crate::exec::{self, Output, Running};
use crate::project::Project;

/// Starts the tool with these flags of `strace`; nothing, after a visible line, without that.
pub fn start(project: &Project, flags: &[&str], arguments: &[&str]) -> Option<Running> {
    if exec::is_missing("strace") {
        return None;
    }
    let mut strace = Command::new("strace");
    strace.args(["--follow-forks", "--output=/dev/null"]);
    strace.args(flags);
    let mut strace = exec::wrapped(strace, &project.command(arguments));
    Some(exec::start(&mut strace, None))
}

/// Waits for its end; nothing, after a visible line, where nobody may trace.
pub fn finish(running: Running) -> Option<Output> {
    let output = running.finish();
    if output.stderr.contains("ptrace") {
        let why = output.stderr.trim();
        exec::say(&format!("SKIPPED: nobody may trace here: {why}"));
        return None;
    }
    Some(output)
}

pub fn run(project: &Project, flags: &[&str], arguments: &[&str]) -> Option<Output> {
    finish(start(project, flags, arguments)?)
}

/// The calls of a run that name, make and flush what is in the project, as `call path path`.
pub fn calls(project: &Project, trace: &str, arguments: &[&str]) -> Option<Vec<String>> {
    let log = project.tmp().join("calls");
    let to_log = format!("--output={}", log.display());
    let flags = ["--decode-fds=path", "-e", trace, &to_log];
    run(project, &flags, arguments)?.expect_code(0);
    let log = fs::read_to_string(log).expect("read the log");
    let done = log.lines().filter(|line| line.trim_end().ends_with("= 0"));
    Some(done.filter_map(|line| words(project, line)).collect())
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
