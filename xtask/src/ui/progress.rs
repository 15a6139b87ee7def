//! A bar on a terminal, plain lines elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::words;
use crate::values::progress::Progress;

/// A log says at most this often that a step is still running.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What a step must have taken or moved to be worth a line in a log.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

pub struct Shown {
    quiet: bool,
    terminal: bool,
    step: Mutex<Option<Step>>,
}

struct Step {
    name: String,
    unit: Unit,
    total: Option<u64>,
    done: u64,
    began: Instant,
    logged: Instant,
    bar: Option<ProgressBar>,
}

#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Rows,
}

impl Unit {
    fn show(self, amount: u64) -> String {
        match self {
            Unit::Bytes => words::size(amount),
            Unit::Rows => words::count(amount, "row"),
        }
    }

    fn template(self, has_total: bool) -> &'static str {
        match self {
            _ if !has_total => "{prefix:>8} {spinner} {elapsed}",
            Unit::Bytes => {
                "{prefix:>8} [{bar:30}] {bytes} of about {total_bytes}, {bytes_per_sec}, {eta} left"
            }
            Unit::Rows => "{prefix:>8} [{bar:30}] {human_pos} of {human_len} rows, {eta} left",
        }
    }
}

impl Shown {
    pub(super) fn new(quiet: bool, terminal: bool) -> Shown {
        Shown {
            quiet,
            terminal,
            step: Mutex::new(None),
        }
    }

    fn bar(&self, name: &str, unit: Unit, total: Option<u64>) -> Option<ProgressBar> {
        if self.quiet || !self.terminal {
            return None;
        }
        let template = unit.template(total.is_some());
        let style = ProgressStyle::with_template(template)
            .ok()?
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Some(bar)
    }

    fn start(&self, name: &str, unit: Unit, total: Option<u64>) {
        self.end();
        let now = Instant::now();
        let step = Step {
            name: name.to_owned(),
            unit,
            total,
            done: 0,
            began: now,
            logged: now,
            bar: self.bar(name, unit, total),
        };
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = Some(step);
    }
}

impl Progress for Shown {
    fn begin(&self, name: &str, total_bytes: Option<u64>) {
        self.start(name, Unit::Bytes, total_bytes);
    }

    fn begin_rows(&self, name: &str, rows: u64) {
        self.start(name, Unit::Rows, Some(rows));
    }

    fn advance(&self, amount: u64) {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(step) = step.as_mut() else { return };
        step.done += amount;
        if let Some(bar) = &step.bar {
            // An estimate that was too low grows with what came.
            if step.total.is_some_and(|total| step.done > total) {
                bar.set_length(step.done);
            }
            bar.set_position(step.done);
        } else if !self.quiet && step.logged.elapsed() >= LOG_EVERY {
            step.logged = Instant::now();
            let about = |total| format!(" of about {}", step.unit.show(total));
            let total = step.total.map_or_else(String::new, about);
            let done = step.unit.show(step.done);
            super::log(format!("{:>8}: {done}{total}", step.name));
        }
    }

    fn end(&self) {
        let step = self
            .step
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(step) = step else { return };
        if let Some(bar) = step.bar {
            bar.finish_and_clear();
        }
        let took = step.began.elapsed();
        if !self.quiet && took >= WORTH_A_LINE {
            let size = match step.done {
                0 => String::new(),
                done => format!("{} in ", step.unit.show(done)),
            };
            super::log(format!(
                "{:>8}: {size}{:.1} s",
                step.name,
                took.as_secs_f64()
            ));
        }
    }
}
