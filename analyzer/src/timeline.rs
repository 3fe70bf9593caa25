//! The run over time: one bucket a second, wider in long runs. Everything is in it, warm-up and settling included.

use proofload_run::findings::{Bucket, Timeline};
use proofload_run::sample::Outcome;
use proofload_run::units::NS_PER_S;

use crate::samples::Row;
use crate::scope::{Scope, Seen};
use crate::stats::Percentiles;

/// No more buckets than this: what a chart can show, and what a file should hold.
const MAX_BUCKETS: u64 = 600;
/// The widths that a bucket may have, in seconds.
const WIDTHS_S: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 3600, 14_400];

/// The percentiles of latency that a bucket states, and those of the times of tokens.
const OF_LATENCY: [f64; 3] = [50.0, 95.0, 99.0];
const OF_TOKENS: [f64; 2] = [50.0, 95.0];

/// Counts of one bucket before they are divided by its width.
#[derive(Debug, Clone)]
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
    latencies: Percentiles,
    ttfts: Percentiles,
    itls: Percentiles,
}

impl Tally {
    fn new() -> Self {
        Self {
            intended: 0,
            sent: 0,
            ok: 0,
            good: 0,
            errors: 0,
            sheds: 0,
            begun: 0,
            ended: 0,
            part_ns: 0,
            through_from: 0,
            through_until: 0,
            latencies: Percentiles::of_whole(&OF_LATENCY),
            ttfts: Percentiles::of_whole(&OF_TOKENS),
            itls: Percentiles::of_whole(&OF_TOKENS),
        }
    }
}

/// The buckets of a run while its samples are looked at.
#[derive(Debug, Clone)]
pub(crate) struct Buckets {
    bucket_ns: u64,
    /// The end of everything.
    last_ns: u64,
    tallies: Vec<Tally>,
}

impl Buckets {
    pub(crate) fn new(scope: &Scope<'_>) -> Self {
        let last_ns = scope.run.samples.extent().last_seen_ns.max(scope.driven_ns);
        let bucket_ns = width_ns(last_ns, MAX_BUCKETS);
        let tallies = vec![Tally::new(); usize::try_from(last_ns / bucket_ns + 1).unwrap_or(1)];
        Self { bucket_ns, last_ns, tallies }
    }

    /// The bucket of this time, or the last.
    fn index(&self, t_ns: u64) -> usize {
        let last = self.tallies.len() - 1;
        usize::try_from(t_ns / self.bucket_ns).unwrap_or(last).min(last)
    }

    /// Counts a sample, in the first look only.
    pub(crate) fn count(&mut self, seen: &Seen<'_>, is_in_time: bool) {
        let row = seen.row;
        let begun = self.index(row.intended_ns);
        self.tallies[begun].intended += 1;
        if row.outcome == Outcome::Dropped {
            return;
        }
        if row.sent_ns > 0 {
            let sent = self.index(row.sent_ns);
            self.tallies[sent].sent += 1;
        }
        self.tallies[begun].begun += 1;
        let until_ns = row.intended_ns + seen.age_ns;
        let ended = self.index(until_ns);
        end(&mut self.tallies[ended], row, is_in_time);
        self.presence(row.intended_ns, until_ns);
    }

    /// Looks at a sample that has been counted.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        if row.outcome != Outcome::Ok {
            return;
        }
        let begun = self.index(row.intended_ns);
        let tally = &mut self.tallies[begun];
        tally.latencies.add(row.latency_ns() as f64);
        row.ttft_ns().into_iter().for_each(|ns| tally.ttfts.add(ns as f64));
        row.itl_ns().into_iter().for_each(|ns| tally.itls.add(ns.round()));
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        self.tallies.iter_mut().fold(false, |open, tally| {
            let wanted = [tally.latencies.turn(), tally.ttfts.turn(), tally.itls.turn()];
            open || wanted.contains(&true)
        })
    }

    /// Adds the time from `from_ns` to `to_ns` to the buckets that it covers.
    fn presence(&mut self, from_ns: u64, to_ns: u64) {
        let (first, end, bucket_ns) = (self.index(from_ns), self.index(to_ns), self.bucket_ns);
        let tallies = &mut self.tallies;
        if first == end {
            tallies[first].part_ns += to_ns - from_ns;
            return;
        }
        tallies[first].part_ns += bucket_ns - from_ns % bucket_ns;
        tallies[end].part_ns += to_ns - end as u64 * bucket_ns;
        tallies[first + 1].through_from += 1;
        tallies[end].through_until += 1;
    }

    /// The timeline of the run.
    pub(crate) fn timeline(&self) -> Timeline {
        let (mut under_way, mut through) = (0, 0);
        let starts = (0..).map(|index: u64| index * self.bucket_ns);
        let buckets = starts.zip(&self.tallies).map(|(t_ns, tally)| {
            under_way += tally.begun;
            under_way -= tally.ended.min(under_way);
            through += tally.through_from;
            through -= tally.through_until.min(through);
            // The last bucket is as long as the run was in it, and no rate is taken over a sliver.
            let length = (self.last_ns - t_ns).clamp(self.bucket_ns / 5, self.bucket_ns);
            let mean = through as f64 + tally.part_ns as f64 / length as f64;
            let counted = bucket(t_ns, tally, length as f64 / NS_PER_S as f64);
            Bucket { in_flight: under_way, in_flight_mean: mean, ..counted }
        });
        Timeline { bucket_ns: self.bucket_ns, buckets: buckets.collect() }
    }
}

/// Counts what ended in a bucket.
fn end(tally: &mut Tally, row: &Row, is_in_time: bool) {
    tally.ended += 1;
    tally.errors += u64::from(row.outcome.is_error());
    tally.sheds += u64::from(row.outcome == Outcome::Shed);
    if row.outcome == Outcome::Ok {
        tally.ok += 1;
        tally.good += u64::from(is_in_time);
    }
}

/// The narrowest round width of which so many reach up to a time.
pub(crate) fn width_ns(last_ns: u64, most: u64) -> u64 {
    let fits = |width: &&u64| last_ns / (**width * NS_PER_S) < most;
    let widest = last_ns / NS_PER_S / most + 1;
    WIDTHS_S.iter().find(fits).copied().unwrap_or(widest) * NS_PER_S
}

fn bucket(t_ns: u64, tally: &Tally, seconds: f64) -> Bucket {
    let per_s = |count: u64| count as f64 / seconds;
    let value = |times: &Percentiles, percentile| times.value(percentile).map(|ns| ns as u64);
    let Tally { latencies, ttfts, itls, .. } = tally;
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
        p50_ns: value(latencies, 50.0),
        p95_ns: value(latencies, 95.0),
        p99_ns: value(latencies, 99.0),
        ttft_p50_ns: value(ttfts, 50.0),
        ttft_p95_ns: value(ttfts, 95.0),
        itl_p50_ns: value(itls, 50.0),
        itl_p95_ns: value(itls, 95.0),
    }
}
