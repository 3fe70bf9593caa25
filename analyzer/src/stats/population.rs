//! A set of latencies with the second each belongs to: exact percentiles and mean with their intervals. The latencies
//! are not kept: they are looked at again until everything is known.

use proofload_run::findings::{Latency, Percentile};

use super::BySecond;
use super::bins::{Bins, Fineness, key};
use super::enough;
use super::interval::{Z, design_effect};
use super::moments::Moments;
use super::percentiles::rank;
use super::search::Search;

/// The percentiles that every latency states.
const STATED: [f64; 5] = [50.0, 90.0, 95.0, 99.0, 99.9];

/// Latencies that are added again and again, all of them in every look, until no further look is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Population {
    moments: Moments,
    bins: Bins,
    stage: Stage,
    /// Percentiles that are wanted without an interval.
    plain: Vec<(f64, Option<Search>)>,
    stated: Vec<Stated>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Counting,
    Searching,
    Known,
}

impl Population {
    /// Of which these percentiles are wanted, besides those that every latency states.
    pub(crate) fn new(wanted: &[f64]) -> Self {
        let more = wanted.iter().filter(|percentile| !STATED.contains(percentile));
        Self {
            moments: Moments::default(),
            bins: Bins::new(Fineness::Fine),
            stage: Stage::Counting,
            plain: more.map(|percentile| (*percentile, None)).collect(),
            stated: Vec::new(),
        }
    }

    /// Looks at a latency.
    pub(crate) fn add(&mut self, ns: u64, block: u32) {
        let key = key(ns as f64);
        match self.stage {
            Stage::Counting => {
                self.moments.add(ns, block);
                self.bins.add(key);
            }
            Stage::Searching => {
                self.plain.iter_mut().filter_map(|plain| plain.1.as_mut()).for_each(|search| search.add(key));
                self.stated.iter_mut().for_each(|stated| stated.add(key, block));
            }
            Stage::Known => {}
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        let open = match self.stage {
            Stage::Counting => self.begin(),
            Stage::Searching => self.go_on(),
            Stage::Known => false,
        };
        self.stage = if open { Stage::Searching } else { Stage::Known };
        if !open {
            self.bins = Bins::new(Fineness::Fine);
        }
        open
    }

    fn begin(&mut self) -> bool {
        self.bins.settle();
        let (bins, n) = (&self.bins, self.n());
        let search = |percentile: f64| Some(Search::new(bins.cell(rank(n, percentile))?, true));
        self.plain.iter_mut().for_each(|(percentile, found)| *found = search(*percentile));
        self.stated =
            STATED.iter().filter_map(|percentile| Some(Stated::new(*percentile, search(*percentile)?))).collect();
        n > 0
    }

    fn go_on(&mut self) -> bool {
        let searches = self.plain.iter_mut().filter_map(|plain| plain.1.as_mut());
        let open = searches.fold(false, |open, search| search.turn() | open);
        let (bins, moments) = (&self.bins, &self.moments);
        self.stated.iter_mut().fold(open, |open, stated| stated.turn(bins, moments) | open)
    }

    /// How many.
    pub(crate) fn n(&self) -> u64 {
        self.moments.n()
    }

    /// Largest; `None` of nothing.
    pub(crate) fn max_ns(&self) -> Option<u64> {
        self.moments.max()
    }

    /// The value at one of the wanted percentiles (nearest rank); `None` of nothing.
    pub(crate) fn value(&self, percentile: f64) -> Option<u64> {
        let is_it = |other: f64| other.total_cmp(&percentile).is_eq();
        let plain = self.plain.iter().find(|plain| is_it(plain.0)).and_then(|plain| plain.1.as_ref()?.found());
        let stated = || self.stated.iter().find(|stated| is_it(stated.percentile))?.value.found();
        plain.or_else(stated).map(|ns| ns as u64)
    }

    /// Mean and its interval, from the spread of the seconds' sums around what the mean predicts for them.
    pub(crate) fn mean(&self) -> Option<(f64, f64, f64)> {
        self.moments.mean()
    }

    /// All that a report states; `None` of nothing.
    pub(crate) fn summary(&self) -> Option<Latency> {
        let (mean_ns, mean_low_ns, mean_high_ns) = self.mean()?;
        let percentiles = self.stated.iter().filter_map(|stated| stated.percentile(self.n())).collect();
        Some(Latency { n: self.n(), mean_ns, mean_low_ns, mean_high_ns, max_ns: self.max_ns()?, percentiles })
    }
}

/// A percentile on its way to its value and interval: the order statistics between which it lies with 95 % probability,
/// by the binomial's normal approximation (Woodruff 1952) times the design effect.
#[derive(Debug, Clone)]
struct Stated {
    percentile: f64,
    value: Search,
    /// Of each second, how many are above the value: the fewer, the less there is to do.
    above: BySecond<u32>,
    /// What was gathered and may be above it or not, with its second.
    doubtful: Vec<(u64, u32)>,
    bounds: Bounds,
}

/// What is known of the interval.
#[derive(Debug, Clone)]
enum Bounds {
    /// Nothing until the value is known.
    Unknown,
    /// The value is known; what is not above it is being counted.
    Counting,
    /// Their ranks are known; there may be no upper one.
    Searching(Search, Option<Search>),
}

impl Stated {
    fn new(percentile: f64, value: Search) -> Self {
        let bounds = if value.key().is_some() { Bounds::Counting } else { Bounds::Unknown };
        Self { percentile, value, above: BySecond::default(), doubtful: Vec::new(), bounds }
    }

    fn add(&mut self, key: u64, block: u32) {
        match (&mut self.bounds, self.value.key()) {
            (Bounds::Searching(low, high), _) => {
                low.add(key);
                high.iter_mut().for_each(|high| high.add(key));
            }
            (_, Some(value)) if key > value => *self.above.at(block) += 1,
            (_, Some(_)) => {}
            (_, None) => {
                if let Some(keys) = self.value.gathers() {
                    if keys.contains(&key) {
                        self.doubtful.push((key, block));
                    } else if key > *keys.end() {
                        *self.above.at(block) += 1;
                    }
                }
                self.value.add(key);
            }
        }
    }

    fn turn(&mut self, bins: &Bins, moments: &Moments) -> bool {
        match &mut self.bounds {
            Bounds::Searching(low, high) => {
                let open = low.turn();
                high.as_mut().is_some_and(Search::turn) | open
            }
            Bounds::Counting => self.bound(bins, moments),
            Bounds::Unknown => {
                let counted = self.value.gathers().is_some();
                self.value.turn();
                match self.value.key() {
                    Some(value) if counted => {
                        let above = std::mem::take(&mut self.doubtful).into_iter().filter(|(key, _)| *key > value);
                        above.for_each(|(_, block)| *self.above.at(block) += 1);
                        self.bound(bins, moments)
                    }
                    Some(_) => {
                        self.bounds = Bounds::Counting;
                        true
                    }
                    None => true,
                }
            }
        }
    }

    /// Begins the search for the ends of the interval. Says whether there is anything to look for.
    fn bound(&mut self, bins: &Bins, moments: &Moments) -> bool {
        let above = std::mem::take(&mut self.above);
        let not_above = |block: u32, n: u64| n.saturating_sub(above.get(block).map_or(0, |above| u64::from(*above)));
        let blocks = moments.n_by_second().map(|(block, n)| (not_above(block, n), n));
        let effect = design_effect(&blocks.collect::<Vec<_>>());
        let (n, p) = (moments.n() as f64, self.percentile / 100.0);
        let half = Z * (n * p * (1.0 - p) * effect).sqrt();
        let low = ((n * p - half).floor().max(1.0) as u64).min(moments.n());
        let high = (n * p + half).ceil() as u64 + 1;
        let search = |rank| Some(Search::new(bins.cell(rank)?, true));
        let Some(low) = search(low) else { return false };
        let high = search(high);
        let open = low.key().is_none() || high.as_ref().is_some_and(|high| high.key().is_none());
        self.bounds = Bounds::Searching(low, high);
        open
    }

    fn percentile(&self, n: u64) -> Option<Percentile> {
        let latency_ns = self.value.found()? as u64;
        let Bounds::Searching(low, high) = &self.bounds else { return None };
        Some(Percentile {
            percentile: self.percentile,
            latency_ns,
            low_ns: (low.found()? as u64).min(latency_ns),
            high_ns: high.as_ref().and_then(Search::found).map(|ns| ns as u64),
            enough: enough(n, self.percentile),
        })
    }
}

#[cfg(test)]
impl Population {
    /// Of these latencies, when everything is known.
    pub(crate) fn of(members: &[(u64, u32)], wanted: &[f64]) -> Self {
        let mut found = Self::new(wanted);
        loop {
            members.iter().for_each(|(ns, block)| found.add(*ns, *block));
            if !found.turn() {
                return found;
            }
        }
    }

    /// One of the stated percentiles.
    fn percentile(&self, percentile: f64) -> Option<Percentile> {
        self.summary()?.percentile(percentile).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_interval_of_a_median_is_the_textbook_one() {
        let members: Vec<(u64, u32)> = (1..=100).map(|ns| (ns, 0)).collect();
        let median = Population::of(&members, &[]).percentile(50.0).unwrap();
        assert_eq!((median.latency_ns, median.low_ns, median.high_ns), (50, 40, Some(61)));
    }

    /// Thirty seconds of fifty samples, each second with an offset of its own: the sum of two uniform numbers, whose
    /// median and mean are known. As independent samples their intervals would hold the truth in 3 runs of 10.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 44
        };
        let truth = 1_u64 << 20;
        let (mut medians, mut means) = (0, 0);
        for _ in 0..400 {
            let seconds = (0..30).flat_map(|second| {
                let offset = uniform();
                (0..50).map(|_| (offset + uniform(), second)).collect::<Vec<_>>()
            });
            let run = Population::of(&seconds.collect::<Vec<_>>(), &[]);
            let median = run.percentile(50.0).unwrap();
            medians += u32::from(median.low_ns <= truth && median.high_ns.is_none_or(|high| high >= truth));
            let (_, low, high) = run.mean().unwrap();
            means += u32::from(low <= truth as f64 && truth as f64 <= high);
        }
        assert!((360..=392).contains(&medians) && (360..=392).contains(&means), "{medians} and {means} of 400");
    }

    /// The same percentile with its interval, from all samples in a row.
    fn by_sorting(members: &[(u64, u32)], percentile: f64) -> Percentile {
        let mut sorted: Vec<u64> = members.iter().map(|member| member.0).collect();
        sorted.sort_unstable();
        let (n, p) = (sorted.len() as f64, percentile / 100.0);
        let latency_ns = sorted[((n * percentile / 100.0).ceil() as usize).max(1) - 1];
        let mut blocks = std::collections::BTreeMap::<u32, (u64, u64)>::new();
        for (ns, block) in members {
            let (hits, n) = blocks.entry(*block).or_default();
            *hits += u64::from(*ns <= latency_ns);
            *n += 1;
        }
        let half = Z * (n * p * (1.0 - p) * design_effect(&blocks.into_values().collect::<Vec<_>>())).sqrt();
        let low = ((n * p - half).floor().max(1.0) as usize).min(sorted.len());
        let high = (n * p + half).ceil() as usize + 1;
        let low_ns = sorted[low - 1].min(latency_ns);
        let enough = enough(sorted.len() as u64, percentile);
        Percentile { percentile, latency_ns, low_ns, high_ns: sorted.get(high - 1).copied(), enough }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// However many, however alike, in whatever order: percentiles and intervals are those of sorting.
        #[test]
        fn percentiles_are_those_of_sorting(
            drawn in proptest::collection::vec((0_u64..1 << 36, 0_u32..36, 0_u32..30), 1..300),
            repeats in 1_usize..200,
            step in 0_u64..100_000,
            wanted in 0.1_f64..99.9,
        ) {
            let clone = |copy: u64| drawn.iter().map(move |(ns, bits, block)| ((ns >> bits) + copy * step, *block));
            let mut members: Vec<(u64, u32)> = (0..repeats as u64).flat_map(clone).collect();
            let found = Population::of(&members, &[wanted]);
            let stated = found.summary().unwrap().percentiles;
            prop_assert_eq!(stated.len(), STATED.len());
            for percentile in stated {
                prop_assert_eq!(percentile, by_sorting(&members, percentile.percentile));
            }
            prop_assert_eq!(found.value(wanted), Some(by_sorting(&members, wanted).latency_ns));
            prop_assert_eq!(found.max_ns(), members.iter().map(|member| member.0).max());
            members.reverse();
            prop_assert_eq!(found.summary(), Population::of(&members, &[]).summary());
        }

        /// A percentile is one of the samples, lies in its interval, grows with its rank, and at least its share of
        /// the samples is not above it.
        #[test]
        fn percentiles_hold_what_they_say(values in proptest::collection::vec(0u64..1_000_000, 1..500)) {
            let members: Vec<(u64, u32)> = values.iter().enumerate().map(|(i, v)| (*v, (i / 10) as u32)).collect();
            let population = Population::of(&members, &[]);
            let mut before = 0;
            for p in STATED {
                let found = population.percentile(p).unwrap();
                let not_above = values.iter().filter(|v| **v <= found.latency_ns).count();
                prop_assert!(values.contains(&found.latency_ns));
                prop_assert!(not_above as f64 >= values.len() as f64 * p / 100.0);
                prop_assert!(found.low_ns <= found.latency_ns && found.high_ns.is_none_or(|h| h >= found.latency_ns));
                prop_assert!(found.latency_ns >= before);
                before = found.latency_ns;
            }
        }
    }
}
