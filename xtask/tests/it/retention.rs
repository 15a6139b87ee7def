//! Retention: what each rule keeps, what no rule takes away, and the verb that removes the rest.

mod addresses;
mod cut;
mod doubt;
pub mod flags;
mod golden;
mod guards;
pub mod history;
mod properties;
mod stories;
mod ways_back;

use chrono::{DateTime, NaiveDateTime, Utc};
use xtask_db::parsers::Reason;
use xtask_db::parsers::retention::{Candidate, Policy};

fn at(text: &str) -> DateTime<Utc> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S");
    time.expect("a time").and_utc()
}

/// Full ones that a person took.
fn candidates(times: &[&str]) -> Vec<Candidate> {
    let candidate = |(number, time): (usize, &&str)| Candidate {
        id: format!("{number:03}"),
        at: at(time),
        reason: Reason::Manual,
        part: None,
        is_bad: false,
        is_closed: false,
        guards: Vec::new(),
    };
    times.iter().enumerate().map(candidate).collect()
}

/// Why each of these backups, taken by a person, stays; `-` for none.
fn whys(policy: &Policy, times: &[&str], now: &str) -> Vec<String> {
    words(policy, &candidates(times), now)
}

fn words(policy: &Policy, backups: &[Candidate], now: &str) -> Vec<String> {
    let whys = policy.apply(backups, at(now)).into_iter();
    whys.map(|why| match why.as_slice() {
        [] => "-".into(),
        why => why
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    })
    .collect()
}
