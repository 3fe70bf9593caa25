//! Chance for tests by shuffling: the same numbers for the same seed on every machine, so that a report made twice is the
//! same twice. `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). Not for secrets.

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number below this, each as likely but for one part in 2⁶⁴ of it; 0 below 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// In [0, 1).
    #[cfg(test)]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of a normal law, nearly.
    #[cfg(test)]
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Puts values into any order, each as likely.
    pub(super) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// How often chance may do as well before it is no longer of interest how often exactly.
const ENOUGH_TIES: usize = 5;
/// Tries at most: p is two thousandths at least.
const TRIES: usize = 499;

/// The share of tries that do as well as what was seen, itself counted among them. Ends early once that is more than a
/// hundredth for sure (J. Besag and P. Clifford, "Sequential Monte Carlo p-values", 1991).
pub(super) fn p_value(mut does_as_well: impl FnMut() -> bool) -> f64 {
    let mut ties = 0;
    for tried in 1..=TRIES {
        ties += usize::from(does_as_well());
        if ties == ENOUGH_TIES {
            return (ties as f64 / tried as f64).max(0.010_001);
        }
    }
    (ties + 1) as f64 / (TRIES + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly() {
        let mut chance = Chance::seeded(7);
        let mut counts = [0_u32; 10];
        (0..100_000).for_each(|_| counts[chance.below(10) as usize] += 1);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert_eq!(chance.below(0), 0);
        let mut places = [0_u32; 4];
        for _ in 0..40_000 {
            let mut values = [0, 1, 2, 3];
            chance.shuffle(&mut values);
            places[values.iter().position(|value| *value == 0).unwrap()] += 1;
        }
        assert!(places.iter().all(|count| (9_600..10_400).contains(count)), "{places:?}");
    }

    #[test]
    fn shares_of_tries() {
        let mut chance = Chance::seeded(3);
        let check = |p: f64, low: f64, high: f64| assert!((low..=high).contains(&p), "{p}");
        check(p_value(|| false), 0.002, 0.002);
        check(p_value(|| true), 0.9, 1.0);
        let mut once = true;
        check(p_value(|| std::mem::take(&mut once)), 0.004, 0.004);
        check(p_value(|| chance.below(2) == 0), 0.25, 0.9);
    }
}
