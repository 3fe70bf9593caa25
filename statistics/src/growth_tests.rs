//! What `growth` claims, on simulated memory: no leak where there is none, and the time that is left where there is one.

use rand_core::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use super::*;

const MB: f64 = 1e6;

/// Readings of ten minutes, two a second: 30 GB with noise that lasts for about a minute, and what `more` adds in MB
/// at a second.
fn readings(seed: u64, more: impl Fn(f64) -> f64) -> Vec<Point> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut normal = move || (0..12).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
    let mut slow = 0.0;
    let point = |half: usize| {
        let at_s = half as f64 / 2.0;
        slow = 0.99 * slow + normal() * 25.0 * (1.0_f64 - 0.99 * 0.99).sqrt();
        Point { at_s, used_bytes: (30_000.0 + slow + 4.0 * normal() + more(at_s)) * MB }
    };
    (0..1200).map(point).collect()
}

fn sawtooth(at_s: f64, period_s: f64) -> f64 {
    600.0 * (at_s % period_s) / period_s
}

#[test]
fn what_does_not_leak_is_not_called_a_leak() {
    let check = |name: &str, more: &dyn Fn(u64, f64) -> f64| {
        let wrong = (0..60).filter(|seed| {
            let found = growth(&readings(*seed, |at_s| more(*seed, at_s)), 45_000.0 * MB);
            // What is alarming is a limit that is less than four hours away.
            matches!(found, Growth::Growing { limit_in_s, .. } if limit_in_s.value < 4.0 * 3600.0)
        });
        let wrong: Vec<u64> = wrong.collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    };
    check("flat", &|_, _| 0.0);
    check("a plateau", &|seed, at_s| 2000.0 * (1.0 - (-at_s / (60.0 + 3.0 * seed as f64)).exp()));
    check("a step", &|seed, at_s| if at_s > 100.0 + 6.0 * seed as f64 { 900.0 } else { 0.0 });
    check("a sawtooth", &|seed, at_s| sawtooth(at_s, 40.0 + seed as f64));
}

#[test]
fn leaks_are_found_with_the_time_that_is_left() {
    let check = |name: &str, more: &dyn Fn(u64, f64) -> f64| {
        let (mut close, mut covered) = (0, 0);
        for seed in 0..60 {
            let leak_mb_per_s = 1.0 + 7.0 * seed as f64 / 60.0;
            let points = readings(seed, |at_s| leak_mb_per_s * at_s + more(seed, at_s));
            let Growth::Growing { bytes_per_s, limit_in_s } = growth(&points, 45_000.0 * MB) else { continue };
            let true_s = (45_000.0 - 30_000.0) / leak_mb_per_s - 600.0;
            close += usize::from((limit_in_s.value / true_s - 1.0).abs() < 0.2);
            let holds = |truth: f64| bytes_per_s.low <= truth && bytes_per_s.high.is_some_and(|high| truth <= high);
            covered += usize::from(holds(leak_mb_per_s * MB));
        }
        assert!(close >= 57 && covered >= 54, "{name}: {close} of 60 within 20 %, {covered} in their interval");
    };
    check("a line", &|_, _| 0.0);
    check("under a sawtooth", &|seed, at_s| sawtooth(at_s, 20.0 + seed as f64 / 2.0));
}

#[test]
fn too_little_is_unknown() {
    let whole = readings(1, |_| 0.0);
    let check = |points: &[Point], expected| {
        assert_eq!(growth(points, 45_000.0 * MB) == Growth::Unknown, expected, "{}", points.len());
    };
    check(&[], true);
    check(&whole[..100], true);
    check(&whole[..200], false);
    let sparse: Vec<Point> = whole.iter().step_by(30).copied().collect();
    check(&sparse, true);
}

#[test]
fn at_the_limit_no_time_is_left() {
    let points: Vec<Point> =
        (0..600).map(|at| Point { at_s: f64::from(at), used_bytes: 100.0 * f64::from(at) }).collect();
    let Growth::Growing { bytes_per_s, limit_in_s } = growth(&points, 50_000.0) else { panic!("it grows") };
    assert!((bytes_per_s.value - 100.0).abs() < 1e-6, "{bytes_per_s:?}");
    assert_eq!((limit_in_s.low, limit_in_s.value), (0.0, 0.0));
}
