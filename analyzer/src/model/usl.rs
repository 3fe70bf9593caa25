//! Gunther's universal scalability law, fitted to the steps of a climb where its conditions hold: enough steps, and some of them
//! beyond saturation, so that the law has something to tell apart. Intervals by resampling residuals, seeded. Pure.

use proofload_run::findings::{Fitted, Usl};

use super::random::Random;

/// Fewer steps determine nothing.
const FEWEST: usize = 6;
/// So many of them have to lie beyond saturation …
const FEWEST_BEYOND: usize = 2;
/// … with a throughput below this share of the highest.
const FALLEN: f64 = 0.97;
const RESAMPLES: usize = 200;

/// Requests under way on average, and throughput per second.
pub(super) type Step = (f64, f64);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Law {
    alone: f64,
    contention: f64,
    coherency: f64,
}

impl Law {
    fn at(&self, n: f64) -> f64 {
        self.alone * shape(n, self.contention, self.coherency)
    }

    fn most_at(&self) -> f64 {
        ((1.0 - self.contention) / self.coherency).sqrt()
    }
}

fn shape(n: f64, contention: f64, coherency: f64) -> f64 {
    n / (1.0 + contention * (n - 1.0) + coherency * n * (n - 1.0))
}

/// The law, or why there is none.
pub(super) fn fit(steps: &[Step]) -> Result<Usl, String> {
    let steps: Vec<Step> = steps.iter().copied().filter(|(n, x)| *n > 0.0 && *x > 0.0).collect();
    let Some(best) = steps.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|_| steps.len() >= FEWEST) else {
        return Err(format!("{} steps are too few: it takes {FEWEST}", steps.len()));
    };
    let beyond = steps.iter().filter(|(n, x)| *n > best.0 && *x < FALLEN * best.1).count();
    if beyond < FEWEST_BEYOND {
        return Err(format!(
            "throughput fell in {beyond} steps beyond its highest, and it takes {FEWEST_BEYOND}: without them the law says nothing \
             of the maximum"
        ));
    }
    let law = least_squares(&steps);
    if law.coherency <= 0.0 {
        return Err("the fit has no maximum".to_owned());
    }
    let all = resampled(&steps, law);
    let estimate = |of: &dyn Fn(&Law) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        let value = of(&law);
        Fitted { low: at(0.025).min(value), value, high: at(0.975).max(value) }
    };
    Ok(Usl {
        alone_per_s: estimate(&|law| law.alone),
        contention: estimate(&|law| law.contention),
        coherency: estimate(&|law| law.coherency),
        most_per_s: estimate(&|law| law.at(law.most_at())),
        most_at: estimate(&|law| law.most_at()),
        steps: steps.len() as u64,
        beyond: beyond as u64,
    })
}

/// Fits to what the law says, with its own residuals dealt out anew.
fn resampled(steps: &[Step], law: Law) -> Vec<Law> {
    let residuals: Vec<f64> = steps.iter().map(|(n, x)| (x / law.at(*n)).ln()).collect();
    // Three numbers were fitted to them.
    let wider = (steps.len() as f64 / (steps.len() - 3) as f64).sqrt();
    let mut random = Random(2008);
    let one = |_| {
        let drawn = steps.iter().map(|(n, _)| {
            let residual = residuals[(random.next() % residuals.len() as u64) as usize];
            (*n, law.at(*n) * (wider * residual).exp())
        });
        least_squares(&drawn.collect::<Vec<_>>())
    };
    (0..RESAMPLES).map(one).filter(|law| law.coherency > 0.0).collect()
}

/// Least squares of logarithms: the throughput of one alone is their mean, and the other two are sought on a grid that narrows.
fn least_squares(steps: &[Step]) -> Law {
    const GRID: i32 = 6;
    let cost = |contention: f64, coherency: f64| {
        let logs = steps.iter().map(|(n, x)| (x / shape(*n, contention, coherency)).ln());
        let (sum, squares) = logs.fold((0.0, 0.0), |sum, log| (sum.0 + log, sum.1 + log * log));
        let mean = sum / steps.len() as f64;
        (squares - mean * sum, mean)
    };
    // Logarithms of the two; the smallest stand for nothing.
    let (mut middle, mut reach) = ((-2.5_f64, -5.0_f64), (2.5_f64, 4.5_f64));
    for _ in 0..9 {
        let around =
            |middle: f64, reach: f64| (-GRID..=GRID).map(move |at| middle + reach * f64::from(at) / f64::from(GRID));
        let pairs = around(middle.0, reach.0).flat_map(|a| around(middle.1, reach.1).map(move |b| (a.min(-1e-3), b)));
        let of = |pair: &(f64, f64)| cost(10_f64.powf(pair.0), 10_f64.powf(pair.1)).0;
        middle = pairs.min_by(|a, b| of(a).total_cmp(&of(b))).unwrap_or(middle);
        reach = (reach.0 * 0.4, reach.1 * 0.4);
    }
    let (contention, coherency) = (10_f64.powf(middle.0), 10_f64.powf(middle.1));
    Law { alone: cost(contention, coherency).1.exp(), contention, coherency }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: Law = Law { alone: 100.0, contention: 0.05, coherency: 0.002 };

    fn steps(seed: u64, noise: f64) -> Vec<Step> {
        let mut random = Random(seed);
        [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0]
            .map(|n| (n, TRUTH.at(n) * (noise * random.normal()).exp()))
            .to_vec()
    }

    #[test]
    fn the_law_is_found_and_its_interval_holds() {
        let exact = fit(&steps(0, 0.0)).unwrap();
        assert!(
            (exact.contention.value / 0.05 - 1.0).abs() < 0.02 && (exact.coherency.value / 0.002 - 1.0).abs() < 0.02,
            "{exact:?}"
        );
        let most = TRUTH.at(TRUTH.most_at());
        let found: Vec<Usl> = (1..121).filter_map(|seed| fit(&steps(seed, 0.03)).ok()).collect();
        let held = found.iter().filter(|usl| usl.most_per_s.low <= most && most <= usl.most_per_s.high).count();
        println!("USL: {held} of {} intervals of the maximum hold", found.len());
        assert!(found.len() == 120 && held as f64 >= 0.85 * found.len() as f64, "{held} of {}", found.len());
    }

    #[test]
    fn without_steps_beyond_saturation_there_is_none() {
        let check = |steps: &[Step], part: &str| {
            let why = fit(steps).unwrap_err();
            assert!(why.contains(part), "{why}");
        };
        check(&steps(0, 0.0)[..5], "5 steps are too few");
        check(&steps(0, 0.0)[..7], "throughput fell in 0 steps beyond its highest");
        check(&[(1.0, 10.0), (2.0, 20.0), (4.0, 40.0), (8.0, 40.0), (90.0, 40.0), (300.0, 39.5)], "fell in 0 steps");
        check(&[], "0 steps");
    }
}
