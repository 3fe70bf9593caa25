//! How unevenly errors lie in time, and where there are more than chance puts anywhere. Counts by second go in; nothing is known of
//! what failed.

use std::ops::Range;

/// Windows that errors are counted in: a stumble, a restart, a bad minute, a bad quarter of an hour.
pub(super) const WINDOWS_S: [u64; 4] = [1, 10, 60, 600];
/// By chance alone a whole run has no window with so many errors, this surely.
const MOST_CHANCE: f64 = 0.001;
/// Fewer errors together are no burst.
const LEAST_TOGETHER: u64 = 3;

/// Bursts that are no further apart are one.
const SAME_S: u32 = 10;

/// Arrivals, and how many of them failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) arrivals: u64,
    pub(super) errors: u64,
}

impl Count {
    pub(super) fn add(&mut self, failed: bool) {
        self.arrivals += 1;
        self.errors += u64::from(failed);
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { arrivals: self.arrivals + other.arrivals, errors: self.errors + other.errors }
    }
}

/// How uneven counts are, in the windows that show it most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unevenness {
    pub(super) window_s: u64,
    /// Pearson's statistic over its degrees of freedom: 1 where every arrival fails alike.
    pub(super) dispersion: f64,
    /// How many standard deviations that statistic is above what it is on average then.
    pub(super) deviations: f64,
}

/// Of counts by second, in order.
pub(super) fn unevenness(counts: &[(u32, Count)]) -> Unevenness {
    let none = Unevenness { window_s: WINDOWS_S[0], dispersion: 1.0, deviations: 0.0 };
    let found = WINDOWS_S.iter().filter_map(|window_s| in_windows(counts, *window_s));
    found.max_by(|a, b| a.deviations.total_cmp(&b.deviations)).unwrap_or(none)
}

/// `None` where that is fewer than two windows, or too few errors for any spread.
fn in_windows(counts: &[(u32, Count)], window_s: u64) -> Option<Unevenness> {
    let all = counts.iter().fold(Count::default(), |all, (_, count)| all.plus(*count));
    let (errors, arrivals) = (all.errors as f64, all.arrivals as f64);
    let (mut windows, mut statistic, mut inverse) = (0.0, 0.0, 0.0);
    for window in windowed(counts, window_s) {
        let count = window.iter().fold(Count::default(), |all, (_, count)| all.plus(*count));
        let expected = errors * count.arrivals as f64 / arrivals;
        windows += 1.0;
        statistic += (count.errors as f64 - expected).powi(2) / expected;
        inverse += arrivals / count.arrivals as f64;
    }
    // Mean and variance of the statistic when errors are dealt out by the arrivals (J. B. S. Haldane, "The exact value of the
    // moments of the distribution of chi squared", 1937).
    let mean = windows - 1.0;
    let variance = 2.0 * mean + (inverse - windows * windows - 2.0 * windows + 2.0) / errors;
    let deviations = (statistic - mean) / variance.sqrt();
    (windows >= 2.0 && variance > 0.0).then_some(Unevenness { window_s, dispersion: statistic / mean, deviations })
}

/// Counts of one window together.
fn windowed(counts: &[(u32, Count)], window_s: u64) -> impl Iterator<Item = &[(u32, Count)]> {
    counts.chunk_by(move |a, b| u64::from(a.0) / window_s == u64::from(b.0) / window_s)
}

/// The seconds of each burst, in order: windows with more errors than chance puts anywhere in such a run, the shortest windows first,
/// so that a second's burst is not told as ten minutes'.
pub(super) fn spikes(counts: &[(u32, Count)]) -> Vec<Range<u32>> {
    let all = counts.iter().fold(Count::default(), |all, (_, count)| all.plus(*count));
    let share = all.errors as f64 / all.arrivals.max(1) as f64;
    let mut found: Vec<Range<u32>> = Vec::new();
    let mut left: Vec<(u32, Count)> = counts.to_vec();
    for window_s in WINDOWS_S {
        let windows = windowed(&left, window_s).count() as f64;
        let rare = MOST_CHANCE / WINDOWS_S.len() as f64 / windows.max(1.0);
        let spikes = windowed(&left, window_s).filter_map(|window| spike(window, share, rare));
        let spikes: Vec<Range<u32>> = spikes.collect();
        let spikes = merged(spikes, u32::try_from(window_s).unwrap_or(u32::MAX));
        found = merged([found, spikes].concat(), SAME_S.min(window_s as u32));
        left.retain(|(second, _)| !found.iter().any(|burst| burst.contains(second)));
    }
    found
}

/// From the first to the last error of a window with more than chance has anywhere.
fn spike(window: &[(u32, Count)], share: f64, rare: f64) -> Option<Range<u32>> {
    let count = window.iter().fold(Count::default(), |all, (_, count)| all.plus(*count));
    let mut failed = window.iter().filter(|(_, count)| count.errors > 0).map(|(second, _)| *second);
    let (first, last) = (failed.next()?, failed.next_back());
    let odd = count.errors >= LEAST_TOGETHER && at_least(count.errors, share * count.arrivals as f64) < rare;
    odd.then(|| first..last.unwrap_or(first) + 1)
}

/// In order, what is no further apart than this as one.
fn merged(mut all: Vec<Range<u32>>, gap: u32) -> Vec<Range<u32>> {
    all.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u32>> = Vec::with_capacity(all.len());
    for range in all {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// How likely Poisson's law with this mean gives so many and more.
fn at_least(n: u64, mean: f64) -> f64 {
    if n == 0 || n as f64 <= mean {
        return 1.0;
    }
    let n = n as f64;
    let mut term = (n * mean.ln() - mean - ln_factorial(n)).exp();
    let (mut sum, mut k) = (0.0, n);
    while term > sum * 1e-12 {
        sum += term;
        k += 1.0;
        term *= mean / k;
    }
    sum.min(1.0)
}

/// Stirling's series; sums below ten, where it is not good enough.
fn ln_factorial(n: f64) -> f64 {
    if n < 10.0 {
        return (1..=n as u64).map(|k| (k as f64).ln()).sum();
    }
    (n + 0.5) * n.ln() - n + 0.5 * std::f64::consts::TAU.ln() + 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3))
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::*;

    /// So many arrivals a second, of which this share fails, and more of them in bursts: from, to, share.
    fn run(seed: u64, (seconds, arrivals): (u32, u64), share: f64, bursts: &[(u32, u32, f64)]) -> Vec<(u32, Count)> {
        let mut chance = Chance::seeded(seed);
        let second = |second: u32| {
            let more: f64 = bursts.iter().filter(|b| (b.0..b.1).contains(&second)).map(|b| b.2).sum();
            let errors = (0..arrivals).filter(|_| chance.unit() < share + more).count() as u64;
            (second, Count { arrivals, errors })
        };
        (0..seconds).map(second).collect()
    }

    #[test]
    fn even_errors_have_a_dispersion_of_one() {
        for window_s in WINDOWS_S {
            let found = (0..40).filter_map(|seed| in_windows(&run(seed, (3600, 20), 0.01, &[]), window_s));
            let found: Vec<Unevenness> = found.collect();
            let mean = |of: fn(&Unevenness) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
            assert!((mean(|u| u.dispersion) - 1.0).abs() < 0.25, "{window_s}: {}", mean(|u| u.dispersion));
            assert!(mean(|u| u.deviations).abs() < 0.6, "{window_s}: {}", mean(|u| u.deviations));
        }
        assert!((unevenness(&[]).dispersion - 1.0).abs() < 1e-12);
        assert_eq!(in_windows(&[(0, Count { arrivals: 5, errors: 2 })], 1), None, "one window");
    }

    #[test]
    fn bursts_are_found_where_they_are() {
        let check = |share: f64, bursts: &[(u32, u32, f64)]| {
            let found = spikes(&run(11, (3600, 20), share, bursts));
            let close = |(found, burst): (&Range<u32>, &(u32, u32, f64))| {
                let near = (burst.1 - burst.0) / 5;
                found.start.abs_diff(burst.0) <= near && found.end.abs_diff(burst.1) <= near
            };
            assert!(found.len() == bursts.len() && found.iter().zip(bursts).all(close), "{bursts:?}: {found:?}");
        };
        check(0.01, &[]);
        check(0.0, &[]);
        check(0.001, &[(100, 101, 0.9)]);
        check(0.001, &[(100, 105, 0.9), (2000, 2030, 0.5)]);
        check(0.002, &[(1200, 1800, 0.02)]);
    }

    #[test]
    fn chance_alone_is_rarely_a_burst() {
        let wrong = (0..100).filter(|seed| !spikes(&run(700 + seed, (3600, 20), 0.01, &[])).is_empty()).count();
        println!("{wrong} of 100 even runs have a burst");
        assert!(wrong <= 1, "{wrong} of 100");
    }

    #[test]
    fn tails_of_poissons_law() {
        let check = |n: u64, mean: f64, expected: f64| {
            let found = at_least(n, mean);
            assert!((found / expected - 1.0).abs() < 1e-6, "{n} {mean}: {found}");
        };
        check(0, 1.0, 1.0);
        check(2, 1.0, 1.0 - 2.0 * (-1.0_f64).exp());
        check(3, 0.1, 1.0 - (-0.1_f64).exp() * (1.0 + 0.1 + 0.005));
        check(4, 5.0, 1.0);
        // Summed term by term elsewhere.
        check(150, 100.0, 1.884_210_466e-6);
    }
}
