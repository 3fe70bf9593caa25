//! What of a run a price can be put on: rates of answers, bytes of output, time of computing, power. Knows no prices.

use proofload_run::findings::{Bucket, CostBasis, EntryFindings, Estimate, Rates, StepFindings};
use proofload_run::units::{NS_PER_S, digits};

use super::energy::Counters;
use super::meter::Meter;
use crate::interval::half_of_mean;
use crate::lines::Line;

/// Quiet times are looked for that are this long.
const QUIET_NS: u64 = 10 * NS_PER_S;
/// Where the daemon turns pictures to meshes.
const RELIEFS: &str = "/api/v1/generate-3d";

/// What the basis is made of.
pub(crate) struct Parts<'a> {
    /// Whether the load goes up to the limit, so that the run as a whole is a mixture.
    pub(crate) climbs: bool,
    pub(crate) rates: &'a Rates,
    pub(crate) steps: &'a [StepFindings],
    pub(crate) entries: &'a [EntryFindings],
    pub(crate) buckets: &'a [Bucket],
    pub(crate) bucket_ns: u64,
    pub(crate) driven_ns: u64,
    pub(crate) series: &'a [Line],
    pub(crate) meter: &'a Meter,
}

/// The basis; `None` where nothing was answered.
pub(crate) fn basis(parts: &Parts<'_>) -> Option<CostBasis> {
    let measured: Vec<&StepFindings> = parts.steps.iter().filter(|step| !step.warm_up).collect();
    let best = measured.iter().max_by(|a, b| a.rates.goodput_per_s.total_cmp(&b.rates.goodput_per_s));
    let (over, rates, within) = if let Some(step) = best.filter(|_| parts.climbs) {
        let over = format!("the step with the most good answers ({}, {}/s)", step.name, digits(step.level));
        (over, &step.rates, vec![(step.measured_from_ns, step.end_ns)])
    } else {
        let windows = measured.iter().map(|step| (step.measured_from_ns, step.end_ns));
        ("the measured time".to_owned(), parts.rates, windows.collect())
    };
    (rates.throughput_n > 0).then_some(())?;
    let inside: Vec<&Bucket> =
        parts.buckets.iter().filter(|bucket| is_inside(bucket, parts.bucket_ns, &within)).collect();
    let estimate = |value: f64, n: u64, of: fn(&Bucket) -> f64| {
        let values: Vec<f64> = inside.iter().map(|bucket| of(bucket)).collect();
        let interval = half_of_mean(&values).map(|half| [(value - half).max(0.0), value + half]);
        Estimate { value, interval, n }
    };
    let answered_per_s = estimate(rates.throughput_per_s, rates.throughput_n, |bucket| bucket.throughput_per_s);
    let (output_is_meshes, bytes, answers) = output(parts.entries);
    let scale = bytes / parts.rates.throughput_per_s.max(f64::MIN_POSITIVE);
    let counters = Counters::of(parts.series);
    Some(CostBasis {
        over,
        measured_ns: rates.measured_ns,
        good_per_s: estimate(rates.goodput_per_s, rates.goodput_n, |bucket| bucket.goodput_per_s),
        output_bytes_per_s: Estimate {
            value: answered_per_s.value * scale,
            interval: answered_per_s.interval.map(|interval| interval.map(|end| end * scale)),
            n: answers,
        },
        answered_per_s,
        output_is_meshes,
        computing: parts.meter.computing(),
        power_w: counters.power_w(&within),
        idle_power_w: counters.power_w(&quiet(parts)),
        energy_counter: counters.name.to_owned(),
    })
}

fn is_inside(bucket: &Bucket, width_ns: u64, within: &[(u64, u64)]) -> bool {
    within.iter().any(|&(from, to)| bucket.t_ns >= from && bucket.t_ns + width_ns <= to)
}

/// Whether there are meshes among the output, and its bytes per second and answers: the meshes' alone where there are any.
fn output(entries: &[EntryFindings]) -> (bool, f64, u64) {
    let is_mesh = |entry: &&EntryFindings| entry.what.starts_with(RELIEFS) && entry.rates.throughput_n > 0;
    let has_meshes = entries.iter().any(|entry| is_mesh(&entry));
    let counted = entries.iter().filter(|entry| !has_meshes || is_mesh(entry));
    counted.fold((has_meshes, 0.0, 0), |(meshes, bytes, n), entry| {
        (meshes, bytes + entry.mean_bytes_in * entry.rates.throughput_per_s, n + entry.rates.throughput_n)
    })
}

/// Times of ten seconds and more in which nothing was wanted and nothing under way.
fn quiet(parts: &Parts<'_>) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    let is_quiet =
        |bucket: &&Bucket| bucket.intended_per_s == 0.0 && bucket.in_flight == 0 && bucket.in_flight_mean == 0.0;
    let driven = parts.buckets.iter().filter(|bucket| bucket.t_ns + parts.bucket_ns <= parts.driven_ns);
    for bucket in driven.filter(is_quiet) {
        let end_ns = bucket.t_ns + parts.bucket_ns;
        match found.last_mut() {
            Some(last) if last.1 == bucket.t_ns => last.1 = end_ns,
            _ => found.push((bucket.t_ns, end_ns)),
        }
    }
    found.retain(|(from, to)| to - from >= QUIET_NS);
    found
}
