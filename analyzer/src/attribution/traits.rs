//! What slow requests have in common: how much more frequent each step, entry, batch size … is among them than among all.
//! Counted by moments of time, so that the interval of a lift knows that slow requests come together. Pure.

use proofload_run::findings::SlowTrait;
use proofload_run::manifest::Entry;
use proofload_run::sample::flags;

use super::clusters::half_width;
use crate::errors::entry_name;
use crate::samples::Row;
use crate::stats::BySecond;
use crate::window::Windows;

/// Values of a kind that are told.
const TOLD: usize = 6;
/// Batches up to this size are told apart; larger ones by their power of two.
const APART: u16 = 16;

const KINDS: [&str; 6] = ["step", "entry", "batch size", "cache", "connection", "attempts"];

/// Requests of each moment: all, and the slow ones.
type Counts = BySecond<(u32, u32)>;

/// The counts of every value of every kind.
#[derive(Debug, Clone)]
pub(super) struct Traits {
    all: Counts,
    kinds: [Vec<Counts>; KINDS.len()],
}

impl Traits {
    pub(super) fn new(windows: usize, entries: usize) -> Self {
        let places = [windows, entries, batch_place(u16::MAX) + 1, 2, 2, 2];
        Self { all: Counts::default(), kinds: places.map(|places| vec![Counts::default(); places]) }
    }

    /// Counts a success of the measured part of a window.
    pub(super) fn add(&mut self, row: &Row, window: usize, moment: u32, slow: bool) {
        let bit = |flag: u16| usize::from(row.flags & flag != 0);
        let places = [
            window,
            usize::from(row.entry),
            batch_place(row.batch_size),
            bit(flags::CACHE_HIT),
            bit(flags::NEW_CONNECTION),
            usize::from(row.retry > 0),
        ];
        let of_kinds = self.kinds.iter_mut().zip(places).filter_map(|(counts, place)| counts.get_mut(place));
        for counts in of_kinds.chain([&mut self.all]) {
            let (all, slow_ones) = counts.at(moment);
            *all += 1;
            *slow_ones += u32::from(slow);
        }
    }

    /// All requests of each moment, whatever they are.
    pub(super) fn all(&self) -> &Counts {
        &self.all
    }

    /// Every kind that has more than one value, and in each the values that slow ones have, the most frequent of them first.
    pub(super) fn told(&self, windows: &Windows, entries: &[Entry]) -> Vec<SlowTrait> {
        let name = |kind: usize, place: usize| match kind {
            0 => windows.all.get(place).map_or_else(String::new, |window| window.name.clone()),
            1 => entry_name(entries, u16::try_from(place).unwrap_or(u16::MAX)),
            2 => batch_name(place),
            3 => ["computed", "from the cache"][place.min(1)].to_owned(),
            4 => ["kept open", "newly opened"][place.min(1)].to_owned(),
            _ => ["the first", "made again"][place.min(1)].to_owned(),
        };
        let of_kind = |(kind, counts): (usize, &Vec<Counts>)| {
            let found = counts.iter().enumerate().filter_map(|(place, counts)| {
                let found = lift(counts, &self.all)?;
                Some(SlowTrait { kind: KINDS[kind].to_owned(), value: name(kind, place), ..found })
            });
            let mut found: Vec<SlowTrait> = found.collect();
            // The only value says nothing; what is rare among the slow ones is told where all are.
            found.retain(|found| found.all_share < 1.0);
            found.sort_by(|a, b| b.slow.cmp(&a.slow).then(b.lift.total_cmp(&a.lift)));
            found.truncate(TOLD);
            found
        };
        self.kinds.iter().enumerate().flat_map(of_kind).collect()
    }
}

/// Without kind and value; `None` where no slow one has it.
fn lift(counts: &Counts, all: &Counts) -> Option<SlowTrait> {
    let sum = |counts: &Counts| {
        let sums = counts.iter().map(|(_, count)| (u64::from(count.0), u64::from(count.1)));
        sums.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    };
    let ((with, with_slow), (n, slow)) = (sum(counts), sum(all));
    if with_slow == 0 || slow == 0 {
        return None;
    }
    let (slow_share, all_share) = (with_slow as f64 / slow as f64, with as f64 / n as f64);
    let lift = slow_share / all_share;
    // What a moment adds to the logarithm of the lift.
    let share = |part: u32, whole: u64| f64::from(part) / whole as f64;
    let influences = all.iter().filter(|(_, count)| count.0 > 0).map(|(moment, &(here, here_slow))| {
        let (of_it, of_it_slow) = counts.get(moment).copied().unwrap_or_default();
        share(of_it_slow, with_slow) - share(here_slow, slow) - share(of_it, with) + share(here, n)
    });
    let moments = counts.iter().filter(|(_, count)| count.1 > 0).count();
    let half = half_width(influences, moments);
    Some(SlowTrait {
        kind: String::new(),
        value: String::new(),
        slow: with_slow,
        all: with,
        slow_share,
        all_share,
        lift,
        low: half.map(|half| lift * (-half).exp()),
        high: half.map(|half| lift * half.exp()),
    })
}

/// Where batches of a size are counted: 0 is not stated, 17 is 17 to 32, 18 is 33 to 64 …
fn batch_place(size: u16) -> usize {
    let apart = usize::from(size.min(APART));
    let power = (size.saturating_sub(1) / APART).checked_ilog2();
    apart + power.map_or(0, |power| power as usize + 1)
}

fn batch_name(place: usize) -> String {
    let apart = usize::from(APART);
    match place {
        0 => "not stated".to_owned(),
        place if place <= apart => place.to_string(),
        place => format!("{} to {}", (apart << (place - apart - 1)) + 1, apart << (place - apart)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Random;

    #[test]
    fn large_batches_are_counted_by_their_power_of_two() {
        let check = |size: u16, expected: &str| assert_eq!(batch_name(batch_place(size)), expected, "{size}");
        check(0, "not stated");
        check(1, "1");
        check(16, "16");
        check(17, "17 to 32");
        check(32, "17 to 32");
        check(33, "33 to 64");
        check(64, "33 to 64");
        check(65, "65 to 128");
        check(65_535, "32769 to 65536");
    }

    /// Requests in moments of 20 to 60, a fifth of them of a kind that is slow three times as often; how many are slow changes
    /// from moment to moment by a factor that is log-normal.
    fn simulated(seed: u64, moments: u32) -> (Counts, Counts) {
        let mut random = Random(seed);
        let (mut with, mut all) = (Counts::default(), Counts::default());
        for moment in 0..moments {
            let normal = (-2.0 * random.unit().ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos();
            let worse = (0.8 * normal - 0.32).exp();
            for _ in 0..20 + random.next() % 40 {
                let of_it = random.unit() < 0.2;
                let slow = random.unit() < worse * if of_it { 0.09 } else { 0.03 };
                let places = [&mut all].into_iter().chain(of_it.then_some(&mut with));
                places.for_each(|counts| {
                    let count = counts.at(moment);
                    *count = (count.0 + 1, count.1 + u32::from(slow));
                });
            }
        }
        (with, all)
    }

    /// A lift of 0.09 / (0.2 · 0.09 + 0.8 · 0.03) = 2.14 is found, and its interval holds as often as it says.
    #[test]
    fn intervals_of_lifts_hold() {
        const TRUTH: f64 = 0.09 / 0.042;
        let found: Vec<SlowTrait> =
            (0..400).map(|seed| simulated(seed, 60)).filter_map(|(with, all)| lift(&with, &all)).collect();
        let mean = found.iter().map(|found| found.lift.ln()).sum::<f64>() / found.len() as f64;
        assert!((mean - TRUTH.ln()).abs() < 0.02, "{} and not {TRUTH}", mean.exp());
        let held = found.iter().filter(|found| found.low.unwrap() <= TRUTH && TRUTH <= found.high.unwrap()).count();
        println!("lifts: {held} of {} intervals hold, mean {:.3} of {TRUTH:.3}", found.len(), mean.exp());
        assert!((0.91..=0.985).contains(&(held as f64 / found.len() as f64)), "{held} of {}", found.len());
    }

    #[test]
    fn a_lift_is_a_share_over_a_share() {
        let counts = |counts: &[(u32, u32)]| {
            let mut by_moment = Counts::default();
            (0..).zip(counts).for_each(|(moment, count)| *by_moment.at(moment) = *count);
            by_moment
        };
        let all = counts(&[(50, 1), (50, 9)]);
        let found = lift(&counts(&[(10, 0), (15, 8)]), &all).unwrap();
        assert_eq!((found.slow, found.all, found.low), (8, 25, None), "two moments are too few for an interval");
        assert!((found.lift - 0.8 / 0.25).abs() < 1e-12);
        assert_eq!(lift(&counts(&[(50, 0)]), &all), None);
    }
}
