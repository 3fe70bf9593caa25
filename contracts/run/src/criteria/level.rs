//! A service level on one line, as a command takes it: `p95<200ms,errors<1%`.

use std::str::FromStr;

use super::Slo;
use crate::units::{parse_duration_ns, parse_share};

/// Errors that are allowed where nothing is said.
const ERROR_RATE: f64 = 0.01;

/// Why a service level could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {why}; write a service level such as \"p95<200ms\" or \"p99<1s,errors<0.1%\"")]
pub struct SloError {
    /// What was written.
    text: String,
    /// What is wrong with it.
    why: String,
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: String| SloError { text: text.to_owned(), why };
        let (mut late, mut error_rate) = (None, None);
        for part in text.split(',') {
            let (name, bound) =
                part.split_once('<').ok_or_else(|| wrong(format!("`{}` compares nothing", part.trim())))?;
            let (name, bound) = (name.trim(), bound.trim_start_matches('=').trim());
            let twice = match name {
                "errors" | "error_rate" => {
                    error_rate.replace(parse_share(bound).map_err(|e| wrong(e.to_string()))?).is_some()
                }
                _ => {
                    let percentile = name.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok());
                    let percentile = percentile.filter(|percentile| *percentile > 0.0 && *percentile < 100.0);
                    let percentile =
                        percentile.ok_or_else(|| wrong(format!("`{name}` is neither a percentile nor `errors`")))?;
                    let latency_ns = parse_duration_ns(bound).map_err(|e| wrong(e.to_string()))?;
                    late.replace((latency_ns, percentile)).is_some()
                }
            };
            if twice {
                return Err(wrong(format!("`{name}` comes beside another of its kind")));
            }
        }
        let (latency_ns, percentile) =
            late.ok_or_else(|| wrong("it bounds no percentile of the latency".to_owned()))?;
        Ok(Self::new(latency_ns, percentile, error_rate.unwrap_or(ERROR_RATE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn service_levels_are_read() {
        let check = |text: &str, expected: Slo| assert_eq!(text.parse(), Ok(expected), "{text}");
        check("p95<200ms,errors<1%", Slo::new(200 * MS, 95.0, 0.01));
        check("p99.9 <= 1s", Slo::new(1000 * MS, 99.9, 0.01));
        check(" errors < 0.1% , p50<5ms ", Slo::new(5 * MS, 50.0, 0.001));
    }

    #[test]
    fn wrong_ones_say_what_would_be_right() {
        let check = |text: &str, part: &str| {
            let message = text.parse::<Slo>().unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("p99<1s,errors<0.1%"), "{text}: {message}");
        };
        check("", "compares nothing");
        check("p95", "compares nothing");
        check("p95<3", "not a duration");
        check("p100<3ms", "neither a percentile nor `errors`");
        check("latency<3ms", "neither a percentile nor `errors`");
        check("errors<1%", "bounds no percentile");
        check("p95<1s,p99<2s", "beside another of its kind");
        check("p95<1s,errors<many", "not a share");
    }
}
