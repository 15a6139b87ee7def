//! Runs a child program with a time limit, so that a hang is a failed test with the output so far.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

/// Far above what any step takes, so that only a hang meets it.
pub const LIMIT: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(5);

/// What a finished program left behind.
#[derive(Debug)]
pub struct Output {
    /// The exit code; 128 + the number for a program that a signal ended, as shells count.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Panics with everything the program said when the exit code is another one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code {} where {code} was expected\n{self}",
            self.code
        );
        self
    }

    /// stdout as the one JSON document that it must be.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON document: {error}\n{self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "--- exit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}

/// A program that was started and not yet waited for.
pub struct Running {
    child: Child,
    started: Instant,
    shown: String,
    stdout: Captured,
    stderr: Captured,
}

/// Starts `command` in a process group of its own; without `input`, stdin is `/dev/null`.
#[track_caller]
pub fn start(command: &mut Command, input: Option<&str>) -> Running {
    let shown = format!("{command:?}");
    command
        .stdin(input.map_or_else(Stdio::null, |_| Stdio::piped()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = spawn_feeding(command, input.unwrap_or_default());
    let stdout = Captured::new(child.stdout.take().expect("stdout is piped"));
    let stderr = Captured::new(child.stderr.take().expect("stderr is piped"));
    Running {
        child,
        started: Instant::now(),
        shown,
        stdout,
        stderr,
    }
}

/// The tool run by another program, such as a shell that limits it: where and with what the tool
/// would run by itself.
pub fn wrapped(mut outer: Command, tool: &Command) -> Command {
    outer.arg(tool.get_program()).args(tool.get_args());
    if let Some(folder) = tool.get_current_dir() {
        outer.current_dir(folder);
    }
    for (name, value) in tool.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// Starts `command`; a stdin that is piped gets `input` and its end.
#[track_caller]
pub fn spawn_feeding(command: &mut Command, input: &str) -> Child {
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // From a thread: a child that answers before it has read everything would block both.
        // A child that ends early closes the pipe; its exit code tells the story.
        std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    }
    child
}

/// Runs `command` to its end.
#[track_caller]
pub fn run(command: &mut Command, input: Option<&str>) -> Output {
    start(command, input).finish()
}

impl Running {
    /// Sends a signal to the program alone, not to its children.
    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("send a signal");
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Sends a signal to the program and to all that it has started.
    pub fn signal_group(&self, signal: Signal) {
        // All of them may have ended by themselves in this moment.
        let _ = rustix::process::kill_process_group(self.pid(), signal);
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_some()
    }

    /// Waits for a line on stdout or stderr that starts with `start`; returns the rest of it.
    #[track_caller]
    pub fn wait_for_line(&self, start: &str) -> String {
        let deadline = self.started + LIMIT;
        loop {
            let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
            let complete = |text: &str| text.rfind('\n').map_or(0, |end| end + 1);
            let found = [&stdout, &stderr]
                .into_iter()
                .flat_map(|text| text[..complete(text)].lines())
                .find_map(|line| line.strip_prefix(start));
            if let Some(rest) = found {
                return rest.to_owned();
            }
            assert!(
                Instant::now() < deadline,
                "no line `{start}…`\n{stdout}\n{stderr}"
            );
            std::thread::sleep(POLL);
        }
    }

    /// Waits for its end; with the most memory that it had at once, in KiB.
    pub fn finish_with_peak(mut self) -> (Output, u64) {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let mut peak = 0;
        while !self.has_ended() {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            peak = peak.max(kib.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(peak > 10 << 10, "the peak was not measured");
        (self.finish(), peak)
    }

    /// Waits for the end; at the limit, kills the whole process group and panics.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let deadline = self.started + LIMIT;
        let Some(status) = wait_until(&mut self.child, deadline) else {
            self.kill_group();
            panic!(
                "no end after {LIMIT:?}: {}\n{}",
                self.shown,
                Output {
                    code: -1,
                    stdout: self.stdout.text(),
                    stderr: self.stderr.text(),
                }
            );
        };
        // A grandchild that outlives the program holds the pipes open: that is a finding too.
        let closed = self.stdout.closed_before(deadline) && self.stderr.closed_before(deadline);
        let output = Output {
            code: exit_code(status),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        };
        if !closed {
            self.kill_group();
            panic!("a child outlived {}\n{output}", self.shown);
        }
        output
    }

    fn kill_group(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        // It may have ended by itself in this moment.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        drop(self.child.wait());
    }
}

/// The exit status, or nothing when the child still runs at `deadline`.
pub fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .expect("a finished program has a code or a signal")
}

/// A pipe that a thread reads, so that what came so far is known at any moment.
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: mpsc::Receiver<()>,
}

impl Captured {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (at_end, end) = mpsc::channel();
        let sink = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut chunk) {
                sink.lock()
                    .expect("no reader panics")
                    .extend_from_slice(&chunk[..read]);
            }
            drop(at_end);
        });
        Self { bytes, end }
    }

    /// Whether the other side has closed the pipe by then; the thread's end closes the channel.
    fn closed_before(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.end.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Disconnected)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no reader panics")).into_owned()
    }
}

/// With this variable set, a missing program is a failure and not a skip.
const REQUIRED: &str = "XTASK_DB_REQUIRE_POSTGRES";

/// Says that a test ends here because this machine lacks something; panics where it may not.
#[track_caller]
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os(REQUIRED).is_none(),
        "{reason}, and {REQUIRED} is set"
    );
    say(&format!("SKIPPED: {reason}"));
}

/// A file that gets every line that is said, so that a gate can show at its end what it left out.
const SAID: &str = "XTASK_DB_SKIPS";

/// Says a line past the capture of libtest: a skip that nobody sees is a test that cannot fail.
pub fn say(line: &str) {
    if let Some(file) = std::env::var_os(SAID) {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(file);
        let mut file = file.expect("open the list of what was skipped");
        file.write_all(format!("{line}\n").as_bytes())
            .expect("write what was skipped");
    }
    // In one call, so that the lines of two tests never mix; nobody is left to tell an error.
    let _ = rustix::io::write(rustix::stdio::stderr(), format!("{line}\n").as_bytes());
}

/// Whether PATH has this program.
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Says so where it is not there, for a test that cannot do without.
pub fn is_missing(program: &str) -> bool {
    let missing = !installed(program);
    if missing {
        skip(&format!("`{program}` is not installed"));
    }
    missing
}
