//! The tool on a real terminal: a pseudo-terminal whose other side is the test.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::OpenptFlags;

use crate::exec;

/// How long a text may take to appear, and a program to end.
const LIMIT: Duration = Duration::from_secs(60);

pub const ENTER: &str = "\r";
pub const ESCAPE: &str = "\x1b";
pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const DOWN: &str = "\x1b[B";

/// A program that believes to talk to a person.
pub struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Screen>,
    /// Up to where [`Terminal::wait_for`] has read, so that a second prompt is a new one.
    seen: usize,
}

#[derive(Default)]
struct Screen {
    state: Mutex<ScreenState>,
    changed: Condvar,
}

#[derive(Default)]
struct ScreenState {
    bytes: Vec<u8>,
    closed: bool,
}

impl Terminal {
    /// Starts `command` with all three streams and its controlling terminal on a new terminal.
    pub fn start(command: Command) -> Self {
        let (keys, theirs) = open_pair();
        let mut child = on_terminal(command, &theirs);
        let child = child.spawn().expect("start a program on a terminal");
        // The last copy on this side: the end of the program is then the end of the screen.
        drop(theirs);
        let screen = Arc::new(Screen::default());
        let output = keys.try_clone().expect("a second handle of the terminal");
        let sink = Arc::clone(&screen);
        std::thread::spawn(move || sink.collect(output));
        Self {
            child,
            keys,
            screen,
            seen: 0,
        }
    }

    /// Waits until `text` appears after everything that was waited for before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> &mut Self {
        let deadline = Instant::now() + LIMIT;
        let mut state = self.screen.state.lock().expect("no reader panics");
        loop {
            let shown = plain(&state.bytes);
            if let Some(at) = shown.get(self.seen..).and_then(|new| new.find(text)) {
                self.seen += at + text.len();
                drop(state);
                return self;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                let closed = state.closed;
                // Not while it is locked: the reader would panic as well, and hide this.
                drop(state);
                panic!("`{text}` never appeared (program ended: {closed}); the screen:\n{shown}");
            }
            state = (self.screen.changed)
                .wait_timeout(state, left)
                .expect("no reader panics")
                .0;
        }
    }

    /// Types `keys`, such as `"yes"` and then [`ENTER`].
    #[track_caller]
    pub fn send(&mut self, keys: &str) -> &mut Self {
        (self.keys.write_all(keys.as_bytes())).expect("type on the terminal");
        self
    }

    /// Waits for the program's end and returns its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = exec::wait_until(&mut self.child, Instant::now() + LIMIT);
        let status = status
            .unwrap_or_else(|| panic!("no end after {LIMIT:?}; the screen:\n{}", self.screen()));
        self.screen.wait_closed();
        exec::exit_code(status)
    }

    /// Everything shown so far, without colours and cursor movements.
    pub fn screen(&self) -> String {
        plain(&self.screen.state.lock().expect("no reader panics").bytes)
    }
}

impl Drop for Terminal {
    /// A failed test leaves no program behind.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Screen {
    fn collect(&self, mut output: File) {
        let mut chunk = [0; 4096];
        // The last program's end shows as an error (EIO), not as an end of file.
        while let Ok(read @ 1..) = output.read(&mut chunk) {
            let mut state = self.state.lock().expect("no reader panics");
            state.bytes.extend_from_slice(&chunk[..read]);
            self.changed.notify_all();
        }
        self.state.lock().expect("no reader panics").closed = true;
        self.changed.notify_all();
    }

    fn wait_closed(&self) {
        let state = self.state.lock().expect("no reader panics");
        let closed = (self.changed)
            .wait_timeout_while(state, LIMIT, |state| !state.closed)
            .expect("no reader panics")
            .0
            .closed;
        assert!(closed, "a child of the program outlived it");
    }
}

/// The test's side and the program's side.
pub fn open_pair() -> (File, OwnedFd) {
    let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .expect("open a pseudo-terminal");
    rustix::pty::grantpt(&ours).expect("grant the pseudo-terminal");
    rustix::pty::unlockpt(&ours).expect("unlock the pseudo-terminal");
    let name = rustix::pty::ptsname(&ours, Vec::new()).expect("name of the pseudo-terminal");
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())
        .expect("open the other side of the pseudo-terminal");
    let size = rustix::termios::Winsize {
        ws_row: 40,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&theirs, size).expect("size of the pseudo-terminal");
    (File::from(ours), theirs)
}

pub fn on_terminal(mut command: Command, terminal: &OwnedFd) -> Command {
    let stream = || Stdio::from(terminal.try_clone().expect("a handle of the terminal"));
    command.env("TERM", "xterm-256color");
    command.stdin(stream()).stdout(stream()).stderr(stream());
    // SAFETY: two system calls between fork and exec, no allocation and no lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin().as_fd())?;
            Ok(())
        });
    }
    command
}

fn plain(bytes: &[u8]) -> String {
    console::strip_ansi_codes(&String::from_utf8_lossy(bytes)).replace('\r', "")
}
