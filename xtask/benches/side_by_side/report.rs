//! What was measured, and beside it what was promised.

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::turns::Measured;

/// What is to be reached; all of them are about the first candidate.
#[derive(Clone, Copy)]
pub enum Target {
    /// At most so many times the other's time.
    Within(f64),
    /// The other takes at least so many times as long.
    Faster(f64),
    /// Only shown.
    None,
}

/// The targets that were looked at in this run.
#[derive(Default)]
pub struct Report {
    lines: Vec<[String; 4]>,
}

impl Report {
    /// Shows the costs of all candidates and compares the first with some of them.
    pub fn compare(&mut self, part: &str, measured: &[Measured], targets: &[(&str, Target)]) {
        println!("{}", costs(measured));
        let Some((ours, others)) = measured.split_first() else {
            return;
        };
        for (name, target) in targets {
            let Some(other) = others.iter().find(|other| other.name == *name) else {
                self.line(part, format!("no candidate `{name}`"), "", Some(false));
                continue;
            };
            let times = ours.times_of(other);
            let cpu = ours.cpu_times_of(other);
            let cpu = cpu.map_or_else(String::new, |times| format!(" (CPU {times:.2} ×)"));
            let (reached, wanted, ok) = match target {
                Target::Within(most) => (
                    format!("{times:.2} × `{name}`{cpu}"),
                    format!("at most {most:.2} ×"),
                    Some(times <= *most),
                ),
                Target::Faster(least) => (
                    format!("{:.2} times faster than `{name}`{cpu}", 1.0 / times),
                    format!("at least {least:.1} times"),
                    Some(1.0 / times >= *least),
                ),
                Target::None => (format!("{times:.2} × `{name}`{cpu}"), String::new(), None),
            };
            self.line(part, reached, wanted, ok);
        }
    }

    /// The first candidate's result is no larger than that of another.
    pub fn compare_sizes(&mut self, part: &str, measured: &[Measured], other: &str) {
        let size = |m: &Measured| m.median_of(|cost| cost.size_bytes);
        let ours = measured.first().and_then(size);
        let theirs = measured.iter().find(|m| m.name == other).and_then(size);
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            let ratio = ours as f64 / theirs as f64;
            let reached = format!("{ratio:.2} × the size of `{other}`");
            self.line(part, reached, "at most 1.00 ×", Some(ours <= theirs));
        }
    }

    pub fn within(&mut self, part: &str, name: &str, wall: Duration, most: Duration) {
        let reached = format!("`{name}` in {}", milliseconds(wall));
        let wanted = format!("under {}", milliseconds(most));
        self.line(part, reached, wanted, Some(wall < most));
    }

    pub fn line(
        &mut self,
        part: &str,
        reached: impl Into<String>,
        wanted: impl Into<String>,
        ok: Option<bool>,
    ) {
        let ok = ok.map_or("", |ok| if ok { "reached" } else { "missed" });
        self.lines
            .push([part.into(), reached.into(), wanted.into(), ok.into()]);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table(&["part", "the tool", "target", ""]);
        for line in &self.lines {
            table.add_row(line);
        }
        write!(f, "{table}")
    }
}

/// Medians of all rounds; of memory the largest.
fn costs(measured: &[Measured]) -> Table {
    let mut table = table(&[
        "candidate",
        "wall",
        "range",
        "CPU",
        "server CPU",
        "peak",
        "size",
    ]);
    for column in 1..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for candidate in measured {
        let walls = candidate.costs.iter().map(|cost| cost.wall);
        let (least, most) = (walls.clone().min(), walls.max());
        let span = |time: Option<Duration>| time.map_or_else(String::new, milliseconds);
        let bytes = |size: Option<u64>| size.map_or_else(String::new, mebibytes);
        table.add_row([
            candidate.name.to_owned(),
            milliseconds(candidate.wall()),
            format!("{} – {}", span(least), span(most)),
            span(candidate.median_of(|cost| cost.cpu)),
            span(candidate.median_of(|cost| cost.server_cpu)),
            bytes(candidate.largest_peak()),
            bytes(candidate.median_of(|cost| cost.size_bytes)),
        ]);
    }
    table
}

pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header.to_vec());
    table
}

pub fn milliseconds(time: Duration) -> String {
    match time.as_millis() {
        0..100 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        100..10_000 => format!("{} ms", time.as_millis()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
