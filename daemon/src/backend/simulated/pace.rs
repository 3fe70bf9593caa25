//! When a simulated execution begins and ends. An instance that is never idle must serve exactly as fast as it is
//! declared, although every wake-up of its thread is a little late: the next execution begins where the last one
//! was due to end. Pure: the clock is an argument.

use std::time::{Duration, Instant};

/// How far the schedule may lag behind the clock. More would mean that the machine stood still, which is no service
/// time and is not made up for.
const LONGEST_LAG: Duration = Duration::from_millis(20);

/// The schedule of one instance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    due: Option<Instant>,
}

impl Pace {
    /// When an execution that takes `service` is to end, whose batch was complete at `ready` and whose thread got to
    /// it at `now`. What was lost by waking up late is made up for over the next executions; none takes less than
    /// half its time, for an answer that takes no time at all would be as wrong as a slow one.
    pub fn next_end(&mut self, ready: Instant, now: Instant, service: Duration) -> Instant {
        let scheduled = self.due.map_or(ready, |due| due.max(ready)).min(now);
        let due = scheduled.max(now.checked_sub(LONGEST_LAG).unwrap_or(now)) + service;
        self.due = Some(due);
        due.max(now + service / 2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERVICE: Duration = Duration::from_millis(10);

    fn check(ends_before_us: Option<u64>, ready_us: u64, now_us: u64, expected_us: u64) {
        let start = Instant::now();
        let at = |us| start + Duration::from_micros(us);
        let mut pace = Pace { due: ends_before_us.map(at) };
        let end = pace.next_end(at(ready_us), at(now_us), SERVICE);
        assert_eq!(end, at(expected_us), "{ends_before_us:?} {ready_us} {now_us}");
    }

    #[test]
    fn lateness_is_made_up_for_and_idleness_is_not() {
        check(None, 100_000, 100_050, 110_000);
        check(Some(90_000), 100_000, 100_050, 110_000);
        check(Some(100_000), 20_000, 100_080, 110_000);
        check(Some(100_000), 20_000, 104_000, 110_000);
        check(Some(100_000), 20_000, 108_000, 113_000);
        check(Some(100_000), 20_000, 140_000, 145_000);
        check(Some(100_000), 20_000, 99_990, 109_990);
    }

    #[test]
    fn a_long_delay_is_made_up_for_over_several_executions() {
        let start = Instant::now();
        let mut pace = Pace { due: Some(start) };
        let mut now = start + Duration::from_millis(12);
        for _ in 0..3 {
            now = pace.next_end(start, now, SERVICE);
        }
        assert_eq!(now, start + SERVICE * 3);
    }

    proptest! {
        /// An instance with a full queue serves n times in n service times, whatever the lateness of its wake-ups.
        #[test]
        fn a_busy_instance_does_not_drift(late_us in proptest::collection::vec(0u64..4_000, 1..200)) {
            let start = Instant::now();
            let mut pace = Pace::default();
            let mut now = start;
            for late in &late_us {
                let end = pace.next_end(start, now, SERVICE);
                now = end + Duration::from_micros(*late);
            }
            let count = u32::try_from(late_us.len()).expect("at most 200");
            prop_assert_eq!(pace.due, Some(start + SERVICE * count));
        }
    }
}
