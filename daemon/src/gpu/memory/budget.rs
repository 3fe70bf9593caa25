//! How much of a device's memory may be used: a share of it, or a number of bytes. Pure.

use serde::Serialize;

/// What was said of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Budget {
    /// A share of all its memory, above 0 and at most 1.
    Share(f64),
    /// So many bytes.
    Bytes(u64),
}

impl Default for Budget {
    fn default() -> Self {
        Self::Share(0.75)
    }
}

/// Less holds no model.
const LEAST_BYTES: u64 = 1 << 20;
const UNITS: [(&str, u64); 6] =
    [("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30), ("kb", 1_000), ("mb", 1_000_000), ("gb", 1_000_000_000)];

impl Budget {
    /// Reads `75%`, `14GiB`, `500 MB` or a number of bytes.
    ///
    /// # Errors
    /// When it is none of them; says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" must be a share such as \"75%\", or bytes such as \"14GiB\" or 1000000000");
        let plain = text.trim().to_ascii_lowercase();
        let number = |digits: &str| digits.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        if let Some(percent) = plain.strip_suffix('%') {
            let share = number(percent).ok_or_else(wrong)? / 100.0;
            return if share > 0.0 && share <= 1.0 { Ok(Self::Share(share)) } else { Err(wrong()) };
        }
        let unit = UNITS.iter().find_map(|(unit, bytes)| Some((plain.strip_suffix(unit)?, *bytes)));
        let (digits, unit_bytes) = unit.unwrap_or((&plain, 1));
        let bytes = number(digits).ok_or_else(wrong)? * unit_bytes as f64;
        if bytes < LEAST_BYTES as f64 || bytes > u64::MAX as f64 / 2.0 {
            return Err(format!("\"{text}\" must be at least 1MiB"));
        }
        Ok(Self::Bytes(bytes as u64))
    }

    /// Bytes of a device with so many; never more than it has.
    pub fn of(self, total_bytes: u64) -> u64 {
        match self {
            Self::Share(share) => (total_bytes as f64 * share) as u64,
            Self::Bytes(bytes) => bytes.min(total_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_shares_or_bytes() {
        let check = |text: &str, expected: Option<u64>| {
            let found = Budget::parse(text).map(|budget| budget.of(32 << 30));
            assert_eq!(found.clone().ok(), expected, "{text}: {found:?}");
        };
        check("75%", Some(24 << 30));
        check("100 %", Some(32 << 30));
        check("14GiB", Some(14 << 30));
        check("1.5 gib", Some(3 << 29));
        check("500MB", Some(500_000_000));
        check("2097152", Some(2 << 20));
        check("64GiB", Some(32 << 30));
        for wrong in ["", "0%", "101%", "-1", "x", "12 parsecs", "nan", "inf%", "1023KiB", "1e40"] {
            check(wrong, None);
        }
        assert_eq!(Budget::default().of(4 << 30), 3 << 30);
    }
}
