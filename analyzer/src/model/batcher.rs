//! A dynamic batcher in front of instances, simulated: whoever is idle takes what waits once a batch is full, or its oldest request
//! has waited for as long as the model lets it. First come, first served; no priorities, no preferred sizes, no limit to the queue.
//! Seeded, so that the same question has the same answer. Pure.

use super::random::Random;

/// Arrivals of a simulation, and how many of them at the beginning are left out.
const ARRIVALS: usize = 20_000;
const LEFT_OUT: usize = 2_000;
/// Halvings on the way to a capacity: to a thousandth of what lies in between.
const HALVINGS: u32 = 10;

/// What is simulated. Batches are counted in requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setup {
    pub(super) instances: u32,
    pub(super) max_batch: u32,
    pub(super) delay_ns: f64,
    pub(super) fixed_ns: f64,
    pub(super) each_ns: f64,
    /// Standard deviation of a batch's time over its mean, log-normal.
    pub(super) spread: f64,
    /// Squared coefficient of variation of the gaps between arrivals.
    pub(super) arrivals_cv2: f64,
}

/// What requests met.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Met {
    pub(super) mean_wait_ns: f64,
    /// From the arrival to the end of the batch, ascending.
    latencies_ns: Vec<f64>,
}

impl Met {
    /// The share of requests that took longer.
    pub(super) fn late(&self, limit_ns: f64) -> f64 {
        let in_time = self.latencies_ns.partition_point(|ns| *ns <= limit_ns);
        1.0 - in_time as f64 / self.latencies_ns.len().max(1) as f64
    }
}

impl Setup {
    /// Requests per second when all batches are full.
    pub(super) fn saturation_per_s(&self) -> f64 {
        let batch = f64::from(self.max_batch);
        f64::from(self.instances) * batch * 1e9 / (self.fixed_ns + self.each_ns * batch)
    }

    /// Drives so many requests per second.
    pub(super) fn drive(&self, per_s: f64, seed: u64) -> Met {
        let mut random = Random(seed);
        let mut now_ns = 0.0;
        let gap_ns = 1e9 / per_s;
        let came: Vec<f64> = (0..ARRIVALS)
            .map(|_| {
                now_ns += gap_ns * random.gamma(self.arrivals_cv2);
                now_ns
            })
            .collect();
        // Of a log-normal with mean 1.
        let sigma2 = (1.0 + self.spread * self.spread).ln();
        let mut free_ns = vec![0.0_f64; self.instances.max(1) as usize];
        let (mut next, mut waits, mut latencies_ns) = (0, 0.0, Vec::with_capacity(ARRIVALS));
        while next < came.len() {
            let Some(instance) = free_ns.iter_mut().min_by(|a, b| a.total_cmp(b)) else { break };
            let (begins_ns, count) = self.next_batch(&came[next..], *instance);
            let noise = (sigma2.sqrt() * random.normal() - sigma2 / 2.0).exp();
            *instance = begins_ns + (self.fixed_ns + self.each_ns * count as f64) * noise;
            for (index, arrival) in came[next..next + count].iter().enumerate() {
                if next + index >= LEFT_OUT {
                    waits += begins_ns - arrival;
                    latencies_ns.push(*instance - arrival);
                }
            }
            next += count;
        }
        latencies_ns.sort_by(f64::total_cmp);
        Met { mean_wait_ns: waits / latencies_ns.len().max(1) as f64, latencies_ns }
    }

    /// When the next batch begins, on an instance that is free from then on, and how many are in it.
    fn next_batch(&self, waiting: &[f64], free_ns: f64) -> (f64, usize) {
        let most = (self.max_batch.max(1) as usize).min(waiting.len());
        let idle_ns = free_ns.max(waiting[0]);
        let full_ns = if most == self.max_batch.max(1) as usize { waiting[most - 1] } else { f64::INFINITY };
        let begins_ns = idle_ns.max(full_ns.min(waiting[0] + self.delay_ns));
        let count = waiting[..most].partition_point(|came| *came <= begins_ns);
        (begins_ns, count.max(1))
    }

    /// The highest rate at which no more than this share takes longer, per second; 0 where not even next to no load keeps it.
    pub(super) fn capacity_per_s(&self, limit_ns: f64, allowed: f64) -> f64 {
        let keeps = |per_s: f64| self.drive(per_s, 1).late(limit_ns) <= allowed;
        let saturation = self.saturation_per_s();
        let (mut low, mut high) = (0.02 * saturation, 1.02 * saturation);
        if !keeps(low) {
            return 0.0;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if keeps(middle) { low = middle } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::super::queueing::allen_cunneen;
    use super::*;

    /// Requests one by one on one instance, 10 ms each, exactly.
    const ALONE: Setup = Setup {
        instances: 1,
        max_batch: 1,
        delay_ns: 0.0,
        fixed_ns: 10e6,
        each_ns: 0.0,
        spread: 0.0,
        arrivals_cv2: 1.0,
    };

    fn mean_wait_ns(setup: &Setup, per_s: f64) -> f64 {
        (0..10).map(|seed| setup.drive(per_s, seed).mean_wait_ns).sum::<f64>() / 10.0
    }

    /// M/D/1 is known exactly; M/D/4 and G/D/1 nearly, by the formula.
    #[test]
    fn waits_are_those_of_theory() {
        let check = |setup: Setup, per_s: f64, within: f64| {
            let expected =
                allen_cunneen(setup.instances, per_s, setup.fixed_ns / 1e9, setup.arrivals_cv2, setup.spread.powi(2));
            let (found, expected) = (mean_wait_ns(&setup, per_s) / 1e6, expected.unwrap() * 1e3);
            assert!((found / expected - 1.0).abs() < within, "{found} ms and not {expected} ms: {setup:?}");
        };
        check(ALONE, 50.0, 0.03);
        check(ALONE, 80.0, 0.05);
        check(Setup { spread: 1.0, ..ALONE }, 60.0, 0.08);
        check(Setup { instances: 4, spread: 1.0, ..ALONE }, 300.0, 0.12);
        check(Setup { arrivals_cv2: 2.0, ..ALONE }, 80.0, 0.15);
        assert!(mean_wait_ns(&Setup { arrivals_cv2: 0.0, ..ALONE }, 90.0) < 1.0, "evenly spaced, nobody waits");
    }

    #[test]
    fn batches_begin_when_full_or_over_due() {
        let setup = Setup { max_batch: 3, delay_ns: 5.0, ..ALONE };
        let check = |waiting: &[f64], free: f64, expected: (f64, usize)| {
            assert_eq!(setup.next_batch(waiting, free), expected, "{waiting:?} {free}");
        };
        check(&[1.0, 2.0, 3.0, 4.0], 0.0, (3.0, 3));
        check(&[1.0, 2.0, 9.0, 9.5], 0.0, (6.0, 2));
        check(&[1.0, 2.0, 9.0, 9.5], 7.0, (7.0, 2));
        check(&[1.0, 2.0, 3.0, 4.0], 10.0, (10.0, 3));
        check(&[1.0], 0.0, (6.0, 1));
        check(&[1.0, 1.5], 20.0, (20.0, 2));
    }

    #[test]
    fn capacities_lie_below_saturation_and_grow_with_instances() {
        let setup =
            Setup { instances: 2, max_batch: 8, delay_ns: 1e6, fixed_ns: 8e6, each_ns: 1e6, spread: 0.1, ..ALONE };
        let capacity = setup.capacity_per_s(50e6, 0.05);
        assert!((0.8..1.0).contains(&(capacity / setup.saturation_per_s())), "{capacity}");
        let more = Setup { instances: 4, ..setup }.capacity_per_s(50e6, 0.05);
        assert!((1.95..2.2).contains(&(more / capacity)), "{more} after {capacity}");
        assert!(setup.capacity_per_s(5e6, 0.05) <= 0.0, "a batch alone takes longer");
    }
}
