//! One program run to its end, and what it cost.

use std::fs;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What the peak of a process is read with; a process lives longer than that.
const POLL: Duration = Duration::from_millis(2);

/// Of a second, in which Linux tells times to everybody.
const TICKS: u64 = 100;

/// What one run cost. What a system does not tell is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub wall: Duration,
    /// User and system time of the program and of all that it started.
    pub cpu: Option<Duration>,
    /// What the database server worked meanwhile.
    pub server_cpu: Option<Duration>,
    /// The most memory that the program's own process had; not its children's.
    pub peak_bytes: Option<u64>,
    /// What it left on the disk.
    pub size_bytes: Option<u64>,
}

/// Runs `command` to its end; one that fails is an error with its last words.
pub fn run(command: &mut Command) -> Result<Cost> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut said = tempfile::tempfile().context("cannot create a file for stderr")?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone().context("cannot share a file")?);
    let cpu_before = cpu_of_children();
    let begun = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{program}`"))?;
    let pid = child.id();
    let ended = AtomicBool::new(false);
    let (status, wall, peak_bytes) = std::thread::scope(|scope| {
        let peak = scope.spawn(|| peak_until(pid, &ended));
        let status = child.wait();
        let wall = begun.elapsed();
        ended.store(true, Ordering::Relaxed);
        (status, wall, peak.join().ok().flatten())
    });
    let status = status.with_context(|| format!("cannot wait for `{program}`"))?;
    if !status.success() {
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        bail!("`{program}` ended with {status}: {text}");
    }
    let cpu = match (cpu_before, cpu_of_children()) {
        (Some(before), Some(after)) => Some(after.saturating_sub(before)),
        _ => None,
    };
    Ok(Cost {
        wall,
        cpu,
        peak_bytes,
        ..Cost::default()
    })
}

/// `ru_maxrss` would not do: it counts the children of the process as well, and what this process
/// had when it forked. The high-water mark of the process's memory begins anew when it starts its
/// program, and only rises.
fn peak_until(pid: u32, ended: &AtomicBool) -> Option<u64> {
    let mut peak = None;
    while !ended.load(Ordering::Relaxed) {
        peak = high_water_mark(pid).or(peak);
        std::thread::sleep(POLL);
    }
    peak
}

fn high_water_mark(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

/// Of all children that this process has waited for, and of theirs.
fn cpu_of_children() -> Option<Duration> {
    times("self", 13..15)
}

/// Of a process that goes on, and of all its children that have ended.
pub fn cpu_of_server(pid: u32) -> Option<Duration> {
    times(&pid.to_string(), 11..15)
}

/// A sum of fields of `/proc/PID/stat`, counted from after the name.
fn times(process: &str, fields: std::ops::Range<usize>) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let all: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = all
        .get(fields)?
        .iter()
        .filter_map(|f| f.parse::<u64>().ok())
        .sum();
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

/// What was written so far must not be written during the next turn.
pub fn settle() {
    rustix::fs::sync();
}
