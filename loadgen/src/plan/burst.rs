//! Periodic bursts: what a period brings comes in its first part, and the rest is quiet. A map of time onto itself
//! that keeps order and the number of arrivals of every whole period. Which arrivals there are is not its affair.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// The period, counted from the start of each step.
    pub every_ns: u64,
    /// The part of it in which arrivals come; 0 for all at once, less than the period.
    pub length_ns: u64,
}

impl Burst {
    /// Where an arrival at this time after a step's start is moved to; never later.
    pub(super) fn squeeze(self, offset_ns: u64) -> u64 {
        let within_ns = u128::from(offset_ns % self.every_ns);
        let squeezed_ns = within_ns * u128::from(self.length_ns) / u128::from(self.every_ns);
        offset_ns - (within_ns - squeezed_ns) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_period_is_squeezed_into_its_first_part() {
        let check = |length_ns: u64, offset_ns: u64, expected: u64| {
            assert_eq!(Burst { every_ns: 10, length_ns }.squeeze(offset_ns), expected, "{length_ns} {offset_ns}");
        };
        check(5, 0, 0);
        check(5, 8, 4);
        check(5, 10, 10);
        check(5, 19, 14);
        check(0, 19, 10);
        check(0, 20, 20);
    }

    proptest! {
        /// Order is kept, nothing comes later than before or leaves its period, and the quiet part is quiet.
        #[test]
        fn squeezing_keeps_order_and_period(every_ns in 2u64..1 << 40, share in 0.0f64..1.0, a: u32, b: u32) {
            let burst = Burst { every_ns, length_ns: (every_ns as f64 * share) as u64 };
            let (a, b) = (u64::from(a.min(b)) << 10, u64::from(a.max(b)) << 10);
            prop_assert!(burst.squeeze(a) <= burst.squeeze(b));
            prop_assert!(burst.squeeze(a) <= a);
            prop_assert_eq!(burst.squeeze(a) / every_ns, a / every_ns);
            prop_assert!(burst.squeeze(a) % every_ns <= burst.length_ns);
        }
    }
}
