//! The name of a backup: time first, UTC, so that names sort as time does.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use super::kind::{self, Kind};

/// Why a backup was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Manual,
    PreMigrate,
    PreRestore,
    PreImport,
}

impl Reason {
    /// The label of a backup that no person named.
    pub fn label(self) -> Option<Label> {
        match self {
            Reason::Manual => None,
            Reason::PreMigrate => Some(Label("pre-migrate".into())),
            Reason::PreRestore => Some(Label("pre-restore".into())),
            Reason::PreImport => Some(Label("pre-import".into())),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Manual => "manual",
            Reason::PreMigrate => "pre-migrate",
            Reason::PreRestore => "pre-restore",
            Reason::PreImport => "pre-import",
        })
    }
}

/// The optional words at the end of an id: 1 to [`Label::MAX_BYTES`] of
/// `A-Z a-z 0-9 . _ -`, beginning with a letter or a digit, so that it is a
/// file name everywhere and never an option or a path. Of an earlier version one may begin
/// with a word that is a kind's now; see [`Label::for_new`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Label(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLabel {
    #[error("a label is made of letters, digits, `.`, `_` and `-`")]
    Character,
    #[error("a label begins with a letter or a digit")]
    Start,
    #[error("a label has 1 to {} bytes", Label::MAX_BYTES)]
    Length,
    #[error("`{0}` is what a kind of dump is called, and a label begins otherwise")]
    Kind(&'static str),
}

impl Label {
    pub const MAX_BYTES: usize = 64;

    /// For a backup that is taken now: between time and label stand the words of its kind, and
    /// where those end must be seen.
    pub fn for_new(text: &str) -> Result<Label, BadLabel> {
        let label: Label = text.parse()?;
        match kind::word_before(text) {
            Some((word, _)) => Err(BadLabel::Kind(word)),
            None => Ok(label),
        }
    }

    /// The nearest label to a text that is none; `None` when nothing is left of it.
    pub fn nearest(text: &str) -> Option<Label> {
        let dashed: String = text
            .chars()
            .map(|c| if is_label_char(c) { c } else { '-' })
            .collect();
        let parts = dashed
            .split('-')
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>();
        let mut joined = parts.join("-");
        joined.truncate(Label::MAX_BYTES);
        joined
            .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
            .parse()
            .ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl FromStr for Label {
    type Err = BadLabel;

    fn from_str(text: &str) -> Result<Label, BadLabel> {
        if text.is_empty() || text.len() > Label::MAX_BYTES {
            return Err(BadLabel::Length);
        }
        if !text.chars().all(is_label_char) {
            return Err(BadLabel::Character);
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(BadLabel::Start);
        }
        Ok(Label(text.to_owned()))
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.0
    }
}

impl TryFrom<String> for Label {
    type Error = BadLabel;

    fn try_from(text: String) -> Result<Label, BadLabel> {
        text.parse()
    }
}

/// `backup_2026-01-23_143052_pre-migrate`, `backup_2026-01-23_143052_schema-only_noon`; a second
/// backup of the same second, kind and label ends in `_2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BackupId(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id looks like `backup_2026-01-23_143052_label`")]
pub struct NotAnId;

const TIME_FORMAT: &str = "%Y-%m-%d_%H%M%S";
const PREFIX: &str = "backup_";
const TIME_BYTES: usize = "2026-01-23_143052".len();
const MAX_ID_BYTES: usize = 128;

impl BackupId {
    /// `attempt` counts from 1; all after the first get it as an ending.
    pub fn new(at: DateTime<Utc>, kind: &Kind, label: Option<&Label>, attempt: u32) -> BackupId {
        let mut id = format!("{PREFIX}{}", at.format(TIME_FORMAT));
        for word in kind.words() {
            id = format!("{id}_{word}");
        }
        if let Some(label) = label {
            id = format!("{id}_{}", label.as_str());
        }
        if attempt > 1 {
            id = format!("{id}_{attempt}");
        }
        BackupId(id)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The second in which it was taken, in a form that sorts.
    pub fn time(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + TIME_BYTES]
    }

    /// The words of its kind; none of a full one. Before there were kinds, a label could begin
    /// with such a word: what a manifest says counts.
    pub fn kind_words(&self) -> Vec<&'static str> {
        let mut rest = &self.0[PREFIX.len() + TIME_BYTES..];
        let mut words: Vec<&'static str> = Vec::new();
        while let Some((word, after)) = rest.strip_prefix('_').and_then(kind::word_before) {
            // They stand in one order, and each of them once.
            if words
                .last()
                .is_some_and(|last| kind::place(last) >= kind::place(word))
            {
                break;
            }
            words.push(word);
            rest = after;
        }
        words
    }

    /// As far as the name can tell, a backup that a restore took for safety.
    pub fn is_safety(&self) -> bool {
        self.0.contains("_pre-restore")
    }
}

/// Digit by digit: chrono's parser passes over blanks and signs, and takes a
/// hundred times as long, which a vault of thousands makes seen.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00_000000";
    let has_shape = |(byte, like): (&u8, &u8)| match like {
        b'0' => byte.is_ascii_digit(),
        _ => byte == like,
    };
    if bytes.len() != shape.len() || !bytes.iter().zip(shape).all(has_shape) {
        return false;
    }
    let number = |from: usize, digits: usize| {
        let digits = &bytes[from..from + digits];
        digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'))
    };
    // A leap second is a second of its minute.
    let second = number(15, 2);
    NaiveDate::from_ymd_opt(number(0, 4).cast_signed(), number(5, 2), number(8, 2)).is_some()
        && second <= 60
        && NaiveTime::from_hms_opt(number(11, 2), number(13, 2), second.min(59)).is_some()
}

impl FromStr for BackupId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<BackupId, NotAnId> {
        let rest = text.strip_prefix(PREFIX).ok_or(NotAnId)?;
        let (time, label) = rest.split_at_checked(TIME_BYTES).ok_or(NotAnId)?;
        if !is_time(time) {
            return Err(NotAnId);
        }
        let label_ok = match label.strip_prefix('_') {
            Some(label) => !label.is_empty() && label.chars().all(is_label_char),
            None => label.is_empty(),
        };
        if !label_ok || text.len() > MAX_ID_BYTES {
            return Err(NotAnId);
        }
        Ok(BackupId(text.to_owned()))
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> String {
        id.0
    }
}

impl TryFrom<String> for BackupId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<BackupId, NotAnId> {
        text.parse()
    }
}
