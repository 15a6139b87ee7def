//! Sizes, ages and counts as a person reads them.

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;

pub fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

pub fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `12 s old`; one from the future says so.
pub fn old(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let age = age(then, now);
    if age.ends_with("future") {
        age
    } else {
        format!("{age} old")
    }
}

/// `12 s`, `5 min`, `3 h`, `9 d`; one from the future says so.
pub fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let age = now - then;
    if age < TimeDelta::seconds(-1) {
        return format!("{} in the future", span(-age));
    }
    span(age.max(TimeDelta::zero()))
}

fn span(time: TimeDelta) -> String {
    let seconds = time.num_seconds();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `12 ms`, `3.4 s`, `2 min 5 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
    }
}

/// `1 table`, `2 tables`.
pub fn count(number: u64, singular: &str) -> String {
    let is_consonant = |c: char| !"aeiou".contains(c);
    match singular.strip_suffix('y') {
        _ if number == 1 => format!("{number} {singular}"),
        Some(stem) if stem.ends_with(is_consonant) => format!("{number} {stem}ies"),
        _ => format!("{number} {singular}s"),
    }
}
