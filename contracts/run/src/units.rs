//! Durations, rates and shares as people write them in scenario files, and as they are printed back.
//!
//! Not a general units library: only what scenarios, thresholds and reports need, with errors that say what
//! would be right.

/// Nanoseconds in one second.
pub const NS_PER_S: u64 = 1_000_000_000;

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("`{0}` is not a duration; write a number and a unit, such as 250us, 20ms, 1.5s, 10m or 1h")]
    Duration(String),
    /// Not a rate.
    #[error("`{0}` is not a rate; write requests per second, such as 50/s, 1.5/s, or 300/m for per minute")]
    Rate(String),
    /// Not a share.
    #[error("`{0}` is not a share; write a percentage such as 1% or a fraction from 0 to 1 such as 0.01")]
    Share(String),
    /// Not a factor.
    #[error("`{0}` is not a factor; write a plain number such as 2 or 14.4")]
    Factor(String),
    /// Not a size.
    #[error("`{0}` is not a size; write bytes, or a number and a unit such as 64KiB, 10MB")]
    Size(String),
}

/// Splits `12.5ms` into its number and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    Some((number, text[end..].trim()))
}

/// Reads a duration such as `250us`, `20 ms`, `1.5s`, `10m`, `1h` into nanoseconds.
///
/// # Errors
/// When the text is no non-negative number with one of the units ns, us, ms, s, m, h, or is longer than a year.
pub fn parse_duration_ns(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError::Duration(text.to_owned());
    let (number, unit) = split(text).ok_or_else(error)?;
    let scale = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        _ => return Err(error()),
    };
    let ns = number * scale;
    if !(0.0..=366.0 * 86_400e9).contains(&ns) {
        return Err(error());
    }
    Ok(ns.round() as u64)
}

/// Reads a rate such as `50/s`, `300/m` or `50` into events per second.
///
/// # Errors
/// When the text is no non-negative number, with `/s`, `/m` or `/h` after it or nothing.
pub fn parse_rate_per_s(text: &str) -> Result<f64, UnitError> {
    let error = || UnitError::Rate(text.to_owned());
    let (number, unit) = split(text).ok_or_else(error)?;
    let seconds = match unit.trim_start_matches('/').trim() {
        "" if !unit.contains('/') => 1.0,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(error()),
    };
    if number.is_finite() { Ok(number / seconds) } else { Err(error()) }
}

/// Reads a share such as `1%` or `0.01` into a fraction from 0 to 1.
///
/// # Errors
/// When the text is no such number or lies outside 0 to 1.
pub fn parse_share(text: &str) -> Result<f64, UnitError> {
    let error = || UnitError::Share(text.to_owned());
    let (number, unit) = split(text).ok_or_else(error)?;
    let share = match unit {
        "%" => number / 100.0,
        "" => number,
        _ => return Err(error()),
    };
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(error()) }
}

/// Reads a factor such as `14.4`.
///
/// # Errors
/// When the text is no non-negative number, or has a unit.
pub fn parse_factor(text: &str) -> Result<f64, UnitError> {
    let plain = split(text).filter(|(number, unit)| unit.is_empty() && number.is_finite());
    plain.map(|(number, _)| number).ok_or_else(|| UnitError::Factor(text.to_owned()))
}

/// Reads a size such as `64KiB`, `10MB` or `512` into bytes.
///
/// # Errors
/// When the text is no non-negative number with a known unit.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError::Size(text.to_owned());
    let (number, unit) = split(text).ok_or_else(error)?;
    let scale = match unit {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(error()),
    };
    let bytes = (number * scale).round();
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(error()) }
}

/// Prints bytes the way a person reads them: three significant digits and a decimal unit.
pub fn format_bytes(bytes: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match UNITS.iter().find(|(scale, _)| bytes >= *scale * 0.9995) {
        Some((scale, unit)) => format!("{} {unit}", significant(bytes / scale)),
        None => format!("{} B", significant(bytes)),
    }
}

/// Prints nanoseconds the way a person reads them: three significant digits and the unit that fits.
pub fn format_duration_ns(ns: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    if !ns.is_finite() {
        return "–".to_owned();
    }
    match UNITS.iter().find(|(scale, _)| ns.abs() >= *scale * 0.9995) {
        Some((scale, unit)) => format!("{} {unit}", significant(ns / scale)),
        None => format!("{} ns", significant(ns)),
    }
}

/// Three significant digits, without an exponent.
pub fn significant(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        _ if magnitude == 0.0 || magnitude >= 99.95 => 0,
        _ if magnitude >= 9.995 => 1,
        _ if magnitude >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Four significant digits of any magnitude, without an exponent: for prices, and for numbers that are put into formulas.
pub fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let decimals = (3.0 - value.abs().log10().floor()).clamp(0.0, 15.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_of_any_magnitude() {
        let check = |value: f64, expected: &str| assert_eq!(digits(value), expected);
        check(0.0, "0");
        check(0.000_074_214_48, "0.00007421");
        check(0.0816, "0.0816");
        check(-1.5, "-1.5");
        check(351.105, "351.1");
        check(123_456.7, "123457");
        check(99.999, "100");
        check(f64::NAN, "NaN");
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_duration_ns(text).ok(), expected, "{text}");
        check("250us", Some(250_000));
        check("20 ms", Some(20_000_000));
        check("1.5s", Some(1_500_000_000));
        check("10m", Some(600_000_000_000));
        check("1h", Some(3_600_000_000_000));
        check("0s", Some(0));
        check("5", None);
        check("-5s", None);
        check("fast", None);
        check("1.2.3s", None);
        check("99999999h", None);
        check("", None);
    }

    #[test]
    fn rates() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(parse_rate_per_s(text).ok(), expected, "{text}");
        check("50/s", Some(50.0));
        check("300/m", Some(5.0));
        check("1_000/s", Some(1000.0));
        check("7", Some(7.0));
        check("7/", None);
        check("-1/s", None);
        check("7/d", None);
        check(&"9".repeat(400), None);
    }

    #[test]
    fn shares() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(parse_share(text).ok(), expected, "{text}");
        check("1%", Some(0.01));
        check("0.25", Some(0.25));
        check("101%", None);
        check("-1%", None);
        check("2", None);
    }

    #[test]
    fn factors() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(parse_factor(text).ok(), expected, "{text}");
        check("14.4", Some(14.4));
        check(" 2 ", Some(2.0));
        check("2x", None);
        check("-1", None);
        check("", None);
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        check("10MB", Some(10_000_000));
        check("64KiB", Some(65_536));
        check("12", Some(12));
        check("12 parsecs", None);
        check("99999999999 GiB", None);
    }

    #[test]
    fn printing() {
        let check = |ns: f64, expected: &str| assert_eq!(format_duration_ns(ns), expected);
        check(0.0, "0 ns");
        check(950.0, "950 ns");
        check(1_500.0, "1.5 µs");
        check(999_900.0, "1 ms");
        check(12_345_678.0, "12.3 ms");
        check(250e6, "250 ms");
        check(2.5e9, "2.5 s");
        check(f64::NAN, "–");
    }
}
