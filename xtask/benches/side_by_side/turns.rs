//! Candidates in turns, so that a slow minute of the machine is a slow minute for all of them.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{self, Cost};

/// Something that can be run again and again.
pub struct Candidate<'a> {
    pub name: &'static str,
    run: Box<dyn FnMut() -> Result<Cost> + 'a>,
}

impl<'a> Candidate<'a> {
    /// `run` prepares, measures and cleans up; only what it returns counts.
    pub fn new(name: &'static str, run: impl FnMut() -> Result<Cost> + 'a) -> Self {
        Self {
            name,
            run: Box::new(run),
        }
    }
}

/// The costs of one candidate, in the order of the rounds.
pub struct Measured {
    pub name: &'static str,
    pub costs: Vec<Cost>,
}

/// A B C, A B C, … after one turn of A that warms the caches and counts for nobody.
pub fn take(rounds: usize, mut candidates: Vec<Candidate<'_>>) -> Result<Vec<Measured>> {
    if let Some(first) = candidates.first_mut() {
        (first.run)().with_context(|| format!("`{}` failed", first.name))?;
    }
    take_cold(rounds, candidates)
}

/// The same for what takes minutes, and reads little that was not read in the minute before.
pub fn take_cold(rounds: usize, mut candidates: Vec<Candidate<'_>>) -> Result<Vec<Measured>> {
    let mut measured: Vec<Measured> = candidates
        .iter()
        .map(|candidate| Measured {
            name: candidate.name,
            costs: Vec::new(),
        })
        .collect();
    for _ in 0..rounds {
        for (candidate, measured) in candidates.iter_mut().zip(&mut measured) {
            process::settle();
            let cost = (candidate.run)().with_context(|| format!("`{}` failed", candidate.name))?;
            measured.costs.push(cost);
        }
    }
    Ok(measured)
}

impl Measured {
    pub fn wall(&self) -> Duration {
        self.median_of(|cost| Some(cost.wall)).unwrap_or_default()
    }

    /// Of the runs of which it is known.
    pub fn median_of<T: PartialOrd + Copy>(&self, value: impl Fn(&Cost) -> Option<T>) -> Option<T> {
        median(self.costs.iter().filter_map(value).collect())
    }

    pub fn largest_peak(&self) -> Option<u64> {
        self.costs.iter().filter_map(|cost| cost.peak_bytes).max()
    }

    /// How many times the other's time this one takes: of each round, then the median.
    pub fn times_of(&self, other: &Measured) -> f64 {
        let ratios = self.costs.iter().zip(&other.costs);
        let ratios = ratios.map(|(a, b)| a.wall.as_secs_f64() / b.wall.as_secs_f64());
        median(ratios.collect()).unwrap_or(f64::NAN)
    }

    /// The same for processor time, which neighbours on the machine disturb less.
    pub fn cpu_times_of(&self, other: &Measured) -> Option<f64> {
        let total =
            |cost: &Cost| Some((cost.cpu? + cost.server_cpu.unwrap_or_default()).as_secs_f64());
        let ratios = self.costs.iter().zip(&other.costs);
        let ratios = ratios.filter_map(|(a, b)| Some(total(a)? / total(b)?));
        median(ratios.filter(|ratio| ratio.is_finite()).collect())
    }
}

pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len().checked_sub(1)? / 2).copied()
}
