//! gRPC against a real tonic server: answers, refusals and errors are told apart, and phases are read.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/grpc_server.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod grpc_server;
#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;

use std::path::Path;

use proofload_loadgen::scenario::Scenario;
use proofload_run::sample::{Outcome, Sample, flags};

#[test]
fn answers_refusals_and_errors_are_told_apart() {
    let scenario = Scenario::parse(Path::new("grpc.toml"), grpc_server::SCENARIO, &[]).unwrap();
    let driven = scenarios::drive_grpc(&scenario, &grpc_server::serve(grpc_server::faltering())).unwrap();
    let outcomes: Vec<Outcome> = driven.samples.iter().take(4).map(Sample::outcome).collect();
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Shed, Outcome::ServerError, Outcome::Ok]);
    assert_eq!(driven.end.outcomes["ok"], 48);
    let (refused, answered) = (driven.samples[1], driven.samples[3]);
    assert_eq!((refused.status, answered.status), (8, 0));
    assert_eq!((answered.queue_ns, answered.compute_ns, answered.batch_size), (5, 7, 1));
    assert!(answered.flags & flags::HAS_PHASES != 0);
    assert!(answered.first_byte_ns > answered.sent_ns && answered.done_ns >= answered.first_byte_ns);
    let opened = driven.samples.iter().filter(|s| s.flags & flags::NEW_CONNECTION != 0).count();
    assert!(opened < 10, "connections are kept: {opened}");
}
