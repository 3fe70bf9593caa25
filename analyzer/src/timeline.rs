//! The run over time: one bucket a second, wider in long runs. Everything is in it, warm-up and settling included.

use proofload_run::findings::{Bucket, Timeline};
use proofload_run::sample::Outcome;
use proofload_run::units::NS_PER_S;

use crate::load::Row;
use crate::scope::Scope;
use crate::slo::Levels;
use crate::stats::Population;

/// No more buckets than this: what a chart can show, and what a file should hold.
const MAX_BUCKETS: u64 = 600;
/// The widths that a bucket may have, in seconds.
const WIDTHS_S: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 3600, 14_400];

/// Counts of one bucket before they are divided by its width.
#[derive(Debug, Clone, Default)]
struct Tally {
    intended: u64,
    sent: u64,
    ok: u64,
    good: u64,
    errors: u64,
    sheds: u64,
    begun: u64,
    ended: u64,
    /// Time that requests were under way in the bucket where they began or ended.
    part_ns: u64,
    /// Requests that were under way through whole buckets: from this one on, and up to this one.
    through_from: u64,
    through_until: u64,
    latencies: Vec<(u64, u32)>,
    ttfts: Vec<(u64, u32)>,
    itls: Vec<(u64, u32)>,
}

/// The timeline of a run.
pub(crate) fn timeline(scope: &Scope<'_>, levels: &Levels) -> Timeline {
    let rows = &scope.run.rows;
    let last = rows.iter().map(|row| row.done_ns.max(row.intended_ns)).max().unwrap_or(0).max(scope.driven_ns);
    let bucket_ns = width_ns(last);
    let mut tallies = vec![Tally::default(); usize::try_from(last / bucket_ns + 1).unwrap_or(1)];
    for row in rows {
        count(row, &mut tallies, |t_ns| usize::try_from(t_ns / bucket_ns).unwrap_or(0), scope, levels);
        if row.outcome != Outcome::Dropped {
            presence(&mut tallies, row.intended_ns, row.intended_ns + scope.age_ns(row), bucket_ns);
        }
    }
    let (mut under_way, mut through) = (0, 0);
    let starts = (0..).map(|index: u64| index * bucket_ns);
    let buckets = starts.zip(tallies).map(|(t_ns, tally)| {
        under_way += tally.begun;
        under_way -= tally.ended.min(under_way);
        through += tally.through_from;
        through -= tally.through_until.min(through);
        // The last bucket is as long as the run was in it, and no rate is taken over a sliver.
        let length = (last - t_ns).clamp(bucket_ns / 5, bucket_ns);
        let mean = through as f64 + tally.part_ns as f64 / length as f64;
        let counted = bucket(t_ns, tally, length as f64 / NS_PER_S as f64);
        Bucket { in_flight: under_way, in_flight_mean: mean, ..counted }
    });
    Timeline { bucket_ns, buckets: buckets.collect() }
}

fn width_ns(last_ns: u64) -> u64 {
    let fits = |width: &&u64| last_ns / (**width * NS_PER_S) < MAX_BUCKETS;
    let widest = last_ns / NS_PER_S / MAX_BUCKETS + 1;
    WIDTHS_S.iter().find(fits).copied().unwrap_or(widest) * NS_PER_S
}

fn count(row: &Row, tallies: &mut [Tally], index: impl Fn(u64) -> usize, scope: &Scope<'_>, levels: &Levels) {
    tallies[index(row.intended_ns)].intended += 1;
    if row.outcome == Outcome::Dropped {
        return;
    }
    if row.sent_ns > 0 {
        let sent = index(row.sent_ns).min(tallies.len() - 1);
        tallies[sent].sent += 1;
    }
    tallies[index(row.intended_ns)].begun += 1;
    let done_ns = if row.done_ns == 0 { scope.closed_ns } else { row.done_ns };
    let done = index(done_ns.max(row.intended_ns)).min(tallies.len() - 1);
    let tally = &mut tallies[done];
    tally.ended += 1;
    tally.errors += u64::from(row.outcome.is_error());
    tally.sheds += u64::from(row.outcome == Outcome::Shed);
    if row.outcome == Outcome::Ok {
        tally.ok += 1;
        tally.good += u64::from(levels.in_time(row));
        let tally = &mut tallies[index(row.intended_ns)];
        tally.latencies.push((row.latency_ns(), 0));
        tally.ttfts.extend(row.ttft_ns().map(|ns| (ns, 0)));
        tally.itls.extend(row.itl_ns().map(|ns| (ns.round() as u64, 0)));
    }
}

/// Adds the time from `from_ns` to `to_ns` to the buckets that it covers.
fn presence(tallies: &mut [Tally], from_ns: u64, to_ns: u64, bucket_ns: u64) {
    let last = tallies.len() - 1;
    let index = |t_ns: u64| usize::try_from(t_ns / bucket_ns).unwrap_or(last).min(last);
    let (first, end) = (index(from_ns), index(to_ns));
    if first == end {
        tallies[first].part_ns += to_ns - from_ns;
        return;
    }
    tallies[first].part_ns += bucket_ns - from_ns % bucket_ns;
    tallies[end].part_ns += to_ns - end as u64 * bucket_ns;
    tallies[first + 1].through_from += 1;
    tallies[end].through_until += 1;
}

fn bucket(t_ns: u64, tally: Tally, seconds: f64) -> Bucket {
    let per_s = |count: u64| count as f64 / seconds;
    let population = |times: Vec<(u64, u32)>| times.into_iter().collect::<Population>();
    let (latencies, ttfts, itls) = (population(tally.latencies), population(tally.ttfts), population(tally.itls));
    Bucket {
        t_ns,
        intended_per_s: per_s(tally.intended),
        sent_per_s: per_s(tally.sent),
        throughput_per_s: per_s(tally.ok),
        goodput_per_s: per_s(tally.good),
        errors_per_s: per_s(tally.errors),
        sheds_per_s: per_s(tally.sheds),
        in_flight: 0,
        in_flight_mean: 0.0,
        n: latencies.n(),
        p50_ns: latencies.value(50.0),
        p95_ns: latencies.value(95.0),
        p99_ns: latencies.value(99.0),
        ttft_p50_ns: ttfts.value(50.0),
        ttft_p95_ns: ttfts.value(95.0),
        itl_p50_ns: itls.value(50.0),
        itl_p95_ns: itls.value(95.0),
    }
}
