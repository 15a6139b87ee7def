//! Which backups are kept, and why each of them is.
//!
//! Pure: `now` is an argument, and days, weeks, months and years are those of UTC, as in the ids.
//! A zone with daylight-saving time has days of 23 and 25 hours and an hour that comes twice;
//! UTC has none of that, and two machines that share a vault agree on it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use chrono::{DateTime, Datelike, Utc};

use super::id::Reason;

mod how_long;

pub use how_long::{HowLong, NotATime};

/// A backup stays when any of these keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    pub last: u32,
    pub hourly: u32,
    pub daily: u32,
    /// ISO weeks of ISO years.
    pub weekly: u32,
    pub monthly: u32,
    pub yearly: u32,
    pub within: HowLong,
    pub manual: HowLong,
    pub pre_migrate: HowLong,
    /// Nothing else keeps what a restore took first: it is what somebody wanted to get rid of.
    pub pre_restore: HowLong,
}

/// A backup as far as retention knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: String,
    pub at: DateTime<Utc>,
    pub reason: Reason,
    /// What of the database it holds, where that is not all of it; such ones are counted apart
    /// from the full ones, and each kind by itself.
    pub part: Option<String>,
    /// Its dump is known not to match: it takes the place of no other.
    pub is_bad: bool,
    /// Encrypted, and nobody has seen that it can be decrypted.
    pub is_closed: bool,
    /// What keeps it, whatever the policy says.
    pub guards: Vec<Guard>,
}

impl Candidate {
    /// Whether, as far as is known, a restore of it brings the whole database back as it was.
    pub fn is_way_to_go_back(&self) -> bool {
        self.part.is_none() && !self.is_bad && self.reason != Reason::PreRestore
    }
}

/// Why a backup stays in spite of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    Pinned,
    /// Nothing newer is known to be good.
    Newest,
    /// A restore of it undoes the last migration.
    WayBack,
    /// `db restore --undo` may want it.
    Undo,
    /// A run that did not end names it.
    Unfinished,
    /// By the clock it was not taken yet.
    Future,
    /// Its dump is a link, or no file at all.
    NoFile,
    /// Off-site: neither the vault nor another place is known to have it.
    OnlyCopy,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guard::Pinned => "pinned",
            Guard::Newest => "newest",
            Guard::WayBack => "undoes the last migration",
            Guard::Undo => "undoes the last restore",
            Guard::Unfinished => "of a run that did not end",
            Guard::Future => "dated in the future",
            Guard::NoFile => "its dump is no regular file",
            Guard::OnlyCopy => "the only copy",
        })
    }
}

/// Why a backup stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    Guard(Guard),
    Rule(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Guard(guard) => guard.fmt(f),
            Why::Rule(rule) => f.write_str(rule),
        }
    }
}

/// All days, hours and so on of one number are the same one.
type Bucket = fn(DateTime<Utc>) -> i64;

/// So many buckets are kept, the last backup of each.
struct Counted {
    word: &'static str,
    most: u32,
    left: u32,
    bucket: Bucket,
    last: Option<i64>,
}

impl Counted {
    /// Whether it keeps this one, which is older than all that it was asked about before.
    fn keeps(&mut self, at: DateTime<Utc>) -> Option<Why> {
        let bucket = (self.bucket)(at);
        if self.left == 0 || self.last == Some(bucket) {
            return None;
        }
        self.left -= 1;
        self.last = Some(bucket);
        let (word, most) = (self.word, self.most);
        Some(Why::Rule(format!("{word} {} of {most}", most - self.left)))
    }
}

impl Policy {
    /// Whether it keeps nothing by itself. Such a one is a mistake, and not a wish.
    pub fn is_empty(&self) -> bool {
        let counts = [
            self.last,
            self.hourly,
            self.daily,
            self.weekly,
            self.monthly,
            self.yearly,
        ];
        let spans = [self.within, self.manual, self.pre_migrate, self.pre_restore];
        counts.iter().all(|count| *count == 0) && spans.iter().all(|span| span.is_nothing())
    }

    fn counted(&self) -> [Counted; 5] {
        let buckets: [(&str, u32, Bucket); 5] = [
            ("hour", self.hourly, |at| at.timestamp().div_euclid(3600)),
            ("day", self.daily, |at| at.num_days_from_ce().into()),
            ("week", self.weekly, |at| {
                let week = at.iso_week();
                i64::from(week.year()) * 100 + i64::from(week.week())
            }),
            ("month", self.monthly, |at| {
                i64::from(at.year()) * 12 + i64::from(at.month0())
            }),
            ("year", self.yearly, |at| at.year().into()),
        ];
        buckets.map(|(word, most, bucket)| Counted {
            word,
            most,
            left: most,
            bucket,
            last: None,
        })
    }

    /// By age alone, and by the reason that it was taken for.
    fn keeps_for(&self, backup: &Candidate, now: DateTime<Utc>) -> Option<Why> {
        let by_reason = match backup.reason {
            Reason::Manual => self.manual,
            // Both are the way back from what somebody meant to do.
            Reason::PreMigrate | Reason::PreImport => self.pre_migrate,
            Reason::PreRestore => self.pre_restore,
        };
        let kept = |word: &str, span: HowLong| {
            let holds = span.holds(backup.at, now);
            holds.then(|| Why::Rule(format!("{word} for {span}")))
        };
        let within = (backup.reason != Reason::PreRestore).then_some(self.within);
        let within = within.and_then(|span| kept("all", span));
        within.or_else(|| kept(&backup.reason.to_string(), by_reason))
    }

    /// Why each of them stays; one for which there is no reason goes. They come newest first.
    pub fn apply(&self, backups: &[Candidate], now: DateTime<Utc>) -> Vec<Vec<Why>> {
        let mut kinds = HashMap::new();
        let mut whys = Vec::with_capacity(backups.len());
        for backup in backups {
            let mut why: Vec<Why> = backup.guards.iter().copied().map(Why::Guard).collect();
            let is_future = backup.guards.contains(&Guard::Future);
            if backup.reason != Reason::PreRestore && !backup.is_bad && !is_future {
                let (last, counted) = kinds
                    .entry(backup.part.as_deref())
                    .or_insert_with(|| (self.last, self.counted()));
                if *last > 0 {
                    *last -= 1;
                    let at = self.last - *last;
                    why.push(Why::Rule(format!("last {at} of {}", self.last)));
                }
                why.extend(counted.iter_mut().filter_map(|rule| rule.keeps(backup.at)));
            }
            if !is_future {
                why.extend(self.keeps_for(backup, now));
            }
            whys.push(why);
        }
        whys
    }
}

/// Marks what no policy takes away: what is of the future, and of all else the newest, the newest
/// of each kind that is no safety copy, and the newest full one that is not known to be bad. They come newest first.
pub fn guard(backups: &mut [Candidate], is_future: impl Fn(DateTime<Utc>) -> bool) {
    let (mut any, mut good, mut open) = (false, false, false);
    let mut kinds = HashSet::new();
    for backup in backups {
        let is_latest = backup.reason != Reason::PreRestore;
        let is_good = backup.is_way_to_go_back();
        let is_open = is_good && !backup.is_closed;
        let guard = if is_future(backup.at) {
            Some(Guard::Future)
        } else {
            let is_first = is_latest && kinds.insert(backup.part.clone());
            let is_newest = !any || is_first || (is_good && !good) || (is_open && !open);
            (any, good, open) = (true, good | is_good, open | is_open);
            is_newest.then_some(Guard::Newest)
        };
        let guard = guard.filter(|guard| !backup.guards.contains(guard));
        backup.guards.extend(guard);
        backup.guards.sort_unstable();
    }
}
