//! What an instance keeps for shapes that come again, and what each of it is worth: how long it took to make, and how lately
//! it was used. It is taken out to be used and put back afterwards, so that nothing that failed stays. Whether there is
//! memory for it is decided for all instances together (`clean`). Pure; what goes is given back, so that whoever holds memory
//! for it can free it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a plan is made for: the shapes of its inputs.
pub type Shapes = Vec<Vec<usize>>;

/// After this time something that was not used is worth half as much.
const HALF_LIFE_S: f64 = 60.0;

/// Something with what keeping it costs and saves.
#[derive(Debug)]
pub struct Warm<V> {
    /// The thing.
    pub value: V,
    /// Memory that only it has.
    pub bytes: u64,
    /// How long it took to make.
    pub made_in: Duration,
}

/// What is known of something that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What it is kept for.
    pub shapes: Shapes,
    /// Memory that only it has.
    pub bytes: u64,
    /// How long it took to make.
    pub made_in: Duration,
    /// How long it has not been used.
    pub idle: Duration,
}

impl Facts {
    /// What a byte of it is worth: the seconds that making it again would take, halved with every minute in which nobody
    /// wanted it.
    pub fn worth(&self) -> f64 {
        let lately = (-self.idle.as_secs_f64() / HALF_LIFE_S).exp2();
        self.made_in.as_secs_f64() * lately / self.bytes.max(1) as f64
    }
}

/// See the module.
#[derive(Debug)]
pub struct Shelf<V> {
    most: usize,
    entries: BTreeMap<Shapes, (Warm<V>, Instant)>,
}

impl<V> Shelf<V> {
    /// Nothing yet, and at most so many things.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), entries: BTreeMap::new() }
    }

    /// Takes out what is kept for these shapes.
    pub fn take(&mut self, shapes: &Shapes) -> Option<Warm<V>> {
        self.entries.remove(shapes).map(|(warm, _)| warm)
    }

    /// Keeps something that was used at `now`, and gives back what has to go for it: what was in its place, or what is worth
    /// least.
    pub fn put(&mut self, shapes: Shapes, warm: Warm<V>, now: Instant) -> Option<Warm<V>> {
        if let Some((replaced, _)) = self.entries.insert(shapes, (warm, now)) {
            return Some(replaced);
        }
        if self.entries.len() <= self.most {
            return None;
        }
        let least = self.facts(now).into_iter().min_by(|one, other| one.worth().total_cmp(&other.worth()))?;
        self.take(&least.shapes)
    }

    /// All that is kept, as it is at `now`.
    pub fn facts(&self, now: Instant) -> Vec<Facts> {
        let facts = |(shapes, (warm, last_use)): (&Shapes, &(Warm<V>, Instant))| Facts {
            shapes: shapes.clone(),
            bytes: warm.bytes,
            made_in: warm.made_in,
            idle: now.saturating_duration_since(*last_use),
        };
        self.entries.iter().map(facts).collect()
    }

    /// Lets go of everything.
    pub fn clear(&mut self) -> Vec<Warm<V>> {
        std::mem::take(&mut self.entries).into_values().map(|(warm, _)| warm).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(batch: usize) -> Shapes {
        vec![vec![batch, 3]]
    }

    fn warm(value: char, bytes: u64, made_in_ms: u64) -> Warm<char> {
        Warm { value, bytes, made_in: Duration::from_millis(made_in_ms) }
    }

    #[test]
    fn what_is_worth_least_goes_first() {
        let begun = Instant::now();
        let at = |s| begun + Duration::from_secs(s);
        let mut shelf = Shelf::new(2);
        assert!(shelf.put(shapes(1), warm('a', 100, 50), at(0)).is_none());
        assert!(shelf.put(shapes(2), warm('b', 100, 10), at(1)).is_none());
        let gone = shelf.put(shapes(3), warm('c', 100, 20), at(2)).map(|warm| warm.value);
        assert_eq!(gone, Some('b'), "made the fastest");
        let gone = shelf.put(shapes(4), warm('d', 1000, 100), at(3)).map(|warm| warm.value);
        assert_eq!(gone, Some('d'), "it has the most bytes");
        assert_eq!(shelf.put(shapes(5), warm('e', 100, 20), at(300)).map(|warm| warm.value), Some('c'), "long unused");
        let gone = shelf.put(shapes(1), warm('f', 1, 1), at(300)).map(|warm| warm.value);
        assert_eq!(gone, Some('a'), "the one in its place");
        let kept: Vec<_> = shelf.facts(at(360)).into_iter().map(|facts| (facts.bytes, facts.idle.as_secs())).collect();
        assert_eq!(kept, [(1, 60), (100, 60)]);
        assert_eq!(shelf.take(&shapes(5)).map(|warm| warm.value), Some('e'));
        assert!(shelf.take(&shapes(5)).is_none());
        assert_eq!((shelf.clear().len(), shelf.facts(at(360)).len()), (1, 0));
    }

    #[test]
    fn worth_halves_in_a_minute() {
        let facts = |idle_s| Facts {
            shapes: shapes(1),
            bytes: 10,
            made_in: Duration::from_secs(1),
            idle: Duration::from_secs(idle_s),
        };
        assert!((facts(0).worth() - 0.1).abs() < 1e-12);
        assert!((facts(60).worth() - 0.05).abs() < 1e-12);
        assert!((facts(180).worth() - 0.0125).abs() < 1e-12);
    }
}
