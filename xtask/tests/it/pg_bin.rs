//! A folder for `PG_BIN`: real programs behind a log and a gate, and stand-ins that fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::exec;

const LIMIT: Duration = Duration::from_secs(60);

/// The only folder that the tool then looks into for PostgreSQL's programs.
pub struct PgBin {
    folder: tempfile::TempDir,
}

impl PgBin {
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("xtask-db-bin-")
            .tempdir()
            .expect("create a folder for programs");
        Self { folder }
    }

    /// All programs that a dump or a restore needs, each of them with its arguments logged.
    pub fn logging(cluster: &Cluster) -> Self {
        Self::empty()
            .real(cluster, "pg_dump", "")
            .real(cluster, "pg_restore", "")
            .real(cluster, "psql", "")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A program whose `--version` is the real one and that then does what `body` says, in the
    /// language of the shell. `exec` what takes long: a signal ends the shell alone.
    pub fn script(self, cluster: &Cluster, program: &str, body: &str) -> Self {
        let real = cluster.bin().join(program);
        let (real, folder) = (real.display(), self.path().display());
        let text = format!(
            "#!/bin/sh\n\
             [ \"$1\" = --version ] && exec '{real}' --version\n\
             printf '%s\\n' {program} \"$@\" PGPASSWORD=\"${{PGPASSWORD-unset}}\" >>'{folder}/log'\n\
             {body}\n"
        );
        self.raw(program, &text)
    }

    /// The real program, after what `before` does.
    pub fn real(self, cluster: &Cluster, program: &str, before: &str) -> Self {
        let real = cluster.bin().join(program);
        let body = format!("{before}\nexec '{}' \"$@\"", real.display());
        self.script(cluster, program, &body)
    }

    /// The real program, which says that it is there and waits for [`PgBin::open`] when it is
    /// called with `wanted` among its arguments.
    pub fn gated(self, cluster: &Cluster, program: &str, wanted: &str) -> Self {
        let folder = self.path().display().to_string();
        let wait = format!(
            "case \"$*\" in *{wanted}*)\n\
             touch '{folder}/{program}.waits'\n\
             until [ -e '{folder}/{program}.open' ]; do sleep 0.02; done ;; esac"
        );
        self.real(cluster, program, &wait)
    }

    /// A program with this text.
    pub fn raw(self, program: &str, text: &str) -> Self {
        let path = self.path().join(program);
        let staged = self.path().join(format!(".{program}"));
        fs::write(&staged, text).expect("write a program");
        // Not by this process: a child of another test that was forked meanwhile would hold it
        // open for writing, and a program that is open for writing cannot be started.
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(&staged).arg(&path);
        exec::run(&mut install, None).expect_code(0);
        self
    }

    /// What the programs were started with, a line for each argument.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Waits until a gated program was started, or another one has made this file.
    #[track_caller]
    pub fn wait_for(&self, name: &str) -> PathBuf {
        let file = self.path().join(name);
        let deadline = Instant::now() + LIMIT;
        while !file.exists() {
            assert!(Instant::now() < deadline, "`{name}` never appeared");
            std::thread::sleep(Duration::from_millis(5));
        }
        file
    }

    /// Lets a gated program go on.
    pub fn open(&self, program: &str) {
        fs::write(self.path().join(format!("{program}.open")), "").expect("open the gate");
    }
}
