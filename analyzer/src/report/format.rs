//! Numbers and times as a person reads them.

use proofload_run::findings::{Percentile, Share};
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};

use crate::calendar::civil;

/// A whole number with a thin gap between thousands.
pub(super) fn count(n: u64) -> String {
    group(&n.to_string())
}

fn group(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three significant digits, thousands grouped.
pub(super) fn number(value: f64) -> String {
    let text = significant(value);
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("−", rest));
    match text.split_once('.') {
        Some((whole, part)) => format!("{sign}{}.{part}", group(whole)),
        None => format!("{sign}{}", group(text)),
    }
}

/// A duration with its unit.
pub(super) fn duration(ns: f64) -> String {
    format_duration_ns(ns).replace(' ', "\u{a0}").replace('-', "−")
}

/// A duration, its number and its unit apart.
pub(super) fn duration_parts(ns: f64) -> (String, String) {
    let text = format_duration_ns(ns);
    text.split_once(' ').map_or((text.clone(), String::new()), |(value, unit)| (value.to_owned(), unit.to_owned()))
}

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{}\u{a0}%", number(share * 100.0))
}

/// A share in per cent with its interval; a dash where there is no data.
pub(super) fn share(share: &Share) -> String {
    if share.n == 0 { "–".to_owned() } else { percent(share.share) }
}

/// The interval of a share.
pub(super) fn share_interval(share: &Share) -> String {
    if share.n == 0 {
        return "no data".to_owned();
    }
    format!("{} to {}", number(share.low * 100.0), percent(share.high))
}

/// A percentile, marked where it rests on too few samples.
pub(super) fn percentile(found: &Percentile) -> String {
    let mark = if found.enough { "" } else { "\u{a0}*" };
    format!("{}{mark}", duration(found.latency_ns as f64))
}

/// The interval of a percentile.
pub(super) fn percentile_interval(found: &Percentile) -> String {
    let low = duration(found.low_ns as f64);
    match found.high_ns {
        Some(high) => format!("{low} to {}", duration(high as f64)),
        None => format!("{low} or more"),
    }
}

/// Seconds of the run's clock.
pub(super) fn seconds(ns: u64) -> String {
    format!("{}\u{a0}s", number(ns as f64 / NS_PER_S as f64))
}

/// Calendar time in UTC, to the second.
pub(super) fn calendar(unix_ns: u64) -> String {
    let seconds = unix_ns / NS_PER_S;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Text made safe for an attribute or an element of XML; characters that XML cannot hold become question marks.
pub(super) fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\r' | '\t' => safe.push(' '),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('?'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let check =
            |text: String, expected: &str| assert_eq!(text.replace('\u{202f}', "'").replace('\u{a0}', " "), expected);
        check(count(7), "7");
        check(count(1_234_567), "1'234'567");
        check(number(12_345.6), "12'346");
        check(number(-1234.0), "−1'234");
        check(number(1.234), "1.23");
        check(percent(0.0123), "1.23 %");
        check(duration(1_234_567.0), "1.23 ms");
    }

    #[test]
    fn calendar_dates() {
        let check = |unix_s: u64, expected: &str| assert_eq!(calendar(unix_s * NS_PER_S), expected);
        check(0, "1970-01-01 00:00:00 UTC");
        check(951_782_400, "2000-02-29 00:00:00 UTC");
        check(1_795_212_060, "2026-11-20 22:01:00 UTC");
        check(4_107_542_399, "2100-02-28 23:59:59 UTC");
    }
}
