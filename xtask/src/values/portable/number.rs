//! Numbers as digits: which ones are plain, and which of them are the same number.

/// More of them do not survive a reader that makes doubles of numbers.
pub const SAFE_DIGITS: usize = 15;
/// The same for integers.
pub const SAFE_INTEGER: u64 = 1 << 53;

/// Whether it is digits, with a sign before and a point or an exponent among them.
pub fn is_number(text: &str) -> bool {
    parts(text).is_some()
}

/// Digits without a sign, and how many of them are behind the point.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_some = !(whole.is_empty() && fraction.is_empty());
    (has_some && is_digits(whole) && is_digits(fraction)).then_some(Parts {
        negative,
        whole,
        fraction,
        exponent,
    })
}

/// Whether JSON has it as a number, and every reader of JSON gets the same one of it.
pub fn is_safe(digits: &str) -> bool {
    let Some(parts) = parts(digits) else {
        return false;
    };
    let all = format!("{}{}", parts.whole, parts.fraction);
    let is_json = !digits.starts_with('+')
        && !digits.contains(['e', 'E'])
        && !parts.whole.is_empty()
        && (parts.whole == "0" || !parts.whole.starts_with('0'))
        && !digits.ends_with('.');
    // Negative zero is no decimal number.
    let is_zero = all.bytes().all(|digit| digit == b'0');
    is_json && all.trim_start_matches('0').len() <= SAFE_DIGITS && !(is_zero && parts.negative)
}

/// One way to write each number: `1.10`, `1.1` and `11e-1` are one. `None` for what is none,
/// or has an exponent beyond all bounds.
pub fn canonical(text: &str) -> Option<String> {
    let parts = parts(text)?;
    let all = format!("{}{}", parts.whole, parts.fraction);
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let dropped = all.len() - all.trim_end_matches('0').len();
    let behind = i64::try_from(parts.fraction.len()).ok()?;
    let exponent = parts.exponent.checked_sub(behind)?;
    let exponent = exponent.checked_add(i64::try_from(dropped).ok()?)?;
    let sign = if parts.negative { "-" } else { "" };
    Some(format!("{sign}{significant}e{exponent}"))
}
