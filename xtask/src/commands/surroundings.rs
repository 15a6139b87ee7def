//! Where a run takes place: user, host, CI run, commit.

use std::env;
use std::path::Path;

use crate::tool;
use crate::values::manifest::{Git, RanOn};

pub fn ran_on() -> RanOn {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    RanOn {
        user: variable("USER")
            .or_else(|| variable("LOGNAME"))
            .or_else(user_id),
        host: Some(host).filter(|host| !host.is_empty()),
        ci_run_url: github_run()
            .or_else(|| variable("CI_JOB_URL"))
            .or_else(|| variable("BUILD_URL")),
    }
}

fn user_id() -> Option<String> {
    Some(format!("uid {}", rustix::process::getuid().as_raw()))
}

fn github_run() -> Option<String> {
    let variable = |name: &str| env::var(name).ok();
    let server = variable("GITHUB_SERVER_URL")?;
    let repository = variable("GITHUB_REPOSITORY")?;
    Some(format!(
        "{server}/{repository}/actions/runs/{}",
        variable("GITHUB_RUN_ID")?
    ))
}

/// The commit of the project's checkout; `None` outside of git. The vault is
/// not the checkout: being written to, it would always make it dirty.
pub fn git(project: &Path, vault: &Path) -> Option<Git> {
    let commit = tool::output_of(project, "git", &["rev-parse", "HEAD"])?;
    let mut arguments = vec!["--no-optional-locks", "status", "--porcelain", "--", "."];
    let inside = vault.strip_prefix(project).ok().and_then(Path::to_str);
    let exclude = inside.map(|vault| format!(":(exclude,literal){vault}"));
    arguments.extend(exclude.as_deref());
    let changed = tool::output_of(project, "git", &arguments)?;
    Some(Git {
        commit,
        dirty: !changed.trim().is_empty(),
    })
}
