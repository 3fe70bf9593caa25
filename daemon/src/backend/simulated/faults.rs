//! What goes wrong by declaration: executions that fail, and memory of the host that each leaves behind. So it can be seen
//! whether whoever watches the service finds it. Pure: the same declaration and seed fail the same executions.

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::backend::BackendError;

/// What is declared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FaultSpec {
    /// Of the executions, how many fail: from 0 to 1.
    pub fail_share: f64,
    /// Bytes of the host's memory that every execution leaves behind, until the instance ends.
    pub leak_bytes: usize,
}

/// The faults of one instance.
#[derive(Debug)]
pub struct Faults {
    spec: FaultSpec,
    random: Pcg64Mcg,
    left: Vec<Vec<u8>>,
}

impl Faults {
    /// The sequence of one instance.
    pub fn new(spec: FaultSpec, seed: u64, instance: u64) -> Self {
        let mixed = seed ^ instance.wrapping_add(1).wrapping_mul(0xd1b5_4a32_d192_ed03);
        Self { spec, random: Pcg64Mcg::seed_from_u64(mixed), left: Vec::new() }
    }

    /// What befalls the next execution.
    ///
    /// # Errors
    /// When it fails.
    pub fn befall(&mut self) -> Result<(), BackendError> {
        if self.spec.leak_bytes > 0 {
            // Of zeros the system would give pages that take no memory.
            self.left.push(vec![1; self.spec.leak_bytes]);
        }
        let drawn = (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        if drawn < self.spec.fail_share {
            return Err(BackendError::Model("as its parameter 'fail_share' declares".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_fail_and_so_much_is_left() {
        let check = |fail_share: f64, leak_bytes: usize, expected: std::ops::RangeInclusive<usize>| {
            let mut faults = Faults::new(FaultSpec { fail_share, leak_bytes }, 7, 0);
            let failed = (0..1000).filter(|_| faults.befall().is_err()).count();
            assert!(expected.contains(&failed), "{fail_share}: {failed}");
            assert_eq!(faults.left.iter().map(Vec::len).sum::<usize>(), 1000 * leak_bytes);
        };
        check(0.0, 0, 0..=0);
        check(1.0, 64, 1000..=1000);
        check(0.3, 0, 240..=360);
    }

    #[test]
    fn instances_fail_at_different_times_and_the_same_ones_at_the_same() {
        let failed = |instance| {
            let mut faults = Faults::new(FaultSpec { fail_share: 0.5, leak_bytes: 0 }, 1, instance);
            (0..64).map(|_| faults.befall().is_err()).collect::<Vec<_>>()
        };
        assert_eq!(failed(0), failed(0));
        assert_ne!(failed(0), failed(1));
    }
}
