//! How long something is kept, by the calendar.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Months, TimeDelta, Utc};

/// `30d`, `12w`, `6m`, `1y`, `36h`, several in a row such as `1y6m`, or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HowLong {
    For(Span),
    Forever,
}

/// A month ago is the same day of the month before, or its last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    months: u32,
    days: u32,
    hours: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is `36h`, `30d`, `12w`, `6m`, `1y`, several in a row such as `1y6m`, or `forever`")]
pub struct NotATime;

/// A thousand years in each unit: more is a slip of the hand.
const MAX_MONTHS: u32 = 12_000;
const MAX_DAYS: u32 = 366_000;
const MAX_HOURS: u32 = 24 * MAX_DAYS;

impl Default for HowLong {
    fn default() -> HowLong {
        HowLong::For(Span::default())
    }
}

impl FromStr for HowLong {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<HowLong, NotATime> {
        if text == "forever" {
            return Ok(HowLong::Forever);
        }
        let mut span = Span::default();
        let mut rest = text;
        while !rest.is_empty() || text.is_empty() {
            let unit = rest.find(|c: char| !c.is_ascii_digit()).ok_or(NotATime)?;
            let number: u32 = rest[..unit].parse().map_err(|_| NotATime)?;
            let (field, factor, most) = match rest.as_bytes()[unit] {
                b'h' => (&mut span.hours, 1, MAX_HOURS),
                b'd' => (&mut span.days, 1, MAX_DAYS),
                b'w' => (&mut span.days, 7, MAX_DAYS),
                b'm' => (&mut span.months, 1, MAX_MONTHS),
                b'y' => (&mut span.months, 12, MAX_MONTHS),
                _ => return Err(NotATime),
            };
            let added = number
                .checked_mul(factor)
                .and_then(|n| n.checked_add(*field));
            *field = added.filter(|sum| *sum <= most).ok_or(NotATime)?;
            rest = &rest[unit + 1..];
        }
        Ok(HowLong::For(span))
    }
}

impl fmt::Display for HowLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HowLong::For(span) = self else {
            return f.write_str("forever");
        };
        if self.is_nothing() {
            return f.write_str("0d");
        }
        let parts = [
            (span.months / 12, 'y'),
            (span.months % 12, 'm'),
            (span.days, 'd'),
            (span.hours, 'h'),
        ];
        let mut parts = parts.into_iter().filter(|(number, _)| *number > 0);
        parts.try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl HowLong {
    pub fn is_nothing(self) -> bool {
        self == HowLong::default()
    }

    /// Whether what is of then is still kept now; what is of the future is, for any time but none.
    pub fn holds(self, then: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        match self {
            HowLong::Forever => true,
            HowLong::For(_) if self.is_nothing() => false,
            // No clock tells a day before the first one.
            HowLong::For(span) => span.before(now).is_none_or(|horizon| then >= horizon),
        }
    }
}

impl Span {
    fn before(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        now.checked_sub_months(Months::new(self.months))?
            .checked_sub_days(Days::new(self.days.into()))?
            .checked_sub_signed(TimeDelta::try_hours(self.hours.into())?)
    }
}
