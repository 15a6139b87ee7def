//! External programs: found, asked for their version, run with their output streamed.
//!
//! The only module that starts a process. It knows no database and no vault.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use xshell::{Cmd, Shell, cmd};

use crate::interrupt::{ChildGuard, Interrupt, Interrupted};

/// How much of a program's stderr an error repeats.
const STDERR_LINES: usize = 12;
const STDERR_LINE_BYTES: u64 = 2000;

/// How often it is looked for a signal.
const OFTEN: Duration = Duration::from_millis(50);

/// A program that answered `--version`.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    /// Its first line, such as `pg_dump (PostgreSQL) 15.18`.
    pub version: String,
    pub major: u32,
}

/// The programs of that name in the folders, in their order, that answer
/// `--version`; none is asked after one of version `best`.
pub fn find(name: &str, folders: &[PathBuf], best: u32) -> Result<Vec<Program>> {
    let shell = shell()?;
    let mut found = Vec::new();
    for path in folders
        .iter()
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file())
    {
        let Ok(version) = cmd!(shell, "{path} --version")
            .quiet()
            .ignore_stderr()
            .read()
        else {
            continue;
        };
        let version = version.lines().next().unwrap_or_default().trim().to_owned();
        if let Some(major) = major_of(&version) {
            found.push(Program {
                path,
                version,
                major,
            });
            if major == best {
                break;
            }
        }
    }
    Ok(found)
}

/// `15` of `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; also of `17beta1`.
pub fn major_of(version: &str) -> Option<u32> {
    let number = version
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

pub fn path_folders() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}

pub fn shell() -> Result<Shell> {
    Shell::new().context("cannot ask for the current folder")
}

/// The output of a short program, or `None` when it is missing or fails.
pub fn output_of(folder: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    let shell = shell().ok()?;
    shell.change_dir(folder);
    cmd!(shell, "{program} {arguments...}")
        .quiet()
        .ignore_stderr()
        .read()
        .ok()
}

/// A running program; ended when dropped, and when a signal comes.
pub struct Running {
    name: String,
    child: Child,
    stderr: Option<JoinHandle<Vec<String>>>,
    interrupt: Interrupt,
    /// Let go of when the child has been waited for: its pid may be another's then.
    guard: Option<ChildGuard>,
    waited: bool,
}

/// Which of the standard streams are pipes; the others lead nowhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pipes {
    None,
    Stdin,
    Stdout,
    Both,
}

impl Running {
    pub fn start(command: Cmd<'_>, pipes: Pipes, interrupt: &Interrupt) -> Result<Running> {
        interrupt.check()?;
        let mut command = Command::from(command);
        let name = Path::new(command.get_program())
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let pipe_if = |piped| if piped { Stdio::piped() } else { Stdio::null() };
        command
            .stdin(pipe_if(matches!(pipes, Pipes::Stdin | Pipes::Both)))
            .stdout(pipe_if(matches!(pipes, Pipes::Stdout | Pipes::Both)))
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        let guard = interrupt.guard(&child);
        let stderr = child
            .stderr
            .take()
            .map(|stderr| std::thread::spawn(|| last_lines(stderr)));
        let interrupt = interrupt.clone();
        Ok(Running {
            name,
            child,
            stderr,
            interrupt,
            guard: Some(guard),
            waited: false,
        })
    }

    pub fn take_stdin(&mut self) -> Result<ChildStdin> {
        self.child
            .stdin
            .take()
            .with_context(|| format!("`{}` has no stdin", self.name))
    }

    pub fn take_stdout(&mut self) -> Result<ChildStdout> {
        self.child
            .stdout
            .take()
            .with_context(|| format!("`{}` has no stdout", self.name))
    }

    /// Waits for the end; an error unless it was a good one.
    pub fn wait(mut self) -> Result<()> {
        self.waited = true;
        let status = self
            .child
            .wait()
            .with_context(|| format!("cannot wait for `{}`", self.name))?;
        self.guard = None;
        let lines = self
            .stderr
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        if self.interrupt.is_raised() {
            return Err(Interrupted.into());
        }
        if lines.is_empty() {
            bail!("`{}` ended with {status} and said nothing", self.name);
        }
        bail!("`{}` ended with {status}: {}", self.name, lines.join("\n"))
    }

    /// Unlike one that is killed, a program can end what it has started itself.
    pub fn ask_to_end(&self) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a line of a shell prints, which the user wrote. What it says on stderr may be more than it
/// should say, and leads nowhere. Without a terminal, on which it may ask, all that it starts is
/// ended with it.
pub fn printed(
    line: &str,
    without: impl Fn(&str) -> bool,
    most_bytes: u64,
    patience: Duration,
    interrupt: &Interrupt,
) -> Result<Vec<u8>> {
    interrupt.check()?;
    let is_alone = !std::io::stdin().is_terminal();
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(&without) {
            command.env_remove(name);
        }
    }
    if is_alone {
        command.process_group(0);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().context("cannot start `/bin/sh`")?;
    let _guard = interrupt.guard(&child);
    let stdout = child.stdout.take().context("`/bin/sh` has no stdout")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(most_bytes).read_to_end(&mut bytes);
        // Nobody waits any more when it took too long.
        let _ = sender.send(read.map(|_| bytes));
    });
    let deadline = Instant::now() + patience;
    let read = loop {
        let read = receiver.recv_timeout(OFTEN);
        let is_late = interrupt.is_raised() || Instant::now() > deadline;
        match read {
            Ok(read) => break Some(read),
            Err(_) if is_late => break None,
            Err(_) => {}
        }
    };
    let Some(read) = read else {
        let pid = Pid::from_child(&child);
        // It may have ended by itself.
        let _ = match is_alone {
            true => kill_process_group(pid, Signal::TERM),
            false => kill_process(pid, Signal::TERM),
        };
        interrupt.check()?;
        bail!("it did not end in {} s", patience.as_secs());
    };
    let read = read.context("cannot read what it prints")?;
    let status = child.wait().context("cannot wait for `/bin/sh`")?;
    ensure!(status.success(), "it ended with {status}");
    Ok(read)
}

fn last_lines(stderr: ChildStderr) -> Vec<String> {
    let mut reader = BufReader::new(stderr);
    let mut lines = VecDeque::new();
    loop {
        let mut line = Vec::new();
        let mut limited = std::io::Read::take(&mut reader, STDERR_LINE_BYTES);
        match limited.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return lines.into(),
            Ok(_) => {
                if lines.len() == STDERR_LINES {
                    lines.pop_front();
                }
                lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
    }
}
