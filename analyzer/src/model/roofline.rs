//! How long a batch takes by its size: `fixed + each · B`, fitted to the batches that answers tell of. Pure.

use proofload_run::findings::{BatchTime, Fitted};

/// Of two sides at 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// A size counts with so many batches.
const FEWEST_BATCHES: f64 = 5.0;

/// A batch's time by its size, with the covariance of its two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Law {
    pub(super) fixed_ns: f64,
    pub(super) each_ns: f64,
    /// Variance of the first, covariance, variance of the second.
    covariance: [f64; 3],
    /// Batches that it is fitted to.
    pub(super) batches: f64,
    /// Standard deviation of a batch's time over its mean.
    pub(super) spread: f64,
}

impl Law {
    /// What a batch takes, ns.
    pub(super) fn batch_ns(&self, elements: f64) -> f64 {
        self.fixed_ns + self.each_ns * elements
    }

    pub(super) fn fixed(&self) -> Fitted {
        around(self.fixed_ns, self.covariance[0].sqrt())
    }

    pub(super) fn each(&self) -> Fitted {
        around(self.each_ns, self.covariance[2].sqrt())
    }

    /// Elements per second of so many instances in batches of a size.
    pub(super) fn per_s(&self, instances: u32, elements: u32) -> Fitted {
        let (k, b) = (f64::from(instances), f64::from(elements));
        let [fixed, both, each] = self.covariance;
        let deviation_ns = (fixed + 2.0 * b * both + b * b * each).max(0.0).sqrt();
        let per_s = |ns: f64| if ns > 0.0 { k * b * 1e9 / ns } else { f64::INFINITY };
        let ns = self.batch_ns(b);
        Fitted {
            low: per_s(ns + Z * deviation_ns),
            value: per_s(ns),
            high: per_s((ns - Z * deviation_ns).max(ns * 0.1)),
        }
    }
}

fn around(value: f64, deviation: f64) -> Fitted {
    Fitted { low: value - Z * deviation, value, high: value + Z * deviation }
}

/// A size: batches in it, and what they took.
#[derive(Debug, Clone, Copy)]
struct Point {
    elements: f64,
    batches: f64,
    mean_ns: f64,
    /// One over the variance of the mean.
    weight: f64,
    spread: f64,
}

impl Point {
    /// Every request of a batch tells of it, so there are fewer batches than requests. A mean is never surer than to half a
    /// per cent: neighbours share a machine.
    fn of(found: &BatchTime, per_request: u32) -> Option<Self> {
        let elements = f64::from(found.batch);
        let batches = found.n as f64 * f64::from(per_request) / elements;
        let deviation_ns = (found.deviation_ns / batches.sqrt()).max(0.005 * found.mean_ns);
        let spread = found.deviation_ns / found.mean_ns;
        let usable = found.batch > 0 && batches >= FEWEST_BATCHES && found.mean_ns > 0.0;
        usable.then_some(Self { elements, batches, mean_ns: found.mean_ns, weight: deviation_ns.powi(-2), spread })
    }
}

/// Weighted least squares over the sizes, each by how sure its mean is; `None` with fewer than two sizes. What the line does not
/// explain widens the intervals. Neither number can be negative: one that would be is zero, and the other is fitted alone.
pub(super) fn fit(batches: &[BatchTime], elements_per_request: u32) -> Option<Law> {
    let points: Vec<Point> = batches.iter().filter_map(|found| Point::of(found, elements_per_request)).collect();
    if points.len() < 2 {
        return None;
    }
    let sum = |of: &dyn Fn(&Point) -> f64| points.iter().map(|point| point.weight * of(point)).sum::<f64>();
    let (one, x, y) = (sum(&|_| 1.0), sum(&|p| p.elements), sum(&|p| p.mean_ns));
    let (xx, xy) = (sum(&|p| p.elements * p.elements), sum(&|p| p.elements * p.mean_ns));
    let determinant = one * xx - x * x;
    let (fixed, each) = ((xx * y - x * xy) / determinant, (one * xy - x * y) / determinant);
    let (fixed_ns, each_ns, covariance) = match (fixed < 0.0, each < 0.0) {
        (false, false) => (fixed, each, [xx / determinant, -x / determinant, one / determinant]),
        (true, _) => (0.0, xy / xx, [0.0, 0.0, 1.0 / xx]),
        (_, true) => (y / one, 0.0, [1.0 / one, 0.0, 0.0]),
    };
    let misfit = sum(&|p| (p.mean_ns - fixed_ns - each_ns * p.elements).powi(2));
    let wider = if points.len() > 2 { (misfit / (points.len() - 2) as f64).max(1.0) } else { 1.0 };
    let n: f64 = points.iter().map(|point| point.batches).sum();
    let spread = (points.iter().map(|point| point.batches * point.spread.powi(2)).sum::<f64>() / n).sqrt();
    Some(Law { fixed_ns, each_ns, covariance: covariance.map(|it| it * wider), batches: n, spread })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Random;

    fn normal(random: &mut Random) -> f64 {
        (-2.0 * random.unit().ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos()
    }

    /// Batches of sizes as a dynamic batcher makes them, of 8 ms and 1.5 ms an element, with 10 % of spread.
    fn batches(seed: u64) -> Vec<BatchTime> {
        let mut random = Random(seed);
        let of_size = |batch: u32| {
            let count = 20 + random.next() % 200;
            let times: Vec<f64> =
                (0..count).map(|_| (8e6 + 1.5e6 * f64::from(batch)) * (1.0 + 0.1 * normal(&mut random))).collect();
            let mean_ns = times.iter().sum::<f64>() / count as f64;
            let squares: f64 = times.iter().map(|time| (time - mean_ns).powi(2)).sum();
            let deviation_ns = (squares / (count - 1) as f64).sqrt();
            BatchTime { batch, n: count * u64::from(batch), mean_ns, deviation_ns }
        };
        [1, 2, 3, 5, 8, 16].map(of_size).to_vec()
    }

    #[test]
    fn the_law_is_found_and_its_intervals_hold() {
        let found: Vec<Law> = (0..300).map(|seed| fit(&batches(seed), 1).unwrap()).collect();
        let mean = |of: fn(&Law) -> f64| found.iter().map(of).sum::<f64>() / 300.0;
        assert!((mean(|law| law.fixed_ns) / 8e6 - 1.0).abs() < 0.01, "{}", mean(|law| law.fixed_ns));
        assert!((mean(|law| law.each_ns) / 1.5e6 - 1.0).abs() < 0.01, "{}", mean(|law| law.each_ns));
        assert!((mean(|law| law.spread) / 0.1 - 1.0).abs() < 0.05);
        let truth = 2.0 * 16.0 * 1e9 / (8e6 + 16.0 * 1.5e6);
        let holds = |estimate: Fitted, truth: f64| estimate.low <= truth && truth <= estimate.high;
        let share = |of: &dyn Fn(&Law) -> bool| found.iter().filter(|law| of(law)).count() as f64 / 300.0;
        let shares = [
            share(&|law| holds(law.fixed(), 8e6)),
            share(&|law| holds(law.each(), 1.5e6)),
            share(&|law| holds(law.per_s(2, 16), truth)),
        ];
        println!("roofline: {shares:.3?} of the intervals hold");
        assert!(shares.iter().all(|share| *share >= 0.92), "{shares:?}");
    }

    #[test]
    fn no_law_of_one_size_and_none_that_is_negative() {
        let time = |batch, mean_ms: f64| BatchTime { batch, n: 1000, mean_ns: mean_ms * 1e6, deviation_ns: 1e5 };
        assert_eq!(fit(&[time(4, 10.0)], 1), None);
        assert_eq!(fit(&[], 1), None);
        assert_eq!(fit(&[time(4, 10.0), BatchTime { n: 7, ..time(8, 12.0) }], 1), None, "less than one batch of eight");
        let check = |points: &[BatchTime], fixed_ms: f64, each_ms: f64| {
            let law = fit(points, 1).unwrap();
            assert!(
                (law.fixed_ns / 1e6 - fixed_ms).abs() < 0.05 && (law.each_ns / 1e6 - each_ms).abs() < 0.05,
                "{law:?}"
            );
        };
        check(&[time(1, 10.0), time(2, 12.0), time(4, 16.0)], 8.0, 2.0);
        // The lower one is the surer one.
        check(&[time(1, 10.0), time(2, 9.0)], 9.45, 0.0);
        // Half a per cent of each mean is what it is sure to: weights 1 / 0.05² and 1 / 0.11², so (80 + 72.7) / (16 + 13.2).
        check(&[time(2, 10.0), time(4, 22.0)], 0.0, 5.23);
        let law = fit(&[time(1, 10.0), time(2, 12.0), time(4, 16.0)], 1).unwrap();
        assert!((law.per_s(3, 4).value - 750.0).abs() < 1.0);
    }
}
