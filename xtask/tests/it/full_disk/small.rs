//! A file system of a few MiB that nobody but its holder sees, and that ends with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::exec::{self, Output};
use crate::project::Project;

/// Mounts and waits for the end of its stdin, which also comes when the test process is killed.
const HOLD: &str = r#"mount -t tmpfs -o "size=$1,mode=700" tmpfs "$2" && echo ready && cat"#;

pub struct Small {
    holder: Child,
    /// As an unprivileged user, in a user namespace as well.
    has_user: bool,
    place: PathBuf,
}

impl Small {
    /// A file system of `kib` over `place`, a folder of the project; nothing, after a visible line,
    /// where the kernel does not let this user mount: the size limit of files stands in there.
    pub fn over(project: &Project, place: &str, kib: u32) -> Option<Self> {
        let place = project.path().join(place);
        fs::create_dir_all(&place).expect("create the mount point");
        Self::over_folder(&project.path(), place, kib)
    }

    /// The same over any folder that is there.
    pub fn over_folder(from: &Path, place: PathBuf, kib: u32) -> Option<Self> {
        let ways = [&["--mount"][..], &["--mount", "--user", "--map-root-user"]];
        let found = ways.into_iter().find_map(|way| {
            let mut command = Command::new("unshare");
            command.args(way).args(["sh", "-c", HOLD, "sh"]);
            command.arg(format!("{kib}k")).arg(&place);
            command
                .current_dir(from)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let mut holder = command.spawn().ok()?;
            let mut line = String::new();
            let mut stdout = BufReader::new(holder.stdout.take()?);
            if stdout.read_line(&mut line).is_ok() && line == "ready\n" {
                return Some((holder, way.len() > 1));
            }
            holder.wait().expect("wait for the holder");
            None
        });
        let Some((holder, has_user)) = found else {
            exec::say("SKIPPED: this user may mount nothing; files are limited instead");
            return None;
        };
        Some(Self {
            holder,
            has_user,
            place,
        })
    }

    /// A command of the project where the small file system is.
    pub fn command(&self, inside: &Command) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.id()));
        command.args(["--mount", "--wd"]);
        if self.has_user {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--");
        exec::wrapped(command, inside)
    }

    /// Runs the tool there.
    pub fn run(&self, project: &Project, arguments: &[&str]) -> Output {
        exec::run(&mut self.command(&project.command(arguments)), None)
    }

    /// The rows of statements on a database in it. From here SQLite would open another file: it
    /// follows the link of `/proc` by its text.
    #[track_caller]
    pub fn sqlite(&self, file: &Path, sql: &str) -> Vec<String> {
        let mut sqlite3 = Command::new("sqlite3");
        sqlite3.arg(file);
        let output = exec::run(&mut self.command(&sqlite3), Some(sql)).expect_code(0);
        output.stdout.lines().map(str::to_owned).collect()
    }

    /// Where this process sees what is in it.
    pub fn seen(&self) -> PathBuf {
        let place = self.place.strip_prefix("/").expect("an absolute path");
        Path::new("/proc")
            .join(self.holder.id().to_string())
            .join("root")
            .join(place)
    }

    /// Takes all space but `kib`.
    pub fn blow_up(&self, kib: u64) {
        let seen = self.seen();
        let free = rustix::fs::statvfs(&seen).expect("ask for free space");
        let bytes = (free.f_bavail * free.f_frsize).saturating_sub(kib << 10);
        let bytes = usize::try_from(bytes).expect("a size");
        fs::write(seen.join("balloon"), vec![1; bytes]).expect("take the space");
    }

    pub fn let_air_out(&self) {
        fs::remove_file(self.seen().join("balloon")).expect("give the space back");
    }

    /// The names in it but the lock, the journal's end and the balloon.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.seen()).expect("list the small file system");
        let names = entries.map(|entry| entry.expect("list").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.into_string().expect("a UTF-8 file name"))
            .filter(|name| ![".lock", ".journal-end", "balloon"].contains(&name.as_str()))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // Its end is all that matters.
        let _ = self.holder.wait();
    }
}
