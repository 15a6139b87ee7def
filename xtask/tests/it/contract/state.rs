//! What is in a database, engine by engine the same shape: sections of lines, ready to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How the section of a table's rows starts.
pub const ROWS_OF: &str = "rows of ";

/// Sections such as `relations` or `rows of public.orders`, each with its lines in one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeMap<String, Vec<String>>);

impl State {
    pub fn push(&mut self, section: impl Into<String>, line: impl Into<String>) {
        self.0.entry(section.into()).or_default().push(line.into());
    }

    /// Call once all lines are there: the order in which a database tells them means nothing.
    pub fn sorted(mut self) -> Self {
        self.0.values_mut().for_each(|lines| lines.sort_unstable());
        self
    }

    /// Without a section that a way of restoring is not expected to bring back.
    pub fn without(mut self, section: &str) -> Self {
        self.0.remove(section);
        self
    }

    /// None when there is no such section.
    fn lines(&self, section: &str) -> &[String] {
        self.0.get(section).map_or(&[], Vec::as_slice)
    }

    /// How many rows all tables have.
    pub fn rows(&self) -> u64 {
        let of_tables = self.0.iter().filter(|(name, _)| name.starts_with(ROWS_OF));
        of_tables.map(|(_, lines)| lines.len() as u64).sum()
    }

    /// Panics with the lines that only one of the two has.
    #[track_caller]
    pub fn assert_same(&self, now: &Self, when: &str) {
        if self == now {
            return;
        }
        let sections: BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        let mut report = String::new();
        for section in sections {
            let (old, new) = (self.lines(section), now.lines(section));
            if old != new {
                writeln!(report, "{section}: {} -> {} lines", old.len(), new.len())
                    .expect("write to a string");
                show_missing(&mut report, "expected", old, new);
                show_missing(&mut report, "found   ", new, old);
            }
        }
        panic!("{when}: the database is another one\n{report}");
    }
}

fn show_missing(report: &mut String, word: &str, these: &[String], those: &[String]) {
    const MOST_LINES: usize = 12;
    const MOST_CHARS: usize = 600;
    let mut counts = BTreeMap::<&str, i64>::new();
    for line in these {
        *counts.entry(line).or_default() += 1;
    }
    for line in those {
        *counts.entry(line).or_default() -= 1;
    }
    let missing = counts.iter().filter(|(_, count)| **count > 0);
    for (line, _) in missing.take(MOST_LINES) {
        let line: String = line.chars().take(MOST_CHARS).collect();
        writeln!(report, "  {word} {line}").expect("write to a string");
    }
}
