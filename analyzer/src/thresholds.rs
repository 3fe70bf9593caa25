//! Thresholds: a bound on one figure each. No data is a failure, never a pass; too little data for the percentile
//! asked decides nothing.

use proofload_run::criteria::{Comparison, Metric, Threshold, format_bound};
use proofload_run::findings::{BreakingKind, BreakingPoint, Rates, SloResult, ThresholdResult, Tokens};
use proofload_run::verdict::Verdict;

use crate::stats::{Population, enough};
use crate::tokens::TokenTimes;

/// The figures that a threshold can be about: of the whole run, or of one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) population: &'a Population,
    pub(crate) token_times: &'a TokenTimes,
    pub(crate) rates: &'a Rates,
    pub(crate) tokens: Option<&'a Tokens>,
    /// What came of the service levels of these arrivals.
    pub(crate) slos: &'a [SloResult],
    /// Measured arrivals.
    pub(crate) arrivals: u64,
    pub(crate) breaking_point: Option<&'a BreakingPoint>,
}

/// A figure and how many samples are behind it.
struct Figure {
    value: Option<f64>,
    n: u64,
    /// Whether it is enough for what is asked, or the sentence that says what is missing.
    lacking: Option<String>,
}

/// Judges one threshold. Without a subject there is no such entry, and so no data.
pub(crate) fn judge(threshold: &Threshold, default: bool, subject: Option<Subject<'_>>) -> ThresholdResult {
    let figure = subject.map_or(Figure { value: None, n: 0, lacking: None }, |s| figure(threshold.metric, &s));
    let broken = subject.and_then(|s| s.breaking_point).filter(|_| threshold.metric == Metric::BreakingPoint);
    let (verdict, note) = match broken {
        Some(found) => judge_breaking_point(threshold, found),
        None => judge_figure(threshold, &figure),
    };
    ThresholdResult {
        threshold: threshold.clone(),
        text: threshold.to_string(),
        default,
        value: figure.value,
        value_text: figure.value.map_or_else(|| "no data".to_owned(), |value| format_bound(threshold.metric, value)),
        n: figure.n,
        verdict,
        note,
    }
}

fn figure(metric: Metric, subject: &Subject<'_>) -> Figure {
    let (population, rates, n) = (subject.population, subject.rates, subject.population.n());
    let plain = |value: Option<f64>, n| Figure { value, n, lacking: None };
    let some_of = |value: f64, n: u64| plain((n > 0).then_some(value), n);
    match metric {
        Metric::Percentile(p) => percentile(population, p, "successes"),
        Metric::FirstToken(p) => percentile(&subject.token_times.ttft, p, "streamed answers"),
        Metric::TokenGap(p) => percentile(&subject.token_times.itl, p, "streamed answers of two tokens"),
        Metric::TokensPerS => plain(subject.tokens.map(|found| found.out_per_s), subject.tokens.map_or(0, |t| t.out)),
        Metric::Mean => plain(population.mean().map(|mean| mean.0), n),
        Metric::Max => plain(population.max_ns().map(|ns| ns as f64), n),
        Metric::ErrorRate => some_of(rates.errors.share, rates.errors.n),
        Metric::ShedRate => some_of(rates.sheds.share, rates.sheds.n),
        Metric::Throughput => Figure { n: rates.throughput_n, ..some_of(rates.throughput_per_s, subject.arrivals) },
        Metric::Goodput => Figure { n: rates.goodput_n, ..some_of(rates.goodput_per_s, subject.arrivals) },
        Metric::BurnRate => burn_rate(subject.slos),
        Metric::BreakingPoint => plain(subject.breaking_point.and_then(|b| b.first_missed_level), subject.arrivals),
    }
}

/// Bad requests over those that the levels allow of as many.
fn burn_rate(slos: &[SloResult]) -> Figure {
    let n = slos.iter().map(|slo| slo.bad.n).sum();
    let bad: u64 = slos.iter().map(|slo| slo.bad.count).sum();
    let allowed: f64 = slos.iter().map(|slo| slo.bad.n as f64 * slo.allowed_share).sum();
    // The allowed share is 1 less a percentage, and so off by some last digits.
    let value = (allowed * 1e9).round() / 1e9;
    Figure { value: (n > 0).then(|| bad as f64 / value), n, lacking: None }
}

fn percentile(population: &Population, p: f64, of: &str) -> Figure {
    let n = population.n();
    let lacking = (!enough(n, p)).then(|| {
        let needed = (10.0 / (1.0 - p / 100.0).min(p / 100.0)).round();
        format!("p{p} needs at least {needed} {of}, there are {n}")
    });
    Figure { value: population.value(p).map(|ns| ns as f64), n, lacking }
}

fn judge_figure(threshold: &Threshold, figure: &Figure) -> (Verdict, String) {
    match (figure.value, &figure.lacking) {
        (None, _) => (Verdict::Fail, "there is no data for it, and no data is never a pass".to_owned()),
        (Some(_), Some(lacking)) => (Verdict::Inconclusive, lacking.clone()),
        (Some(value), None) if threshold.comparison.holds(value, threshold.bound) => (Verdict::Pass, String::new()),
        (Some(_), None) => (Verdict::Fail, String::new()),
    }
}

/// A breaking point may be known from one side only. Then the bound may be decided all the same.
fn judge_breaking_point(threshold: &Threshold, found: &BreakingPoint) -> (Verdict, String) {
    let holds = |level: f64| threshold.comparison.holds(level, threshold.bound);
    let wants_high = matches!(threshold.comparison, Comparison::Greater | Comparison::AtLeast);
    let plain = |holds: bool| if holds { Verdict::Pass } else { Verdict::Fail };
    let open = || (Verdict::Inconclusive, found.sentence.clone());
    match (found.kind, found.first_missed_level, found.last_met_level) {
        (BreakingKind::Between, Some(missed), _) => (plain(holds(missed)), found.sentence.clone()),
        // It lies at `missed` or below: what even `missed` cannot reach is missed, what `missed` keeps is kept.
        (BreakingKind::UpperBound, Some(missed), _) if holds(missed) != wants_high => {
            (plain(holds(missed)), found.sentence.clone())
        }
        // It lies above `met`.
        (BreakingKind::LowerBound, _, Some(met)) if holds(met) == wants_high => {
            (plain(holds(met)), found.sentence.clone())
        }
        _ => open(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaking::{Judged, breaking_point};
    use Kept::{Inconclusive, Met, Missed};
    use proofload_run::criteria::Slo;
    use proofload_run::findings::{Kept, Share};
    use proofload_run::manifest::LoadModel;

    const MS: u64 = 1_000_000;

    #[test]
    fn figures_against_bounds() {
        let rates = Rates {
            throughput_per_s: 50.0,
            goodput_per_s: 40.0,
            errors: Share { count: 1, n: 100, share: 0.01, low: 0.0, high: 0.05 },
            sheds: Share { count: 0, n: 100, share: 0.0, low: 0.0, high: 0.05 },
            ..Rates::default()
        };
        let up_to = |most_ms: u64| {
            let members: Vec<(u64, u32)> = (1..=most_ms).map(|ms| (ms * MS, 0)).collect();
            Population::of(&members, &[])
        };
        let population = up_to(200);
        let token_times = TokenTimes { ttft: up_to(200), itl: up_to(100), longest_gap: up_to(0) };
        let tokens = Tokens { n: 200, out: 900, out_per_s: 90.0, ..Tokens::default() };
        let bad = |count, n| Share { count, n, ..Share::default() };
        let level = |allowed_share, bad| SloResult {
            entry: None,
            slo: Slo::new(20 * MS, 100.0 - allowed_share * 100.0, 0.01),
            bad,
            allowed_share,
            errors: Share::default(),
            unknown: 0,
            kept: Met,
            clear: false,
        };
        let slos = [level(0.1, bad(10, 100)), level(0.01, bad(1, 100))];
        let subject = Subject {
            population: &population,
            token_times: &token_times,
            rates: &rates,
            tokens: Some(&tokens),
            slos: &slos,
            arrivals: 100,
            breaking_point: None,
        };
        let check = |text: &str, expected: Verdict| {
            let found = judge(&text.parse().unwrap(), false, Some(subject));
            assert_eq!(found.verdict, expected, "{text}: {found:?}");
        };
        check("p95 <= 190ms", Verdict::Pass);
        check("p95 < 190ms", Verdict::Fail);
        check("p99 < 1s", Verdict::Inconclusive);
        check("mean < 101ms", Verdict::Pass);
        check("max <= 200ms", Verdict::Pass);
        check("max < 200ms", Verdict::Fail);
        check("error_rate <= 1%", Verdict::Pass);
        check("error_rate < 1%", Verdict::Fail);
        check("shed_rate <= 1%", Verdict::Pass);
        check("throughput >= 50/s", Verdict::Pass);
        check("goodput >= 50/s", Verdict::Fail);
        check("breaking_point >= 1/s", Verdict::Fail);
        check("ttft_p95 <= 190ms", Verdict::Pass);
        check("ttft_p95 < 190ms", Verdict::Fail);
        check("itl_p90 <= 90ms", Verdict::Pass);
        check("itl_p95 <= 1s", Verdict::Inconclusive);
        check("burn_rate <= 1", Verdict::Pass);
        check("burn_rate < 1", Verdict::Fail);
        check("tokens_per_s >= 90/s", Verdict::Pass);
        check("tokens_per_s > 90/s", Verdict::Fail);
    }

    #[test]
    fn no_data_is_never_a_pass() {
        let (population, rates) = (Population::of(&[], &[]), Rates::default());
        let token_times =
            TokenTimes { ttft: population.clone(), itl: population.clone(), longest_gap: population.clone() };
        let empty = Subject {
            population: &population,
            token_times: &token_times,
            rates: &rates,
            tokens: None,
            slos: &[],
            arrivals: 0,
            breaking_point: None,
        };
        for text in [
            "ttft_p50 < 1h",
            "itl_p50 < 1h",
            "tokens_per_s >= 0/s",
            "p50 < 1h",
            "burn_rate < 100",
            "mean < 1h",
            "max < 1h",
            "error_rate <= 100%",
            "shed_rate <= 100%",
            "goodput >= 0/s",
        ] {
            for subject in [Some(empty), None] {
                let found = judge(&text.parse().unwrap(), false, subject);
                assert_eq!((found.verdict, found.value), (Verdict::Fail, None), "{text}");
            }
        }
    }

    #[test]
    fn breaking_points_known_from_one_side() {
        let check = |kept: &[Kept], text: &str, expected: Verdict| {
            let steps: Vec<Judged> = (1_u32..)
                .zip(kept)
                .map(|(i, &kept)| Judged {
                    name: String::new(),
                    level: f64::from(i) * 100.0,
                    kept,
                    clear: true,
                    goodput_per_s: 1.0,
                })
                .collect();
            let found = breaking_point(&steps, LoadModel::Open);
            assert_eq!(judge_breaking_point(&text.parse().unwrap(), &found).0, expected, "{kept:?} {text}");
        };
        check(&[Met, Missed], "breaking_point >= 200/s", Verdict::Pass);
        check(&[Met, Missed], "breaking_point >= 201/s", Verdict::Fail);
        check(&[Met, Met], "breaking_point >= 200/s", Verdict::Pass);
        check(&[Met, Met], "breaking_point >= 300/s", Verdict::Inconclusive);
        check(&[Met, Met], "breaking_point < 150/s", Verdict::Fail);
        check(&[Met, Met], "breaking_point < 300/s", Verdict::Inconclusive);
        check(&[Missed], "breaking_point >= 300/s", Verdict::Fail);
        check(&[Missed], "breaking_point >= 50/s", Verdict::Inconclusive);
        check(&[Missed], "breaking_point <= 100/s", Verdict::Pass);
        check(&[Inconclusive], "breaking_point >= 1/s", Verdict::Inconclusive);
    }
}
