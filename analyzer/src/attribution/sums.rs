//! Where the time of two kinds of requests went: sums of the parts by moments of time, and how much of the difference between the
//! kinds each part is, with its interval. Sums are of whole numbers, so that the order of samples changes nothing.

use proofload_run::findings::{Group, SlowPart};

use super::clusters::half_width;
use super::parts::{N, NAMES, parts};
use crate::samples::Row;
use crate::stats::BySecond;
use proofload_run::sample::flags;

/// Sums over the requests of a kind in a moment.
#[derive(Debug, Clone, Default)]
struct Sum {
    n: u64,
    with_phases: u64,
    latency_ns: i128,
    parts_ns: [i128; N],
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.with_phases += other.with_phases;
        self.latency_ns += other.latency_ns;
        self.parts_ns.iter_mut().zip(other.parts_ns).for_each(|(sum, ns)| *sum += ns);
    }

    fn mean(&self, sum_ns: i128) -> f64 {
        sum_ns as f64 / self.n.max(1) as f64
    }
}

/// The sums of one kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    of_moment: BySecond<Sum>,
}

impl Sums {
    pub(super) fn add(&mut self, row: &Row, moment: u32) {
        let one = Sum {
            n: 1,
            with_phases: u64::from(row.flags & flags::HAS_PHASES != 0),
            latency_ns: i128::from(row.latency_ns()),
            parts_ns: parts(row),
        };
        self.of_moment.at(moment).add(&one);
    }

    fn all(&self) -> Sum {
        self.of_moment.iter().fold(Sum::default(), |mut all, (_, sum)| {
            all.add(sum);
            all
        })
    }

    pub(super) fn group(&self) -> Group {
        let all = self.all();
        Group { n: all.n, mean_latency_ns: all.mean(all.latency_ns), with_phases: all.with_phases }
    }
}

/// What each part is of the difference between slow and typical ones; `None` where the slow ones are not slower. The moments are
/// those from the first to the last of either.
pub(super) fn compared(slow: &Sums, typical: &Sums) -> Option<Vec<SlowPart>> {
    let (all_slow, all_typical) = (slow.all(), typical.all());
    let difference = all_slow.mean(all_slow.latency_ns) - all_typical.mean(all_typical.latency_ns);
    if all_slow.n == 0 || all_typical.n == 0 || difference <= 0.0 {
        return None;
    }
    let part = |at: usize| {
        let means = [&all_typical, &all_slow].map(|sum| sum.mean(sum.parts_ns[at]));
        let share = (means[1] - means[0]) / difference;
        // What a moment adds to the share: how far its sums are from what as many usual requests would have.
        let influence = |sums: &Sums, all: &Sum, moment: u32| {
            let Some(sum) = sums.of_moment.get(moment).filter(|sum| sum.n > 0) else { return 0.0 };
            let n = sum.n as f64;
            let of_part = sum.parts_ns[at] as f64 - n * all.mean(all.parts_ns[at]);
            let of_latency = sum.latency_ns as f64 - n * all.mean(all.latency_ns);
            (of_part - share * of_latency) / all.n as f64
        };
        let moments = moments(slow, typical);
        let influences = moments.iter().map(|&moment| {
            (influence(slow, &all_slow, moment) - influence(typical, &all_typical, moment)) / difference
        });
        let rare = slow.of_moment.iter().filter(|(_, sum)| sum.n > 0).count();
        let half = half_width(influences, rare);
        SlowPart {
            name: NAMES[at].to_owned(),
            typical_ns: means[0],
            slow_ns: means[1],
            share,
            low: half.map(|half| share - half),
            high: half.map(|half| share + half),
        }
    };
    let spent = |at: &usize| {
        let any = |sums: &Sums| sums.of_moment.iter().any(|(_, sum)| sum.parts_ns[*at] != 0);
        any(slow) || any(typical)
    };
    Some((0..N).filter(spent).map(part).collect())
}

/// The moments in which there is any of either.
fn moments(slow: &Sums, typical: &Sums) -> Vec<u32> {
    let of =
        |sums: &Sums| sums.of_moment.iter().filter(|(_, sum)| sum.n > 0).map(|(moment, _)| moment).collect::<Vec<_>>();
    let mut moments = [of(slow), of(typical)].concat();
    moments.sort_unstable();
    moments.dedup();
    moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{MS, Random};

    fn row(queue_ns: u64, compute_ns: u64) -> Row {
        let done_ns = 2 * MS + queue_ns + compute_ns;
        let phases_ns = [queue_ns, 0, compute_ns, 0];
        Row { sent_ns: MS, done_ns, first_byte_ns: done_ns, phases_ns, flags: flags::HAS_PHASES, ..Row::EMPTY }
    }

    #[test]
    fn shares_are_of_the_difference_and_add_up() {
        let (mut slow, mut typical) = (Sums::default(), Sums::default());
        (0..10).for_each(|moment| slow.add(&row(80 * MS, 30 * MS), moment));
        (0..20).for_each(|moment| typical.add(&row(0, 10 * MS), moment));
        let found = compared(&slow, &typical).unwrap();
        let shares: Vec<(&str, f64)> = found.iter().map(|part| (part.name.as_str(), part.share)).collect();
        let [waiting, queue, compute, rest] = shares[..] else { panic!("{shares:?}") };
        assert_eq!((waiting, queue), (("waiting for a connection", 0.0), ("queue", 0.8)));
        assert_eq!((compute, rest), (("compute", 0.2), ("unexplained / network", 0.0)));
        assert_eq!(compared(&typical, &slow), None, "the slow ones are the faster ones");
        assert_eq!((slow.group().n, typical.group().mean_latency_ns), (10, 12e6));
    }

    /// Queues that change from moment to moment: their share of the difference is found, and its interval holds.
    #[test]
    fn intervals_of_shares_hold() {
        let of_seed = |seed: u64| {
            let mut random = Random(seed);
            let (mut slow, mut typical) = (Sums::default(), Sums::default());
            for moment in 0..40 {
                // In each moment a queue and a slowness of its own.
                let (queue, compute) = (random.exponential(60e6), random.exponential(20e6));
                for _ in 0..1 + random.next() % 6 {
                    let queue_ns = (queue * (0.5 + random.unit())) as u64;
                    slow.add(&row(queue_ns, 10 * MS + (compute * random.unit() * 2.0) as u64), moment);
                }
                (0..20).for_each(|_| typical.add(&row(random.next() % MS, 10 * MS), moment));
            }
            compared(&slow, &typical).unwrap().swap_remove(1)
        };
        // 60 more in the queue, less the half that typical ones have, and 20 more of computing.
        let truth = (60.0 - 0.5) / (60.0 - 0.5 + 20.0);
        let found: Vec<SlowPart> = (0..400).map(of_seed).collect();
        let mean = found.iter().map(|part| part.share).sum::<f64>() / 400.0;
        let held = found.iter().filter(|part| part.low.unwrap() <= truth && truth <= part.high.unwrap()).count();
        println!("shares: {held} of 400 intervals hold, mean {mean:.4} of {truth:.4}");
        assert!((mean - truth).abs() < 0.01, "{mean} and not {truth}");
        assert!((0.90..=0.985).contains(&(held as f64 / 400.0)), "{held} of 400");
    }
}
