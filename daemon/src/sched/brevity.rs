//! Whether a model's executions are so short that waking a thread for one costs more than the execution. Pure.

use std::time::Duration;

/// About what it costs to wake a thread and to be woken by it; and not so long that whoever brought a request, and has
/// others to look after, would be missed.
pub const SHORT: Duration = Duration::from_micros(50);
/// So many short ones in a row make a habit.
const HABIT: u32 = 16;

/// How the latest executions went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Brevity {
    in_a_row: u32,
}

impl Brevity {
    /// Takes in an execution.
    pub fn observe(&mut self, took: Duration) {
        self.in_a_row = if took <= SHORT { self.in_a_row.saturating_add(1) } else { 0 };
    }

    /// Whether the next one is expected to be short. One that was not ends it.
    pub fn holds(self) -> bool {
        self.in_a_row >= HABIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_is_slowly_made_and_quickly_lost() {
        let check = |took_us: &[(u64, u32)], expected| {
            let mut brevity = Brevity::default();
            let each = took_us.iter().flat_map(|&(us, times)| (0..times).map(move |_| us));
            each.for_each(|us| brevity.observe(Duration::from_micros(us)));
            assert_eq!(brevity.holds(), expected, "{took_us:?}");
        };
        check(&[], false);
        check(&[(1, 15)], false);
        check(&[(1, 15), (50, 1)], true);
        check(&[(1, 1000), (51, 1)], false);
        check(&[(1, 1000), (51, 1), (1, 15)], false);
        check(&[(1, 1000), (51, 1), (1, 16)], true);
    }
}
