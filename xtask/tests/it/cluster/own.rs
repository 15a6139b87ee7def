//! A server of one test's own, which may be killed, started again and given limits.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, Launcher, unprivileged};
use crate::{exec, servers};

impl Cluster {
    /// A server that nobody else uses, or [a skip](exec::skip). `settings` are `-c name=value`.
    pub fn own_or_skip(settings: &'static str) -> Option<&'static Self> {
        let Some(bin) = servers::programs() else {
            exec::skip("no PostgreSQL server programs found");
            return None;
        };
        // It lives as long as this process, as the shared one does, and ends in the same way.
        Some(Box::leak(Box::new(Self::start(bin, settings))))
    }

    /// The process that starts all others of the server.
    pub fn postmaster(&self) -> Pid {
        let file = self.folder.join("data/postmaster.pid");
        let text = fs::read_to_string(&file).expect("read the server's pid");
        let pid = text.lines().next().and_then(|pid| pid.trim().parse().ok());
        pid.and_then(Pid::from_raw).expect("a pid")
    }

    /// `kill -9` of every process of the server, or the immediate shutdown of an administrator.
    pub fn kill(&self, signal: Signal) {
        let postmaster = self.postmaster();
        let all = [vec![postmaster], children(postmaster)].concat();
        match signal {
            // The first of all: it would start the others anew.
            Signal::KILL => all.iter().for_each(|pid| {
                let _ = kill_process(*pid, signal);
            }),
            other => kill_process(postmaster, other).expect("signal the server"),
        }
        let deadline = Instant::now() + exec::LIMIT;
        while all.iter().any(|pid| is_running(*pid)) {
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Of a killed one they stay; where nobody waits for the dead, its pid still looks alive.
        let socket = format!(".s.PGSQL.{}.lock", self.port);
        for left in ["data/postmaster.pid", &socket] {
            let _ = fs::remove_file(self.folder.join(left));
        }
    }

    /// As [`Cluster::start_again`]; no file of the server may be larger than this, which it takes
    /// for a full disk.
    pub fn start_again_limited(&self, kib: u64) {
        let launcher = self.launcher();
        let mut shell = unprivileged(Path::new("/bin/sh"), &self.folder, self.owner);
        // In blocks of 512 bytes, as POSIX has it.
        let script = format!("ulimit -S -f {}; exec \"$@\"", kib * 2);
        shell
            .args(["-c", &script, "sh"])
            .arg(self.bin.join("pg_ctl"));
        shell.arg(format!("--pgdata={}/data", self.folder.display()));
        shell.args(launcher.start_arguments(self.port, self.settings));
        let output = exec::run(&mut shell, None);
        assert_eq!(output.code, 0, "{output}\n{:#?}", self.last_log());
    }

    /// What starts the server again, and whose it is to be; for a place that only the caller sees.
    pub fn start_command(&self) -> (Command, Option<(u32, u32)>) {
        let mut command = Command::new(self.bin.join("pg_ctl"));
        command.arg(format!("--pgdata={}/data", self.folder.display()));
        command.args(self.launcher().start_arguments(self.port, self.settings));
        (command, self.owner)
    }

    fn launcher(&self) -> Launcher {
        Launcher {
            bin: self.bin.clone(),
            folder: self.folder.clone(),
            owner: self.owner,
        }
    }

    /// On the port that it had.
    pub fn start_again(&self) {
        let launcher = self.launcher();
        // A session that was just being opened when all others were killed ends a moment later.
        const ATTEMPTS: u32 = 5;
        let mut output = launcher.start_server_at(self.port, self.settings);
        for _ in 1..ATTEMPTS {
            if output.code == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
            output = launcher.start_server_at(self.port, self.settings);
        }
        panic!(
            "the server does not start again: {output}\n{:#?}",
            self.last_log()
        );
    }

    fn last_log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.lines().rev().take(20).map(str::to_owned).collect()
    }
}

/// A zombie has ended; nobody may have waited for it yet.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !matches!(fields(&stat).first(), None | Some(&"Z")))
}

/// The running processes whose parent this one is now.
pub fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().to_string();
    let processes = fs::read_dir("/proc").expect("list the processes");
    let pid = |path: &Path| path.file_name()?.to_str()?.parse().ok();
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        matches!(fields(&stat)[..], [state, its] if state != "Z" && its == parent)
    };
    processes
        .filter_map(|entry| pid(&entry.ok()?.path()))
        .filter(is_child)
        .filter_map(Pid::from_raw)
        .collect()
}

/// Of `/proc/PID/stat`, after the name of the program, which may hold anything: state, parent, …
fn fields(stat: &str) -> Vec<&str> {
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    after.split_whitespace().take(2).collect()
}
