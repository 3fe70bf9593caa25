//! What forecasts claim, on seeded series of known nature: the sign of their skill, the coverage of their intervals, and that
//! what says nothing is not offered. Figures are printed.

use super::*;

/// A small generator of pseudo-random numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Whether a series goes anywhere that can be known.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Nature {
    /// It wanders: the last value is all that can be said.
    Wander,
    /// It rises by so much a step, with noise of one.
    Rise(f64),
    /// A day's curve of 24 values, with noise of one tenth of it.
    Day,
    /// Memory: thirty thousand, wandering by four a step.
    Memory,
    /// Around a level, each value half of the one before.
    Level,
    /// The same value all the time.
    Still,
}

fn values(nature: Nature, count: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    let mut at = 0.0;
    let value = |index: usize| match nature {
        Nature::Wander => {
            at += random.normal();
            500.0 + at
        }
        Nature::Memory => {
            at += 4.0 * random.normal();
            30_000.0 + at
        }
        Nature::Rise(slope) => 100.0 + slope * index as f64 + random.normal(),
        Nature::Day => 100.0 + 10.0 * (index as f64 / 24.0 * std::f64::consts::TAU).sin() + random.normal(),
        Nature::Level => {
            at = 0.5 * at + random.normal();
            50.0 + at
        }
        Nature::Still => 7.0,
    };
    (0..count).map(value).collect()
}

/// Of so many series: the share that is offered, and of all steps ahead the share that lies within its interval.
fn tried(nature: Nature, trials: u64, count: usize, horizon: usize) -> (f64, f64) {
    let (mut offered, mut within, mut all) = (0, 0, 0);
    for seed in 0..trials {
        let whole = values(nature, count + horizon, seed * 7919 + 1);
        let (known, to_come) = whole.split_at(count);
        let period = (nature == Nature::Day).then_some(24);
        let series = Series {
            name: "it".to_owned(),
            unit: String::new(),
            start_s: 0.0,
            step_s: 60.0,
            values: known.to_vec(),
            period,
        };
        let found = forecast(&series, horizon);
        offered += u32::from(found.offered);
        for (ahead, came) in found.ahead.iter().zip(to_come) {
            if let Some([low, high]) = ahead.interval {
                within += u32::from(low <= *came && *came <= high);
                all += 1;
            }
        }
    }
    (f64::from(offered) / trials as f64, f64::from(within) / f64::from(all.max(1)))
}

#[test]
fn what_can_be_known_is_offered_and_what_cannot_is_not() {
    let check = |nature: Nature, offered: std::ops::RangeInclusive<f64>, covered: std::ops::RangeInclusive<f64>| {
        let trials = if nature == Nature::Day { 12 } else { 40 };
        let found = tried(nature, trials, 120, 8);
        println!("{nature:?}: offered {:.1} %, intervals hold {:.1} %", found.0 * 100.0, found.1 * 100.0);
        assert!(offered.contains(&found.0) && covered.contains(&found.1), "{nature:?}: {found:?}");
    };
    check(Nature::Wander, 0.0..=0.07, 0.8..=1.0);
    check(Nature::Memory, 0.0..=0.07, 0.8..=1.0);
    check(Nature::Still, 0.0..=0.0, 0.0..=1.0);
    check(Nature::Rise(0.5), 0.95..=1.0, 0.8..=1.0);
    check(Nature::Level, 0.3..=1.0, 0.8..=1.0);
    check(Nature::Day, 0.95..=1.0, 0.8..=1.0);
}

#[test]
fn an_accuracy_of_99_percent_is_worth_nothing() {
    let values = values(Nature::Memory, 120, 3);
    let series =
        Series { name: "memory".to_owned(), unit: "MiB".to_owned(), start_s: 0.0, step_s: 60.0, values, period: None };
    let found = forecast(&series, 8);
    let skill = found.skill.unwrap();
    assert!(skill.one_minus_mape.unwrap() > 0.99 && skill.one_minus_mape_of_last.unwrap() > 0.99, "{skill:?}");
    assert!(!found.offered && skill.interval[0] <= 0.0, "{skill:?}");
    assert!(found.sentence.contains("no forecast is offered"), "{}", found.sentence);
}

#[test]
fn too_little_is_said_and_nothing_invented() {
    let series = |count: usize| Series {
        name: "it".to_owned(),
        unit: String::new(),
        start_s: 0.0,
        step_s: 1.0,
        values: values(Nature::Rise(1.0), count, 1),
        period: None,
    };
    let few = forecast(&series(20), 4);
    assert!(few.ahead.is_empty() && few.sentence.contains("not enough data, 20 values where 24 are needed"), "{few:?}");
    let unjudged = forecast(&series(26), 8);
    assert!(unjudged.skill.is_none() && !unjudged.offered, "{unjudged:?}");
    assert!(unjudged.ahead.iter().all(|ahead| ahead.interval.is_none()), "{unjudged:?}");
}

#[test]
fn units_and_clocks_change_nothing_but_themselves() {
    let plain = values(Nature::Rise(0.3), 120, 5);
    let series = |values: Vec<f64>, start_s: f64| Series {
        name: "it".to_owned(),
        unit: String::new(),
        start_s,
        step_s: 60.0,
        values,
        period: None,
    };
    let a = forecast(&series(plain.clone(), 0.0), 8);
    let b = forecast(&series(plain.iter().map(|value| value * 1024.0).collect(), 1e6), 8);
    assert_eq!((&a.method, a.offered), (&b.method, b.offered));
    for (a, b) in a.ahead.iter().zip(&b.ahead) {
        assert!((b.value / a.value / 1024.0 - 1.0).abs() < 1e-6 && (b.t_s - a.t_s - 1e6).abs() < 1e-6, "{a:?} {b:?}");
    }
    assert!((a.skill.unwrap().value - b.skill.unwrap().value).abs() < 1e-6);
}
