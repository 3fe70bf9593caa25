//! Journeys: requests that a user makes one after the other, the later ones with what earlier answers said. Pure; what
//! is carried from one to the next is the payload's affair.

use rand_pcg::Pcg64;

use super::Mix;
use super::mix::Draw;

/// What users do: single requests and journeys, by weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Doings {
    /// Entries, and after them journeys.
    mix: Mix,
    entries: usize,
    /// Indices of the entries that each journey asks for, in order; none is empty.
    journeys: Vec<Vec<u16>>,
}

impl From<Mix> for Doings {
    fn from(mix: Mix) -> Self {
        Self { entries: mix.len(), mix, journeys: Vec::new() }
    }
}

/// Where a user stands in a journey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    journey: usize,
    next: usize,
}

impl Doings {
    /// Adds journeys, each with its weight and the entries that it asks for.
    pub fn new(mix: Mix, journeys: impl IntoIterator<Item = (f64, Vec<u16>)>) -> Self {
        let mut doings = Self::from(mix);
        for (weight, requests) in journeys {
            doings.mix.push(weight, 1);
            doings.journeys.push(requests);
        }
        doings
    }

    /// The next request of a user, and where it stands afterwards; `None` when nothing follows.
    pub(super) fn draw(&self, place: Option<Place>, rng: &mut Pcg64) -> (Draw, Option<Place>) {
        let Some(Place { journey, next }) = place else { return self.begin(rng) };
        let requests = &self.journeys[journey];
        let draw = self.mix.draw_of(requests[next], rng);
        (draw, (next + 1 < requests.len()).then_some(Place { journey, next: next + 1 }))
    }

    fn begin(&self, rng: &mut Pcg64) -> (Draw, Option<Place>) {
        let choice = self.mix.draw(rng);
        match usize::from(choice.entry).checked_sub(self.entries) {
            Some(journey) => self.draw(Some(Place { journey, next: 0 }), rng),
            None => (choice, None),
        }
    }

    /// The share of each entry among requests when no journey is cut short, summing to 1.
    pub fn shares(&self) -> Vec<f64> {
        let weights = self.mix.shares();
        let (single, journeys) = weights.split_at(self.entries);
        let mut expected = single.to_vec();
        for (weight, requests) in journeys.iter().zip(&self.journeys) {
            for entry in requests {
                expected[usize::from(*entry)] += weight;
            }
        }
        let total: f64 = expected.iter().sum();
        expected.iter().map(|share| share / total).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journeys_go_in_order_and_come_by_weight() {
        let doings = Doings::new(Mix::new([(1.0, 1), (0.0, 1), (0.0, 1)]), [(1.0, vec![1, 2, 2]), (2.0, vec![2])]);
        let mut rng = super::super::stream(5, 1);
        let (mut place, mut begun, mut seen) = (None, 0, Vec::new());
        while begun < 4000 {
            begun += usize::from(place.is_none());
            let (draw, next) = doings.draw(place, &mut rng);
            seen.push(draw.entry);
            place = next;
        }
        let count = |wanted: u16| seen.iter().filter(|entry| **entry == wanted).count();
        // 1000 of each kind expected, five standard deviations are 137; the second journey twice as often.
        assert!(count(0).abs_diff(1000) < 137 && count(1).abs_diff(1000) < 137, "{} {}", count(0), count(1));
        assert!(seen.windows(3).all(|w| w[0] != 1 || (w[1], w[2]) == (2, 2)), "a journey keeps its order");
        assert_eq!(doings.shares(), [1.0 / 6.0, 1.0 / 6.0, 4.0 / 6.0]);
    }

    #[test]
    fn without_journeys_it_is_the_mix() {
        let mix = Mix::new([(3.0, 2), (1.0, 1)]);
        let doings = Doings::from(mix.clone());
        let (mut a, mut b) = (super::super::stream(5, 1), super::super::stream(5, 1));
        for _ in 0..100 {
            assert_eq!(doings.draw(None, &mut a), (mix.draw(&mut b), None));
        }
        assert_eq!(doings.shares(), mix.shares());
    }
}
