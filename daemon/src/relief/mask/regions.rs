//! Connected regions of samples: what can be reached from the border, and what is too small to be meant. Pure.

/// Samples for which something holds, in rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) columns: usize,
    pub(super) holds: Vec<bool>,
}

impl Field {
    /// The places on the outermost ring.
    pub(super) fn ring(&self) -> impl Iterator<Item = usize> + '_ {
        let (columns, rows) = (self.columns, self.holds.len() / self.columns);
        (0..self.holds.len()).filter(move |at| {
            let (row, column) = (at / columns, at % columns);
            row == 0 || column == 0 || row + 1 == rows || column + 1 == columns
        })
    }

    /// Of these samples, those that can be reached from the ring over their sides.
    pub(super) fn reached_from_ring(&self) -> Self {
        let mut reached = vec![false; self.holds.len()];
        self.ring().for_each(|start| {
            self.flood(start, &mut reached);
        });
        Self { columns: self.columns, holds: reached }
    }

    /// Without the regions that are smaller than this share of the largest.
    pub(super) fn without_specks(&self, least_share: f64) -> Self {
        let mut seen = vec![false; self.holds.len()];
        let regions: Vec<Vec<usize>> = (0..self.holds.len())
            .map(|start| self.flood(start, &mut seen))
            .filter(|region| !region.is_empty())
            .collect();
        let largest = regions.iter().map(Vec::len).max().unwrap_or_default();
        let mut holds = vec![false; self.holds.len()];
        let kept = regions.iter().filter(|region| region.len() as f64 >= least_share * largest as f64);
        kept.flatten().for_each(|&at| holds[at] = true);
        Self { columns: self.columns, holds }
    }

    /// The region around a place, as far as it has not been seen.
    fn flood(&self, start: usize, seen: &mut [bool]) -> Vec<usize> {
        let mut region = Vec::new();
        let mut waiting = vec![start];
        while let Some(at) = waiting.pop() {
            if !self.holds[at] || std::mem::replace(&mut seen[at], true) {
                continue;
            }
            region.push(at);
            let column = at % self.columns;
            waiting.extend((column > 0).then(|| at - 1));
            waiting.extend((column + 1 < self.columns).then(|| at + 1));
            waiting.extend(at.checked_sub(self.columns));
            waiting.extend(Some(at + self.columns).filter(|below| *below < self.holds.len()));
        }
        region
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(lines: &[&str]) -> Field {
        let holds = lines.concat().chars().map(|mark| mark == '#').collect();
        Field { columns: lines[0].len(), holds }
    }

    #[test]
    fn what_the_ring_reaches() {
        let check = |lines: &[&str], expected: &[&str]| assert_eq!(field(lines).reached_from_ring(), field(expected));
        check(&["##..", "#.#.", "..#.", "...."], &["##..", "#...", "....", "...."]);
        check(&["....", ".##.", ".#..", ".#.."], &["....", ".##.", ".#..", ".#.."]);
        check(&["....", ".##.", ".##.", "...."], &["....", "....", "....", "...."]);
    }

    #[test]
    fn specks_are_dropped() {
        let check = |share: f64, expected: &[&str]| {
            assert_eq!(field(&["##.#", "##..", "...#", "#..#"]).without_specks(share), field(expected));
        };
        check(0.5, &["##..", "##..", "...#", "...#"]);
        check(0.6, &["##..", "##..", "....", "...."]);
        check(0.0, &["##.#", "##..", "...#", "#..#"]);
    }
}
