//! Dates and times as text: which of them are the same moment.

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime};

/// One way to write it; `None` for what is neither a date nor a time, as ISO 8601 has them. What has
/// no zone is taken for UTC where zones count; where they do not, one that is there is kept.
pub fn moment(text: &str, has_zone: bool) -> Option<String> {
    if !text.contains('-') || text.find(':').is_some_and(|colon| colon < 3) {
        return Some(time(text)?.format("%H:%M:%S%.f").to_string());
    }
    let (date, rest) = text.split_once([' ', 'T', 't']).unwrap_or((text, ""));
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (of_day, zone) = (rest[..zone].trim_end(), &rest[zone..]);
    let of_day = match of_day {
        "" if zone.is_empty() => NaiveTime::MIN,
        of_day => time(of_day)?,
    };
    let at = NaiveDateTime::new(date, of_day);
    let at = match has_zone {
        true => at.checked_sub_signed(offset(zone)?)?,
        false => at,
    };
    let kept = if has_zone { "" } else { zone };
    Some(format!("{}{kept}", at.format("%Y-%m-%dT%H:%M:%S%.f")))
}

fn time(text: &str) -> Option<NaiveTime> {
    let formats = ["%H:%M:%S%.f", "%H:%M"];
    let mut read = formats
        .iter()
        .map(|format| NaiveTime::parse_from_str(text, format));
    read.find_map(Result::ok)
}

/// `+02`, `+0200`, `+02:00`, `Z`, or nothing.
fn offset(zone: &str) -> Option<Duration> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(Duration::zero());
    }
    let digits = zone.get(1..)?.replace(':', "");
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| {
        digits
            .get(at..at + 2)
            .map_or(Some(0), |two| two.parse().ok())
    };
    let seconds: i64 = part(0)? * 3600 + part(2)? * 60 + part(4)?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    Duration::try_seconds(sign * seconds)
}
