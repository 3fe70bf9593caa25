//! The coordinated-omission truth test: a server that answers in 1 ms and freezes for 1 s in every 10 s. What the
//! generator measures must agree with a reference simulation of that many connections. Here the first 10 s with
//! the fewest connections and with as many as needed; `examples/prove_freezing.rs` has all of it.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

use proofload_loadgen::calibrate::law::Law;
use proofload_loadgen::calibrate::processors::set_one_aside;
use proofload_loadgen::calibrate::{Case, Finding, measure};
use proofload_loadgen::stop::StopHandle;

const MS: u64 = 1_000_000;

fn freeze(connections: Option<u32>) -> Finding {
    let law = Law::Freezing { service_ns: MS, freeze_ns: 1000 * MS, period_ns: 10_000 * MS, phase_ns: 4000 * MS };
    let case = Case::whole("freezing", law, "constant", connections, 100 * MS);
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let measured = measure(&case, 1000.0, 10, set_one_aside(), folder.path().join("run"), StopHandle::default());
    runtime.block_on(measured).unwrap()
}

#[test]
fn the_generator_measures_a_freeze_as_long_as_it_is() {
    for connections in [Some(32), None] {
        // In a thread of its own, so that each time the same processor is set aside.
        let found = std::thread::spawn(move || freeze(connections)).join().unwrap();
        assert_eq!(found.answered, (10_000, 10_000), "{found:?}");
        // Against what the server did the generator may err by less than against what it should have done.
        assert!(found.error < 0.03 && found.error_by_law < 0.05, "{connections:?}: {found:?}");
        assert!(connections.is_none_or(|limit| found.connections <= limit), "{found:?}");
    }
}
