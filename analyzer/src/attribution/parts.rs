//! The parts of one request's latency, in the order in which they are spent. They add up to it exactly, whatever the server
//! claims: what nobody states is left over in the last one.

use proofload_run::sample::flags;

use crate::samples::Row;

/// How many parts there are.
pub(super) const N: usize = 11;

/// Index of the part that is spent in the server's queue.
pub(super) const QUEUE: usize = 3;
/// Index of the part that the server might have stated and did not.
pub(super) const NOT_STATED: usize = 7;

/// Their names.
pub(super) const NAMES: [&str; N] = [
    "generator late",
    "waiting for a connection",
    "opening a connection",
    "queue",
    "copy-in",
    "compute",
    "copy-out",
    "not stated by the server",
    "receiving the answer",
    "earlier attempts",
    "unexplained / network",
];

/// What a request did meanwhile, for a sentence.
pub(super) const WORDS: [&str; N] = [
    "the generator's own lateness",
    "waiting for a free connection",
    "opening a connection",
    "waiting in the server's queue",
    "making inputs ready in the server",
    "computing in the server",
    "making outputs ready in the server",
    "spent before the first byte of the answer, in the network or the server, which does not say more",
    "receiving the answer",
    "earlier attempts that failed",
    "unexplained (the network, decoding and encoding)",
];

/// The parts of one request, in ns. Negative is only what is left over, where the server states more than there was.
pub(super) fn parts(row: &Row) -> [i128; N] {
    let before_sent = row.sent_ns.saturating_sub(row.intended_ns);
    let late = row.late_ns.min(before_sent);
    let [wait, late] = [before_sent - late, late].map(i128::from);
    let on_the_way = i128::from(row.latency_ns()) - wait - late;
    let opened = row.flags & flags::NEW_CONNECTION != 0;
    let mut parts = [0; N];
    parts[0] = late;
    parts[if opened { 2 } else { 1 }] = wait;
    let answer = (row.sent_ns..=row.done_ns).contains(&row.first_byte_ns);
    let receiving = if answer { i128::from(row.done_ns - row.first_byte_ns) } else { 0 };
    let stated = row.flags & flags::HAS_PHASES != 0;
    let phases = if stated { row.phases_ns.map(i128::from) } else { [0; 4] };
    parts[QUEUE..QUEUE + 4].copy_from_slice(&phases);
    let in_server: i128 = phases.iter().sum();
    // Of a stream the server may compute until its end: then there is nothing to receive after it.
    let receiving = if in_server <= on_the_way - receiving { receiving } else { 0 };
    parts[8] = receiving;
    let left = on_the_way - in_server - receiving;
    let place = match (row.retry > 0, stated) {
        // Sent is when it was first sent; phases are of the attempt that was answered.
        (true, _) => 9,
        (false, true) => 10,
        (false, false) => NOT_STATED,
    };
    parts[place] = left;
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn where_the_time_went() {
        let plain = Row {
            intended_ns: 100 * MS,
            late_ns: MS,
            sent_ns: 103 * MS,
            first_byte_ns: 150 * MS,
            done_ns: 160 * MS,
            phases_ns: [20, 1, 15, 2].map(|ms| ms * MS),
            flags: flags::HAS_PHASES,
            ..Row::EMPTY
        };
        let check = |row: Row, expected: [i128; N]| {
            assert_eq!(parts(&row), expected.map(|ms| ms * i128::from(MS)), "{row:?}");
        };
        check(plain, [1, 2, 0, 20, 1, 15, 2, 0, 10, 0, 9]);
        check(Row { flags: plain.flags | flags::NEW_CONNECTION, ..plain }, [1, 0, 2, 20, 1, 15, 2, 0, 10, 0, 9]);
        check(Row { retry: 1, ..plain }, [1, 2, 0, 20, 1, 15, 2, 0, 10, 9, 0]);
        check(Row { flags: 0, ..plain }, [1, 2, 0, 0, 0, 0, 0, 47, 10, 0, 0]);
        check(Row { first_byte_ns: 0, ..plain }, [1, 2, 0, 20, 1, 15, 2, 0, 0, 0, 19]);
        // A stream, computed until its end: the phases last longer than the wait for its head.
        check(Row { phases_ns: [20, 1, 30, 2].map(|ms| ms * MS), ..plain }, [1, 2, 0, 20, 1, 30, 2, 0, 0, 0, 4]);
        // A server that claims more than there was.
        check(Row { phases_ns: [70, 0, 0, 0].map(|ms| ms * MS), ..plain }, [1, 2, 0, 70, 0, 0, 0, 0, 0, 0, -13]);
        // Late by more than there was.
        check(Row { late_ns: 9 * MS, ..plain }, [3, 0, 0, 20, 1, 15, 2, 0, 10, 0, 9]);
    }

    proptest! {
        /// Whatever was recorded and whatever the server claims, the parts add up to the latency, and only what is left over
        /// is ever negative.
        #[test]
        fn parts_add_up_exactly(
            times in any::<[u64; 4]>(), late_ns: u64, phases_ns: [u64; 4], set: u16, retry in 0_u8..3,
        ) {
            let [intended_ns, sent_ns, first_byte_ns, done_ns] = times;
            let any_order = Row { intended_ns, sent_ns, first_byte_ns, done_ns, late_ns, phases_ns, flags: set, retry, ..Row::EMPTY };
            prop_assert_eq!(parts(&any_order).iter().sum::<i128>(), i128::from(any_order.latency_ns()));
            let mut sorted = times;
            sorted.sort_unstable();
            let [intended_ns, sent_ns, first_byte_ns, done_ns] = sorted;
            let row = Row { intended_ns, sent_ns, first_byte_ns, done_ns, ..any_order };
            let found = parts(&row);
            prop_assert_eq!(found.iter().sum::<i128>(), i128::from(row.latency_ns()));
            prop_assert!(found.iter().enumerate().all(|(at, ns)| *ns >= 0 || at >= 9), "{found:?}");
        }
    }
}
