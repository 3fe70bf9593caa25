//! What a run is judged by, as a scenario states it: the SLO of a request and the thresholds of a run. The
//! grammar lives here because `run.json` holds it; the judging is the analyzer's.

mod level;
mod moment;
mod record;
mod window;

pub use level::SloError;
pub use moment::Moment;
pub use window::{Request, Rule, Tally};

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{
    NS_PER_S, UnitError, format_duration_ns, parse_duration_ns, parse_factor, parse_rate_per_s, parse_share,
    significant,
};

/// The service level that a step of load must keep: at most `1 − percentile/100` of the arrivals may be bad, where
/// bad is slower than `latency_ns`, failed, shed or timed out; and at most `error_rate` may be errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// The latency that counts as slow.
    pub latency_ns: u64,
    /// Which percentile must stay within it, 0 < percentile < 100.
    pub percentile: f64,
    /// The largest share of errors, 0 to 1.
    pub error_rate: f64,
    /// The time to the first token of a streamed answer that counts as slow; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ns: Option<u64>,
    /// The mean time between the tokens of a streamed answer that counts as slow; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_ns: Option<u64>,
    /// The share of requests that has to be served over a long time, 0 to 1; `None` for the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<f64>,
}

impl Slo {
    /// A level without bounds on tokens.
    pub const fn new(latency_ns: u64, percentile: f64, error_rate: f64) -> Self {
        Self { latency_ns, percentile, error_rate, ttft_ns: None, itl_ns: None, availability: None }
    }

    /// Whether a success came in time: the whole of it, its first token, and its tokens after each other. What an
    /// answer does not have (`None`) cannot be late.
    pub fn is_in_time(&self, latency_ns: u64, ttft_ns: Option<u64>, itl_ns: Option<f64>) -> bool {
        let within = |time: Option<f64>, bound: Option<u64>| match (time, bound) {
            (Some(time), Some(bound)) => time <= bound as f64,
            _ => true,
        };
        latency_ns <= self.latency_ns
            && within(ttft_ns.map(|ns| ns as f64), self.ttft_ns)
            && within(itl_ns, self.itl_ns)
    }

    /// The largest share of bad arrivals that still meets the SLO.
    pub fn bad_fraction(&self) -> f64 {
        1.0 - self.percentile / 100.0
    }
}

/// A figure of a run that a threshold can bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// Latency percentile over successes, ns.
    Percentile(f64),
    /// Percentile of the time to the first token of streamed successes, ns.
    FirstToken(f64),
    /// Percentile over streamed successes of the mean time between an answer's tokens, ns.
    TokenGap(f64),
    /// Tokens of successes per second.
    TokensPerS,
    /// Mean latency over successes, ns.
    Mean,
    /// Largest latency over successes, ns.
    Max,
    /// Errors as a share of the answered and failed; sheds are no errors.
    ErrorRate,
    /// Sheds as a share of all that was sent.
    ShedRate,
    /// Successes per second.
    Throughput,
    /// Successes within the SLO's latency per second.
    Goodput,
    /// How many times faster than the SLO allows its budget of bad requests is spent: the share of bad ones over
    /// `1 − percentile/100`. At 1 the budget is spent just so (Google SRE workbook, chapter 5).
    BurnRate,
    /// The rate (open model: arrivals per second; closed: users) of the first step that misses the SLO.
    BreakingPoint,
}

/// What kind of quantity a metric is, and so how its bound is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Duration,
    Share,
    Rate,
    Factor,
}

impl Metric {
    fn quantity(self) -> Quantity {
        match self {
            Self::Percentile(_) | Self::FirstToken(_) | Self::TokenGap(_) | Self::Mean | Self::Max => {
                Quantity::Duration
            }
            Self::ErrorRate | Self::ShedRate => Quantity::Share,
            Self::Throughput | Self::Goodput | Self::BreakingPoint | Self::TokensPerS => Quantity::Rate,
            Self::BurnRate => Quantity::Factor,
        }
    }
}

impl Metric {
    /// Which percentile of a time it is, if it is one.
    pub fn percentile(self) -> Option<f64> {
        match self {
            Self::Percentile(percentile) | Self::FirstToken(percentile) | Self::TokenGap(percentile) => {
                Some(percentile)
            }
            _ => None,
        }
    }

    /// Whether it is about tokens, of which only text generators know.
    pub fn is_of_tokens(self) -> bool {
        matches!(self, Self::FirstToken(_) | Self::TokenGap(_) | Self::TokensPerS)
    }

    /// Whether it says nothing without a service level.
    pub fn needs_slo(self) -> bool {
        matches!(self, Self::Goodput | Self::BurnRate | Self::BreakingPoint)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(percentile) => write!(f, "p{percentile}"),
            Self::FirstToken(percentile) => write!(f, "ttft_p{percentile}"),
            Self::TokenGap(percentile) => write!(f, "itl_p{percentile}"),
            Self::TokensPerS => f.write_str("tokens_per_s"),
            Self::Mean => f.write_str("mean"),
            Self::Max => f.write_str("max"),
            Self::ErrorRate => f.write_str("error_rate"),
            Self::ShedRate => f.write_str("shed_rate"),
            Self::Throughput => f.write_str("throughput"),
            Self::Goodput => f.write_str("goodput"),
            Self::BurnRate => f.write_str("burn_rate"),
            Self::BreakingPoint => f.write_str("breaking_point"),
        }
    }
}

impl FromStr for Metric {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ThresholdError::Metric(text.to_owned());
        Ok(match text {
            "mean" => Self::Mean,
            "max" => Self::Max,
            "error_rate" => Self::ErrorRate,
            "shed_rate" => Self::ShedRate,
            "throughput" => Self::Throughput,
            "goodput" => Self::Goodput,
            "burn_rate" => Self::BurnRate,
            "breaking_point" => Self::BreakingPoint,
            "tokens_per_s" => Self::TokensPerS,
            _ => {
                const KINDS: [(&str, fn(f64) -> Metric); 3] =
                    [("ttft_p", Metric::FirstToken), ("itl_p", Metric::TokenGap), ("p", Metric::Percentile)];
                let found = KINDS.iter().find_map(|(kind, of)| Some((of, text.strip_prefix(kind)?)));
                let (of, percentile) = found.ok_or_else(unknown)?;
                let percentile: f64 = percentile.parse().map_err(|_| unknown())?;
                if !(percentile > 0.0 && percentile < 100.0) {
                    return Err(unknown());
                }
                of(percentile)
            }
        })
    }
}

/// Longest window that is watched.
const LONGEST_WINDOW_NS: u64 = 24 * 3600 * NS_PER_S;

/// How a figure is compared with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// Whether `value` compares so with `bound`.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Greater => value > bound,
            Self::AtLeast => value >= bound,
        }
    }

    /// The sign.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
}

/// A bound on one figure, over the whole run or over one entry of the mix. Written `p95 < 500ms`,
/// `error_rate <= 1%`, `goodput >= 45/s`, `relief: p99 < 2s`, `burn_rate < 14.4`. With ` over any 10s` it must hold over every window of that
/// length; a burn rate with ` over 1h and 5m` is missed only while both windows miss it. With ` else abort`, or
/// ` else abort after 30s`, the run ends early once it does not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The entry of the mix it is about; `None` for the whole run.
    pub entry: Option<String>,
    /// The figure.
    pub metric: Metric,
    /// How it is compared.
    pub comparison: Comparison,
    /// The bound: ns, a share from 0 to 1, per second, or a plain factor.
    pub bound: f64,
    /// Length of the windows over each of which it must hold; `None` for the run as a whole.
    pub window_ns: Option<u64>,
    /// Length of the windows that end with those and have to miss it, too; shorter.
    pub short_window_ns: Option<u64>,
    /// Whether missing it ends the run, and how long after the warm-up at the earliest.
    pub abort_after_ns: Option<u64>,
}

/// Why a threshold could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// No comparison sign.
    #[error(
        "`{0}` is not a threshold; write a metric, a comparison and a bound, such as \"p95 < 500ms\" or \"error_rate <= 1%\""
    )]
    Form(String),
    /// A window that makes no sense.
    #[error("`{text}`: {why}")]
    Window {
        /// What was written.
        text: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// No such metric.
    #[error(
        "`{0}` is not a metric; use p50, p95, p99.9 …, mean, max, error_rate, shed_rate, throughput, goodput, burn_rate, breaking_point, ttft_p95, itl_p95 or tokens_per_s"
    )]
    Metric(String),
    /// A bound that does not fit the metric.
    #[error("the bound of {metric}: {source}")]
    Bound {
        /// The metric.
        metric: String,
        /// What is wrong with the bound.
        source: UnitError,
    },
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ThresholdError::Form(text.to_owned());
        let (rest, abort_after_ns) = read_abort(text)?;
        let (rest, [window_ns, short_window_ns]) = read_windows(rest)?;
        let at = rest.find(['<', '>']).ok_or_else(form)?;
        let (left, right) = rest.split_at(at);
        let (entry, metric) = match left.rsplit_once(':') {
            Some((entry, metric)) => (Some(entry.trim().to_owned()), metric.trim()),
            None => (None, left.trim()),
        };
        let (comparison, bound) = read_comparison(right).ok_or_else(form)?;
        let bound = bound.trim();
        let metric: Metric = metric.parse()?;
        let bound = match metric.quantity() {
            Quantity::Duration => parse_duration_ns(bound).map(|ns| ns as f64),
            Quantity::Share => parse_share(bound),
            Quantity::Rate => parse_rate_per_s(bound),
            Quantity::Factor => parse_factor(bound),
        };
        let bound = bound.map_err(|source| ThresholdError::Bound { metric: metric.to_string(), source })?;
        let moves = window_ns.is_some() || abort_after_ns.is_some();
        if moves && metric == Metric::BreakingPoint {
            let why = format!("{metric} is known of the whole run only; leave `over any` and `else abort` out");
            return Err(ThresholdError::Window { text: text.to_owned(), why });
        }
        if short_window_ns.is_some() && metric != Metric::BurnRate {
            let why = "two windows together are for burn_rate; write one, such as `over any 10s`".to_owned();
            return Err(ThresholdError::Window { text: text.to_owned(), why });
        }
        Ok(Self { entry, metric, comparison, bound, window_ns, short_window_ns, abort_after_ns })
    }
}

/// Splits ` else abort` or ` else abort after 30s` off.
fn read_abort(text: &str) -> Result<(&str, Option<u64>), ThresholdError> {
    let Some((rest, clause)) = text.split_once(" else ") else { return Ok((text, None)) };
    let wrong = |why: &str| ThresholdError::Window { text: text.to_owned(), why: why.to_owned() };
    let clause = clause.trim();
    let after = clause.strip_prefix("abort").ok_or_else(|| wrong("write `else abort`, or `else abort after 30s`"))?;
    let after = match after.trim().strip_prefix("after ") {
        Some(after) => parse_duration_ns(after).map_err(|e| wrong(&e.to_string()))?,
        None if after.trim().is_empty() => 0,
        None => return Err(wrong("write `else abort`, or `else abort after 30s`")),
    };
    Ok((rest, Some(after)))
}

/// Splits ` over any 10s` or ` over 1h and 5m` off.
fn read_windows(text: &str) -> Result<(&str, [Option<u64>; 2]), ThresholdError> {
    let Some((rest, lengths)) = text.split_once(" over ") else { return Ok((text, [None; 2])) };
    let wrong = |why: &str| ThresholdError::Window { text: text.to_owned(), why: why.to_owned() };
    let read = |length: &str| {
        let window_ns = parse_duration_ns(length).map_err(|e| wrong(&e.to_string()))?;
        let fits = window_ns % NS_PER_S == 0 && (NS_PER_S..=LONGEST_WINDOW_NS).contains(&window_ns);
        if fits { Ok(Some(window_ns)) } else { Err(wrong("a window is a whole number of seconds, 1s to 24h")) }
    };
    let any = lengths.trim_start().strip_prefix("any ");
    match (any, any.unwrap_or(lengths).split_once(" and ")) {
        (Some(length), None) => Ok((rest, [read(length)?, None])),
        (None, None) => Err(wrong("write `over any 10s`, or two windows for a burn rate, `over 1h and 5m`")),
        (_, Some((long, short))) => {
            let windows = [read(long)?, read(short)?];
            if windows[1] >= windows[0] {
                return Err(wrong("the second window has to be the shorter one, such as `over 1h and 5m`"));
            }
            Ok((rest, windows))
        }
    }
}

fn read_comparison(text: &str) -> Option<(Comparison, &str)> {
    const SIGNS: [(&str, Comparison); 4] =
        [("<=", Comparison::AtMost), (">=", Comparison::AtLeast), ("<", Comparison::Less), (">", Comparison::Greater)];
    SIGNS.iter().find_map(|(sign, comparison)| Some((*comparison, text.strip_prefix(sign)?)))
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(entry) = &self.entry {
            write!(f, "{entry}: ")?;
        }
        write!(f, "{} {} {}", self.metric, self.comparison.as_str(), format_bound(self.metric, self.bound))?;
        match (self.window_ns.map(format_window), self.short_window_ns.map(format_window)) {
            (Some(long), Some(short)) => write!(f, " over {long} and {short}")?,
            (Some(window), None) => write!(f, " over any {window}")?,
            (None, _) => {}
        }
        match self.abort_after_ns {
            None => Ok(()),
            Some(0) => f.write_str(" else abort"),
            Some(after_ns) => write!(f, " else abort after {}", format_duration_ns(after_ns as f64)),
        }
    }
}

fn format_window(window_ns: u64) -> String {
    format_duration_ns(window_ns as f64)
}

/// A value of the metric, with its unit, as a person reads it.
pub fn format_bound(metric: Metric, value: f64) -> String {
    match metric.quantity() {
        Quantity::Duration => format_duration_ns(value),
        Quantity::Share => format!("{} %", significant(value * 100.0)),
        Quantity::Rate => format!("{} /s", significant(value)),
        Quantity::Factor => significant(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_and_printed() {
        let check = |text: &str, expected: &str| {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!(threshold.to_string(), expected);
            let json = serde_json::to_string(&threshold).unwrap();
            assert_eq!(serde_json::from_str::<Threshold>(&json).unwrap(), threshold);
        };
        check("p95 < 500ms", "p95 < 500 ms");
        check("p99.9<2s", "p99.9 < 2 s");
        check("error_rate <= 1%", "error_rate <= 1 %");
        check("goodput >= 45/s", "goodput >= 45 /s");
        check("relief: p99 < 2s", "relief: p99 < 2 s");
        check("breaking_point >= 380/s", "breaking_point >= 380 /s");
        check("mean < 1.5ms", "mean < 1.5 ms");
        check("chat: ttft_p95 < 300ms", "chat: ttft_p95 < 300 ms");
        check("itl_p99.9 <= 50ms", "itl_p99.9 <= 50 ms");
        check("tokens_per_s > 1000/s", "tokens_per_s > 1000 /s");
        check("p95 < 500ms over any 10s", "p95 < 500 ms over any 10 s");
        check("relief: error_rate < 1% over any 1m else abort", "relief: error_rate < 1 % over any 60 s else abort");
        check("goodput > 900/s over any 10s", "goodput > 900 /s over any 10 s");
        check("burn_rate < 14.4 over any 60s", "burn_rate < 14.4 over any 60 s");
        check("burn_rate < 14.4 over 1h and 5m", "burn_rate < 14.4 over 3600 s and 300 s");
        check("burn_rate < 6 over 6h and 30m", "burn_rate < 6 over 21600 s and 1800 s");
        check("a: burn_rate < 6 over any 60s and 5s else abort", "a: burn_rate < 6 over 60 s and 5 s else abort");
        check("chat: burn_rate<=1", "chat: burn_rate <= 1");
        check("max < 2s else abort after 30s", "max < 2 s else abort after 30 s");
    }

    #[test]
    fn wrong_thresholds_say_what_would_be_right() {
        let check = |text: &str, part: &str| {
            let message = text.parse::<Threshold>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        };
        check("p95", "write a metric, a comparison and a bound");
        check("p95 = 3ms", "write a metric, a comparison and a bound");
        check("p100 < 3ms", "not a metric");
        check("latency < 3ms", "not a metric");
        check("p95 < 3", "not a duration");
        check("error_rate < 3ms", "not a share");
        check("goodput > fast", "not a rate");
        check("p95 < 1s over any 1500ms", "a whole number of seconds, 1s to 24h");
        check("p95 < 1s over any 25h", "a whole number of seconds, 1s to 24h");
        check("p95 < 1s over any while", "not a duration");
        check("p95 < 1s else stop", "write `else abort`");
        check("p95 < 1s else abort soon", "write `else abort`");
        check("breaking_point > 5/s over any 10s", "known of the whole run only");
        check("burn_rate < 2% over any 60s", "not a factor");
        check("burn_rate < 2 over 5m and 1h", "the second window has to be the shorter one");
        check("burn_rate < 2 over any 5m and 5m", "the second window has to be the shorter one");
        check("burn_rate < 2 over 1h and 100ms", "a whole number of seconds, 1s to 24h");
        check("burn_rate < 2 over 25h and 5m", "a whole number of seconds, 1s to 24h");
        check("burn_rate < 2 over 1h and soon", "not a duration");
        check("burn_rate < 2 over 1h", "write `over any 10s`, or two windows");
        check("p95 < 2s over 1h and 5m", "two windows together are for burn_rate");
    }
}
