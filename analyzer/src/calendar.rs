//! Days and months of the calendar, in UTC. Reads no clock.

use proofload_run::units::NS_PER_S;

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`, for days after it).
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The month that a time lies in, as `2026-11`.
pub(crate) fn month(unix_ns: u64) -> String {
    let (year, month, _) = civil(unix_ns / NS_PER_S / 86_400);
    format!("{year}-{month:02}")
}

/// The day that a time lies in, as `2026-11-22`.
pub(crate) fn day(unix_s: u64) -> String {
    let (year, month, day) = civil(unix_s / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_days() {
        let check = |unix_s: u64, expected: &str| {
            assert_eq!(day(unix_s), expected);
            assert_eq!(month(unix_s * NS_PER_S), expected[..7]);
        };
        check(0, "1970-01-01");
        check(951_782_400, "2000-02-29");
        check(1_795_212_060, "2026-11-20");
        check(4_107_542_399, "2100-02-28");
    }
}
