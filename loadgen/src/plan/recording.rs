//! Arrivals as somebody else's service once saw them: moments, and which entry each asked for where that is known.
//! Reading them from a file is the scenario's affair.

/// See the module. Two to ten bytes of memory an arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    offsets_ns: Vec<u64>,
    /// As many as offsets, or none at all.
    entries: Vec<u16>,
}

impl Recording {
    /// A recording from moments in any order and any epoch, and the entry of each (or no entries at all), replayed
    /// `speed` times as fast: the first arrival is at 0.
    pub fn new(moments_ns: Vec<u64>, entries: Vec<u16>, speed: f64) -> Self {
        let zero_ns = moments_ns.iter().min().copied().unwrap_or(0);
        let scale = |moment_ns: u64| ((moment_ns - zero_ns) as f64 / speed) as u64;
        if entries.is_empty() {
            let mut offsets_ns: Vec<u64> = moments_ns.into_iter().map(scale).collect();
            offsets_ns.sort_unstable();
            return Self { offsets_ns, entries };
        }
        let mut both: Vec<(u64, u16)> = moments_ns.into_iter().map(scale).zip(entries).collect();
        both.sort_by_key(|(offset_ns, _)| *offset_ns);
        let (offsets_ns, entries) = both.into_iter().unzip();
        Self { offsets_ns, entries }
    }

    /// How many arrivals.
    pub fn len(&self) -> usize {
        self.offsets_ns.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.offsets_ns.is_empty()
    }

    /// When the last one comes.
    pub fn last_ns(&self) -> u64 {
        self.offsets_ns.last().copied().unwrap_or(0)
    }

    /// How many come before this time.
    pub fn count_before(&self, end_ns: u64) -> usize {
        self.offsets_ns.partition_point(|offset_ns| *offset_ns < end_ns)
    }

    /// The most that come within any stretch of this length.
    pub(super) fn most_within(&self, window_ns: u64) -> usize {
        let mut first = 0;
        let counts = self.offsets_ns.iter().enumerate().map(|(last, offset_ns)| {
            while offset_ns - self.offsets_ns[first] > window_ns {
                first += 1;
            }
            last - first + 1
        });
        counts.max().unwrap_or(0)
    }

    /// The moment of an arrival, and its entry where the recording knows it.
    pub(super) fn get(&self, index: usize) -> Option<(u64, Option<u16>)> {
        Some((*self.offsets_ns.get(index)?, self.entries.get(index).copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_sorted_set_to_zero_and_scaled() {
        let check = |moments: &[u64], entries: &[u16], speed: f64, expected: &[(u64, Option<u16>)]| {
            let recording = Recording::new(moments.to_vec(), entries.to_vec(), speed);
            let found: Vec<_> = (0..recording.len()).filter_map(|n| recording.get(n)).collect();
            assert_eq!(found, expected);
            assert_eq!(recording.last_ns(), expected.last().map_or(0, |(offset_ns, _)| *offset_ns));
        };
        check(&[], &[], 1.0, &[]);
        check(&[7, 5, 9], &[], 1.0, &[(0, None), (2, None), (4, None)]);
        check(&[7, 5, 9], &[1, 0, 2], 2.0, &[(0, Some(0)), (1, Some(1)), (2, Some(2))]);
        check(&[5, 5], &[3, 1], 0.5, &[(0, Some(3)), (0, Some(1))]);
        let recording = Recording::new(vec![0, 1, 2, 50, 51, 52, 53, 200], Vec::new(), 1.0);
        assert_eq!([0, 2, 3, 1000].map(|window| recording.most_within(window)), [1, 3, 4, 8]);
        assert_eq!([0, 51, 1000].map(|end| recording.count_before(end)), [0, 4, 8]);
        check(&[1_700_000_000_000_000_001, 1_700_000_000_000_000_000], &[], 1.0, &[(0, None), (1, None)]);
    }
}
