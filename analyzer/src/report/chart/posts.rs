//! Where the words of vertical lines stand: in a strip above the plot, each beside its line, in as few rows as they need
//! without touching one another. Draws nothing.

/// Width of a character of the charts' font, as it is drawn, in points. Without fonts it can only be estimated; figures are
/// a little narrower, capitals a little wider.
const CHARACTER: f64 = 15.5;
/// Between a line and its words, and between two words.
const GAP: f64 = 8.0;

/// On which side of its line a word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
    Middle,
}

/// A word's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spot {
    /// Which of the words.
    pub(super) index: usize,
    /// From the top.
    pub(super) row: usize,
    pub(super) side: Side,
}

/// Places words at these points of a strip of such a width, in at most so many rows. What fits nowhere is left out: its
/// line still stands. Words that are centred stand on their lines, others beside them.
pub(super) fn spots(words: &[(f64, &str)], width: f64, rows: usize, centred: bool) -> Vec<Spot> {
    let mut order: Vec<usize> = (0..words.len()).filter(|index| !words[*index].1.is_empty()).collect();
    order.sort_by(|a, b| words[*a].0.total_cmp(&words[*b].0));
    let mut ends = vec![f64::NEG_INFINITY; rows];
    let spot = |index: usize| {
        let (at, word) = words[index];
        let length = word.chars().count() as f64 * CHARACTER + GAP;
        let side = match (centred, at + length > width) {
            (true, _) => Side::Middle,
            (false, true) => Side::Left,
            (false, false) => Side::Right,
        };
        let from = match side {
            Side::Middle => at - length / 2.0,
            Side::Left => at - length,
            Side::Right => at + GAP,
        };
        let row = ends.iter().position(|end| *end <= from)?;
        ends[row] = from + length + GAP;
        Some(Spot { index, row, side })
    };
    order.into_iter().filter_map(spot).collect()
}

/// The rows that these need.
pub(super) fn rows(spots: &[Spot]) -> usize {
    spots.iter().map(|spot| spot.row + 1).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_stand_beside_their_lines() {
        let check = |words: &[(f64, &str)], expected: &[(usize, usize, Side)]| {
            let found: Vec<_> =
                spots(words, 1000.0, 2, false).iter().map(|spot| (spot.index, spot.row, spot.side)).collect();
            assert_eq!(found, expected, "{words:?}");
        };
        check(&[], &[]);
        check(&[(10.0, "p50"), (500.0, "p95")], &[(0, 0, Side::Right), (1, 0, Side::Right)]);
        check(&[(10.0, "p50"), (20.0, "p95")], &[(0, 0, Side::Right), (1, 1, Side::Right)]);
        check(&[(10.0, "p50"), (20.0, "p95"), (30.0, "p99")], &[(0, 0, Side::Right), (1, 1, Side::Right)]);
        check(&[(990.0, "late"), (5.0, "")], &[(0, 0, Side::Left)]);
    }

    proptest! {
        /// Whatever stands in the same row does not touch.
        #[test]
        fn words_do_not_touch(at in proptest::collection::vec((0.0_f64..1000.0, 1_usize..12), 0..40), centred: bool) {
            let texts: Vec<(f64, String)> = at.iter().map(|(at, length)| (*at, "x".repeat(*length))).collect();
            let words: Vec<(f64, &str)> = texts.iter().map(|(at, text)| (*at, text.as_str())).collect();
            let found = spots(&words, 1000.0, 3, centred);
            prop_assert!(rows(&found) <= 3);
            let extent = |spot: &Spot| {
                let (at, length) = (words[spot.index].0, words[spot.index].1.len() as f64 * CHARACTER);
                match spot.side {
                    Side::Right => (at, at + length),
                    Side::Left => (at - length, at),
                    Side::Middle => (at - length / 2.0, at + length / 2.0),
                }
            };
            for (index, a) in found.iter().enumerate() {
                for b in &found[index + 1..] {
                    let (a_at, b_at) = (extent(a), extent(b));
                    prop_assert!(a.row != b.row || a_at.1 <= b_at.0 || b_at.1 <= a_at.0, "{a:?} {b:?}");
                }
            }
        }
    }
}
