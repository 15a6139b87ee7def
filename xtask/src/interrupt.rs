//! Ctrl-C, SIGTERM and SIGHUP: remembered, and passed on to running children.
//!
//! The story is not torn down from the signal: it goes on with an error at
//! its next step, so that staged files and scratch databases are removed by
//! their owners. A second signal ends the process at once.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::watch;

/// The exit code of an interrupted run, as shells report it.
pub const EXIT_CODE: u8 = 130;

/// The error of a step that stopped because of a signal.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Whether a signal is why it came to this.
pub fn is_interrupted(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Interrupted>())
}

#[derive(Clone)]
pub struct Interrupt(Arc<Inner>);

struct Inner {
    raised: watch::Sender<bool>,
    children: Mutex<Vec<Pid>>,
}

impl Interrupt {
    /// An interrupt that no signal is connected to; for embedding and tests.
    pub fn unconnected() -> Interrupt {
        Interrupt(Arc::new(Inner {
            raised: watch::Sender::new(false),
            children: Mutex::default(),
        }))
    }

    /// Takes over SIGINT, SIGTERM and SIGHUP for this process.
    pub fn install() -> io::Result<Interrupt> {
        let interrupt = Interrupt::unconnected();
        let watched = interrupt.clone();
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for _ in signals.forever() {
                    if watched.is_raised() {
                        watched.end_children(Signal::KILL);
                        std::process::exit(EXIT_CODE.into());
                    }
                    watched.raise();
                }
            })?;
        Ok(interrupt)
    }

    pub fn raise(&self) {
        self.0.raised.send_replace(true);
        self.end_children(Signal::TERM);
    }

    pub fn is_raised(&self) -> bool {
        *self.0.raised.borrow()
    }

    /// For loops that would otherwise run to their end.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_raised() {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }

    /// Resolves when a signal has come; never otherwise.
    pub async fn raised(&self) {
        // The sender lives in `self`, so the channel can't close while we wait.
        let _ = self.0.raised.subscribe().wait_for(|raised| *raised).await;
    }

    /// A child that is to be ended when a signal comes, until the guard is dropped.
    pub fn guard(&self, child: &std::process::Child) -> ChildGuard {
        let pid = Pid::from_child(child);
        self.children().push(pid);
        if self.is_raised() {
            self.end_children(Signal::TERM);
        }
        ChildGuard {
            interrupt: self.clone(),
            pid,
        }
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<Pid>> {
        self.0
            .children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn end_children(&self, signal: Signal) {
        for pid in self.children().iter() {
            // A child that has already ended is what we wanted.
            let _ = kill_process(*pid, signal);
        }
    }
}

pub struct ChildGuard {
    interrupt: Interrupt,
    pid: Pid,
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.interrupt.children().retain(|pid| *pid != self.pid);
    }
}
