//! What all parts stand on: a private folder, the binary that users run, a project to run it in.

use std::ffi::OsStr;
use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, Database};
use crate::settings::Settings;

pub struct Stage {
    pub settings: Settings,
    /// Of the dev profile, which the alias `cargo xtask` runs.
    tool: PathBuf,
    folder: PathBuf,
    _watchdog: ChildStdin,
}

/// Removes the folder however this process ends, as the tests' cluster is removed: the kernel
/// closes the pipe.
const WATCHDOG: &str = r#"cat >/dev/null; rm -rf "$1""#;

impl Stage {
    pub fn new(settings: Settings) -> Result<Stage> {
        let tool = build_tool()?;
        // On the disk of the build, which is a disk: many a `/tmp` is memory.
        let folder = tempfile::Builder::new()
            .prefix("side-by-side-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .context("cannot create a folder in the target folder")?
            .keep();
        let watchdog = start_watchdog(&folder)?;
        let stage = Stage {
            settings,
            tool,
            folder,
            _watchdog: watchdog,
        };
        let largest = stage.settings.megabytes.max(
            stage
                .settings
                .memory_megabytes
                .iter()
                .copied()
                .max()
                .unwrap_or(0),
        );
        stage.require_free(largest << 20)?;
        Ok(stage)
    }

    /// The database, its dumps by the candidates, and what a restore keeps.
    fn require_free(&self, database: u64) -> Result<()> {
        let statistics = rustix::fs::statvfs(&self.folder)?;
        let free = statistics.f_bavail.saturating_mul(statistics.f_frsize);
        ensure!(
            free > 6 * database,
            "{} MB are free, and {} MB may be needed",
            free >> 20,
            (6 * database) >> 20
        );
        Ok(())
    }

    /// A new empty folder; it goes away with the stage.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        Ok(folder)
    }

    /// A new project on the default SQLite database, or on the one that the URL leads to.
    pub fn project(&self, name: &str, url: Option<String>) -> Result<Project<'_>> {
        let folder = self.folder(name)?;
        for inner in ["migrations", "database", "home", "tmp"] {
            fs::create_dir(folder.join(inner)).context("cannot create the project's folders")?;
        }
        Ok(Project {
            stage: self,
            folder,
            url,
        })
    }

    /// A new database on the server that all parts share; nothing where there is no PostgreSQL.
    pub fn postgres(&self, name: &str) -> Option<Database> {
        Cluster::get_or_skip().map(|cluster| cluster.create_database(name))
    }
}

/// A folder to run the tool in.
pub struct Project<'a> {
    stage: &'a Stage,
    pub folder: PathBuf,
    url: Option<String>,
}

impl Project<'_> {
    /// The tool as it is.
    pub fn tool<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = shut_off(&self.stage.tool);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("HOME", self.folder.join("home"))
            .env("TMPDIR", self.folder.join("tmp"))
            .envs(self.url.iter().map(|url| ("DATABASE_URL", url)));
        command
    }

    /// The tool through the alias, from the workspace that has it.
    pub fn alias<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = cargo(workspace());
        command
            .args(["xtask", "db", "--project"])
            .arg(&self.folder)
            .args(arguments)
            .env("TMPDIR", self.folder.join("tmp"))
            .envs(self.url.iter().map(|url| ("DATABASE_URL", url)));
        command
    }

    pub fn sqlite_path(&self) -> PathBuf {
        self.folder.join("database/app.db")
    }

    pub fn vault(&self) -> PathBuf {
        self.folder.join("database/backups")
    }

    /// The migrations of the example application.
    pub fn add_example_migrations(&self) -> Result<()> {
        let to = self.folder.join("migrations");
        for entry in fs::read_dir(workspace().join("migrations"))? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// The backups that the tool took, removed, and their size on the disk.
    pub fn remove_backups(&self) -> Result<u64> {
        let mut size = 0;
        for entry in fs::read_dir(self.vault()).context("cannot list the vault")? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b"backup_") {
                size += entry.metadata()?.len();
                fs::remove_file(entry.path())?;
            }
        }
        Ok(size)
    }

    /// Runs the tool with `--json` and returns its document.
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Value> {
        let output = self.tool(arguments).arg("--json").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the tool failed: {said}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Takes a backup and returns its id.
    pub fn backup(&self) -> Result<String> {
        let document = self.json(["db", "backup"])?;
        let id = document.pointer("/backup/id").and_then(Value::as_str);
        Ok(id.context("the document has no id")?.to_owned())
    }
}

pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// A program without the variables that would steer the tool, git, libpq or a build: what cargo
/// tells this program is no business of another build, and would make it begin anew.
fn shut_off(program: impl AsRef<OsStr>) -> Command {
    const FOREIGN: [&str; 7] = [
        "PG",
        "GIT",
        "CARGO",
        "RUST_",
        "XTASK_",
        "DATABASE_URL",
        "CI",
    ];
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        let is_foreign = |start: &&str| bytes.starts_with(start.as_bytes());
        if FOREIGN.iter().any(is_foreign) {
            command.env_remove(name);
        }
    }
    command
}

/// Cargo as a user would start it in a folder.
pub fn cargo(folder: &Path) -> Command {
    let mut command = shut_off(env!("CARGO"));
    command.current_dir(folder);
    for name in ["CARGO_HOME", "CARGO_TARGET_DIR"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

/// The bench profile is faster, and nobody runs it.
fn build_tool() -> Result<PathBuf> {
    let output = cargo(workspace())
        .args(["build", "--quiet", "--locked", "--message-format=json"])
        .args(["--package", "xtask-db", "--bin", "xtask"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "the tool cannot be built");
    let executable = |line: std::io::Result<String>| -> Option<PathBuf> {
        let message: Value = serde_json::from_str(&line.ok()?).ok()?;
        let is_tool = message.pointer("/target/name")?.as_str()? == "xtask";
        is_tool.then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    (output.stdout.lines().find_map(executable)).context("cargo names no executable `xtask`")
}

fn start_watchdog(folder: &Path) -> Result<ChildStdin> {
    use std::os::unix::process::CommandExt;
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", WATCHDOG, "watchdog"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of the terminal's Ctrl-C, which ends this process.
        .process_group(0)
        .spawn()
        .context("cannot start the watchdog of the folder")?;
    watchdog.stdin.take().context("stdin is piped")
}
