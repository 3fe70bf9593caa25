//! Where values lie in one arena: those that are never wanted at the same time may lie in the same place. Largest first,
//! each at the lowest place that is free as long as it is wanted. Pure arithmetic.

/// Where values begin: what every kernel and library is content with, and what the driver's own allocations have.
pub const ALIGNMENT_BYTES: usize = 256;

/// How long a value is wanted, and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its size.
    pub bytes: usize,
    /// The first step at which it is there.
    pub first: usize,
    /// The last.
    pub last: usize,
}

impl Span {
    /// Whether both are there at some step.
    fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The offset of each span, and the size of the arena, both in bytes.
pub fn place(spans: &[Span]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(spans[*at].bytes), spans[*at].first, *at));
    let mut offsets = vec![0; spans.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(spans.len());
    let mut total = 0;
    for at in order {
        let size = aligned(spans[at].bytes);
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|other| spans[**other].meets(spans[at]))
            .map(|other| (offsets[*other], offsets[*other] + aligned(spans[*other].bytes)))
            .collect();
        taken.sort_unstable();
        offsets[at] = lowest_gap(&taken, size);
        total = total.max(offsets[at] + size);
        placed.push(at);
    }
    (offsets, total)
}

fn lowest_gap(taken: &[(usize, usize)], size: usize) -> usize {
    let mut from = 0;
    for (begin, end) in taken {
        if begin.saturating_sub(from) >= size && *begin >= from {
            break;
        }
        from = from.max(*end);
    }
    from
}

/// As many bytes as a value takes up.
pub fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_used_again() {
        let check = |spans: &[(usize, usize, usize)], offsets: &[usize], total: usize| {
            let spans: Vec<Span> = spans.iter().map(|&(bytes, first, last)| Span { bytes, first, last }).collect();
            assert_eq!(place(&spans), (offsets.to_vec(), total), "{spans:?}");
        };
        check(&[], &[], 0);
        check(&[(1, 0, 1)], &[0], 256);
        check(&[(256, 0, 1), (256, 1, 2), (256, 2, 3)], &[0, 256, 0], 512);
        check(&[(512, 0, 1), (256, 0, 3), (256, 2, 3)], &[0, 512, 0], 768);
    }

    proptest! {
        #[test]
        fn nothing_overlaps_and_nothing_is_wasted(
            spans in proptest::collection::vec((1_usize..5000, 0_usize..20, 0_usize..20), 1..40),
        ) {
            let of = |&(bytes, a, b): &(usize, usize, usize)| Span { bytes, first: a.min(b), last: a.max(b) };
            let spans: Vec<Span> = spans.iter().map(of).collect();
            let (offsets, total) = place(&spans);
            for (a, (span, offset)) in spans.iter().zip(&offsets).enumerate() {
                prop_assert_eq!(offset % ALIGNMENT_BYTES, 0);
                prop_assert!(offset + span.bytes <= total);
                for (other, from) in spans.iter().zip(&offsets).skip(a + 1) {
                    let apart = offset + span.bytes <= *from || from + other.bytes <= *offset;
                    prop_assert!(apart || !span.meets(*other), "{span:?} at {offset} and {other:?} at {from}");
                }
            }
            let sum: usize = spans.iter().map(|span| aligned(span.bytes)).sum();
            let alive = |step| spans.iter().filter(|s| s.first <= step && step <= s.last).map(|s| aligned(s.bytes)).sum();
            let least: usize = (0..20).map(alive).max().unwrap_or(0);
            prop_assert!(least <= total && total <= sum);
        }
    }
}
