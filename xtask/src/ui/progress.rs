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
    total_bytes: Option<u64>,
    done_bytes: u64,
    began: Instant,
    logged: Instant,
    bar: Option<ProgressBar>,
}

impl Shown {
    pub(super) fn new(quiet: bool, terminal: bool) -> Shown {
        Shown {
            quiet,
            terminal,
            step: Mutex::new(None),
        }
    }

    fn bar(&self, name: &str, total_bytes: Option<u64>) -> Option<ProgressBar> {
        if self.quiet || !self.terminal {
            return None;
        }
        let template = match total_bytes {
            Some(_) => {
                "{prefix:>8} [{bar:30}] {bytes} of about {total_bytes}, {bytes_per_sec}, {eta} left"
            }
            None => "{prefix:>8} {spinner} {elapsed}",
        };
        let style = ProgressStyle::with_template(template)
            .ok()?
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Some(bar)
    }
}

impl Progress for Shown {
    fn begin(&self, name: &str, total_bytes: Option<u64>) {
        self.end();
        let now = Instant::now();
        let step = Step {
            name: name.to_owned(),
            total_bytes,
            done_bytes: 0,
            began: now,
            logged: now,
            bar: self.bar(name, total_bytes),
        };
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = Some(step);
    }

    fn advance(&self, bytes: u64) {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(step) = step.as_mut() else { return };
        step.done_bytes += bytes;
        if let Some(bar) = &step.bar {
            // An estimate that was too low grows with what came.
            if step
                .total_bytes
                .is_some_and(|total| step.done_bytes > total)
            {
                bar.set_length(step.done_bytes);
            }
            bar.set_position(step.done_bytes);
        } else if !self.quiet && step.logged.elapsed() >= LOG_EVERY {
            step.logged = Instant::now();
            let total = step.total_bytes.map_or_else(String::new, |total| {
                format!(" of about {}", words::size(total))
            });
            super::log(format!(
                "{:>8}: {}{total}",
                step.name,
                words::size(step.done_bytes)
            ));
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
            let size = match step.done_bytes {
                0 => String::new(),
                bytes => format!("{} in ", words::size(bytes)),
            };
            super::log(format!(
                "{:>8}: {size}{:.1} s",
                step.name,
                took.as_secs_f64()
            ));
        }
    }
}
